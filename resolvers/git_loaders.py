"""What one request reads of repositories' content, batched: one local copy and one git child for
all objects that fields ask for together.

Keys begin with the repository's state, which says how new the copy has to be. All else in a key are
ids, which stand for the same for good: so answers are remembered beyond the request.
"""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from strawberry.dataloader import DataLoader

from gitstore import blame, diffs, history
from gitstore.blame import BlameRange
from gitstore.cache import CachedRepository
from gitstore.diffs import ChangedFiles, Patch, Statistics
from gitstore.gitmodules import MAX_VERSION_BYTES, SubmoduleSettings, read_submodules
from gitstore.history import HistoryQuery
from gitstore.manifest import RepositoryState
from gitstore.memory import Memory, weight_of
from gitstore.objects import Blob, Commit, GitObject, Tree
from gitstore.process import GitProcesses
from services.context import OpContext
from services.errors import ForgeError
from services.git_reading import GitReading, open_for_reading
from services.last_commits import find_last_commits

ObjectKey = tuple[RepositoryState, str]
Read = Callable[[GitReading, Sequence[Any]], Awaitable[Sequence[Any]]]

# What is shown of a file: as much as a person may want to read at once.
MAX_TEXT_BYTES = 1024 * 1024
_MAX_BATCH = 1000
# Texts of a batch are in memory together.
_MAX_TEXTS = 32
# Of one request: so that it takes no more than its share of the children.
_PARALLEL_CHILDREN = 4


@dataclasses.dataclass(frozen=True, slots=True)
class Between:
    """Two commits (or trees) to compare: what leads from ``old`` to ``new``."""

    old: str
    new: str
    ignore_whitespace: bool = False


class GitLoaders:
    """Named after what they return and the key they take. What is not there is None."""

    def __init__(self, op: OpContext, running: set[asyncio.Task[Any]]) -> None:
        """``running`` holds the tasks that end with the request."""
        self._op = op
        self._running = running
        self._memory: Memory = op.runtime.git.memory
        # Of blobs without a byte; the size alone.
        self.object_by_oid: DataLoader[ObjectKey, GitObject | None] = self._loader(_objects)
        self.blob_by_oid: DataLoader[ObjectKey, Blob | None] = self._loader(
            _blobs, max_batch=_MAX_TEXTS
        )
        self.size_by_oid: DataLoader[ObjectKey, int | None] = self._loader(_sizes)
        # Ids of commits, by query, how many to skip, and how many at most.
        self.history: DataLoader[tuple[RepositoryState, HistoryQuery, int, int], list[str]] = (
            self._loader(_HISTORY)
        )
        self.history_count: DataLoader[tuple[RepositoryState, HistoryQuery], int] = self._loader(
            _HISTORY_COUNT
        )
        self.author_count: DataLoader[tuple[RepositoryState, HistoryQuery], int] = self._loader(
            _AUTHOR_COUNT
        )
        # By base and head: how many commits the head is ahead, and how many behind.
        self.distance: DataLoader[tuple[RepositoryState, str, str], tuple[int, int]] = self._loader(
            _DISTANCE
        )
        self.merge_base: DataLoader[tuple[RepositoryState, str, str], str | None] = self._loader(
            _MERGE_BASE
        )
        # More may come with any push, so these are asked for anew.
        self.oids_by_prefix: DataLoader[ObjectKey, list[str]] = self._loader(
            _OIDS, remembered=False
        )
        self.statistics_by_commit_oid: DataLoader[ObjectKey, Statistics] = self._loader(_statistics)
        self.changed_files: DataLoader[tuple[RepositoryState, Between], ChangedFiles] = (
            self._loader(_CHANGED_FILES)
        )
        # By what is compared and the path of the changed file.
        self.patch: DataLoader[tuple[RepositoryState, Between, Any], Patch | None] = self._loader(
            _patches, max_batch=100, remembered=False
        )
        # By commit and folder: for each name the id of the commit that changed it last.
        self.last_commits: DataLoader[
            tuple[RepositoryState, str, bytes], dict[bytes, str] | None
        ] = self._loader(_last_commits)
        # By the id of a file .gitmodules.
        self.submodules: DataLoader[ObjectKey, list[SubmoduleSettings]] = self._loader(
            _submodules, max_batch=_MAX_TEXTS
        )
        self.blame: DataLoader[tuple[RepositoryState, str, bytes], list[BlameRange] | None] = (
            self._loader(_BLAME)
        )

    def remembered_last_commits(
        self, state: RepositoryState, commit_oid: str, folder: bytes
    ) -> dict[bytes, Commit] | None:
        """As ``last_commits`` with the commits themselves, if nothing has to be read for them."""
        found = self._memory.get(_lasting(_last_commits, (state, commit_oid, folder)))
        if found is None:
            return None
        commits = {
            oid: self._memory.get(_lasting(_objects, (state, oid))) for oid in set(found.values())
        }
        if None in commits.values():
            return None
        return {name: commits[oid] for name, oid in found.items()}

    def _loader(
        self, read: Read, *, max_batch: int = _MAX_BATCH, remembered: bool = True
    ) -> DataLoader[Any, Any]:
        """``read`` answers the rests of the keys, in their order, for one repository."""

        async def load(keys: list[tuple[Any, ...]]) -> list[Any]:
            task = asyncio.current_task()
            assert task is not None
            self._running.add(task)
            try:
                answers: dict[Any, Any] = {}
                groups: dict[RepositoryState, list[tuple[Any, ...]]] = {}
                for key in keys:
                    found = self._memory.get(_lasting(read, key)) if remembered else None
                    if found is not None:
                        answers[key] = found
                    else:
                        groups.setdefault(key[0], []).append(key)
                for state, some in groups.items():
                    answers |= await self._read(read, state, some, remembered=remembered)
                return [answers[key] for key in keys]
            finally:
                self._running.discard(task)

        return DataLoader(load_fn=load, max_batch_size=max_batch)

    async def _read(
        self, read: Read, state: RepositoryState, keys: list[tuple[Any, ...]], *, remembered: bool
    ) -> dict[Any, Any]:
        try:
            async with open_for_reading(self._op, state) as reading:
                found = await read(reading, [key[1:] for key in keys])
        except ForgeError as fault:
            # One repository that cannot be read leaves the others as they are.
            return dict.fromkeys(keys, fault)
        answers = dict(zip(keys, found, strict=True))
        if remembered:
            for key, answer in answers.items():
                if answer is not None:
                    self._memory.put(_lasting(read, key), answer, _weight(answer))
        return answers


