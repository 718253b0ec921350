"""Reading a repository's content on behalf of somebody who may: a local copy, and its errors.

The row comes from ``services.access``, and so does the right to read it. Whoever may read a
repository may read every object of it by id, as git's own protocol has it.
"""

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Sequence

from gitstore import history
from gitstore.cache import CachedRepository
from gitstore.errors import GitFailed, GitStoreError, GitTimedOut, RepositoryGone
from gitstore.history import HistoryQuery
from gitstore.manifest import BRANCHES, RepositoryState
from gitstore.objects import Blob, GitObject
from models import Repository
from models.database import DatabaseUnavailable
from services import access
from services.context import DATABASE_UNAVAILABLE, OpContext
from services.errors import NotFound, Unavailable
from storage_adapters.errors import StorageError

TOO_SLOW = "the answer took too long to find; ask for less, for instance with a path or dates"


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
    """An open local copy. Methods raise GitStoreError, which ``open_for_reading`` translates."""

    op: OpContext
    copy: CachedRepository

    async def objects(self, oids: Sequence[str], *, blob_bytes: int = 0) -> dict[str, GitObject]:
        """Those that exist; of blobs at most ``blob_bytes``."""
        async with self.op.runtime.git.readers.lend(self.copy) as reader:
            return await reader.objects(oids, blob_bytes=blob_bytes)

    async def blob_heads(self, oids: Sequence[str], limit: int) -> dict[str, Blob]:
        """Blobs with their first ``limit`` bytes."""
        found = await self.objects(oids, blob_bytes=limit)
        blobs = {oid: blob for oid, blob in found.items() if isinstance(blob, Blob)}
        for oid, blob in blobs.items():
            if blob.is_truncated and not blob.head:
                async with self.op.runtime.git.readers.lend(self.copy) as reader:
                    head = await reader.blob_head(oid, limit)
                blobs[oid] = dataclasses.replace(blob, head=head)
        return blobs

    async def sizes(self, oids: Sequence[str]) -> dict[str, int]:
        async with self.op.runtime.git.readers.lend(self.copy) as reader:
            headers = await reader.headers(oids)
        return {oid: header.size for oid, header in headers.items()}

    async def history(self, query: HistoryQuery, *, skip: int, limit: int) -> list[str]:
        processes = self.op.runtime.git.processes
        return await history.list_history(processes, self.copy, query, skip=skip, limit=limit)

    async def count_history(self, query: HistoryQuery) -> int:
        return await history.count_history(self.op.runtime.git.processes, self.copy, query)

    async def disambiguate(self, prefix: str) -> list[str]:
        return await history.disambiguate(self.op.runtime.git.processes, self.copy, prefix)


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
        raise Unavailable("the repository cannot be read at the moment; try again") from error
