"""Creating, changing, handing over and deleting repositories."""

import asyncio

import pytest
from sqlalchemy import func, select

from gitstore.identifiers import new_ulid
from models import (
    Collaborator,
    Event,
    GitPack,
    GitRef,
    PackUpload,
    Push,
    RefChange,
    Repository,
    RepositoryRedirect,
    User,
    Visibility,
)
from services import access, authentication, repositories
from services.access import Action, Role
from services.actor import Actor
from services.errors import (
    Conflict,
    FailedPrecondition,
    Forbidden,
    InsufficientScopes,
    Invalid,
    NotFound,
    Unauthenticated,
)
from services.repositories import RepositoryChanges
from services.runtime import Runtime
from tests.support.factories import (
    make_collaborator,
    make_repository,
    make_session,
    make_token,
    make_user,
    session_actor,
)
from tests.support.runtime import make_op, operator

FORM = "a repository name can only have the letters a to z, digits, '.', '-' and '_'"
TAKEN = "Name already exists on this account"


async def actor_of(runtime: Runtime, user: User) -> Actor:
    return session_actor(await make_session(runtime, user))


async def by_token(runtime: Runtime, user: User, *scopes: str) -> Actor:
    made = await make_token(runtime, user, *scopes)
    return await authentication.authenticate_token(make_op(runtime), made.token)


async def reload(runtime: Runtime, repository: Repository) -> Repository:
    async with runtime.database.read() as session:
        row = await session.get(Repository, repository.id)
    assert row is not None
    return row


async def add_refs(runtime: Runtime, repository: Repository, *names: str) -> None:
    async with runtime.database.write() as session:
        session.add_all(
            GitRef(repository_id=repository.id, name=name, oid="1" * 40, generation=1)
            for name in names
        )


async def events(runtime: Runtime) -> list[tuple[str, dict[str, object]]]:
    async with runtime.database.read() as session:
        rows = await session.scalars(select(Event).order_by(Event.id))
        return [(row.name, row.payload) for row in rows if row.name.startswith("Repository")]


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("", "a repository name cannot be empty"),
        ("x" * 101, "a repository name can have at most 100 characters"),
        ("a b", FORM),
        ("a/b", FORM),
        ("../etc", FORM),
        ("a\n", FORM),
        ("a\0", FORM),
        ("n\u0430me", FORM),
        ("\u212aey", FORM),
        (".", "the repository name '.' is reserved; choose another one"),
        ("..", "the repository name '..' is reserved; choose another one"),
        ("info", "the repository name 'info' is reserved; choose another one"),
        (".GIT", "the repository name '.GIT' is reserved; choose another one"),
        ("demo.git", "a repository name cannot end with '.git'"),
        ("demo.Wiki", "a repository name cannot end with '.wiki'"),
        ("demo.lock", "a repository name cannot end with '.lock'"),
        ("-demo", "a repository name cannot begin with '-'"),
    ],
)
async def test_bad_names_are_refused_with_the_reason(
    runtime: Runtime, ann: User, name: str, fault: str
) -> None:
    with pytest.raises(Invalid) as caught:
        await repositories.create_repository(operator(runtime), "ann", name)
    assert caught.value.message == fault
    assert caught.value.fields == ("name",)


@pytest.mark.parametrize("name", ["a", "x" * 100, "_", "...", ".github", "Demo-1_x.y", "git"])
async def test_good_names_are_kept_as_written(runtime: Runtime, ann: User, name: str) -> None:
    row = await repositories.create_repository(operator(runtime), "ANN", name)
    assert (row.name, row.name_key, row.owner_id) == (name, name.lower(), ann.id)


