"""The ways to a repository row: what is told, what is not, and when rights are looked at again."""

import contextlib
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, event

from models import Collaborator, Repository, User, Visibility
from services import access, access_tokens, accounts, authentication, repositories, sessions
from services.access import Action, Role
from services.actor import ANONYMOUS, Actor, ActorKind
from services.errors import (
    FailedPrecondition,
    Forbidden,
    InsufficientScopes,
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

READ, PUSH = Action.REPOSITORY_READ, Action.REPOSITORY_PUSH


@contextlib.contextmanager
def statements(runtime: Runtime) -> Iterator[list[str]]:
    """The SQL that is run for reading meanwhile."""
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        seen.append(statement)

    engine: Engine = runtime.database.read_engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)


async def find(
    runtime: Runtime, actor: Actor, path: int | tuple[str, str], action: Action = READ
) -> Repository:
    async with make_op(runtime, actor).read() as tx:
        return await access.get_repository(tx, path, action)


async def actor_of(runtime: Runtime, user: User) -> Actor:
    return session_actor(await make_session(runtime, user))


@pytest.mark.databases
async def test_a_private_repository_and_a_missing_one_answer_alike(
    runtime: Runtime, ann: User, bob: User
) -> None:
    await make_repository(runtime, ann, "secret", visibility=Visibility.PRIVATE)
    for actor in (ANONYMOUS, await actor_of(runtime, bob)):
        answers = []
        for name in ("secret", "absent"):
            with statements(runtime) as seen, pytest.raises(NotFound) as caught:
                await find(runtime, actor, ("ann", name))
            assert caught.value.message == (
                f"Could not resolve to a Repository with the name 'ann/{name}'."
            )
            assert (caught.value.fields, caught.value.details) == ((), {})
            answers.append(seen)
        assert answers[0] == answers[1]
        with pytest.raises(NotFound) as caught:
            await find(runtime, actor, ("nobody-here", "secret"))
        assert caught.value.message == (
            "Could not resolve to a Repository with the name 'nobody-here/secret'."
        )


@pytest.mark.databases
async def test_a_path_ignores_case_and_follows_old_names(
    runtime: Runtime, ann: User, bob: User
) -> None:
    demo = await make_repository(runtime, ann, "Demo")
    assert (await find(runtime, ANONYMOUS, ("ANN", "dEMO"))).id == demo.id
    await repositories.update_repository(operator(runtime), demo.id, RepositoryChanges(name="New"))
    await accounts.rename_user(operator(runtime), ann.id, "anna")
    await repositories.transfer_repository(operator(runtime), demo.id, "bob")
    for path in (
        ("ann", "demo"),
        ("anna", "demo"),
        ("ann", "new"),
        ("anna", "new"),
        ("bob", "new"),
    ):
        assert (await find(runtime, ANONYMOUS, path)).id == demo.id
    with pytest.raises(NotFound):
        await find(runtime, ANONYMOUS, ("bob", "demo"))
    async with make_op(runtime).read() as tx:
        row = await access.get_repository(tx, demo.id, READ)
        assert await access.name_with_owner(tx, row) == "bob/New"


@pytest.mark.databases
@pytest.mark.parametrize(
    "path",
    [
        ("ann", "demo\0"),
        ("ann\0", "demo"),
        ("ann", "d\ud800emo"),
        ("ann", "x" * 5000),
        ("", ""),
        # The Kelvin sign and the dotless i fold to letters of ASCII.
        ("\u212aann", "demo"),
        ("ann", "dem\u00f6"),
        ("ann' OR 1=1 --", "demo"),
    ],
)
async def test_a_strange_path_is_not_found(
    runtime: Runtime, ann: User, path: tuple[str, str]
) -> None:
    await make_repository(runtime, ann, "demo")
    with pytest.raises(NotFound) as caught:
        await find(runtime, ANONYMOUS, path)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 400


@pytest.mark.databases
@pytest.mark.parametrize("number", [0, -1, 2**31, 2**63, 2**200])
async def test_an_impossible_id_is_not_found(runtime: Runtime, number: int) -> None:
    with pytest.raises(NotFound) as caught:
        await find(runtime, ANONYMOUS, number)
    assert caught.value.message == f"Could not resolve to a Repository with the id '{number}'."


