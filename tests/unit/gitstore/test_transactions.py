"""Refs and packs change together, by compare-and-swap, or not at all."""

import asyncio

import pytest
from sqlalchemy import select

from gitstore.errors import (
    MissingObjects,
    PackRejected,
    PruneEpochChanged,
    RepositoryGone,
    UploadIntentGone,
)
from gitstore.store import GitStore
from gitstore.transactions import RefUpdate, discard_upload
from models import GitPack, GitRef, PackUpload, Repository
from models.database import Database
from storage_adapters.base import ObjectStore
from tests.support.content import Bytes
from tests.support.git import GitRepository
from tests.unit.gitstore.conftest import PushPack

MAIN = "refs/heads/main"
pytestmark = pytest.mark.databases


async def refs_of(git_store: GitStore, database: Database, repository_id: int) -> dict[str, str]:
    async with database.read() as session:
        return {ref.name: ref.oid for ref in await git_store.list_refs(session, repository_id)}


async def generation_of(database: Database, repository_id: int) -> int | None:
    async with database.read() as session:
        return await session.scalar(
            select(Repository.generation).where(Repository.id == repository_id)
        )


async def stored_keys(store: ObjectStore) -> list[str]:
    return [info.key async for info in store.list("packs/")]


async def test_a_push_becomes_visible_as_a_whole(
    push: PushPack,
    source: GitRepository,
    git_store: GitStore,
    database: Database,
    object_store: ObjectStore,
    repository_id: int,
) -> None:
    oid = source.commit("one")

    applied = await push(source.pack("main"), RefUpdate(MAIN, None, oid))

    assert applied.generation == 1
    assert applied.rejected == {}
    assert await refs_of(git_store, database, repository_id) == {MAIN: oid}
    async with database.read() as session:
        (pack,) = await session.scalars(select(GitPack))
        assert (await session.scalars(select(PackUpload))).all() == []
    assert pack.object_count == 3
    keys = await stored_keys(object_store)
    assert keys == [pack.storage_key + suffix for suffix in (".idx", ".pack", ".rev")]
    async with git_store.open(repository_id) as local:
        assert GitRepository(local.path).git("rev-parse", MAIN) == oid
        assert GitRepository(local.path).git("fsck", "--full", "--strict") == ""


async def test_compare_and_swap_refuses_a_stale_old_value(
    push: PushPack,
    source: GitRepository,
    git_store: GitStore,
    database: Database,
    repository_id: int,
) -> None:
    first = source.commit("one")
    await push(source.pack("main"), RefUpdate(MAIN, None, first))
    second = source.commit("two")

    created = await push(source.pack("main"), RefUpdate(MAIN, None, second))
    moved = await push(source.pack("main"), RefUpdate(MAIN, second, second))

    assert created.rejected == {MAIN: "changed by another push"}
    assert moved.rejected == {MAIN: "changed by another push"}
    assert await refs_of(git_store, database, repository_id) == {MAIN: first}


async def test_one_of_two_racing_pushes_wins(
    push: PushPack,
    source: GitRepository,
    git_store: GitStore,
    database: Database,
    repository_id: int,
) -> None:
    base = source.commit("base")
    await push(source.pack("main"), RefUpdate(MAIN, None, base))
    tips = []
    for name in ("left", "right"):
        source.git("checkout", "--quiet", "-b", name, base)
        tips.append(source.commit(name))

    outcomes = await asyncio.gather(
        *(push(source.pack(tip, f"^{base}"), RefUpdate(MAIN, base, tip)) for tip in tips)
    )

    winners = [tip for tip, each in zip(tips, outcomes, strict=True) if each.changed]
    assert len(winners) == 1
    assert await refs_of(git_store, database, repository_id) == {MAIN: winners[0]}
    assert sorted(list(each.rejected.values()) for each in outcomes) == [
        [],
        ["changed by another push"],
    ]