@pytest.mark.databases
async def test_creating_a_repository(runtime: Runtime, ann: User) -> None:
    op = make_op(runtime, await actor_of(runtime, ann))
    row = await repositories.create_repository(
        op,
        "ann",
        "demo",
        visibility=Visibility.INTERNAL,
        description="  A demonstration \u2013 with tools  ",
        default_branch="trunk",
    )
    row = await reload(runtime, row)
    assert row.description == "A demonstration \u2013 with tools"
    assert (row.visibility, row.default_branch) == (Visibility.INTERNAL, "trunk")
    assert (row.generation, row.prune_epoch, row.archived_at) == (0, 0, None)
    assert await events(runtime) == [
        ("RepositoryCreated", {"repository_id": row.id, "owner_id": ann.id})
    ]
    with pytest.raises(Conflict) as caught:
        await repositories.create_repository(op, "ann", "DEMO")
    assert (caught.value.message, caught.value.fields) == (TAKEN, ("name",))


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"description": "x" * 351}, "a description can have at most 350 characters"),
        (
            {"description": "two\nlines"},
            "a description cannot have line breaks or control characters",
        ),
        (
            {"default_branch": "-x"},
            "a part of the ref name begins with '-'",
        ),
        (
            {"default_branch": "a..b"},
            "ref name has a character or sequence that git does not allow",
        ),
        ({"default_branch": "HEAD"}, "HEAD cannot be the name of a branch or tag"),
    ],
)
async def test_bad_input_is_refused_with_the_reason(
    runtime: Runtime, ann: User, arguments: dict[str, str], fault: str
) -> None:
    with pytest.raises(Invalid) as caught:
        await repositories.create_repository(operator(runtime), "ann", "demo", **arguments)  # type: ignore[arg-type]
    assert caught.value.message == fault


async def test_who_may_create_where(runtime: Runtime, ann: User, bob: User) -> None:
    with pytest.raises(Unauthenticated):
        await repositories.create_repository(make_op(runtime), "ann", "demo")
    with pytest.raises(Forbidden) as caught:
        await repositories.create_repository(
            make_op(runtime, await actor_of(runtime, bob)), "ann", "demo"
        )
    assert caught.value.message == "you cannot create repositories for ann"
    with pytest.raises(NotFound) as missing:
        await repositories.create_repository(operator(runtime), "nobody-here", "demo")
    assert missing.value.message == ("Could not resolve to a User with the login of 'nobody-here'.")
    public = make_op(runtime, await by_token(runtime, ann, "public_repo"))
    await repositories.create_repository(public, "ann", "public")
    for visibility in (Visibility.PRIVATE, Visibility.INTERNAL):
        with pytest.raises(InsufficientScopes) as scope:
            await repositories.create_repository(public, "ann", "hidden", visibility=visibility)
        assert scope.value.details == {"scopes": ["repo"]}
    full = make_op(runtime, await by_token(runtime, ann, "repo"))
    await repositories.create_repository(full, "ann", "private", visibility=Visibility.PRIVATE)
    boss = await make_user(runtime, "boss", site_admin=True)
    await repositories.create_repository(
        make_op(runtime, await actor_of(runtime, boss)), "ann", "by-boss"
    )


@pytest.mark.databases
async def test_of_many_who_create_one_name_one_succeeds(runtime: Runtime, ann: User) -> None:
    outcomes = await asyncio.gather(
        *(
            repositories.create_repository(operator(runtime), "ann", name)
            for name in ("demo", "Demo", "DEMO", "dEMO")
        ),
        return_exceptions=True,
    )
    refused = [each for each in outcomes if isinstance(each, Conflict)]
    assert [each.message for each in refused] == [TAKEN] * 3
    assert len(await events(runtime)) == 1


@pytest.mark.databases
async def test_updating_changes_what_is_given(runtime: Runtime, ann: User) -> None:
    op = make_op(runtime, await actor_of(runtime, ann))
    row = await repositories.create_repository(op, "ann", "demo", description="old")

    async def update(changes: RepositoryChanges) -> Repository:
        await repositories.update_repository(op, row.id, changes)
        return await reload(runtime, row)

    before = len(await events(runtime))
    await update(RepositoryChanges())
    await update(RepositoryChanges(name="demo", description="old", archived=False))
    assert len(await events(runtime)) == before
    changed = await update(
        RepositoryChanges(
            name="New",
            description=None,
            visibility=Visibility.PRIVATE,
            default_branch="trunk",
            archived=True,
        )
    )
    assert (changed.name, changed.name_key, changed.description) == ("New", "new", None)
    assert (changed.visibility, changed.default_branch) == (Visibility.PRIVATE, "trunk")
    assert changed.archived_at is not None
    assert changed.generation == 1
    assert (await events(runtime))[-1] == (
        "RepositoryUpdated",
        {
            "repository_id": row.id,
            "changes": ["name", "description", "visibility", "default_branch", "archived"],
        },
    )
    for changes in (
        RepositoryChanges(name="other"),
        RepositoryChanges(description="x"),
        RepositoryChanges(visibility=Visibility.PUBLIC),
        RepositoryChanges(default_branch="main"),
    ):
        with pytest.raises(FailedPrecondition) as caught:
            await update(changes)
        assert caught.value.message == "repository is archived so it is read-only"
    # Out of the archive and changed in one step.
    changed = await update(RepositoryChanges(archived=False, description="back"))
    assert (changed.archived_at, changed.description) == (None, "back")