async def test_errors_say_what_is_missing(runtime: Runtime, ann: User, bob: User) -> None:
    demo = await make_repository(runtime, ann, "demo")
    secret = await make_repository(runtime, ann, "secret", visibility=Visibility.PRIVATE)
    await make_collaborator(runtime, demo, bob, Role.TRIAGE)
    with pytest.raises(Forbidden) as forbidden:
        await find(runtime, await actor_of(runtime, bob), demo.id, PUSH)
    assert forbidden.value.message == (
        "you need the write role on ann/demo for this; yours is triage"
    )
    with pytest.raises(Unauthenticated) as unauthenticated:
        await find(runtime, ANONYMOUS, demo.id, PUSH)
    assert unauthenticated.value.message == "sign in to do this"
    token = await make_token(runtime, ann, "public_repo")
    actor = await authentication.authenticate_token(make_op(runtime), token.token)
    with pytest.raises(InsufficientScopes) as scope:
        await find(runtime, actor, secret.id)
    assert scope.value.message == (
        "your token has not been granted the required scopes: "
        "this requires one of the following scopes: ['repo']"
    )
    assert scope.value.details == {"scopes": ["repo"]}
    # A token without the scope learns of what its user may not see no more than anybody.
    token = await make_token(runtime, bob)
    actor = await authentication.authenticate_token(make_op(runtime), token.token)
    with pytest.raises(NotFound):
        await find(runtime, actor, secret.id)


async def test_an_archived_repository_is_read_only(runtime: Runtime, ann: User) -> None:
    demo = await make_repository(runtime, ann, "demo")
    actor = await actor_of(runtime, ann)
    await repositories.update_repository(
        make_op(runtime, actor), demo.id, RepositoryChanges(archived=True)
    )
    assert (await find(runtime, actor, demo.id)).archived_at is not None
    with pytest.raises(FailedPrecondition) as caught:
        await find(runtime, actor, demo.id, PUSH)
    assert caught.value.message == "repository is archived so it is read-only"


async def test_rights_are_judged_with_the_credential_as_it_is_now(
    runtime: Runtime, ann: User
) -> None:
    """An actor made when a request began is worth nothing once its credential has gone (K10)."""
    demo = await make_repository(runtime, ann, "demo", visibility=Visibility.PRIVATE)
    token = await make_token(runtime, ann, "repo")
    by_token = await authentication.authenticate_token(make_op(runtime), token.token)
    by_session = await actor_of(runtime, ann)
    for actor in (by_token, by_session):
        assert (await find(runtime, actor, demo.id, PUSH)).id == demo.id
    await access_tokens.revoke_access_token(operator(runtime), token.row.id)
    with pytest.raises(Unauthenticated) as caught:
        await find(runtime, by_token, demo.id, PUSH)
    assert caught.value.message == "access token has been revoked"
    await sessions.sign_out(make_op(runtime, by_session))
    with pytest.raises(Unauthenticated) as caught:
        await find(runtime, by_session, demo.id)
    assert caught.value.message == "the session has ended; sign in again"
    async with operator(runtime).read() as tx:
        row = await access.get_repository(tx, demo.id, READ)
        assert not await access.allows(tx, by_session, READ, row)
        assert await access.role_of(tx, by_session, row) is None


async def test_a_made_up_actor_cannot_be_more_than_its_rows_say(
    runtime: Runtime, ann: User, bob: User
) -> None:
    demo = await make_repository(runtime, ann, "demo", visibility=Visibility.PRIVATE)
    token = await make_token(runtime, bob, "repo")
    forged = Actor(
        ActorKind.ACCESS_TOKEN,
        user_id=ann.id,
        login="ann",
        is_site_admin=True,
        credential_id=token.row.id,
    )
    with pytest.raises(NotFound):
        await find(runtime, forged, demo.id)


async def test_collaborators_lose_access_at_once(runtime: Runtime, ann: User, bob: User) -> None:
    demo = await make_repository(runtime, ann, "demo", visibility=Visibility.PRIVATE)
    await make_collaborator(runtime, demo, bob, Role.READ)
    actor = await actor_of(runtime, bob)
    assert (await find(runtime, actor, demo.id)).id == demo.id
    async with runtime.database.write() as session:
        row = await session.get(Collaborator, (demo.id, bob.id))
        await session.delete(row)
    with pytest.raises(NotFound):
        await find(runtime, actor, demo.id)


async def test_listings_hold_what_can_be_read_and_nothing_else(
    runtime: Runtime, ann: User, bob: User
) -> None:
    for visibility in Visibility:
        await make_repository(runtime, ann, visibility.value, visibility=visibility)
    limited = await make_repository(runtime, bob, "bobs", visibility=Visibility.PRIVATE)
    token = await make_token(runtime, bob, "repo", repository_ids=[limited.id])

    async def names(actor: Actor) -> set[str]:
        async with make_op(runtime, actor).read() as tx:
            rows = await tx.session.scalars(access.readable_repositories(actor))
            return {row.name for row in rows}

    everything = {"public", "internal", "private", "bobs"}
    assert await names(ANONYMOUS) == {"public"}
    assert await names(await actor_of(runtime, bob)) == {"public", "internal", "bobs"}
    assert await names(await actor_of(runtime, ann)) == {"public", "internal", "private"}
    assert await names(operator(runtime).actor) == everything
    admin = await make_user(runtime, "boss", site_admin=True)
    assert await names(await actor_of(runtime, admin)) == everything
    by_token = await authentication.authenticate_token(make_op(runtime), token.token)
    assert await names(by_token) == {"public", "bobs"}