def _weight(answer: Any) -> int:
    if isinstance(answer, Tree):
        return 5 + len(answer.entries)
    if isinstance(answer, Blob):
        return 5 + len(answer.head) // 100
    return weight_of(answer)


def _lasting(read: Read, key: tuple[Any, ...]) -> tuple[Any, ...]:
    """The key without what changes with every push."""
    state = key[0]
    return (read, state.repository_id, state.prune_epoch, *key[1:])


def _each(
    ask: Callable[..., Awaitable[Any]],
) -> Read:
    """Reads one answer a key by a function of ``gitstore``, a few at a time."""

    async def read(reading: GitReading, keys: Sequence[tuple[Any, ...]]) -> list[Any]:
        slots = asyncio.Semaphore(_PARALLEL_CHILDREN)

        async def one(key: tuple[Any, ...]) -> Any:
            async with slots:
                return await ask(reading.processes, reading.copy, *key)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(key)) for key in keys]
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors
        return [task.result() for task in tasks]

    return read


async def _objects(reading: GitReading, keys: Sequence[tuple[str]]) -> list[GitObject | None]:
    found = await reading.objects([oid for (oid,) in keys])
    return [found.get(oid) for (oid,) in keys]


async def _blobs(reading: GitReading, keys: Sequence[tuple[str]]) -> list[Blob | None]:
    found = await reading.blobs([oid for (oid,) in keys], MAX_TEXT_BYTES)
    return [found.get(oid) for (oid,) in keys]


async def _sizes(reading: GitReading, keys: Sequence[tuple[str]]) -> list[int | None]:
    found = await reading.sizes([oid for (oid,) in keys])
    return [found.get(oid) for (oid,) in keys]


async def _statistics(reading: GitReading, keys: Sequence[tuple[str]]) -> list[Statistics]:
    oids = [oid for (oid,) in keys]
    found = await diffs.list_statistics(reading.processes, reading.copy, oids)
    return [found[oid] for oid in oids]


async def _changed_files(
    processes: GitProcesses, copy: CachedRepository, between: Between
) -> ChangedFiles:
    return await diffs.list_changed_files(
        processes,
        copy,
        between.old,
        between.new,
        ignore_whitespace=between.ignore_whitespace,
    )


async def _patches(
    reading: GitReading, keys: Sequence[tuple[Between, diffs.ChangedFile]]
) -> list[Patch | None]:
    """One child for all files of one comparison."""
    groups: dict[Between, list[diffs.ChangedFile]] = {}
    for between, file in keys:
        groups.setdefault(between, []).append(file)
    found: dict[tuple[Between, diffs.ChangedFile], Patch | None] = {}
    for between, files in groups.items():
        patches = await diffs.list_patches(
            reading.processes,
            reading.copy,
            between.old,
            between.new,
            files,
            ignore_whitespace=between.ignore_whitespace,
        )
        found |= {(between, file): patch for file, patch in zip(files, patches, strict=True)}
    return [found[key] for key in keys]


async def _submodules(
    reading: GitReading, keys: Sequence[tuple[str]]
) -> list[list[SubmoduleSettings]]:
    blobs = await reading.blobs([oid for (oid,) in keys], MAX_VERSION_BYTES)
    found = []
    for (oid,) in keys:
        blob = blobs.get(oid)
        whole = blob is not None and not blob.is_truncated
        found.append(await read_submodules(reading.processes, blob.head) if blob and whole else [])
    return found


async def _last_commits(
    reading: GitReading, keys: Sequence[tuple[str, bytes]]
) -> list[dict[bytes, str] | None]:
    found = []
    for commit_oid, folder in keys:
        tree = await reading.tree_at(commit_oid, folder)
        entries = {entry.raw_name: entry.oid for entry in tree.entries} if tree else {}
        found.append(await find_last_commits(reading, commit_oid, folder, entries))
    return list(found)


# Made once, since what is remembered is known by them.
_HISTORY = _each(history.list_history)
_HISTORY_COUNT = _each(history.count_history)
_AUTHOR_COUNT = _each(history.count_authors)
_DISTANCE = _each(history.ahead_behind)
_MERGE_BASE = _each(history.merge_base)
_OIDS = _each(history.disambiguate)
_CHANGED_FILES = _each(_changed_files)
_BLAME = _each(blame.blame)