async def test_atomic_is_all_or_nothing(
    push: PushPack,
    source: GitRepository,
    git_store: GitStore,
    database: Database,
    repository_id: int,
) -> None:
    oid = source.commit("one")
    await push(source.pack("main"), RefUpdate(MAIN, None, oid))
    wishes = (RefUpdate("refs/heads/new", None, oid), RefUpdate(MAIN, None, oid))

    together = await push(source.pack("main"), *wishes, atomic=True)
    assert together.changed == []
    assert await refs_of(git_store, database, repository_id) == {MAIN: oid}

    apart = await push(source.pack("main"), *wishes)
    assert [each.name for each in apart.changed] == ["refs/heads/new"]
    assert apart.rejected == {MAIN: "changed by another push"}


@pytest.mark.parametrize(
    ("existing", "created", "reason"),
    [
        ("refs/heads/a", "refs/heads/a/b", "conflicts with the existing ref refs/heads/a"),
        ("refs/heads/a/b", "refs/heads/a", "conflicts with the existing ref refs/heads/a/b"),
        ("refs/heads/a", "refs/heads/a/b/c", "conflicts with the existing ref refs/heads/a"),
        ("refs/heads/a/b/c", "refs/heads/a", "conflicts with the existing ref refs/heads/a/b/c"),
    ],
)
async def test_a_name_is_not_file_and_folder_at_once(
    push: PushPack, source: GitRepository, existing: str, created: str, reason: str
) -> None:
    oid = source.commit("one")
    await push(source.pack("main"), RefUpdate(existing, None, oid))

    assert (await push(None, RefUpdate(created, None, oid))).rejected == {created: reason}
    neighbour = await push(None, RefUpdate("refs/heads/a-2", None, oid))
    assert neighbour.rejected == {}
    replaced = await push(None, RefUpdate(existing, oid, None), RefUpdate(created, None, oid))
    assert replaced.rejected == {}


async def test_a_deleted_ref_leaves_a_marker_and_can_come_back(
    push: PushPack,
    source: GitRepository,
    git_store: GitStore,
    database: Database,
    repository_id: int,
) -> None:
    oid = source.commit("one")
    await push(source.pack("main"), RefUpdate(MAIN, None, oid))

    gone = await push(None, RefUpdate(MAIN, oid, None))
    assert gone.generation == 2
    assert await refs_of(git_store, database, repository_id) == {}
    async with database.read() as session:
        (row,) = await session.scalars(select(GitRef))
        assert (row.oid, row.generation) == (None, 2)

    again = await push(None, RefUpdate(MAIN, oid, None))
    assert (again.changed, again.rejected) == ([], {})

    back = await push(None, RefUpdate(MAIN, None, oid))
    assert back.rejected == {}
    async with git_store.open(repository_id) as local:
        assert [(ref.name, ref.oid) for ref in local.packed_refs()] == [(MAIN, oid)]


async def test_a_pack_without_needed_objects_is_refused(
    push: PushPack, source: GitRepository, object_store: ObjectStore
) -> None:
    base = source.commit("base")
    tip = source.commit("tip")

    with pytest.raises(PackRejected):
        await push(source.pack(tip, f"^{base}"), RefUpdate(MAIN, None, tip))
    blob = source.git("hash-object", "-w", "--stdin", stdin=b"unrelated")
    alone = source.run("pack-objects", "--stdout", stdin=blob.encode()).stdout
    with pytest.raises(MissingObjects, match="lacks objects that the pushed refs need"):
        await push(alone, RefUpdate(MAIN, None, tip))
    assert await stored_keys(object_store) == []


