"""Cleaning up: abandoned uploads and retired objects in the store, and this machine's cache.

Everything here may run at any moment, on any number of machines, and be killed at any point.
"""

import asyncio
import datetime as dt
import os
import shutil
import time
from pathlib import Path

from sqlalchemy import and_, delete, func, or_, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncSession

from gitstore.cache import RepositoryCache
from gitstore.quarantine import sweep_quarantines
from gitstore.transactions import delete_objects, discard_upload
from models import (
    DerivedKind,
    GitDerived,
    GitPack,
    PackUpload,
    Push,
    RefChange,
    Repository,
    RepositoryMaintenance,
    RetiredObject,
)
from models.base import UTCDateTime
from models.database import Database
from models.dialect import database_now
from storage_adapters.base import ObjectStore
from storage_adapters.errors import StorageError

_SWEEP_BATCH = 500
_STALE_TEMPORARY_SECONDS = 3600


async def sweep_uploads(database: Database, store: ObjectStore, *, older_than: dt.timedelta) -> int:
    """Delete uploads that nothing refers to and nobody finishes. Returns how many.

    The age decides only whose work is wasted: a push whose intent row went away fails and says so.
    Raises DatabaseUnavailable; an object store that does not answer leaves the rest for next time.
    """
    async with database.read() as session:
        limit = await database_now(session) - older_than
        keys = await session.scalars(
            select(PackUpload.storage_key)
            .where(PackUpload.created_at < limit)
            .order_by(PackUpload.created_at)
            .limit(_SWEEP_BATCH)
        )
        doomed = list(keys)
    swept = 0
    for key in doomed:
        try:
            swept += await discard_upload(database, store, key)
        except StorageError:
            break
    return swept


async def sweep_retired(database: Database, store: ObjectStore, *, older_than: dt.timedelta) -> int:
    """Delete packs and derived files that were replaced long enough ago. Returns how many.

    The row goes last: a crash in between deletes once more what is gone already, and quietly.
    Raises DatabaseUnavailable; an object store that does not answer leaves the rest for next time.
    """
    async with database.read() as session:
        limit = await database_now(session) - older_than
        keys = await session.scalars(
            select(RetiredObject.storage_key)
            .where(RetiredObject.created_at < limit)
            .order_by(RetiredObject.created_at)
            .limit(_SWEEP_BATCH)
        )
        doomed = list(keys)
    swept = 0
    for key in doomed:
        try:
            await delete_objects(store, key)
        except StorageError:
            break
        async with database.write() as session:
            await session.execute(delete(RetiredObject).where(RetiredObject.storage_key == key))
        swept += 1
    return swept


async def select_due_repositories(
    session: AsyncSession, *, max_packs: int, objects: int
) -> list[int]:
    """Ids of repositories that may need compaction: many packs, or large without derived files.

    A superset: ``Compactor.is_due`` looks at one closely.
    """
    rows = await session.scalars(
        select(GitPack.repository_id)
        .outerjoin(GitDerived, GitDerived.repository_id == GitPack.repository_id)
        .group_by(GitPack.repository_id)
        .having(
            or_(
                func.count(GitPack.id.distinct()) > max_packs,
                and_(
                    func.sum(GitPack.object_count) >= objects,
                    func.count(GitDerived.kind.distinct()) < len(DerivedKind),
                ),
            )
        )
    )
    return list(rows)


async def select_repositories_to_prune(
    session: AsyncSession, *, unreachable_for: dt.timedelta
) -> list[int]:
    """Ids of repositories in which a push made objects unreachable so long ago, unpruned since."""
    limit = await database_now(session) - unreachable_for
    rows = await session.execute(
        select(
            Push.repository_id,
            func.max(type_coerce(Push.created_at, UTCDateTime)),
            RepositoryMaintenance.pruned_at,
        )
        .join(RefChange, RefChange.push_id == Push.id)
        .outerjoin(RepositoryMaintenance, RepositoryMaintenance.repository_id == Push.repository_id)
        .where(Push.created_at < limit, or_(RefChange.forced, RefChange.new_oid.is_(None)))
        .group_by(Push.repository_id, RepositoryMaintenance.pruned_at)
    )
    return [
        repository_id
        for repository_id, last, pruned_at in rows
        if pruned_at is None or pruned_at < last + unreachable_for
    ]


async def tend_cache(cache: RepositoryCache, database: Database, *, max_bytes: int) -> int:
    """Remove copies of deleted repositories, those least recently used, and leftovers of crashes.

    Copies in use stay; of the others as many as ``max_bytes`` has room for. Returns how many went.
    """
    await asyncio.to_thread(sweep_quarantines, cache.root)
    await asyncio.to_thread(_sweep_temporary, cache.root / "tmp")
    copies = await asyncio.to_thread(_copies, cache.root / "repositories")
    async with database.read() as session:
        alive = set(
            await session.scalars(
                select(Repository.id).where(Repository.id.in_([copy[1] for copy in copies]))
            )
        )
    total = sum(size for _, _, size in copies)
    evicted = 0
    for _, repository_id, size in sorted(copies):
        if repository_id in alive and total <= max_bytes:
            continue
        if await cache.evict(repository_id):
            evicted += 1
            total -= size
    return evicted


def _copies(folder: Path) -> list[tuple[float, int, int]]:
    """(last used, repository id, size in bytes) of each local copy."""
    found = []
    for entry in folder.iterdir() if folder.is_dir() else ():
        try:
            used = (entry / "use.lock").stat().st_mtime
        except OSError:
            used = 0.0
        if entry.name.isdigit():
            found.append((used, int(entry.name), _size(entry)))
    return found


def _size(folder: Path) -> int:
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(path) / name).lstat().st_size
            except OSError:
                continue
    return total


def _sweep_temporary(folder: Path) -> None:
    """Half-built copies and evicted ones whose process died."""
    for entry in folder.iterdir() if folder.is_dir() else ():
        try:
            age = time.time() - entry.stat().st_mtime
        except OSError:
            continue
        if age > _STALE_TEMPORARY_SECONDS:
            shutil.rmtree(entry, ignore_errors=True)
