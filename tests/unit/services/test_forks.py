"""Forks: content and rights, and nothing left behind where one fails."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, func, select

from gitstore.fsck import fsck_repository
from gitstore.manifest import read_manifest
from gitstore.transactions import RefUpdate
from models import (
    Collaborator,
    Event,
    GitPack,
    GitRef,
    PackUpload,
    Repository,
    RepositoryFork,
    User,
    Visibility,
)
from services import forks, repositories
from services.access import Role
from services.errors import Conflict, Forbidden, NotFound, Unauthenticated, Unavailable
from services.repositories import RepositoryChanges
from services.runtime import Runtime
from storage_adapters.errors import StorageUnavailable
from tests.support.content import Bytes
from tests.support.factories import (
    make_collaborator,
    make_repository,
    make_session,
    session_actor,
)
from tests.support.git import GitRepository
from tests.support.object_stores import list_keys
from tests.support.runtime import make_op, operator

MAIN, TAG, HIDDEN = "refs/heads/main", "refs/tags/v1", "refs/changes/1"
TAKEN = "Name already exists on this account"
pytestmark = pytest.mark.databases


async def op_of(runtime: Runtime, user: User) -> Any:
    return make_op(runtime, session_actor(await make_session(runtime, user)))


async def push(runtime: Runtime, repository: Repository, pack: bytes, *updates: RefUpdate) -> None:
    async with runtime.git.begin(repository.id) as work:
        received = await work.quarantine.receive_pack(
            Bytes(pack), progress=None, input_ended=lambda: None
        )
        stored = await work.upload(received) if received else None
        async with runtime.database.write() as session:
            await work.apply(session, updates, stored, atomic=True)


@pytest.fixture
def work(tmp_path: Path) -> GitRepository:
    """A commit that was forced away, one on main with an annotated tag, one on a hidden ref."""
    return GitRepository.create(tmp_path / "work")


async def fill(runtime: Runtime, repository: Repository, work: GitRepository) -> dict[str, str]:
    """Returns commits by what became of them."""
    first = work.commit("first")
    work.git("tag", "-a", "v1", "-m", "one")
    tag = work.oid("v1")
    lost = work.commit("lost")
    await push(
        runtime,
        repository,
        work.pack("main", "v1"),
        RefUpdate(MAIN, None, lost),
        RefUpdate(TAG, None, tag, peeled_oid=first),
    )
    work.git("reset", "--quiet", "--hard", first)
    hidden = work.commit("hidden")
    work.git("reset", "--quiet", "--hard", first)
    kept = work.commit("kept")
    await push(
        runtime,
        repository,
        work.pack(kept, hidden, f"^{first}"),
        RefUpdate(MAIN, lost, kept),
        RefUpdate(HIDDEN, None, hidden),
    )
    return {"first": first, "tag": tag, "lost": lost, "hidden": hidden, "kept": kept}


async def has(runtime: Runtime, repository: Repository, oid: str) -> bool:
    async with runtime.git.open(repository.id) as local:
        return GitRepository(local.path).run("cat-file", "-e", oid).returncode == 0


async def assert_whole(runtime: Runtime, repository: Repository) -> None:
    result = await fsck_repository(
        runtime.database, runtime.object_store, runtime.git.settings, repository.id
    )
    assert (result.lines, result.healthy) == ([], True)


async def count(runtime: Runtime, table: type[Any]) -> int:
    async with runtime.database.read() as session:
        return await session.scalar(select(func.count()).select_from(table)) or 0


async def test_a_fork_has_what_branches_and_tags_reach(
    runtime: Runtime, ann: User, bob: User, work: GitRepository
) -> None:
    source = await make_repository(runtime, ann, "demo")
    await repositories.update_repository(
        operator(runtime), source.id, RepositoryChanges(description="A demo")
    )
    made = await fill(runtime, source, work)

    fork = await forks.fork_repository(await op_of(runtime, bob), source.id, "bob")

    assert (fork.owner_id, fork.name, fork.description) == (bob.id, "demo", "A demo")
    assert (fork.visibility, fork.default_branch) == (Visibility.PUBLIC, "main")
    assert (fork.generation, fork.prune_epoch) == (1, 0)
    async with runtime.database.read() as session:
        manifest = await read_manifest(session, fork.id)
        parent = await session.scalar(
            select(RepositoryFork.parent_id).where(RepositoryFork.repository_id == fork.id)
        )
        rows = (await session.scalars(select(Event).order_by(Event.id))).all()
    assert parent == source.id
    assert [(ref.name, ref.oid, ref.peeled_oid) for ref in manifest.refs] == [
        (MAIN, made["kept"], None),
        (TAG, made["tag"], made["first"]),
    ]
    (pack,) = manifest.packs
    # Two commits with a tree and a file each, and the tag.
    assert pack.object_count == 7
    assert pack.storage_key.startswith("packs/forks/")
    assert [(row.name, row.payload) for row in rows][-3:] == [
        ("RepositoryCreated", {"repository_id": fork.id, "owner_id": bob.id}),
        ("RepositoryForked", {"repository_id": fork.id, "parent_id": source.id}),
        ("ForkCreated", {"repository_id": source.id, "fork_id": fork.id}),
    ]
    assert {name: await has(runtime, fork, oid) for name, oid in made.items()} == {
        "first": True,
        "tag": True,
        "lost": False,
        "hidden": False,
        "kept": True,
    }
    assert await count(runtime, PackUpload) == 0
    await assert_whole(runtime, fork)


async def test_a_fork_outlives_its_source(
    runtime: Runtime, ann: User, bob: User, work: GitRepository
) -> None:
    source = await make_repository(runtime, ann, "demo")
    await fill(runtime, source, work)
    fork = await forks.fork_repository(await op_of(runtime, bob), source.id, "bob")
    async with runtime.database.read() as session:
        keys = list(
            await session.scalars(
                select(GitPack.storage_key).where(GitPack.repository_id == source.id)
            )
        )
    await repositories.delete_repository(operator(runtime), source.id)
    for key in keys:
        for suffix in (".pack", ".rev", ".idx"):
            await runtime.object_store.delete(key + suffix)
    await assert_whole(runtime, fork)
    assert await count(runtime, RepositoryFork) == 0


async def test_a_fork_of_an_empty_repository(runtime: Runtime, ann: User, bob: User) -> None:
    source = await make_repository(runtime, ann, "demo")
    fork = await forks.fork_repository(await op_of(runtime, bob), source.id, "bob", "mine")
    assert fork.name == "mine"
    assert await count(runtime, GitRef) == 0
    assert await count(runtime, GitPack) == 0
    assert await count(runtime, RepositoryFork) == 1


async def test_an_archived_repository_can_be_forked(
    runtime: Runtime, ann: User, bob: User, work: GitRepository
) -> None:
    source = await make_repository(runtime, ann, "demo")
    await fill(runtime, source, work)
    await repositories.update_repository(
        operator(runtime), source.id, RepositoryChanges(archived=True)
    )
    fork = await forks.fork_repository(await op_of(runtime, bob), source.id, "bob")
    assert fork.archived_at is None


async def test_a_private_fork_stays_private(runtime: Runtime, ann: User, bob: User) -> None:
    source = await make_repository(runtime, ann, "demo", visibility=Visibility.PRIVATE)
    await make_collaborator(runtime, source, bob, Role.READ)
    fork = await forks.fork_repository(await op_of(runtime, bob), source.id, "bob")
    assert fork.visibility is Visibility.PRIVATE


async def test_one_fork_for_each_account(runtime: Runtime, ann: User, bob: User) -> None:
    source = await make_repository(runtime, ann, "demo")
    op = await op_of(runtime, bob)
    first = await forks.fork_repository(op, source.id, "bob")
    again = await forks.fork_repository(op, source.id, "bob", "other")
    assert (again.id, again.name) == (first.id, "demo")
    assert await count(runtime, Repository) == 2


async def test_a_fork_made_meanwhile_is_returned(
    runtime: Runtime,
    ann: User,
    bob: User,
    work: GitRepository,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = await make_repository(runtime, ann, "demo")
    await fill(runtime, source, work)
    op = await op_of(runtime, bob)
    prepare = forks.prepare_fork
    made: list[Repository] = []

    async def prepare_late(*args: Any) -> Any:
        fork = await prepare(*args)
        monkeypatch.setattr(forks, "prepare_fork", prepare)
        made.append(await forks.fork_repository(op, source.id, "bob"))
        return fork

    monkeypatch.setattr(forks, "prepare_fork", prepare_late)
    late = await forks.fork_repository(op, source.id, "bob", "second")
    assert [late.id] == [row.id for row in made]
    assert await count(runtime, Repository) == 2
    assert await count(runtime, PackUpload) == 0
    assert len(await list_keys(runtime.object_store, "packs/forks/")) == 3


async def test_who_may_not(runtime: Runtime, ann: User, bob: User) -> None:
    private = await make_repository(runtime, ann, "secret", visibility=Visibility.PRIVATE)
    public = await make_repository(runtime, ann, "demo")
    missing = f"Could not resolve to a Repository with the id '{private.id}'."
    stranger = await op_of(runtime, bob)
    with pytest.raises(NotFound) as not_found:
        await forks.fork_repository(stranger, private.id, "bob")
    assert str(not_found.value) == missing
    with pytest.raises(NotFound) as not_found:
        await forks.fork_repository(make_op(runtime), private.id, "bob")
    assert str(not_found.value) == missing
    with pytest.raises(Unauthenticated) as unauthenticated:
        await forks.fork_repository(make_op(runtime), public.id, "bob")
    assert str(unauthenticated.value) == "sign in to do this"
    with pytest.raises(Forbidden) as forbidden:
        await forks.fork_repository(stranger, public.id, "ann", "other")
    assert str(forbidden.value) == "you cannot create repositories for ann"
    assert await count(runtime, Repository) == 2


async def test_a_taken_name(runtime: Runtime, ann: User, bob: User) -> None:
    source = await make_repository(runtime, ann, "demo")
    await make_repository(runtime, bob, "Demo")
    for op, login in ((await op_of(runtime, bob), "bob"), (await op_of(runtime, ann), "ann")):
        with pytest.raises(Conflict) as conflict:
            await forks.fork_repository(op, source.id, login)
        assert (str(conflict.value), conflict.value.fields) == (TAKEN, ("name",))


@pytest.mark.parametrize("loss", ["rights", "source", "name"])
async def test_nothing_is_left_of_what_is_refused_after_packing(
    runtime: Runtime,
    ann: User,
    bob: User,
    work: GitRepository,
    monkeypatch: pytest.MonkeyPatch,
    loss: str,
) -> None:
    source = await make_repository(runtime, ann, "demo", visibility=Visibility.PRIVATE)
    await make_collaborator(runtime, source, bob, Role.READ)
    await fill(runtime, source, work)
    prepare = forks.prepare_fork

    async def prepare_and_lose(*args: Any) -> Any:
        fork = await prepare(*args)
        assert len(await list_keys(runtime.object_store, "packs/forks/")) == 3
        if loss == "rights":
            async with runtime.database.write() as session:
                await session.execute(
                    delete(Collaborator).where(Collaborator.repository_id == source.id)
                )
        elif loss == "source":
            await repositories.delete_repository(operator(runtime), source.id)
        else:
            await make_repository(runtime, bob, "demo")
        return fork

    monkeypatch.setattr(forks, "prepare_fork", prepare_and_lose)
    with pytest.raises(Conflict if loss == "name" else NotFound):
        await forks.fork_repository(await op_of(runtime, bob), source.id, "bob")
    assert await list_keys(runtime.object_store, "packs/forks/") == []
    assert await count(runtime, RepositoryFork) == 0
    async with runtime.database.read() as session:
        intents = await session.scalars(
            select(PackUpload.storage_key).where(PackUpload.repository_id == 0)
        )
        assert intents.all() == []
        mine = select(func.count()).where(Repository.owner_id == bob.id)
        assert await session.scalar(mine) == (1 if loss == "name" else 0)


async def test_a_sweep_took_the_upload(
    runtime: Runtime,
    ann: User,
    bob: User,
    work: GitRepository,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = await make_repository(runtime, ann, "demo")
    await fill(runtime, source, work)
    prepare = forks.prepare_fork

    async def prepare_and_sweep(*args: Any) -> Any:
        fork = await prepare(*args)
        await forks.discard_fork(runtime.database, runtime.object_store, fork)
        return fork

    monkeypatch.setattr(forks, "prepare_fork", prepare_and_sweep)
    with pytest.raises(Unavailable) as unavailable:
        await forks.fork_repository(await op_of(runtime, bob), source.id, "bob")
    assert str(unavailable.value) == forks.FAILED
    assert await count(runtime, Repository) == 1
    assert await count(runtime, RepositoryFork) == 0


async def test_a_store_that_fails_leaves_nothing(
    runtime: Runtime,
    ann: User,
    bob: User,
    work: GitRepository,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = await make_repository(runtime, ann, "demo")
    await fill(runtime, source, work)
    put = runtime.object_store.put

    async def put_no_index(key: str, data: Any) -> int:
        if key.endswith(".idx"):
            raise StorageUnavailable("the disk is full")
        return await put(key, data)

    monkeypatch.setattr(runtime.object_store, "put", put_no_index)
    with pytest.raises(Unavailable):
        await forks.fork_repository(await op_of(runtime, bob), source.id, "bob")
    assert await list_keys(runtime.object_store, "packs/forks/") == []
    assert await count(runtime, PackUpload) == 0
