"""What one request reads of repositories' content, batched: one local copy and one git child for
all objects that fields ask for together.

Keys begin with the repository's state, which says how new the copy has to be.
"""

from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, TypeVar

from strawberry.dataloader import DataLoader

from gitstore.history import HistoryQuery
from gitstore.manifest import RepositoryState
from gitstore.objects import Blob, GitObject
from services.context import OpContext
from services.errors import ForgeError
from services.git_reading import GitReading, open_for_reading

Key = TypeVar("Key", bound=Hashable)
ObjectKey = tuple[RepositoryState, str]
HistoryKey = tuple[RepositoryState, HistoryQuery, int, int]

# What is shown of a file: as much as a person may want to read at once.
MAX_TEXT_BYTES = 1024 * 1024
_MAX_BATCH = 1000
# Texts of a batch are in memory together.
_MAX_TEXTS = 32


class GitLoaders:
    """Named after what they return and the key they take. What is not there is None."""

    def __init__(self, op: OpContext) -> None:
        self._op = op
        # Of blobs without a byte; the size alone.
        self.object_by_oid: DataLoader[ObjectKey, GitObject | None] = self._by_repository(
            _objects, _MAX_BATCH
        )
        self.blob_by_oid: DataLoader[ObjectKey, Blob | None] = self._by_repository(
            _blobs, _MAX_TEXTS
        )
        self.size_by_oid: DataLoader[ObjectKey, int | None] = self._by_repository(
            _sizes, _MAX_BATCH
        )
        # Ids of commits: (state, query, how many to skip, how many at most).
        self.history: DataLoader[HistoryKey, list[str]] = self._by_repository(
            _histories, _MAX_BATCH
        )
        self.history_count: DataLoader[tuple[RepositoryState, HistoryQuery], int] = (
            self._by_repository(_counts, _MAX_BATCH)
        )
        self.oids_by_prefix: DataLoader[ObjectKey, list[str]] = self._by_repository(
            _oids, _MAX_BATCH
        )

    def _by_repository(
        self, read: Callable[[GitReading, Sequence[Any]], Awaitable[Sequence[Any]]], max_batch: int
    ) -> DataLoader[Any, Any]:
        """``read`` answers the rests of the keys, in their order, for one repository."""

        async def load(keys: list[tuple[Any, ...]]) -> list[Any]:
            answers: dict[Any, Any] = {}
            groups: dict[RepositoryState, list[tuple[Any, ...]]] = {}
            for key in keys:
                groups.setdefault(key[0], []).append(key)
            for state, some in groups.items():
                try:
                    async with open_for_reading(self._op, state) as reading:
                        found = await read(reading, [key[1:] for key in some])
                    answers |= zip(some, found, strict=True)
                except ForgeError as fault:
                    # One repository that cannot be read leaves the others as they are.
                    answers |= dict.fromkeys(some, fault)
            return [answers[key] for key in keys]

        return DataLoader(load_fn=load, max_batch_size=max_batch)


async def _objects(reading: GitReading, keys: Sequence[tuple[str]]) -> list[GitObject | None]:
    found = await reading.objects([oid for (oid,) in keys])
    return [found.get(oid) for (oid,) in keys]


async def _blobs(reading: GitReading, keys: Sequence[tuple[str]]) -> list[Blob | None]:
    found = await reading.blob_heads([oid for (oid,) in keys], MAX_TEXT_BYTES)
    return [found.get(oid) for (oid,) in keys]


async def _sizes(reading: GitReading, keys: Sequence[tuple[str]]) -> list[int | None]:
    found = await reading.sizes([oid for (oid,) in keys])
    return [found.get(oid) for (oid,) in keys]


async def _histories(
    reading: GitReading, keys: Sequence[tuple[HistoryQuery, int, int]]
) -> list[list[str]]:
    return [await reading.history(query, skip=skip, limit=limit) for query, skip, limit in keys]


async def _counts(reading: GitReading, keys: Sequence[tuple[HistoryQuery]]) -> list[int]:
    return [await reading.count_history(query) for (query,) in keys]


async def _oids(reading: GitReading, keys: Sequence[tuple[str]]) -> list[list[str]]:
    return [await reading.disambiguate(prefix) for (prefix,) in keys]
