"""Prunes drop what no ref reaches, and nothing that a push relies on."""

import datetime as dt

import pytest

from gitstore.errors import (
    MissingObjects,
    PruneEpochChanged,
    RelyingOnGarbage,
    RepositoryUnreadable,
)
from gitstore.maintenance import (
    sweep_retired,
)
from gitstore.settings import GitStoreSettings
from gitstore.store import GitStore
from gitstore.transactions import RefUpdate
from models.database import Database
from storage_adapters.base import ObjectStore
from tests.support.content import Bytes
from tests.support.git import GitRepository
from tests.unit.gitstore.compaction.conftest import (
    MAIN,
    Interruption,
    assert_whole,
    due_for_prune,
    has,
    packs_of,
    push_commits,
    record_push,
    second_node,
)
from tests.unit.gitstore.conftest import PushPack

pytestmark = pytest.mark.databases


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
