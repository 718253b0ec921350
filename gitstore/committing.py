"""Making a commit without a work tree: ``git fast-import`` into a folder of its own.

The result is a pack, which goes the way of every push; nothing here is visible to anybody.
"""

import contextlib
import dataclasses
import datetime as dt
import hashlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from gitstore.cache import CachedRepository
from gitstore.layout import make_bare_repository
from gitstore.manifest import RepositoryState
from gitstore.process import GitProcesses
from gitstore.quarantine import open_private_folder
from gitstore.quoting import quote

_REF = "refs/heads/new"


@dataclasses.dataclass(frozen=True, slots=True)
class FileWrite:
    """``mode``: 0o100644 or 0o100755."""

    path: bytes
    content: bytes
    mode: int = 0o100644


@dataclasses.dataclass(frozen=True, slots=True)
class CommitPlan:
    """What to commit on top of ``parent``. Name and address of the author hold no ``<``, ``>`` or
    line breaks."""

    parent: str
    writes: Sequence[FileWrite]
    deletions: Sequence[bytes]
    message: str
    author: tuple[str, str]
    when: dt.datetime


@dataclasses.dataclass(frozen=True, slots=True)
class MadeCommit:
    """``pack`` holds the commit and its new trees and blobs, for the length of the block."""

    oid: str
    pack: Path


class FilePack:
    """A pack in a file, as a source of a push."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")

    async def read(self, limit: int) -> bytes:
        return self._file.read(limit)

    def close(self) -> None:
        self._file.close()


class EmptyPack:
    """A pack without objects, as a source of a push that only moves refs."""

    def __init__(self, object_format: str) -> None:
        head = b"PACK" + (2).to_bytes(4, "big") + bytes(4)
        self._data = head + hashlib.new(object_format, head, usedforsecurity=False).digest()

    async def read(self, limit: int) -> bytes:
        piece, self._data = self._data[:limit], self._data[limit:]
        return piece


@contextlib.asynccontextmanager
async def make_commit(
    processes: GitProcesses, root: Path, copy: CachedRepository, plan: CommitPlan
) -> AsyncIterator[MadeCommit]:
    """The commit, in a folder below ``root`` that ends with the block. Raises GitFailed, QueueFull.

    What is written replaces whatever stood at its path; the caller has looked at that.
    """
    async with open_private_folder(root) as folder:
        state = RepositoryState(copy.repository_id, 0, 0, _REF, copy.object_format)
        make_bare_repository(folder, state, threads=1)
        await processes.run(
            # By default git would write few objects as single files instead of a pack.
            ["-c", "fastimport.unpackLimit=0", "fast-import", "--quiet", "--date-format=raw"],
            git_dir=folder,
            stdin=_commands(plan),
            environment={"GIT_ALTERNATE_OBJECT_DIRECTORIES": str(copy.objects)},
        )
        oid = (folder / _REF).read_text().strip()
        (pack,) = (folder / "objects" / "pack").glob("*.pack")
        yield MadeCommit(oid, pack)


def _commands(plan: CommitPlan) -> bytes:
    """In git-fast-import's language."""
    name, email = plan.author
    offset = plan.when.strftime("%z")
    who = f"{name} <{email}> {int(plan.when.timestamp())} {offset}".encode()
    message = plan.message.encode("utf-8", "replace")
    parts = [
        b"commit %b\nauthor %b\ncommitter %b\ndata %d\n%b\nfrom %b\n"
        % (_REF.encode(), who, who, len(message), message, plan.parent.encode())
    ]
    parts += [b"D %b\n" % quote(path) for path in plan.deletions]
    parts += [
        b"M %06o inline %b\ndata %d\n%b\n"
        % (write.mode, quote(write.path), len(write.content), write.content)
        for write in plan.writes
    ]
    return b"".join([*parts, b"done\n"])
