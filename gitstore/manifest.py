"""A repository's truth: refs and packs of one generation, read in one snapshot."""

import dataclasses
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from gitstore.errors import RepositoryGone
from models import DerivedKind, GitDerived, GitPack, GitRef, Repository
from models.dialect import starts_with_any

BRANCHES = "refs/heads/"
TAGS = "refs/tags/"
PACK_SUFFIX, REVERSE_INDEX_SUFFIX, INDEX_SUFFIX = ".pack", ".rev", ".idx"
# Git looks for packs by their index, so the index comes last.
SUFFIXES_IN_ORDER = (PACK_SUFFIX, REVERSE_INDEX_SUFFIX, INDEX_SUFFIX)


class RefRow(NamedTuple):
    """A live ref; ``peeled_oid`` only for annotated tags. A tuple, since there are so many."""

    name: str
    oid: str
    peeled_oid: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class PackRow:
    """A pack of the manifest; sizes in bytes by file suffix. ``id`` is that of its row."""

    id: int
    storage_key: str
    name: str
    sizes: dict[str, int]
    object_count: int

    @property
    def stem(self) -> str:
        """The file name without suffix, ``pack-<name>``."""
        return PurePosixPath(self.storage_key).name


@dataclasses.dataclass(frozen=True, slots=True)
class RepositoryState:
    """The counters that tell whether a local copy is current. ``head`` is a full ref name."""

    repository_id: int
    generation: int
    prune_epoch: int
    head: str
    object_format: str


@dataclasses.dataclass(frozen=True, slots=True)
class DerivedRow:
    """Files that make git faster; ``packs`` are the stems of those a multi-pack-index covers."""

    kind: DerivedKind
    storage_key: str
    sizes: dict[str, int]
    packs: frozenset[str]
    object_count: int
    prune_epoch: int


@dataclasses.dataclass(frozen=True, slots=True)
class Manifest:
    """``derived`` holds what is valid for these packs."""

    state: RepositoryState
    refs: list[RefRow]
    packs: list[PackRow]
    derived: dict[DerivedKind, DerivedRow]


def prune_is_running(prune_epoch: int) -> bool:
    """Epochs with odd numbers begin with a prune and end with it; see ``compaction``."""
    return prune_epoch % 2 == 1


async def read_state(session: AsyncSession, repository_id: int) -> RepositoryState:
    """Raises RepositoryGone."""
    row = (
        await session.execute(
            select(
                Repository.generation,
                Repository.prune_epoch,
                Repository.default_branch,
                Repository.object_format,
            ).where(Repository.id == repository_id)
        )
    ).one_or_none()
    if row is None:
        raise RepositoryGone("the repository no longer exists")
    return RepositoryState(
        repository_id=repository_id,
        generation=row.generation,
        prune_epoch=row.prune_epoch,
        head=BRANCHES + row.default_branch,
        object_format=row.object_format,
    )


async def list_refs(
    session: AsyncSession, repository_id: int, prefixes: Sequence[str] = ()
) -> list[RefRow]:
    """Live refs that begin with any of the prefixes (all for none), in git's bytewise order."""
    query = (
        select(GitRef.name, GitRef.oid, GitRef.peeled_oid)
        .where(GitRef.repository_id == repository_id, GitRef.oid.is_not(None))
        .order_by(GitRef.name)
    )
    if prefixes:
        query = query.where(or_(*starts_with_any(GitRef.name, prefixes)))
    rows = await session.execute(query)
    return list(map(RefRow._make, rows))


async def list_packs(session: AsyncSession, repository_id: int) -> list[PackRow]:
    """The packs of the manifest, oldest first."""
    rows = await session.scalars(
        select(GitPack).where(GitPack.repository_id == repository_id).order_by(GitPack.id)
    )
    return [
        PackRow(
            id=row.id,
            storage_key=row.storage_key,
            name=row.name,
            sizes={
                PACK_SUFFIX: row.size_bytes,
                REVERSE_INDEX_SUFFIX: row.reverse_index_size_bytes,
                INDEX_SUFFIX: row.index_size_bytes,
            },
            object_count=row.object_count,
        )
        for row in rows
    ]


async def read_manifest(session: AsyncSession, repository_id: int) -> Manifest:
    """``session`` must be one snapshot (``Database.read``), or refs and packs may not fit.

    Raises RepositoryGone.
    """
    state = await read_state(session, repository_id)
    packs = await list_packs(session, repository_id)
    return Manifest(
        state=state,
        refs=await list_refs(session, repository_id),
        packs=packs,
        derived=await list_derived(session, state, packs),
    )


async def list_derived(
    session: AsyncSession, state: RepositoryState, packs: Sequence[PackRow]
) -> dict[DerivedKind, DerivedRow]:
    """The derived files that fit these packs and this prune epoch."""
    rows = await session.scalars(
        select(GitDerived).where(GitDerived.repository_id == state.repository_id)
    )
    present = {pack.stem for pack in packs}
    found = (
        DerivedRow(
            kind=row.kind,
            storage_key=row.storage_key,
            sizes=row.sizes,
            packs=frozenset(row.packs),
            object_count=row.object_count,
            prune_epoch=row.prune_epoch,
        )
        for row in rows
    )
    return {
        row.kind: row
        for row in found
        if row.prune_epoch == state.prune_epoch and row.packs <= present
    }
