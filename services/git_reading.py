"""Reading a repository's content on behalf of somebody who may: a local copy, and its errors.

The row comes from ``services.access``, and so does the right to read it. Whoever may read a
repository may read every object of it by id, as git's own protocol has it.
"""

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Sequence

from gitstore.cache import CachedRepository
from gitstore.errors import GitFailed, GitStoreError, GitTimedOut, RepositoryGone
from gitstore.manifest import BRANCHES, RepositoryState
from gitstore.object_reader import ObjectReader
from gitstore.objects import Blob, Commit, GitObject, Tree
from gitstore.process import GitProcesses
from models import Repository
from models.database import DatabaseUnavailable
from services import access
from services.context import DATABASE_UNAVAILABLE, OpContext
from services.errors import NotFound, Unavailable
from storage_adapters.errors import StorageError

TOO_SLOW = "the answer took too long to find; ask for less, for instance with a path or dates"
UNREADABLE = "the repository cannot be read at the moment; try again"


def state_of(repository: Repository) -> RepositoryState:
    """What a local copy has to be as new as, to hold what this row promises."""
    return RepositoryState(
        repository.id,
        repository.generation,
        repository.prune_epoch,
        BRANCHES + repository.default_branch,
        repository.object_format,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class GitReading:
    """An open local copy, for the functions of ``gitstore``. Everything raises GitStoreError, which
    ``open_for_reading`` translates."""

    op: OpContext
    copy: CachedRepository

    @property
    def processes(self) -> GitProcesses:
        return self.op.runtime.git.processes

    async def objects(self, oids: Sequence[str]) -> dict[str, GitObject]:
        """Those that exist; of blobs the size alone."""
        async with self._reader() as reader:
            return await reader.objects(oids)

    async def blobs(self, oids: Sequence[str], limit: int) -> dict[str, Blob]:
        """Blobs with at most their first ``limit`` bytes."""
        async with self._reader() as reader:
            found = await reader.objects(oids, blob_bytes=limit)
        blobs = {oid: blob for oid, blob in found.items() if isinstance(blob, Blob)}
        for oid, blob in blobs.items():
            if blob.is_truncated:
                async with self._reader() as reader:
                    head = await reader.blob_head(oid, limit)
                blobs[oid] = dataclasses.replace(blob, head=head)
        return blobs

    async def tree_at(self, commit_oid: str, folder: bytes) -> Tree | None:
        """The tree of a folder (empty for the top) of a commit, None if there is none."""
        async with self._reader() as reader:
            commit = (await reader.objects([commit_oid])).get(commit_oid)
            oid = commit.tree_oid if isinstance(commit, Commit) else ""
            tree: GitObject | None = (await reader.objects([oid])).get(oid) if oid else None
            for part in folder.split(b"/") if folder else ():
                entry = tree.entry(part) if isinstance(tree, Tree) else None
                if entry is None:
                    return None
                tree = (await reader.objects([entry.oid])).get(entry.oid)
        return tree if isinstance(tree, Tree) else None

    async def sizes(self, oids: Sequence[str]) -> dict[str, int]:
        async with self._reader() as reader:
            headers = await reader.headers(oids)
        return {oid: header.size for oid, header in headers.items()}

    @contextlib.asynccontextmanager
    async def _reader(self) -> AsyncIterator[ObjectReader]:
        async with self.op.runtime.git.readers.lend(self.copy) as reader:
            yield reader


@contextlib.asynccontextmanager
async def open_for_reading(op: OpContext, state: RepositoryState) -> AsyncIterator[GitReading]:
    """Raises NotFound once the repository is gone, Unavailable when it cannot be read now."""
    try:
        async with op.runtime.git.open(state.repository_id, state) as copy:
            yield GitReading(op, copy)
    except RepositoryGone as error:
        raise NotFound(access.not_found_text(state.repository_id)) from error
    except DatabaseUnavailable as error:
        raise Unavailable(DATABASE_UNAVAILABLE) from error
    except GitTimedOut as error:
        raise Unavailable(TOO_SLOW) from error
    except (GitStoreError, StorageError) as error:
        if isinstance(error, GitFailed):
            op.log.error("reading a repository failed", exc_info=True)
        raise Unavailable(UNREADABLE) from error
