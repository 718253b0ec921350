"""Changing a repository: objects go durable first, then one database transaction swaps the refs.

Order of a write: ``GitTransaction.receive_pack`` and checks (quarantine) -> ``upload`` (intent row,
then the objects) -> ``apply`` inside the caller's database transaction -> commit -> ``adopt``.
Before the commit nothing is visible anywhere; after it the change survives this machine.
"""

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from gitstore.cache import CachedRepository, RepositoryCache
from gitstore.derived import DERIVED_SUFFIXES
from gitstore.errors import PruneEpochChanged, RepositoryGone, UploadIntentGone
from gitstore.identifiers import new_ulid
from gitstore.manifest import (
    INDEX_SUFFIX,
    PACK_SUFFIX,
    REVERSE_INDEX_SUFFIX,
    SUFFIXES_IN_ORDER,
)
from gitstore.quarantine import Quarantine, ReceivedPack
from models import GitPack, GitRef, PackUpload, Repository
from models.database import Database, DatabaseUnavailable
from models.dialect import starts_with_any
from storage_adapters.base import ObjectStore
from storage_adapters.errors import StorageError
from storage_adapters.keys import DERIVED, pack_stem

_NAMES_PER_QUERY = 200
T = TypeVar("T")


CHANGED_MEANWHILE = "changed by another push"


@dataclasses.dataclass(frozen=True, slots=True)
class RefUpdate:
    """A wish: move ``name`` from ``old`` to ``new``; None is absence."""

    name: str
    old: str | None
    new: str | None
    peeled_oid: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class StoredPack:
    """A pack that is durable in the object store, while no manifest refers to it yet."""

    storage_key: str
    pack: ReceivedPack
    sizes: dict[str, int]


@dataclasses.dataclass(frozen=True, slots=True)
class Applied:
    """``rejected`` maps the name of each ref that was not changed to the reason."""

    generation: int
    changed: list[RefUpdate]
    rejected: dict[str, str]


class GitTransaction:
    """One write to one repository, made by ``GitStore.begin``."""

    def __init__(
        self,
        cache: RepositoryCache,
        database: Database,
        store: ObjectStore,
        quarantine: Quarantine,
    ) -> None:
        self._cache = cache
        self._database = database
        self._store = store
        self.quarantine = quarantine
        self.received_in_epoch = quarantine.repository.prune_epoch
        """The prune epoch of the local copy that a pack is checked against when it comes."""

    @property
    def repository(self) -> CachedRepository:
        return self.quarantine.repository

    async def upload(self, pack: ReceivedPack) -> StoredPack:
        """Make the pack durable. Raises StorageUnavailable, DatabaseUnavailable."""
        repository_id = self.repository.repository_id
        return await upload_pack(self._database, self._store, repository_id, pack)

    async def apply(
        self,
        session: AsyncSession,
        updates: Sequence[RefUpdate],
        pack: StoredPack | None,
        *,
        atomic: bool,
    ) -> Applied:
        """Swap refs and publish the pack, as part of the caller's transaction.

        Nothing is written when no ref can be changed. Raises RepositoryGone, PruneEpochChanged and
        UploadIntentGone, after each of which the caller must roll back.
        """
        return await apply_updates(
            session,
            self.repository.repository_id,
            updates,
            pack,
            atomic=atomic,
            prune_epoch=self.repository.prune_epoch,
        )

    async def discard(self, stored: StoredPack) -> None:
        """Remove an upload that was not committed. What fails here is left to the sweep."""
        with contextlib.suppress(StorageError, DatabaseUnavailable):
            await discard_upload(self._database, self._store, stored.storage_key)

    async def adopt(self, pack: StoredPack) -> None:
        """After the commit: keep the pack in the local copy. Never raises for local faults."""
        await self._cache.adopt(self.repository, pack.pack.stem, pack.pack.folder)


