"""Roll-ups drop nothing, leave few packs, and are never in the way of a push or a fetch."""

import asyncio
import dataclasses
import datetime as dt

import pytest
from sqlalchemy import select, update

from gitstore import leases
from gitstore.compaction import choose_packs
from gitstore.leases import leased
from gitstore.maintenance import (
    sweep_uploads,
)
from gitstore.manifest import PackRow
from gitstore.settings import GitStoreSettings
from gitstore.store import GitStore
from gitstore.transactions import RefUpdate
from models import (
    GitDerived,
    GitPack,
    PackUpload,
    Repository,
    RepositoryMaintenance,
    RetiredObject,
)
from models.base import utc_now
from models.database import Database
from storage_adapters.base import ObjectStore
from tests.support.git import GitRepository
from tests.unit.gitstore.compaction.conftest import (
    Interruption,
    assert_whole,
    has,
    objects_of,
    packs_of,
    push_commits,
    second_node,
)
from tests.unit.gitstore.conftest import PushPack

pytestmark = pytest.mark.databases


async def test_a_roll_up_leaves_few_packs_and_drops_nothing(
    push: PushPack,
    source: GitRepository,
    git_store: GitStore,
    database: Database,
    object_store: ObjectStore,
    settings: GitStoreSettings,
    repository_id: int,
) -> None:
    tip = await push_commits(push, source, 20)
    source.git("checkout", "--quiet", "--orphan", "lost")
    lost = source.commit("lost")
    await push(source.pack("lost"), RefUpdate("refs/heads/lost", None, lost))
    await push(None, RefUpdate("refs/heads/lost", lost, None))
    before = await packs_of(database, repository_id)
    objects = await objects_of(git_store, repository_id)
    assert await git_store.compactor.is_due(repository_id)

    report = await git_store.compactor.compact(repository_id)

    after = await packs_of(database, repository_id)
    assert report is not None
    assert (report.packs_before, report.packs_after) == (21, len(after))
    assert len(after) <= 4
    assert await objects_of(git_store, repository_id) == objects
    assert not await git_store.compactor.is_due(repository_id)
    assert await has(git_store, repository_id, lost)
    other = second_node(database, object_store, settings)
    assert await has(other, repository_id, tip)
    assert await has(other, repository_id, lost)
    await assert_whole(database, object_store, settings, repository_id)
    async with database.read() as session:
        assert (await session.scalars(select(PackUpload))).all() == []
        retired = set(await session.scalars(select(RetiredObject.storage_key)))
    assert {p.storage_key for p in before} - {p.storage_key for p in after} <= retired


async def test_all_packs_become_one(
    push: PushPack,
    source: GitRepository,
    git_store: GitStore,
    database: Database,
    object_store: ObjectStore,
    settings: GitStoreSettings,
    repository_id: int,
) -> None:
    await push_commits(push, source, 3)

    report = await git_store.compactor.compact(repository_id, everything=True)

    assert report is not None
    assert (report.packs_before, report.packs_after, report.objects_dropped) == (3, 1, 0)
    await assert_whole(database, object_store, settings, repository_id)


