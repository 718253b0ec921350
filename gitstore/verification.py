"""Whether the object store holds what the manifests name, and nothing that nobody names.

Made to run beside pushes, compactions and sweeps. Rows are read before their objects are asked for,
and a pack that looks wrong is looked up once more: a compaction may have replaced it meanwhile.
Orphans go the other way: objects are listed before rows are asked for, since an upload has its row
before its bytes. A sweep drops the row before the bytes, so an orphan gets time to vanish.
"""

import asyncio
import dataclasses
import datetime as dt
import enum
import secrets
from collections.abc import AsyncGenerator, Awaitable, Iterable, Sequence
from contextlib import aclosing
from typing import TypeVar

from sqlalchemy import select

from gitstore.derived import DERIVED_SUFFIXES
from gitstore.manifest import PACK_SUFFIX, SUFFIXES_IN_ORDER, PackRow, list_packs
from models import GitDerived, GitPack, Owner, PackUpload, Repository, RetiredObject
from models.database import Database
from storage_adapters.base import ObjectInfo, ObjectStore
from storage_adapters.errors import ObjectNotFound
from storage_adapters.keys import DERIVED, PACKS

MAX_PARALLEL_REQUESTS = 8
# By the store's clock; what is younger may be an upload still under way.
YOUNG = dt.timedelta(minutes=1)
# How long a sweep may take from dropping a row to deleting its objects.
SWEEP_SECONDS = 5.0
# In a store that is younger than the database, these are the pushes in between.
_DELETE_ORPHAN = "delete it from the store, unless an older database was restored beside it"
_REPOSITORIES_PER_PAGE = 200
_OBJECTS_PER_PAGE = 300
_RESTORE = "restore it from a backup of the object store; see docs/operations.md"
T = TypeVar("T")


class Severity(enum.Enum):
    """A note is no danger: what is missing can be made anew, what is too much takes room only."""

    NOTE = "note"
    FAULT = "FAULT"


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """``subject`` is OWNER/NAME, or "storage" for what belongs to no repository."""

    severity: Severity
    subject: str
    words: str
    cure: str


@dataclasses.dataclass(slots=True)
class Counts:
    """What was looked at so far."""

    repositories: int = 0
    packs: int = 0
    derived: int = 0
    objects: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class _Named:
    repository_id: int
    path: str


