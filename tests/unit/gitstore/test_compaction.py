"""Roll-ups drop nothing, prunes drop what no ref reaches, and neither is ever in a push's way."""

import asyncio
import dataclasses
import datetime as dt
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from sqlalchemy import select, update

from gitstore import leases
from gitstore.compaction import choose_packs
from gitstore.errors import (
    MissingObjects,
    PruneEpochChanged,
    RelyingOnGarbage,
    RepositoryUnreadable,
)
from gitstore.fsck import fsck_repository
from gitstore.leases import leased
from gitstore.maintenance import (
    select_due_repositories,
    select_repositories_to_prune,
    sweep_retired,
    sweep_uploads,
)
from gitstore.manifest import PackRow, read_manifest
from gitstore.settings import GitStoreSettings
from gitstore.store import GitStore
from gitstore.transactions import RefUpdate
from gitstore.workspace import Workspace
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
from models.base import utc_now
from models.database import Database
from storage_adapters.base import ObjectStore
from storage_adapters.local import LocalObjectStore
from tests.support.git import GitRepository
from tests.unit.gitstore.conftest import Bytes, PushPack

MAIN = "refs/heads/main"
pytestmark = pytest.mark.databases


@pytest.fixture
def object_store(tmp_path: Path) -> ObjectStore:
    return LocalObjectStore(tmp_path / "storage")


@pytest.fixture
def settings(tmp_path: Path) -> GitStoreSettings:
    """Everything counts as large, so that small tests see what large repositories get."""
    return GitStoreSettings(cache_dir=tmp_path / "cache", max_packs=6, derived_min_objects=5)


def second_node(
    database: Database, store: ObjectStore, settings: GitStoreSettings, name: str = "other"
) -> GitStore:
    folder = settings.cache_dir.parent / name
    return GitStore(database, store, settings.model_copy(update={"cache_dir": folder}))


async def push_commits(push: PushPack, source: GitRepository, count: int) -> str:
    """As many pushes of one commit each; returns the last commit."""
    old = source.refs().get(MAIN)
    for number in range(count):
        new = source.commit(f"change {number} after {old}")
        await push(source.pack("main", *([f"^{old}"] if old else [])), RefUpdate(MAIN, old, new))
        old = new
    assert old is not None
    return old


async def packs_of(database: Database, repository_id: int) -> list[PackRow]:
    async with database.read() as session:
        return (await read_manifest(session, repository_id)).packs


async def assert_whole(
    database: Database, store: ObjectStore, settings: GitStoreSettings, repository_id: int
) -> None:
    result = await fsck_repository(database, store, settings, repository_id)
    assert result.lines == []
    assert result.healthy


async def objects_of(git_store: GitStore, repository_id: int) -> str:
    """Every object of the local copy, reachable or not."""
    async with git_store.open(repository_id) as local:
        return GitRepository(local.path).git("cat-file", "--batch-all-objects", "--batch-check")


async def has(git_store: GitStore, repository_id: int, oid: str) -> bool:
    async with git_store.open(repository_id) as local:
        return GitRepository(local.path).run("cat-file", "-e", oid).returncode == 0


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


async def test_a_prune_drops_what_no_ref_reaches(
    push: PushPack,
    source: GitRepository,
    git_store: GitStore,
    database: Database,
    object_store: ObjectStore,
    settings: GitStoreSettings,
    repository_id: int,
) -> None:
    tip = await push_commits(push, source, 3)
    secret = source.commit("secret")
    await push(source.pack("main", f"^{tip}"), RefUpdate(MAIN, tip, secret))
    await push(None, RefUpdate(MAIN, secret, tip))
    assert await has(git_store, repository_id, secret)

    report = await git_store.compactor.prune(repository_id)

    assert report is not None
    assert (report.packs_after, report.objects_dropped) == (1, 3)
    for node in (git_store, second_node(database, object_store, settings)):
        assert not await has(node, repository_id, secret)
        assert await has(node, repository_id, tip)
    await assert_whole(database, object_store, settings, repository_id)
    assert await sweep_retired(database, object_store, older_than=dt.timedelta(hours=1)) == 0
    assert await sweep_retired(database, object_store, older_than=dt.timedelta(hours=-1)) == 4
    (pack,) = await packs_of(database, repository_id)
    stored = [info.key async for info in object_store.list("packs/")]
    assert stored == [pack.storage_key + suffix for suffix in (".idx", ".pack", ".rev")]
    await assert_whole(database, object_store, settings, repository_id)