@pytest.mark.databases
async def test_all_of_an_update_or_nothing(runtime: Runtime, ann: User) -> None:
    row = await make_repository(runtime, ann, "demo")
    await make_repository(runtime, ann, "taken")
    with pytest.raises(Conflict) as caught:
        await repositories.update_repository(
            operator(runtime), row.id, RepositoryChanges(name="Taken", description="new")
        )
    assert (caught.value.message, caught.value.fields) == (TAKEN, ("name",))
    with pytest.raises(Invalid):
        await repositories.update_repository(
            operator(runtime), row.id, RepositoryChanges(name="new", default_branch="a..b")
        )
    same = await reload(runtime, row)
    assert (same.name, same.description) == ("demo", None)
    async with runtime.database.read() as session:
        assert await session.scalar(select(RepositoryRedirect)) is None


@pytest.mark.databases
async def test_the_default_branch_must_exist_once_there_are_branches(
    runtime: Runtime, ann: User
) -> None:
    row = await make_repository(runtime, ann, "demo")
    await add_refs(runtime, row, "refs/tags/v1")
    await repositories.update_repository(
        operator(runtime), row.id, RepositoryChanges(default_branch="trunk")
    )
    await add_refs(runtime, row, "refs/heads/main", "refs/heads/next")
    with pytest.raises(Invalid) as caught:
        await repositories.update_repository(
            operator(runtime), row.id, RepositoryChanges(default_branch="absent")
        )
    assert caught.value.message == "the repository has no branch 'absent'; push it first"
    assert caught.value.fields == ("defaultBranch",)
    await repositories.update_repository(
        operator(runtime), row.id, RepositoryChanges(default_branch="next")
    )
    changed = await reload(runtime, row)
    assert (changed.default_branch, changed.generation) == ("next", 2)


async def test_each_change_takes_its_own_right(runtime: Runtime, ann: User, bob: User) -> None:
    row = await make_repository(runtime, ann, "demo")
    await make_collaborator(runtime, row, bob, Role.MAINTAIN)
    op = make_op(runtime, await actor_of(runtime, bob))
    await repositories.update_repository(op, row.id, RepositoryChanges(description="by bob"))
    for changes in (
        RepositoryChanges(name="bobs"),
        RepositoryChanges(visibility=Visibility.PRIVATE),
        RepositoryChanges(default_branch="bobs"),
        RepositoryChanges(archived=True),
        RepositoryChanges(archived=False),
        RepositoryChanges(description="more", visibility=Visibility.PRIVATE),
    ):
        with pytest.raises(Forbidden) as caught:
            await repositories.update_repository(op, row.id, changes)
        assert caught.value.message == (
            "you need the admin role on ann/demo for this; yours is maintain"
        )
    same = await reload(runtime, row)
    assert (same.name, same.description) == ("demo", "by bob")


