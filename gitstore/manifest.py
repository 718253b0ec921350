"""A repository's truth: refs and packs of one generation, read in one snapshot."""

import dataclasses
from collections.abc import Sequence
from pathlib import PurePosixPath

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from gitstore.errors import RepositoryGone
from models import GitPack, GitRef, Repository
from models.dialect import starts_with_any

BRANCHES = "refs/heads/"
TAGS = "refs/tags/"
PACK_SUFFIX, REVERSE_INDEX_SUFFIX, INDEX_SUFFIX = ".pack", ".rev", ".idx"


@dataclasses.dataclass(frozen=True, slots=True)
class RefRow:
    """A live ref; ``peeled_oid`` only for annotated tags."""

    name: str
    oid: str
    peeled_oid: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class PackRow:
    """A pack of the manifest; sizes in bytes by file suffix."""

    storage_key: str
    name: str
    sizes: dict[str, int]

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
class Manifest:
    state: RepositoryState
    refs: list[RefRow]
    packs: list[PackRow]


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
    return [RefRow(name, oid, peeled) for name, oid, peeled in rows if oid is not None]


async def list_packs(session: AsyncSession, repository_id: int) -> list[PackRow]:
    """The packs of the manifest, oldest first."""
    rows = await session.scalars(
        select(GitPack).where(GitPack.repository_id == repository_id).order_by(GitPack.id)
    )
    return [
        PackRow(
            storage_key=row.storage_key,
            name=row.name,
            sizes={
                PACK_SUFFIX: row.size_bytes,
                REVERSE_INDEX_SUFFIX: row.reverse_index_size_bytes,
                INDEX_SUFFIX: row.index_size_bytes,
            },
        )
        for row in rows
    ]


async def read_manifest(session: AsyncSession, repository_id: int) -> Manifest:
    """``session`` must be one snapshot (``Database.read``), or refs and packs may not fit.

    Raises RepositoryGone.
    """
    return Manifest(
        state=await read_state(session, repository_id),
        refs=await list_refs(session, repository_id),
        packs=await list_packs(session, repository_id),
    )
