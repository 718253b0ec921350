"""Derived files come with size, follow the packs, and may be lost."""

import pytest
from sqlalchemy import select

from gitstore.settings import GitStoreSettings
from gitstore.store import GitStore
from models import (
    DerivedKind,
    GitDerived,
)
from models.database import Database
from storage_adapters.base import ObjectStore
from tests.support.git import GitRepository
from tests.unit.gitstore.compaction.conftest import (
    assert_whole,
    has,
    push_commits,
    second_node,
)
from tests.unit.gitstore.conftest import PushPack

pytestmark = pytest.mark.databases


async def test_derived_files_come_with_size_and_follow_the_packs(
    push: PushPack,
    source: GitRepository,
    git_store: GitStore,
    database: Database,
    object_store: ObjectStore,
    settings: GitStoreSettings,
    repository_id: int,
) -> None:
    await push_commits(push, source, 1)
    assert not await git_store.compactor.is_due(repository_id)
    await push_commits(push, source, 2)

    report = await git_store.compactor.compact(repository_id)

    assert report is not None
    assert report.derived == ("commit-graph", "multi-pack-index")
    for node in (git_store, second_node(database, object_store, settings)):
        async with node.open(repository_id) as local:
            packs = local.path / "objects/pack"
            assert (packs / "multi-pack-index").exists()
            assert len(list(packs.glob("multi-pack-index-*.bitmap"))) == 1
            assert (local.path / "objects/info/commit-graph").exists()
            git = GitRepository(local.path)
            git.git("multi-pack-index", "verify", "--no-progress")
            git.git("commit-graph", "verify", "--no-progress")
            count = git.git("rev-list", "--test-bitmap", "main")
            assert count == ""

    # A roll-up of the packs it covers replaces it, in the store and in the copies.
    first = await derived_key(database, repository_id)
    await git_store.compactor.compact(repository_id, everything=True)
    assert await derived_key(database, repository_id) != first
    await assert_whole(database, object_store, settings, repository_id)
    async with git_store.open(repository_id) as local:
        assert len(list((local.path / "objects/pack").glob("*.bitmap"))) == 1


async def derived_key(database: Database, repository_id: int) -> str | None:
    async with database.read() as session:
        return await session.scalar(
            select(GitDerived.storage_key).where(
                GitDerived.repository_id == repository_id,
                GitDerived.kind == DerivedKind.MULTI_PACK_INDEX,
            )
        )


async def test_a_lost_derived_file_costs_speed_only(
    push: PushPack,
    source: GitRepository,
    git_store: GitStore,
    database: Database,
    object_store: ObjectStore,
    settings: GitStoreSettings,
    repository_id: int,
) -> None:
    tip = await push_commits(push, source, 3)
    await git_store.compactor.compact(repository_id)
    async for info in object_store.list("derived/"):
        await object_store.delete(info.key)

    other = second_node(database, object_store, settings)

    assert await has(other, repository_id, tip)
    async with other.open(repository_id) as local:
        assert not (local.path / "objects/pack/multi-pack-index").exists()

    # The rows do not know that it is lost; asked for everything, a compaction makes it anew.
    assert await other.compactor.compact(repository_id, everything=True) is not None
    async with other.open(repository_id) as local:
        assert (local.path / "objects/pack/multi-pack-index").exists()
    assert await other.compactor.compact(repository_id, everything=True) is not None
    assert [info.key async for info in object_store.list("derived/")] != []