@pytest.mark.databases
async def test_an_old_name_leads_on_until_it_is_taken(runtime: Runtime, ann: User) -> None:
    row = await make_repository(runtime, ann, "one")

    async def rename(name: str) -> None:
        await repositories.update_repository(
            operator(runtime), row.id, RepositoryChanges(name=name)
        )

    async def found(name: str) -> int:
        async with make_op(runtime).read() as tx:
            return (await repositories.get_repository(tx, "ann", name)).id

    for name in ("two", "three", "one", "One", "four"):
        await rename(name)
    for name in ("one", "two", "three", "four"):
        assert await found(name) == row.id
    other = await make_repository(runtime, ann, "Two")
    assert await found("two") == other.id
    # The name stays the other's, also once that has gone: it leads nowhere then.
    await repositories.delete_repository(operator(runtime), other.id)
    with pytest.raises(NotFound):
        await found("two")
    assert await found("three") == row.id


@pytest.mark.databases
async def test_handing_a_repository_over(runtime: Runtime, ann: User, bob: User) -> None:
    row = await make_repository(runtime, ann, "demo", visibility=Visibility.PRIVATE)
    await make_collaborator(runtime, row, bob, Role.READ)
    await make_repository(runtime, bob, "taken")
    boss = await make_user(runtime, "boss", site_admin=True)
    op = make_op(runtime, await actor_of(runtime, boss))
    with pytest.raises(Invalid) as same:
        await repositories.transfer_repository(op, row.id, "ann")
    assert same.value.message == "the repository belongs to this account already"
    moved = await repositories.transfer_repository(op, row.id, "Bob")
    assert (moved.id, moved.owner_id) == (row.id, bob.id)
    old_owner, new_owner = await actor_of(runtime, ann), await actor_of(runtime, bob)
    async with operator(runtime).read() as tx:
        assert (await repositories.get_repository(tx, "ann", "demo")).id == row.id
        assert await access.role_of(tx, new_owner, row) is Role.ADMIN
        assert await access.role_of(tx, old_owner, row) is Role.WRITE
        roles = await tx.session.execute(select(Collaborator.user_id, Collaborator.role))
        assert [tuple(each) for each in roles] == [(ann.id, "write")]
    assert (await events(runtime))[-1] == (
        "RepositoryTransferred",
        {"repository_id": row.id, "old_owner_id": ann.id, "new_owner_id": bob.id},
    )
    # And back again: what led there now is there.
    await repositories.transfer_repository(op, row.id, "ann")
    async with runtime.database.read() as session:
        redirects = await session.execute(
            select(RepositoryRedirect.owner_id, RepositoryRedirect.name_key)
        )
        assert [tuple(each) for each in redirects] == [(bob.id, "demo")]
    taken = await make_repository(runtime, ann, "Taken")
    with pytest.raises(Conflict) as conflict:
        await repositories.transfer_repository(op, taken.id, "bob")
    assert conflict.value.message == TAKEN


async def test_nobody_hands_repositories_to_strangers(
    runtime: Runtime, ann: User, bob: User
) -> None:
    row = await make_repository(runtime, ann, "demo")
    owner, stranger = await actor_of(runtime, ann), await actor_of(runtime, bob)
    with pytest.raises(Forbidden) as caught:
        await repositories.transfer_repository(make_op(runtime, owner), row.id, "bob")
    assert caught.value.message == "you cannot create repositories for bob"
    with pytest.raises(Forbidden):
        await repositories.transfer_repository(make_op(runtime, stranger), row.id, "bob")
    assert (await reload(runtime, row)).owner_id == ann.id