async def test_corrupt_and_truncated_packs_are_refused_with_gits_reason(
    push: PushPack, source: GitRepository
) -> None:
    oid = source.commit("one")
    pack = source.pack("main")
    flipped = bytearray(pack)
    flipped[len(pack) // 2] ^= 0xFF

    for damaged in (bytes(flipped), pack[:-7], pack[:10], b"", b"not a pack at all" * 10):
        with pytest.raises(PackRejected) as caught:
            await push(damaged, RefUpdate(MAIN, None, oid))
        assert "/" not in str(caught.value).replace("n/a", ""), "a path of the server leaked"


async def test_a_thin_pack_is_completed(
    push: PushPack,
    source: GitRepository,
    git_store: GitStore,
    repository_id: int,
) -> None:
    text = "\n".join(f"line {number}" for number in range(3000))
    first = source.commit("one", files={"big.txt": text})
    await push(source.pack("main"), RefUpdate(MAIN, None, first))
    second = source.commit("two", files={"big.txt": text + "\nanother"})

    thin = source.pack("main", f"^{first}", thin=True)
    assert len(thin) < 1000
    await push(thin, RefUpdate(MAIN, first, second))

    async with git_store.open(repository_id) as local:
        repository = GitRepository(local.path)
        assert repository.git("fsck", "--full", "--strict") == ""
        assert repository.git("rev-list", "--count", MAIN) == "2"


async def test_an_upload_that_the_sweep_took_does_not_get_published(
    git_store: GitStore,
    database: Database,
    object_store: ObjectStore,
    repository_id: int,
    source: GitRepository,
) -> None:
    oid = source.commit("one")
    async with git_store.begin(repository_id) as work:
        received = await work.quarantine.receive_pack(
            Bytes(source.pack("main")), progress=None, input_ended=lambda: None
        )
        assert received is not None
        stored = await work.upload(received)

        assert await discard_upload(database, object_store, stored.storage_key)
        with pytest.raises(UploadIntentGone):
            async with database.write() as session:
                await work.apply(session, [RefUpdate(MAIN, None, oid)], stored, atomic=False)

    assert await refs_of(git_store, database, repository_id) == {}
    assert await generation_of(database, repository_id) == 0
    assert await stored_keys(object_store) == []


async def test_the_sweep_cannot_take_a_published_pack(
    push: PushPack, source: GitRepository, database: Database, object_store: ObjectStore
) -> None:
    oid = source.commit("one")
    await push(source.pack("main"), RefUpdate(MAIN, None, oid))
    async with database.read() as session:
        key = await session.scalar(select(GitPack.storage_key))
    assert key is not None

    assert not await discard_upload(database, object_store, key)

    assert len(await stored_keys(object_store)) == 3


async def test_a_push_from_before_a_prune_must_check_again(
    git_store: GitStore, database: Database, repository_id: int, source: GitRepository
) -> None:
    oid = source.commit("one")
    async with git_store.begin(repository_id) as work:
        async with database.write() as session:
            row = await session.get(Repository, repository_id)
            assert row is not None
            row.prune_epoch += 1
        with pytest.raises(PruneEpochChanged):
            async with database.write() as session:
                await work.apply(session, [RefUpdate(MAIN, None, oid)], None, atomic=False)

    assert await generation_of(database, repository_id) == 0


async def test_a_deleted_repository_says_so(
    git_store: GitStore, database: Database, repository_id: int, source: GitRepository
) -> None:
    oid = source.commit("one")
    async with git_store.begin(repository_id) as work:
        async with database.write() as session:
            await session.delete(await session.get(Repository, repository_id))
        with pytest.raises(RepositoryGone):
            async with database.write() as session:
                await work.apply(session, [RefUpdate(MAIN, None, oid)], None, atomic=False)
    with pytest.raises(RepositoryGone):
        async with git_store.open(repository_id):
            pass


async def test_annotated_tags_keep_what_they_point_to(
    push: PushPack, source: GitRepository, git_store: GitStore, repository_id: int
) -> None:
    oid = source.commit("one")
    source.git("tag", "--annotate", "--message", "first", "v1")
    source.git("tag", "--annotate", "--message", "tag of a tag", "v1-again", "v1")
    tag, nested = source.oid("v1"), source.oid("v1-again")

    async with git_store.begin(repository_id) as work:
        await work.quarantine.receive_pack(
            Bytes(source.pack("v1", "v1-again")), progress=None, input_ended=lambda: None
        )
        missing = "1" * 40
        described = await work.quarantine.describe([oid, tag, nested, missing])

    assert (described[oid].type, described[oid].peeled_oid) == ("commit", None)
    assert (described[tag].type, described[tag].peeled_oid) == ("tag", oid)
    assert (described[nested].peeled_oid, described[nested].peeled_type) == (oid, "commit")
    assert missing not in described