class Verifier:
    """One look at everything; ``counts`` grows as it goes. Used by one task."""

    def __init__(
        self, database: Database, store: ObjectStore, *, sweep_seconds: float = SWEEP_SECONDS
    ) -> None:
        self._database = database
        self._store = store
        self._sweep_seconds = sweep_seconds
        self._slots = asyncio.Semaphore(MAX_PARALLEL_REQUESTS)
        self.counts = Counts()

    async def findings(self) -> AsyncGenerator[Finding, None]:
        """Everything that is wrong, as it is found. Raises StorageError, DatabaseUnavailable."""
        now = await self._store_time()
        last = 0
        while page := await self._repositories_after(last):
            for repository in page:
                for finding in await self._check_repository(repository):
                    yield finding
            last = page[-1].repository_id
        for prefix in (PACKS, DERIVED):
            async with aclosing(self._orphans(f"{prefix}/", now - YOUNG)) as orphans:
                async for finding in orphans:
                    yield finding

    async def _store_time(self) -> dt.datetime:
        key = f"doctor/{secrets.token_hex(8)}"
        try:
            await self._store.put(key, b"")
            return (await self._store.head(key)).modified_at
        finally:
            await self._store.delete(key)

    async def _repositories_after(self, last: int) -> list[_Named]:
        owners = Owner.__table__
        async with self._database.read() as session:
            rows = await session.execute(
                select(Repository.id, owners.c.login, Repository.name)
                .join(owners, owners.c.id == Repository.owner_id)
                .where(Repository.id > last)
                .order_by(Repository.id)
                .limit(_REPOSITORIES_PER_PAGE)
            )
            return [_Named(row[0], f"{row[1]}/{row[2]}") for row in rows]

    async def _check_repository(self, repository: _Named) -> list[Finding]:
        async with self._database.read() as session:
            packs = await list_packs(session, repository.repository_id)
            derived = list(
                await session.scalars(
                    select(GitDerived).where(GitDerived.repository_id == repository.repository_id)
                )
            )
        self.counts.repositories += 1
        self.counts.packs += len(packs)
        self.counts.derived += len(derived)
        found: list[Finding] = []
        # In pieces, since a repository may have very many packs.
        for some in _pieces(packs):
            for words in await asyncio.gather(*(self._check_pack(pack) for pack in some)):
                found += [
                    Finding(Severity.FAULT, repository.path, each, _RESTORE) for each in words
                ]
        for words in await asyncio.gather(*(self._check_derived(row) for row in derived)):
            cure = f"och repository compact --all {repository.path}"
            found += [Finding(Severity.NOTE, repository.path, each, cure) for each in words]
        return found

    async def _check_pack(self, pack: PackRow) -> list[str]:
        words = [
            fault
            for suffix in SUFFIXES_IN_ORDER
            if (fault := await self._missing(pack.storage_key + suffix, pack.sizes[suffix]))
        ]
        if not words and (fault := await self._wrong_trailer(pack)):
            words.append(fault)
        if words and not await self._still_named(GitPack, pack.storage_key):
            return []
        return words

    async def _check_derived(self, row: GitDerived) -> list[str]:
        words = [
            f"derived file: {fault}"
            for suffix, size in row.sizes.items()
            if (fault := await self._missing(row.storage_key + suffix, size))
        ]
        if words and not await self._still_named(GitDerived, row.storage_key):
            return []
        return words

    async def _missing(self, key: str, size: int) -> str | None:
        try:
            info = await self._asked(self._store.head(key))
        except ObjectNotFound:
            return f"{key} is missing from the object store"
        if info.size != size:
            return f"{key} has {info.size} bytes in the object store, not {size}"
        return None

    async def _wrong_trailer(self, pack: PackRow) -> str | None:
        """Git names every pack by the checksum at its end, index-pack and pack-objects alike."""
        key, size = pack.storage_key + PACK_SUFFIX, pack.sizes[PACK_SUFFIX]
        length = len(pack.name) // 2
        try:
            trailer = await self._asked(self._read(key, max(0, size - length), size))
        except ObjectNotFound:
            return f"{key} is missing from the object store"
        if trailer.hex() != pack.name:
            return f"{key} ends with another checksum than the pack's"
        return None

    async def _read(self, key: str, start: int, end: int) -> bytes:
        async with aclosing(self._store.stream(key, start=start, end=end)) as pieces:
            return b"".join([piece async for piece in pieces])

    async def _asked(self, answer: Awaitable[T]) -> T:
        async with self._slots:
            return await answer

    async def _still_named(self, table: type[GitPack] | type[GitDerived], key: str) -> bool:
        async with self._database.read() as session:
            found = await session.scalar(select(table.storage_key).where(table.storage_key == key))
        return found is not None

    async def _orphans(self, prefix: str, limit: dt.datetime) -> AsyncGenerator[Finding, None]:
        page: list[ObjectInfo] = []
        async with aclosing(self._store.list(prefix)) as objects:
            async for info in objects:
                self.counts.objects += 1
                if info.modified_at <= limit:
                    page.append(info)
                if len(page) == _OBJECTS_PER_PAGE:
                    for finding in await self._unnamed(page):
                        yield finding
                    page = []
        for finding in await self._unnamed(page):
            yield finding

    async def _unnamed(self, page: Sequence[ObjectInfo]) -> list[Finding]:
        suspects = await self._without_row([info.key for info in page])
        if not suspects:
            return []
        await asyncio.sleep(self._sweep_seconds)
        suspects = await self._without_row(suspects)
        there = await asyncio.gather(*(self._exists(key) for key in suspects))
        return [
            Finding(Severity.NOTE, "storage", f"nothing refers to {key}", _DELETE_ORPHAN)
            for key, exists in zip(suspects, there, strict=True)
            if exists
        ]

    async def _without_row(self, keys: Sequence[str]) -> list[str]:
        """Those that no table names, all read in one snapshot: rows move from one to the other."""
        wanted = {_stem(key) for key in keys}
        named: set[str] = set()
        async with self._database.read() as session:
            for table in (GitPack, GitDerived, PackUpload, RetiredObject):
                column = table.storage_key
                named |= set(await session.scalars(select(column).where(column.in_(wanted))))
        return [key for key in keys if _stem(key) not in named]

    async def _exists(self, key: str) -> bool:
        try:
            await self._asked(self._store.head(key))
        except ObjectNotFound:
            return False
        return True


def _stem(key: str) -> str:
    """What a row would call the object; the whole key where no row can name it."""
    suffixes = DERIVED_SUFFIXES if key.startswith(f"{DERIVED}/") else SUFFIXES_IN_ORDER
    for suffix in suffixes:
        if key.endswith(suffix):
            return key.removesuffix(suffix)
    return key


def _pieces(packs: Sequence[PackRow]) -> Iterable[Sequence[PackRow]]:
    return (
        packs[start : start + _OBJECTS_PER_PAGE]
        for start in range(0, len(packs), _OBJECTS_PER_PAGE)
    )
