"""A git object with the repository it was read from: the "row" that types of git objects show."""

import asyncio
import dataclasses
from typing import Generic, TypeVar

from gitstore.manifest import RepositoryState
from gitstore.objects import Commit, TreeEntry
from models import Repository
from services.git_reading import state_of

Thing = TypeVar("Thing", covariant=True)


@dataclasses.dataclass(frozen=True, slots=True)
class Located(Generic[Thing]):
    """``repository`` came from ``services.access``, so the viewer may read it.

    ``path`` tells where the object was found (empty for the top), in commit ``commit_oid``; None
    where it was asked for by its id.
    """

    repository: Repository
    value: Thing
    commit_oid: str | None = None
    path: bytes | None = None

    @property
    def state(self) -> RepositoryState:
        return state_of(self.repository)


class FolderCommits:
    """The last commits of all entries of one folder, for those who ask one after another."""

    def __init__(self) -> None:
        self.found: dict[bytes, Located[Commit]] | None = None
        self.loading: asyncio.Future[dict[bytes, Located[Commit]]] | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class LocatedEntry:
    """An entry of a tree. ``folder`` is the path of that tree, in commit ``commit_oid``; None where
    the tree was asked for by its id."""

    repository: Repository
    entry: TreeEntry
    folder: bytes | None = None
    commit_oid: str | None = None
    siblings: "FolderCommits | None" = None

    @property
    def state(self) -> RepositoryState:
        return state_of(self.repository)

    @property
    def raw_path(self) -> bytes | None:
        if self.folder is None:
            return None
        return self.folder + b"/" + self.entry.raw_name if self.folder else self.entry.raw_name
