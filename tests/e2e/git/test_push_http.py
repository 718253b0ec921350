"""Pushing over HTTP with the real git client: everything git can do."""

from sqlalchemy import select

from models import Event, GitPack, GitRef, Push, RefChange, Repository
from services import repositories
from services.actor import OPERATOR
from services.context import OpContext
from services.repositories import RepositoryChanges
from tests.e2e.git.conftest import Client, World
from tests.e2e.git.pushes import nothing_left, refs
from tests.support.git import GitRepository


async def test_a_first_push_chooses_the_default_branch(
    client: Client, world: World, tmp_path: object
) -> None:
    source = GitRepository.create(client.folder / "source")
    source.git("checkout", "--quiet", "-b", "trunk")
    oid = source.commit("one")
    source.git("branch", "other")

    await client.git("push", client.url("ann/demo", "ann"), "trunk", "other", cwd=source.path)

    clone = await client.clone(url=client.url("ann/demo"))
    assert clone.git("symbolic-ref", "HEAD") == "refs/heads/trunk"
    assert await refs(world) == {"refs/heads/trunk": oid, "refs/heads/other": oid}


async def test_a_push_is_recorded_once_for_each_ref(
    client: Client, world: World, history: GitRepository
) -> None:
    old, older = history.oid("main"), history.oid("main~2")
    new = history.commit("next")
    await client.git(
        "push", client.url("ann/demo", "ann"), "main", "+main~3:topic", ":refs/tags/v0.1",
        cwd=history.path,
    )  # fmt: skip

    async with world.runtime.database.read() as session:
        push = (await session.scalars(select(Push).order_by(Push.id.desc()).limit(1))).one()
        changes = await session.scalars(select(RefChange).where(RefChange.push_id == push.id))
        told = {
            change.ref_name: (change.old_oid, change.new_oid, change.forced) for change in changes
        }
        event = (await session.scalars(select(Event).order_by(Event.id.desc()).limit(1))).one()
        row = await session.get(Repository, world.ids["demo"])
    assert older != old
    assert told["refs/heads/main"] == (old, new, False)
    assert told["refs/heads/topic"][2] is True
    assert told["refs/tags/v0.1"][1] is None
    assert len(told) == 3
    assert (push.door, push.pusher_id) == ("http", world.ids["ann"])
    assert event.name == "PushReceived"
    assert event.payload == {
        "repository_id": world.ids["demo"],
        "push_id": push.id,
        "generation": push.generation,
    }
    assert row is not None
    assert row.generation == push.generation
    assert row.pushed_at is not None
    await nothing_left(world)


async def test_forced_and_deleted_refs_and_tags(
    client: Client, world: World, history: GitRepository
) -> None:
    url = client.url("ann/demo", "ann")
    history.git("reset", "--quiet", "--hard", "HEAD~1")
    forced = history.commit("another future")

    refused = await client.run("push", url, "main", cwd=history.path)
    assert refused.returncode == 1
    assert "non-fast-forward" in refused.stderr or "fetch first" in refused.stderr

    await client.git("push", "--force", url, "main", cwd=history.path)
    history.git("tag", "--force", "-a", "-m", "moved", "v1.0", "main")
    await client.git("push", "--force", url, "v1.0", cwd=history.path)
    await client.git("push", "--delete", url, "topic", cwd=history.path)

    now = await refs(world)
    assert now["refs/heads/main"] == forced
    assert now["refs/tags/v1.0"] == history.oid("v1.0")
    assert "refs/heads/topic" not in now
    clone = await client.clone(url=client.url("ann/demo"))
    assert clone.oid("v1.0^{commit}") == forced


async def test_atomic_pushes_are_all_or_nothing(
    client: Client, world: World, history: GitRepository
) -> None:
    before = await refs(world)
    history.commit("next")
    done = await client.run(
        "push", "--atomic", client.url("ann/demo", "ann"), "main", "main:refs/pull/1/head",
        cwd=history.path,
    )  # fmt: skip

    assert done.returncode == 1
    assert (
        "[remote rejected] main -> refs/pull/1/head"
        " (refs of this namespace are written by the hub alone)" in done.stderr
    )
    assert "[remote rejected] main -> main (atomic push failed)" in done.stderr
    assert await refs(world) == before
    await nothing_left(world)