@pytest.mark.databases
async def test_deleting_leaves_only_what_the_sweep_purges(runtime: Runtime, ann: User) -> None:
    row = await make_repository(runtime, ann, "demo")
    await repositories.update_repository(
        operator(runtime), row.id, RepositoryChanges(name="renamed")
    )
    kept = await make_repository(runtime, ann, "kept")
    await add_refs(runtime, row, "refs/heads/main")
    await make_collaborator(runtime, row, await make_user(runtime), Role.READ)
    await make_token(runtime, ann, "repo", repository_ids=[row.id])
    async with runtime.database.write() as session:
        push = Push(key=new_ulid(), repository_id=row.id, door="http", generation=1)
        session.add(push)
        await session.flush()
        session.add(RefChange(push_id=push.id, ref_name="refs/heads/main", forced=False))
        session.add_all(
            GitPack(
                repository_id=repository.id,
                storage_key=f"packs/{repository.id}/{number}/pack-x",
                name="x",
                size_bytes=1,
                index_size_bytes=1,
                reverse_index_size_bytes=1,
                object_count=1,
                generation=1,
            )
            for repository in (row, kept)
            for number in range(2)
        )
    op = make_op(runtime, await by_token(runtime, ann, "repo", "delete_repo"))
    await repositories.delete_repository(op, row.id)
    async with runtime.database.read() as session:
        uploads = await session.execute(
            select(PackUpload.storage_key, PackUpload.repository_id).order_by(
                PackUpload.storage_key
            )
        )
        assert [tuple(each) for each in uploads] == [
            (f"packs/{row.id}/0/pack-x", row.id),
            (f"packs/{row.id}/1/pack-x", row.id),
        ]
        assert all(
            moment is not None for moment in await session.scalars(select(PackUpload.created_at))
        )
        for table in (GitRef, Push, RefChange, RepositoryRedirect, Collaborator):
            assert await session.scalar(select(func.count()).select_from(table)) == 0
        packs = await session.scalars(select(GitPack.repository_id))
        assert set(packs) == {kept.id}
    assert (await events(runtime))[-1] == (
        "RepositoryDeleted",
        {"repository_id": row.id, "owner_id": ann.id, "name_with_owner": "ann/renamed"},
    )
    again = await make_repository(runtime, ann, "renamed")
    assert again.id > row.id
    with pytest.raises(NotFound):
        await repositories.delete_repository(op, row.id)


@pytest.mark.databases
async def test_of_two_who_delete_one_repository_one_does(runtime: Runtime, ann: User) -> None:
    row = await make_repository(runtime, ann, "demo")
    outcomes = await asyncio.gather(
        *(repositories.delete_repository(operator(runtime), row.id) for _ in range(3)),
        return_exceptions=True,
    )
    assert sorted(type(each).__name__ for each in outcomes) == ["NoneType", "NotFound", "NotFound"]
    assert [name for name, _ in await events(runtime)].count("RepositoryDeleted") == 1


@pytest.mark.databases
async def test_changes_that_race_do_not_undo_each_other(runtime: Runtime, ann: User) -> None:
    """Two branches as default at once: whichever comes second, both count (row 108)."""
    row = await make_repository(runtime, ann, "demo")
    await asyncio.gather(
        *(
            repositories.update_repository(operator(runtime), row.id, changes)
            for changes in (
                RepositoryChanges(default_branch="one"),
                RepositoryChanges(default_branch="two"),
                RepositoryChanges(default_branch="three"),
                RepositoryChanges(visibility=Visibility.PRIVATE),
            )
        )
    )
    changed = await reload(runtime, row)
    assert changed.generation == 3
    assert changed.visibility is Visibility.PRIVATE


async def test_deleting_takes_its_own_scope_and_role(
    runtime: Runtime, ann: User, bob: User
) -> None:
    row = await make_repository(runtime, ann, "demo")
    with pytest.raises(InsufficientScopes) as caught:
        await repositories.delete_repository(
            make_op(runtime, await by_token(runtime, ann, "repo")), row.id
        )
    assert caught.value.details == {"scopes": ["delete_repo"]}
    with pytest.raises(Forbidden):
        await repositories.delete_repository(make_op(runtime, await actor_of(runtime, bob)), row.id)
    with pytest.raises(Unauthenticated):
        await repositories.delete_repository(make_op(runtime), row.id)
    async with make_op(runtime).read() as tx:
        found = await access.get_repository(tx, row.id, Action.REPOSITORY_READ)
        assert found.id == row.id


async def test_listing_by_account(runtime: Runtime, ann: User, bob: User) -> None:
    await make_repository(runtime, ann, "one")
    await make_repository(runtime, ann, "two", visibility=Visibility.PRIVATE)
    await make_repository(runtime, bob, "three")
    async with make_op(runtime, await actor_of(runtime, ann)).read() as tx:
        every = await tx.session.scalars(repositories.select_repositories(tx))
        assert {row.name for row in every} == {"one", "two", "three"}
        hers = await tx.session.scalars(repositories.select_repositories(tx, ann.id))
        assert {row.name for row in hers} == {"one", "two"}
