"""Fields that show as HTML what users wrote."""

import asyncio
import hashlib
from pathlib import PurePosixPath

from strawberry import Parent

from gitstore.objects import Commit, ObjectKind
from models import Repository, User
from resolvers import git_objects
from resolvers.context import Info
from resolvers.located import Located, LocatedEntry
from resolvers.repositories import resource_path
from services import markup
from services.markup import Place

_KEPT_SECONDS = 7 * 86_400
# Below this, rendering takes less than asking another process.
_WORTH_KEEPING = 2048


async def entry_html(root: Parent[LocatedEntry], info: Info) -> str | None:
    if root.entry.kind is not ObjectKind.BLOB:
        return None
    blob = await info.context.loaders.git.blob_by_oid.load((root.state, root.entry.oid))
    if blob is None or blob.is_truncated or len(blob.head) > markup.MAX_BYTES:
        return None
    if git_objects.is_binary(blob):
        return None
    text = blob.head.decode("utf-8", "replace")
    if PurePosixPath(root.entry.name).suffix.lower() not in markup.ENDINGS:
        return markup.render_preformatted(text)
    folder = (root.folder or b"").decode("utf-8", "replace")
    place = Place(await resource_path(root.repository, info), root.commit_oid or "HEAD", folder)
    return await _markdown(info, root.entry.oid, text, place)


async def _markdown(info: Info, oid: str, text: str, place: Place) -> str:
    """Rendered in a thread of its own, and kept for all processes."""
    if len(text) < _WORTH_KEEPING:
        return markup.render_markdown(text, place)
    where = hashlib.sha256(repr(place).encode()).hexdigest()[:32]
    key = f"markdown:{markup.VERSION}:{oid}:{where}"
    cache = info.context.op.runtime.cache
    if (kept := await cache.get(key)) is not None:
        return kept.decode()
    rendered = await asyncio.to_thread(markup.render_markdown, text, place)
    await cache.put(key, rendered.encode("utf-8", "replace"), seconds=_KEPT_SECONDS)
    return rendered


def message_headline_html(root: Parent[Located[Commit]]) -> str:
    return markup.render_text(git_objects.message_headline(root))


def message_body_html(root: Parent[Located[Commit]]) -> str:
    body = git_objects.message_body(root)
    return f"<pre>{markup.render_text(body)}</pre>" if body else ""


def description_html(root: Parent[Repository]) -> str:
    return f"<div>{markup.render_text(root.description or '')}</div>"


def bio_html(root: Parent[User]) -> str:
    return f"<div>{markup.render_text(root.bio or '')}</div>"
