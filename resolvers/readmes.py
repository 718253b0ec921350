"""Which file of a folder is its README."""

import re
from collections.abc import Iterable
from typing import Annotated

import strawberry
from strawberry import Parent

from gitstore.objects import ObjectKind, Tree, TreeEntry
from models import Repository
from resolvers import revisions
from resolvers.context import Info
from resolvers.located import LocatedEntry

_README = re.compile(rb"readme(?:\.(?P<ending>[a-z]+))?", re.IGNORECASE)
# What is shown best comes first; a file without ending is plain text.
_ENDINGS = (
    b"md",
    b"markdown",
    b"mdown",
    b"mkdn",
    b"rst",
    b"adoc",
    b"asciidoc",
    b"org",
    b"txt",
    b"",
)


async def readme(
    root: Parent[Repository],
    info: Info,
    expression: Annotated[
        str,
        strawberry.argument(
            description="A revision, or a folder in one: `main`, `HEAD:docs`. See `object`."
        ),
    ] = "HEAD",
) -> LocatedEntry | None:
    found = await revisions.resolve(info, root, expression)
    if found is None:
        return None
    if not isinstance(found.value, Tree):
        found = await revisions.at_path(info, root, found.value.oid, b"")
        if found is None or not isinstance(found.value, Tree):
            return None
    entry = find_readme(found.value.entries)
    if entry is None:
        return None
    return LocatedEntry(root, entry, found.path, found.commit_oid)


def find_readme(entries: Iterable[TreeEntry]) -> TreeEntry | None:
    """The file to show below a folder; a folder or a submodule of that name is none."""
    candidates: dict[int, TreeEntry] = {}
    for entry in entries:
        match = _README.fullmatch(entry.raw_name)
        if match is None or entry.kind is not ObjectKind.BLOB:
            continue
        ending = (match["ending"] or b"").lower()
        if ending in _ENDINGS:
            candidates.setdefault(_ENDINGS.index(ending), entry)
    return candidates[min(candidates)] if candidates else None
