"""What an address of the hub's pages shows."""

import re
from typing import Any
from urllib.parse import unquote, urlsplit

from gitstore.objects import Commit
from resolvers import revisions
from resolvers.context import Info
from resolvers.users import find_repository
from services import accounts
from services.errors import Forbidden, NotFound, Unauthenticated

_MAX_LENGTH = 2048
_PATH = re.compile(
    r"/(?P<owner>[^/]+)(?:/(?P<name>[^/]+?)(?:\.git)?(?:/commit/(?P<oid>[0-9a-f]{40,64}))?)?/?"
)


async def resource(info: Info, url: str) -> Any:
    """A user, a repository or a commit; None for any other address and what may not be seen."""
    match = _PATH.fullmatch(_path(info.context.op.runtime.settings.web_url, url) or "")
    if match is None:
        return None
    try:
        if match["name"] is None:
            async with info.context.op.read() as tx:
                return await accounts.find_user(tx, match["owner"])
        repository = await find_repository(info, match["owner"], match["name"], follow_renames=True)
    except (NotFound, Forbidden, Unauthenticated):
        return None
    if match["oid"] is None:
        return repository
    found = await revisions.load(info, repository, match["oid"])
    return found if found is not None and isinstance(found.value, Commit) else None


def _path(web_url: str, url: str) -> str | None:
    """The path below the hub's own address; None for other hosts."""
    if len(url) > _MAX_LENGTH:
        return None
    try:
        ours, given = urlsplit(web_url), urlsplit(url)
        is_ours = (given.scheme, given.hostname, given.port) == (
            ours.scheme,
            ours.hostname,
            ours.port,
        )
    except ValueError:
        return None
    return unquote(given.path) if is_ours else None