async def test_a_prune_of_nothing_but_garbage_leaves_no_pack(
    push: PushPack,
    source: GitRepository,
    git_store: GitStore,
    database: Database,
    repository_id: int,
) -> None:
    tip = await push_commits(push, source, 1)
    await push(None, RefUpdate(MAIN, tip, None))

    report = await git_store.compactor.prune(repository_id)

    assert report is not None
    assert report.packs_after == 0
    assert await packs_of(database, repository_id) == []
    assert not await has(git_store, repository_id, tip)


Interruption = Callable[[Callable[[], Awaitable[None]]], None]


@pytest.fixture
def when_packing(monkeypatch: pytest.MonkeyPatch) -> Interruption:
    """Lets something happen while a compaction computes its new pack, once."""

    def install(happening: Callable[[], Awaitable[None]]) -> None:
        original = Workspace.pack_objects

        async def pack_objects(self: Workspace, *args: object) -> object:
            monkeypatch.setattr(Workspace, "pack_objects", original)
            await happening()
            return await original(self, *args)  # type: ignore[arg-type]

        monkeypatch.setattr(Workspace, "pack_objects", pack_objects)

    return install


async def test_pushes_go_on_during_a_prune(
    push: PushPack,
    source: GitRepository,
    git_store: GitStore,
    database: Database,
    object_store: ObjectStore,
    settings: GitStoreSettings,
    repository_id: int,
    when_packing: Interruption,
) -> None:
    """Also one that builds on a commit which is forced away before the prune is through."""
    base = await push_commits(push, source, 2)
    side = source.commit("side")
    await push(source.pack("main", f"^{base}"), RefUpdate("refs/heads/side", None, side))
    child = source.commit("child")

    async def happening() -> None:
        # Begun in the new epoch: its check excludes what refs/heads/side reaches.
        async with git_store.begin(repository_id) as work:
            assert work.repository.prune_epoch == 1
            received = await work.quarantine.receive_pack(
                Bytes(source.pack("main", f"^{side}")), progress=None, input_ended=lambda: None
            )
            await work.quarantine.check_connected([child], [side])
            assert received is not None
            stored = await work.upload(received)
            await push(None, RefUpdate("refs/heads/side", side, base))
            async with database.write() as session:
                wish = RefUpdate("refs/heads/child", None, child)
                applied = await work.apply(session, [wish], stored, atomic=False)
            assert applied.rejected == {}

    when_packing(happening)
    report = await git_store.compactor.prune(repository_id)

    assert report is not None
    assert len(await packs_of(database, repository_id)) == 2
    assert await has(second_node(database, object_store, settings), repository_id, side)
    await assert_whole(database, object_store, settings, repository_id)


async def test_a_push_that_relies_on_garbage_is_told_to_look_again(
    push: PushPack,
    source: GitRepository,
    git_store: GitStore,
    repository_id: int,
    database: Database,
) -> None:
    base = await push_commits(push, source, 2)
    garbage = source.commit("garbage")
    await push(source.pack("main", f"^{base}"), RefUpdate(MAIN, base, garbage))
    await push(None, RefUpdate(MAIN, garbage, base))

    async with git_store.begin(repository_id) as work:
        await work.quarantine.check_connected([garbage], [base])
        await git_store.compactor.prune(repository_id)
        with pytest.raises(PruneEpochChanged):
            async with database.write() as session:
                wish = RefUpdate("refs/heads/again", None, garbage)
                await work.apply(session, [wish], None, atomic=False)
        async with git_store.open(repository_id) as fresh:
            work.quarantine.repository = fresh
            with pytest.raises(MissingObjects):
                await work.quarantine.check_connected([garbage], [base])