async def upload_pack(
    database: Database,
    store: ObjectStore,
    repository_id: int,
    pack: ReceivedPack,
    *,
    key: str | None = None,
) -> StoredPack:
    """Make a pack durable under a key of its own. Raises StorageUnavailable, DatabaseUnavailable.

    ``key`` is given for a repository that has no id yet; its ``repository_id`` is 0.
    """
    key = key or pack_stem(repository_id, new_ulid(), pack.name)
    # The intent comes first: a crash in the middle leaves a row that leads to the bytes.
    async with database.write() as session:
        session.add(PackUpload(storage_key=key, repository_id=repository_id))
    sizes = {
        suffix: await store.put(key + suffix, pack.folder / f"{pack.stem}{suffix}")
        for suffix in SUFFIXES_IN_ORDER
    }
    return StoredPack(key, pack, sizes)


async def apply_updates(
    session: AsyncSession,
    repository_id: int,
    updates: Sequence[RefUpdate],
    pack: StoredPack | None,
    *,
    atomic: bool,
    prune_epoch: int,
) -> Applied:
    """See ``GitTransaction.apply``. All writers of a repository's refs pass through here."""
    # This UPDATE comes first: it locks the repository's row on every database, so that what is
    # read below stays true until the commit, and no snapshot is older than the lock.
    locked = await session.execute(
        update(Repository)
        .where(Repository.id == repository_id, Repository.prune_epoch == prune_epoch)
        .values(generation=Repository.generation + 1)
        .execution_options(synchronize_session=False)
    )
    if locked.rowcount != 1:  # type: ignore[attr-defined]
        await _explain_missing(session, repository_id)
    generation = await session.scalar(
        select(Repository.generation).where(Repository.id == repository_id)
    )
    assert generation is not None
    current = await _current_values(session, repository_id, [update.name for update in updates])
    changed, rejected = _compare(updates, {name: oid for name, oid in current.items() if oid})
    if changed and not (atomic and rejected):
        conflicts = await _name_conflicts(session, repository_id, changed)
        rejected |= conflicts
        changed = [update for update in changed if update.name not in conflicts]
    if not changed or (atomic and rejected):
        return Applied(generation, [], rejected)
    await _write_refs(session, repository_id, changed, set(current), generation)
    if pack is not None:
        await publish_pack(session, repository_id, pack, generation)
    return Applied(generation, changed, rejected)


async def discard_upload(database: Database, store: ObjectStore, storage_key: str) -> bool:
    """Delete an upload nothing refers to: its intent row first, then the objects.

    Whoever deletes the row decides. Returns False when a commit was faster. Raises
    StorageUnavailable with the row gone: it is put back, so that a later sweep tries again.
    """
    async with database.write() as session:
        intent = await session.get(PackUpload, storage_key)
        if intent is None:
            return False
        repository_id = intent.repository_id
        gone = await session.execute(
            delete(PackUpload).where(PackUpload.storage_key == storage_key)
        )
        if gone.rowcount != 1:  # type: ignore[attr-defined]
            return False
    try:
        await delete_objects(store, storage_key)
    except StorageError:
        async with database.write() as session:
            session.add(PackUpload(storage_key=storage_key, repository_id=repository_id))
        raise
    return True


async def delete_objects(store: ObjectStore, storage_key: str) -> None:
    """Delete all objects of one stem, a pack's or derived files'. Raises StorageUnavailable."""
    is_derived = storage_key.startswith(f"{DERIVED}/")
    for suffix in DERIVED_SUFFIXES if is_derived else SUFFIXES_IN_ORDER:
        await store.delete(storage_key + suffix)


async def _explain_missing(session: AsyncSession, repository_id: int) -> None:
    exists = await session.scalar(select(Repository.id).where(Repository.id == repository_id))
    if exists is None:
        raise RepositoryGone("the repository no longer exists")
    raise PruneEpochChanged("objects were dropped from the repository meanwhile")


async def _current_values(
    session: AsyncSession, repository_id: int, names: Iterable[str]
) -> dict[str, str | None]:
    """Values of the rows that exist; a deleted ref's row has none."""
    current: dict[str, str | None] = {}
    for some in in_batches(names, _NAMES_PER_QUERY):
        rows = await session.execute(
            select(GitRef.name, GitRef.oid).where(
                GitRef.repository_id == repository_id, GitRef.name.in_(some)
            )
        )
        current.update({row.name: row.oid for row in rows})
    return current