async def test_push_options_and_quiet_are_accepted(
    client: Client, world: World, history: GitRepository
) -> None:
    oid = history.commit("next")
    done = await client.run(
        "push", "--quiet", "-o", "ci.skip", "-o", "repo.private=true; rm -rf /",
        client.url("ann/demo", "ann"), "main", cwd=history.path,
    )  # fmt: skip

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (await refs(world))["refs/heads/main"] == oid
    async with world.runtime.database.read() as session:
        row = await session.get(Repository, world.ids["demo"])
    assert row is not None
    assert row.visibility.value == "public", "a push option changed a setting"


async def test_a_push_of_what_is_there_says_so(client: Client, history: GitRepository) -> None:
    done = await client.run("push", client.url("ann/demo", "ann"), "main", cwd=history.path)
    assert (done.returncode, done.stderr.strip()) == (0, "Everything up-to-date")


async def test_a_new_branch_on_an_existing_commit_needs_no_pack(
    client: Client, world: World, history: GitRepository
) -> None:
    async with world.runtime.database.read() as session:
        before = len((await session.scalars(select(GitPack.id))).all())
    await client.git(
        "push", "--quiet", client.url("ann/demo", "ann"), "main~1:refs/heads/again",
        cwd=history.path,
    )  # fmt: skip
    async with world.runtime.database.read() as session:
        assert len((await session.scalars(select(GitPack.id))).all()) == before
    assert (await refs(world))["refs/heads/again"] == history.oid("main~1")


async def test_shallow_clones_push_where_the_history_is_known_and_only_there(
    client: Client, world: World, history: GitRepository
) -> None:
    shallow = GitRepository(client.folder / "shallow")
    await client.git(
        "clone", "--quiet", "--depth=1", client.url("ann/demo", "ann"), str(shallow.path)
    )
    oid = shallow.commit("from a shallow clone")
    await client.git("push", "--quiet", "origin", "main", cwd=shallow.path)
    assert (await refs(world))["refs/heads/main"] == oid
    whole = await client.clone(url=client.url("ann/demo"), name="whole")
    assert whole.git("rev-list", "--count", "HEAD") == "11"

    async with world.runtime.database.write() as session:
        row = Repository(owner_id=world.ids["ann"], name="e", name_key="e", visibility="private")
        row.visibility = (await session.get(Repository, world.ids["demo"])).visibility
        session.add(row)
    done = await client.run("push", client.url("ann/e", "ann"), "main", cwd=shallow.path)
    assert done.returncode == 1
    assert "[remote rejected] main -> main (shallow update not allowed)" in done.stderr
    await nothing_left(world)


async def test_an_old_name_still_takes_pushes_and_tells_the_new_one(
    client: Client, world: World, history: GitRepository
) -> None:
    op = OpContext(world.runtime, OPERATOR, "test")
    await repositories.update_repository(op, world.ids["demo"], RepositoryChanges(name="renamed"))
    oid = history.commit("next")

    done = await client.run("push", client.url("ann/demo", "ann"), "main", cwd=history.path)

    assert done.returncode == 0, done.stderr
    assert "remote: this repository moved; use ann/renamed instead" in done.stderr
    assert (await refs(world))["refs/heads/main"] == oid


async def test_many_refs_at_once(client: Client, world: World, history: GitRepository) -> None:
    oid = history.oid("main")
    lines = "".join(f"create refs/heads/many/{number} {oid}\n" for number in range(3000))
    history.git("update-ref", "--stdin", stdin=lines.encode())
    await client.git(
        "push", "--quiet", client.url("ann/demo", "ann"), "refs/heads/many/*", cwd=history.path
    )
    assert len([name for name in await refs(world) if "/many/" in name]) == 3000
    async with world.runtime.database.read() as session:
        generations = await session.scalars(
            select(GitRef.generation).where(GitRef.name.startswith("refs/heads/many/")).distinct()
        )
        assert len(generations.all()) == 1