async def test_a_push_during_a_prune_may_not_rely_on_garbage(
    push: PushPack,
    source: GitRepository,
    git_store: GitStore,
    database: Database,
    object_store: ObjectStore,
    settings: GitStoreSettings,
    repository_id: int,
    when_packing: Interruption,
) -> None:
    """It would be committed before the prune is through, which then drops what it needs."""
    base = await push_commits(push, source, 2)
    garbage = source.commit("garbage")
    await push(source.pack("main", f"^{base}"), RefUpdate(MAIN, base, garbage))
    await push(None, RefUpdate(MAIN, garbage, base))
    child = source.commit("child of garbage")
    seen = []

    async def happening() -> None:
        async with git_store.begin(repository_id) as work:
            assert work.repository.is_being_pruned
            received = await work.quarantine.receive_pack(
                Bytes(source.pack("main", f"^{garbage}")), progress=None, input_ended=lambda: None
            )
            assert received is not None
            for tip in (child, garbage):
                await work.quarantine.check_connected([tip], [base])
                with pytest.raises(RelyingOnGarbage):
                    await work.quarantine.check_brought([tip], [base])
                seen.append(tip)
        async with git_store.begin(repository_id) as work:
            received = await work.quarantine.receive_pack(
                Bytes(source.pack("main", f"^{base}")), progress=None, input_ended=lambda: None
            )
            await work.quarantine.check_brought([child, base], [base])
            assert received is not None
            stored = await work.upload(received)
            async with database.write() as session:
                wish = RefUpdate(MAIN, base, child)
                applied = await work.apply(session, [wish], stored, atomic=False)
            assert applied.rejected == {}

    when_packing(happening)
    await git_store.compactor.prune(repository_id)

    assert seen == [child, garbage]
    async with git_store.open(repository_id) as local:
        assert not local.is_being_pruned
    assert await has(second_node(database, object_store, settings), repository_id, garbage)
    await assert_whole(database, object_store, settings, repository_id)


async def test_a_prune_that_died_leaves_an_epoch_that_the_next_one_ends(
    push: PushPack,
    source: GitRepository,
    git_store: GitStore,
    repository_id: int,
    when_packing: Interruption,
) -> None:
    async def dies() -> None:
        raise RepositoryUnreadable("as if the disk had failed")

    await push_commits(push, source, 2)
    when_packing(dies)
    with pytest.raises(RepositoryUnreadable):
        await git_store.compactor.prune(repository_id)
    async with git_store.open(repository_id) as local:
        assert (local.prune_epoch, local.is_being_pruned) == (1, True)

    async def nothing() -> None:
        async with git_store.open(repository_id) as local:
            assert (local.prune_epoch, local.is_being_pruned) == (3, True)

    when_packing(nothing)
    await git_store.compactor.prune(repository_id)
    async with git_store.open(repository_id) as local:
        assert (local.prune_epoch, local.is_being_pruned) == (4, False)


async def test_young_garbage_can_be_kept(
    push: PushPack,
    source: GitRepository,
    git_store: GitStore,
    database: Database,
    repository_id: int,
) -> None:
    base = await push_commits(push, source, 2)
    lost = source.commit("lost")
    await push(source.pack("main", f"^{base}"), RefUpdate(MAIN, base, lost))
    await push(None, RefUpdate(MAIN, lost, base))
    await record_push(database, repository_id, old=lost, new=base, age=dt.timedelta(days=3))
    week = dt.timedelta(days=7)

    assert await due_for_prune(database, week) == []
    await git_store.compactor.prune(repository_id, unreachable_for=week)
    assert await has(git_store, repository_id, lost)

    day = dt.timedelta(days=1)
    assert await due_for_prune(database, day) == []  # pruned since
    await git_store.compactor.prune(repository_id, unreachable_for=day)
    assert not await has(git_store, repository_id, lost)
    # What is named but gone is no obstacle.
    await git_store.compactor.prune(repository_id, unreachable_for=week)


async def record_push(
    database: Database, repository_id: int, *, old: str, new: str, age: dt.timedelta
) -> None:
    async with database.write() as session:
        row = Push(
            key="k" * 26,
            repository_id=repository_id,
            door="http",
            generation=1,
            created_at=utc_now() - age,
        )
        session.add(row)
        await session.flush()
        session.add(RefChange(push_id=row.id, ref_name=MAIN, old_oid=old, new_oid=new, forced=True))


async def due_for_prune(database: Database, age: dt.timedelta) -> list[int]:
    async with database.read() as session:
        return await select_repositories_to_prune(session, unreachable_for=age)


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
