"""The transaction in which a compaction replaces packs and derived files."""

import contextlib
import dataclasses
from collections.abc import Sequence

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from gitstore.derivation import DerivedFiles
from gitstore.errors import GitStoreError
from gitstore.manifest import PackRow, RepositoryState
from gitstore.quarantine import ReceivedPack
from gitstore.transactions import (
    StoredPack,
    discard_upload,
    drop_intent,
    in_batches,
    publish_pack,
)
from models import GitDerived, GitPack, Repository, RepositoryMaintenance, RetiredObject
from models.base import utc_now
from models.database import Database, DatabaseUnavailable
from storage_adapters.base import ObjectStore
from storage_adapters.errors import StorageError

_ROWS_PER_STATEMENT = 500


class Superseded(GitStoreError):
    """Another compaction was faster: the packs to replace are no longer those of the manifest."""


@dataclasses.dataclass(slots=True)
class Replacement:
    """``pack`` (uploaded as ``stored``) takes the place of ``inputs``. ``state`` is from before."""

    state: RepositoryState
    inputs: Sequence[PackRow] = ()
    pack: ReceivedPack | None = None
    stored: StoredPack | None = None
    derived: list[DerivedFiles] = dataclasses.field(default_factory=list)
    is_prune: bool = False


async def replace_packs(session: AsyncSession, replacement: Replacement) -> None:
    """Swap rows, as part of the caller's transaction. Raises Superseded: then roll back."""
    state = replacement.state
    values = {"generation": Repository.generation + 1}
    if replacement.is_prune:
        values["prune_epoch"] = Repository.prune_epoch + 1
    locked = await session.execute(
        update(Repository)
        .where(Repository.id == state.repository_id, Repository.prune_epoch == state.prune_epoch)
        .values(values)
        .execution_options(synchronize_session=False)
    )
    if locked.rowcount != 1:  # type: ignore[attr-defined]
        raise Superseded("the repository was pruned or deleted meanwhile")
    generation = await session.scalar(
        select(Repository.generation).where(Repository.id == state.repository_id)
    )
    assert generation is not None
    await _retire_packs(session, state.repository_id, replacement.inputs)
    if replacement.stored is not None:
        await publish_pack(session, state.repository_id, replacement.stored, generation)
    await _replace_derived(session, replacement, generation)
    now = utc_now()
    done = {"pruned_at": now} if replacement.is_prune else {"compacted_at": now}
    await session.execute(
        update(RepositoryMaintenance)
        .where(RepositoryMaintenance.repository_id == state.repository_id)
        .values(done)
    )


async def discard_replacement(
    database: Database, store: ObjectStore, replacement: Replacement
) -> None:
    """Delete uploads that were not committed. What fails here is left to the sweep."""
    keys = [files.storage_key for files in replacement.derived if files.storage_key]
    if replacement.stored is not None:
        keys.append(replacement.stored.storage_key)
    for key in keys:
        with contextlib.suppress(StorageError, DatabaseUnavailable):
            await discard_upload(database, store, key)


async def _retire_packs(
    session: AsyncSession, repository_id: int, packs: Sequence[PackRow]
) -> None:
    for some in in_batches(list(packs), _ROWS_PER_STATEMENT):
        gone = await session.execute(
            delete(GitPack).where(
                GitPack.repository_id == repository_id, GitPack.id.in_([pack.id for pack in some])
            )
        )
        if gone.rowcount != len(some):  # type: ignore[attr-defined]
            raise Superseded("the packs were replaced by another compaction")
        await _retire(session, repository_id, [pack.storage_key for pack in some])


async def _replace_derived(
    session: AsyncSession, replacement: Replacement, generation: int
) -> None:
    """Rows that no longer hold go, whether or not others take their place."""
    repository_id = replacement.state.repository_id
    inputs = {pack.stem for pack in replacement.inputs}
    made = {files.kind for files in replacement.derived}
    rows = await session.scalars(
        select(GitDerived).where(GitDerived.repository_id == repository_id)
    )
    for row in rows.all():
        if replacement.is_prune or row.kind in made or inputs & set(row.packs):
            await _retire(session, repository_id, [row.storage_key])
            await session.delete(row)
    await session.flush()
    for files in replacement.derived:
        await drop_intent(session, files.storage_key)
        session.add(
            GitDerived(
                repository_id=repository_id,
                kind=files.kind,
                storage_key=files.storage_key,
                sizes=files.sizes,
                packs=files.packs,
                object_count=files.object_count,
                prune_epoch=replacement.state.prune_epoch + replacement.is_prune,
                generation=generation,
            )
        )
    await session.flush()


async def _retire(session: AsyncSession, repository_id: int, keys: Sequence[str]) -> None:
    now = utc_now()
    await session.execute(
        insert(RetiredObject),
        [{"storage_key": key, "repository_id": repository_id, "created_at": now} for key in keys],
    )
