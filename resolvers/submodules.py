"""Submodules: what ``.gitmodules`` at the top of a commit says of them, and where they stand."""

import base64
import dataclasses
import posixpath
import re

from strawberry import Parent

from gitstore.gitmodules import SubmoduleSettings
from gitstore.objects import Blob, Commit, ObjectKind, Tree
from models import Repository
from resolvers import revisions
from resolvers.arguments import OPTIONAL, After, Before, First, Last, page_arguments
from resolvers.context import Info
from resolvers.histories import ListConnection
from resolvers.located import Located, LocatedEntry
from resolvers.repositories import url as repository_url

_FILE = b".gitmodules"
_HOST = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/]*|[^/:]+:")


@dataclasses.dataclass(frozen=True, slots=True)
class Submodule:
    """``commit_oid``: the commit whose file names it."""

    repository: Repository
    settings: SubmoduleSettings
    commit_oid: str


async def of_repository(
    root: Parent[Repository],
    info: Info,
    after: After = OPTIONAL,
    before: Before = OPTIONAL,
    first: First = OPTIONAL,
    last: Last = OPTIONAL,
) -> ListConnection[Submodule]:
    """Those of the default branch. Raises PaginationFault."""
    page = page_arguments("submodules", first, after, last, before)
    oid = await revisions.resolve_oid(info, root, "HEAD")
    return ListConnection(await _list(info, root, oid) if oid else [], page)


async def of_commit(
    root: Parent[Located[Commit]],
    info: Info,
    after: After = OPTIONAL,
    before: Before = OPTIONAL,
    first: First = OPTIONAL,
    last: Last = OPTIONAL,
) -> ListConnection[Submodule]:
    """Raises PaginationFault."""
    page = page_arguments("submodules", first, after, last, before)
    return ListConnection(await _list(info, root.repository, root.value.oid), page)


async def of_entry(root: Parent[LocatedEntry], info: Info) -> Submodule | None:
    if root.entry.kind is not ObjectKind.COMMIT or root.commit_oid is None:
        return None
    assert root.raw_path is not None  # known where the commit is
    path = root.raw_path.decode("utf-8", "surrogateescape")
    for each in await _list(info, root.repository, root.commit_oid):
        if each.settings.path == path:
            return each
    return None


async def _list(info: Info, repository: Repository, commit_oid: str) -> list[Submodule]:
    found = await revisions.at_path(info, repository, commit_oid, _FILE)
    if found is None or not isinstance(found.value, Blob):
        return []
    key = (found.state, found.value.oid)
    settings = await info.context.loaders.git.submodules.load(key)
    return [Submodule(repository, each, commit_oid) for each in settings]


def branch(root: Parent[Submodule]) -> str | None:
    return _shown(root.settings.branch) if root.settings.branch is not None else None


async def git_url(root: Parent[Submodule], info: Info) -> str:
    """As git would take it: what begins with ./ or ../ is relative to the repository's address."""
    url = _shown(root.settings.url)
    if not url.startswith(("./", "../")):
        return url
    base = f"{await repository_url(root.repository, info)}.git"
    host = _HOST.match(base)
    top = host[0] if host else ""
    path = posixpath.normpath(f"{base.removeprefix(top)}/{url}")
    return top + (path if path.startswith("/") else f"/{path}")


def name(root: Parent[Submodule]) -> str:
    return _shown(root.settings.name)


def name_raw(root: Parent[Submodule]) -> str:
    return _raw(root.settings.name)


def path(root: Parent[Submodule]) -> str:
    return _shown(root.settings.path)


def path_raw(root: Parent[Submodule]) -> str:
    return _raw(root.settings.path)


async def subproject_commit_oid(root: Parent[Submodule], info: Info) -> str | None:
    """The commit that stands at the path; None where nothing or something else does."""
    folder, _, last = root.settings.path.encode("utf-8", "surrogateescape").rpartition(b"/")
    found = await revisions.at_path(info, root.repository, root.commit_oid, folder)
    entry = found.value.entry(last) if found and isinstance(found.value, Tree) else None
    return entry.oid if entry is not None and entry.kind is ObjectKind.COMMIT else None


def _shown(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _raw(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()