def _compare(
    updates: Sequence[RefUpdate], current: dict[str, str]
) -> tuple[list[RefUpdate], dict[str, str]]:
    changed: list[RefUpdate] = []
    rejected: dict[str, str] = {}
    for wish in updates:
        now = current.get(wish.name)
        if wish.new is None and now is None:
            # Deleting what is not there has succeeded already, as with git itself.
            continue
        if now != wish.old:
            rejected[wish.name] = CHANGED_MEANWHILE
        else:
            changed.append(wish)
    return changed, rejected


async def _name_conflicts(
    session: AsyncSession, repository_id: int, changed: Sequence[RefUpdate]
) -> dict[str, str]:
    """New names that would be file and directory at once (``a`` beside ``a/b``), with the reason.

    SQL has no directories, but every clone has.
    """
    created = [update.name for update in changed if update.old is None]
    deleted = {update.name for update in changed if update.new is None}
    parents = {name: _parents(name) for name in created}
    live: set[str] = set()
    wanted = sorted({parent for each in parents.values() for parent in each})
    for some in in_batches(wanted, _NAMES_PER_QUERY):
        live |= await _live_names(session, repository_id, GitRef.name.in_(some))
    for some in in_batches(created, _NAMES_PER_QUERY):
        ranges = starts_with_any(GitRef.name, [f"{name}/" for name in some])
        live |= await _live_names(session, repository_id, or_(*ranges))
    live = (live - deleted) | set(created)
    folders = {parent: name for name in sorted(live) for parent in _parents(name)}
    conflicts: dict[str, str] = {}
    for name in created:
        if name in folders:
            conflicts[name] = f"conflicts with the existing ref {folders[name]}"
        else:
            for parent in parents[name]:
                if parent in live:
                    conflicts[name] = f"conflicts with the existing ref {parent}"
    return conflicts


async def _live_names(session: AsyncSession, repository_id: int, condition: object) -> set[str]:
    rows = await session.scalars(
        select(GitRef.name).where(
            GitRef.repository_id == repository_id,
            GitRef.oid.is_not(None),
            condition,  # type: ignore[arg-type]
        )
    )
    return set(rows)


def in_batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Pieces of at most ``size``; the standard library has this from Python 3.12 on."""
    every = list(items)
    return (every[start : start + size] for start in range(0, len(every), size))


def _parents(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:end]) for end in range(2, len(parts))]


async def _write_refs(
    session: AsyncSession,
    repository_id: int,
    changed: Sequence[RefUpdate],
    existing: set[str],
    generation: int,
) -> None:
    def row(wish: RefUpdate) -> dict[str, object]:
        return {
            "repository_id": repository_id,
            "name": wish.name,
            "oid": wish.new,
            "peeled_oid": wish.peeled_oid,
            "generation": generation,
        }

    new_rows = [row(wish) for wish in changed if wish.name not in existing]
    if new_rows:
        await session.execute(insert(GitRef), new_rows)
    old_rows = [row(wish) for wish in changed if wish.name in existing]
    if old_rows:
        await session.execute(update(GitRef), old_rows)


async def publish_pack(
    session: AsyncSession, repository_id: int, stored: StoredPack, generation: int
) -> None:
    """Make an uploaded pack part of the manifest. Raises UploadIntentGone: then roll back."""
    await drop_intent(session, stored.storage_key)
    session.add(
        GitPack(
            repository_id=repository_id,
            storage_key=stored.storage_key,
            name=stored.pack.name,
            size_bytes=stored.sizes[PACK_SUFFIX],
            index_size_bytes=stored.sizes[INDEX_SUFFIX],
            reverse_index_size_bytes=stored.sizes[REVERSE_INDEX_SUFFIX],
            object_count=stored.pack.object_count,
            generation=generation,
        )
    )
    await session.flush()


async def drop_intent(session: AsyncSession, storage_key: str) -> None:
    """An upload is about to be named by a row. Raises UploadIntentGone if the sweep took it."""
    gone = await session.execute(delete(PackUpload).where(PackUpload.storage_key == storage_key))
    if gone.rowcount != 1:  # type: ignore[attr-defined]
        raise UploadIntentGone("the upload was given up by the sweep; push again")
