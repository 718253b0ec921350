"""Which repositories the jobs look after."""

import datetime as dt

import pytest

from gitstore.maintenance import (
    select_due_repositories,
)
from gitstore.store import GitStore
from models.database import Database
from tests.support.git import GitRepository
from tests.unit.gitstore.compaction.conftest import (
    due_for_prune,
    push_commits,
    record_push,
)
from tests.unit.gitstore.conftest import PushPack

pytestmark = pytest.mark.databases


async def test_what_is_due_is_found_by_counts_and_sizes(
    push: PushPack,
    source: GitRepository,
    git_store: GitStore,
    database: Database,
    repository_id: int,
) -> None:
    async def due(max_packs: int, objects: int) -> list[int]:
        async with database.read() as session:
            return await select_due_repositories(session, max_packs=max_packs, objects=objects)

    assert await due(0, 1) == []
    await push_commits(push, source, 3)
    assert await due(3, 100) == []
    assert await due(2, 100) == [repository_id]
    assert await due(3, 9) == [repository_id]
    await git_store.compactor.compact(repository_id)
    assert await due(3, 9) == []


async def test_old_garbage_is_due_for_a_prune(
    push: PushPack, source: GitRepository, database: Database, repository_id: int
) -> None:
    oid = await push_commits(push, source, 1)
    await record_push(database, repository_id, old=oid, new=oid, age=dt.timedelta(days=30))
    assert await due_for_prune(database, dt.timedelta(days=14)) == [repository_id]
    assert await due_for_prune(database, dt.timedelta(days=31)) == []
