"""The way into ``gitstore``: read a repository, change it, forget it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from gitstore import manifest
from gitstore.answers import AnswerCache
from gitstore.cache import CachedRepository, RepositoryCache
from gitstore.compaction import Compactor
from gitstore.maintenance import tend_cache
from gitstore.manifest import RefRow, RepositoryState
from gitstore.memory import Memory
from gitstore.object_reader import ObjectReaders
from gitstore.observer import GitObserver, Unobserved
from gitstore.process import GitProcesses
from gitstore.quarantine import open_quarantine
from gitstore.ref_lists import RefListCache
from gitstore.settings import GitStoreSettings
from gitstore.transactions import GitTransaction
from models.database import Database
from storage_adapters.base import ObjectStore


class GitStore:
    """Built once per process. Methods may be called concurrently."""

    def __init__(
        self,
        database: Database,
        store: ObjectStore,
        settings: GitStoreSettings,
        observer: GitObserver | None = None,
    ) -> None:
        observer = observer or Unobserved()
        self._database = database
        self._store = store
        self.settings = settings
        self.processes = GitProcesses(settings, observer)
        self.readers = ObjectReaders(self.processes, settings)
        self.cache = RepositoryCache(database, store, settings, observer)
        self.answers = AnswerCache(settings)
        self.ref_lists = RefListCache()
        self.memory = Memory()
        self.compactor = Compactor(self.cache, database, store, self.processes, settings)

    @contextlib.asynccontextmanager
    async def open(
        self, repository_id: int, state: RepositoryState | None = None
    ) -> AsyncIterator[CachedRepository]:
        """A local copy as new as the database, for the length of the block.

        Whoever has just read the repository's ``state`` spares another look at it.
        Raises RepositoryGone, RepositoryUnreadable, StorageUnavailable, DatabaseUnavailable.
        """
        async with self.cache.open(repository_id, state) as repository:
            yield repository

    @contextlib.asynccontextmanager
    async def begin(
        self, repository_id: int, state: RepositoryState | None = None
    ) -> AsyncIterator[GitTransaction]:
        """A place to put new objects, and the means to commit them. Raises as ``open``."""
        async with (
            self.cache.open(repository_id, state) as repository,
            open_quarantine(
                self.cache.root, repository, self.processes, self.settings
            ) as quarantine,
        ):
            yield GitTransaction(self.cache, self._database, self._store, quarantine)

    async def tend_cache(self) -> int:
        """Keep this machine's cache within its size; every process that serves git calls it."""
        await asyncio.to_thread(self.answers.evict)
        return await tend_cache(self.cache, self._database, max_bytes=self.settings.cache_max_bytes)

    async def close(self) -> None:
        """End what runs in the background. The database and the object store are the caller's."""
        await self.readers.close()
        await self.answers.close()

    async def size_in_store(self, repository_id: int) -> int:
        """Bytes of all packs of the repository. Raises DatabaseUnavailable."""
        async with self._database.read() as session:
            return sum(
                sum(pack.sizes.values())
                for pack in await manifest.list_packs(session, repository_id)
            )

    async def list_refs(
        self, session: AsyncSession, repository_id: int, prefixes: Sequence[str] = ()
    ) -> list[RefRow]:
        """Live refs that begin with any of the prefixes (all for none), in bytewise order."""
        return await manifest.list_refs(session, repository_id, prefixes)

    async def state(self, session: AsyncSession, repository_id: int) -> RepositoryState:
        """Counters and default branch as they are now. Raises RepositoryGone."""
        return await manifest.read_state(session, repository_id)