async def test_one_worker_at_a_time(
    push: PushPack,
    source: GitRepository,
    git_store: GitStore,
    database: Database,
    repository_id: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await push_commits(push, source, 2)
    async with leased(database, repository_id) as mine:
        assert mine
        assert await git_store.compactor.compact(repository_id, everything=True) is None
        assert await git_store.compactor.prune(repository_id) is None
    assert await git_store.compactor.compact(repository_id, everything=True) is not None
    # A worker that died keeps its lease for a while.
    async with database.write() as session:
        await session.execute(
            update(RepositoryMaintenance).values(
                lease_token="dead", leased_until=utc_now() - dt.timedelta(seconds=1)
            )
        )
    async with leased(database, repository_id) as mine:
        assert mine
    monkeypatch.setattr(leases, "LEASE_SECONDS", 0.3)
    async with leased(database, repository_id) as mine:
        assert mine
        for _ in range(3):  # it is renewed for as long as the work takes
            await asyncio.sleep(0.15)
            async with leased(database, repository_id) as theirs:
                assert not theirs


async def test_a_compaction_that_lost_its_lease_changes_nothing(
    push: PushPack,
    source: GitRepository,
    git_store: GitStore,
    database: Database,
    object_store: ObjectStore,
    settings: GitStoreSettings,
    repository_id: int,
    when_packing: Interruption,
) -> None:
    await push_commits(push, source, 8)
    other = second_node(database, object_store, settings)

    async def happening() -> None:
        async with database.write() as session:
            await session.execute(update(RepositoryMaintenance).values(leased_until=None))
        assert await other.compactor.compact(repository_id, everything=True) is not None

    when_packing(happening)
    report = await git_store.compactor.compact(repository_id, everything=True)

    assert report is not None
    assert len(await packs_of(database, repository_id)) == 1
    await assert_whole(database, object_store, settings, repository_id)
    async with database.read() as session:
        assert (await session.scalars(select(PackUpload))).all() == []
        packs = set(await session.scalars(select(GitPack.storage_key)))
        derived = set(await session.scalars(select(GitDerived.storage_key)))
        retired = set(await session.scalars(select(RetiredObject.storage_key)))
    stored = {info.key.rpartition(".")[0] async for info in object_store.list("")}
    assert stored == packs | derived | retired


async def test_a_deleted_repository_ends_a_compaction(
    push: PushPack,
    source: GitRepository,
    git_store: GitStore,
    database: Database,
    object_store: ObjectStore,
    repository_id: int,
    when_packing: Interruption,
) -> None:
    await push_commits(push, source, 8)

    async def happening() -> None:
        async with database.write() as session:
            row = await session.get(Repository, repository_id)
            await session.delete(row)

    when_packing(happening)
    with pytest.raises(Exception, match="the repository no longer exists"):
        await git_store.compactor.compact(repository_id, everything=True)
    assert await sweep_uploads(database, object_store, older_than=dt.timedelta(hours=-1)) == 0


async def test_fetches_go_on_while_packs_are_replaced(
    push: PushPack,
    source: GitRepository,
    git_store: GitStore,
    database: Database,
    object_store: ObjectStore,
    settings: GitStoreSettings,
    repository_id: int,
) -> None:
    tip = await push_commits(push, source, 7)
    done = asyncio.Event()

    async def read() -> int:
        times = 0
        while not done.is_set() or times < 3:
            async with git_store.open(repository_id) as local:
                completed = await git_store.processes.run(
                    ["rev-list", "--objects", "--stdin", "--quiet"],
                    git_dir=local.path,
                    stdin=f"{tip}\n".encode(),
                )
                assert completed.returncode == 0
            times += 1
        return times

    async def compact() -> None:
        for _ in range(4):
            assert await git_store.compactor.compact(repository_id, everything=True) is not None
            assert await git_store.compactor.prune(repository_id) is not None
            await push_commits(push, source, 1)
        done.set()

    *reads, _ = await asyncio.gather(read(), read(), compact())
    assert all(times >= 3 for times in reads)
    await assert_whole(database, object_store, settings, repository_id)


def pack_row(number: int, size: int) -> PackRow:
    return PackRow(number, f"packs/1/{number}/pack-{number}", str(number), {".pack": size}, 1)


@pytest.mark.parametrize(
    ("sizes", "chosen"),
    [
        ([], []),
        ([100], []),
        ([100, 40, 10], []),
        ([100, 10, 10], [10, 10]),
        ([100, 60, 10], [10, 60, 100]),
        ([1000, 100, 10, 9, 8], [8, 9, 10]),
        ([16, 8, 4, 2, 1], []),
        ([16, 8, 4, 3, 1], [1, 3, 4, 8, 16]),
    ],
)
def test_the_small_packs_are_chosen(sizes: list[int], chosen: list[int]) -> None:
    rows = [pack_row(number, size) for number, size in enumerate(sizes)]
    assert [row.sizes[".pack"] for row in choose_packs(rows, most=10)] == chosen


def test_the_number_of_packs_has_a_bound_whatever_their_sizes() -> None:
    rows = [pack_row(number, 3**number) for number in range(30)]
    assert [row.id for row in choose_packs(rows, most=10)] == list(range(20))


def test_a_thousand_pushes_leave_few_packs_and_move_each_byte_a_few_times() -> None:
    rows: list[PackRow] = []
    moved = 0
    for number in range(1000):
        rows.append(pack_row(number, 1000))
        if len(rows) > 20:
            chosen = choose_packs(rows, most=10)
            size = sum(row.sizes[".pack"] for row in chosen)
            moved += size
            rows = [row for row in rows if row not in chosen]
            rows.append(dataclasses.replace(pack_row(number, size)))
    assert len(rows) <= 21
    assert moved < 8 * 1000 * 1000
