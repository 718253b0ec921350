"""Making, listing and ending access tokens."""

import datetime as dt

import pytest
from sqlalchemy import select, update

from models import AccessToken, AccessTokenRepository, Event, Session, User, Visibility
from models.base import utc_now
from services import access_tokens, authentication, repositories, sessions
from services.access_tokens import NewAccessToken
from services.actor import Actor, ActorKind
from services.errors import (
    FailedPrecondition,
    Forbidden,
    ForgeError,
    InsufficientScopes,
    Invalid,
    NotFound,
    Unauthenticated,
)
from services.runtime import Runtime
from services.scopes import KNOWN_SCOPES, expand, granting
from tests.support.factories import (
    PASSWORD,
    make_repository,
    make_session,
    make_ssh_key,
    make_token,
    make_user,
    session_actor,
)
from tests.support.runtime import make_op, operator

HOUR = dt.timedelta(hours=1)


async def actor_of(runtime: Runtime, user: User) -> Actor:
    return session_actor(await make_session(runtime, user))


async def by_token(runtime: Runtime, made: NewAccessToken) -> Actor:
    return await authentication.authenticate_token(make_op(runtime), made.token)


@pytest.mark.databases
async def test_a_token_is_shown_once_and_described_ever_after(runtime: Runtime, ann: User) -> None:
    op = make_op(runtime, await actor_of(runtime, ann))
    demo = await make_repository(runtime, ann, "demo")
    until = utc_now() + HOUR
    made = await access_tokens.create_access_token(
        op,
        ann.id,
        " laptop ",
        ["workflow", "repo", "repo"],
        expires_at=until,
        repository_ids=[demo.id, demo.id],
    )
    assert (made.row.name, made.row.scopes) == ("laptop", "repo workflow")
    assert made.row.token_last_eight == made.token[-8:]
    assert made.row.expires_at == until
    async with op.read() as tx:
        assert [row.id for row in await access_tokens.list_access_tokens(tx)] == [made.row.id]
        listed = await tx.session.scalars(select(AccessTokenRepository.repository_id))
        assert list(listed) == [demo.id]
        event = await tx.session.scalar(select(Event).order_by(Event.id.desc()))
        assert event is not None
        assert (event.name, event.actor_id) == ("CredentialCreated", ann.id)
        assert event.payload == {
            "kind": "access_token",
            "credential_id": made.row.id,
            "user_id": ann.id,
        }


async def test_scopes_must_exist(runtime: Runtime, ann: User) -> None:
    with pytest.raises(Invalid) as caught:
        await make_token(runtime, ann, "repo", "everything", "Repo")
    assert caught.value.message == (
        "unknown scope 'Repo', 'everything'; "
        "the scopes are admin:gpg_key, admin:org, admin:org_hook, admin:public_key, "
        "admin:repo_hook, delete:packages, delete_repo, gist, notifications, project, "
        "public_repo, read:discussion, read:gpg_key, read:org, read:packages, read:project, "
        "read:public_key, read:repo_hook, read:user, repo, repo:invite, repo:status, "
        "repo_deployment, security_events, site_admin, user, user:email, user:follow, workflow, "
        "write:discussion, write:gpg_key, write:org, write:packages, write:public_key, "
        "write:repo_hook"
    )
    assert caught.value.fields == ("scopes",)
    with pytest.raises(Invalid) as caught:
        await make_token(runtime, ann, "site_admin")
    assert caught.value.message == "only an administrator's token can have the scope 'site_admin'"


def test_which_scopes_include_which() -> None:
    assert expand(["admin:public_key"]) == {
        "admin:public_key",
        "write:public_key",
        "read:public_key",
    }
    assert expand(["user"]) == {"user", "read:user", "user:email", "user:follow"}
    assert expand(["unknown"]) == frozenset()
    assert granting("public_repo") == {"repo", "public_repo"}
    assert granting("read:org") == {"admin:org", "write:org", "read:org"}
    for powerful in ("delete_repo", "site_admin", "workflow"):
        assert granting(powerful) == {powerful}
    assert all(scope in expand([scope]) for scope in KNOWN_SCOPES)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"name": " "}, "a token needs a name that tells what it is for"),
        ({"name": "x" * 101}, "a token's name can have at most 100 printable characters"),
        ({"name": "a\nb"}, "a token's name can have at most 100 printable characters"),
        (
            {"expires_at": dt.datetime(2020, 1, 1, tzinfo=dt.UTC)},
            "the expiry must be a time to come, with its zone",
        ),
        (
            {"expires_at": dt.datetime(2090, 1, 1)},  # noqa: DTZ001
            "the expiry must be a time to come, with its zone",
        ),
        (
            {"repository_ids": []},
            "a token is limited to 1 to 50 repositories, or to none at all",
        ),
        (
            {"repository_ids": range(1, 52)},
            "a token is limited to 1 to 50 repositories, or to none at all",
        ),
    ],
)
async def test_bad_input_is_refused_with_the_reason(
    runtime: Runtime, ann: User, changes: dict[str, object], fault: str
) -> None:
    arguments: dict[str, object] = {"name": "laptop", "token_scopes": ["repo"]} | changes
    with pytest.raises(Invalid) as caught:
        await access_tokens.create_access_token(
            operator(runtime),
            ann.id,
            **arguments,  # type: ignore[arg-type]
        )
    assert caught.value.message == fault


async def test_no_other_credential_makes_a_token(runtime: Runtime, ann: User, bob: User) -> None:
    """A leaked token must not make itself wider, longer-lived or many (row 46)."""
    boss = await make_user(runtime, "boss", site_admin=True)
    strongest = await make_token(runtime, boss, *sorted(KNOWN_SCOPES))
    key = await make_ssh_key(runtime, ann)
    attempts: list[tuple[Actor, int, type[ForgeError], str]] = [
        (
            await by_token(runtime, strongest),
            boss.id,
            Forbidden,
            "an access token cannot make access tokens; sign in with the password",
        ),
        (
            await authentication.authenticate_ssh_key(make_op(runtime), key.fingerprint),
            ann.id,
            Forbidden,
            "an SSH key can only fetch and push",
        ),
        (make_op(runtime).actor, ann.id, Unauthenticated, "sign in to do this"),
        (
            await actor_of(runtime, bob),
            ann.id,
            Forbidden,
            "credentials can only be made for one's own account",
        ),
        # Administrators run the server, they are not its users.
        (
            await actor_of(runtime, boss),
            ann.id,
            Forbidden,
            "credentials can only be made for one's own account",
        ),
        (Actor(ActorKind.DEPLOY_KEY, credential_id=key.id), ann.id, ForgeError, ""),
    ]
    for actor, user_id, kind, message in attempts:
        with pytest.raises(kind) as caught:
            await access_tokens.create_access_token(
                make_op(runtime, actor), user_id, "more", ["repo"]
            )
        assert not message or caught.value.message == message
    async with runtime.database.read() as session:
        assert len(list(await session.scalars(select(AccessToken)))) == 1
    with pytest.raises(NotFound):
        await access_tokens.create_access_token(operator(runtime), 2**40, "x", ["repo"])


async def test_a_token_needs_the_password_lately(runtime: Runtime, ann: User) -> None:
    op = make_op(runtime, await actor_of(runtime, ann))

    async def create() -> NewAccessToken:
        return await access_tokens.create_access_token(op, ann.id, "laptop", ["repo"])

    await create()
    async with runtime.database.write() as session:
        await session.execute(
            update(Session).values(confirmed_at=utc_now() - dt.timedelta(minutes=15, seconds=1))
        )
    with pytest.raises(Forbidden) as caught:
        await create()
    assert caught.value.message == (
        "confirm your password first; it was last given more than 15 minutes ago"
    )
    await sessions.confirm_password(op, PASSWORD)
    await create()


async def test_a_token_is_limited_to_what_its_user_may_read(
    runtime: Runtime, ann: User, bob: User
) -> None:
    secret = await make_repository(runtime, bob, "secret", visibility=Visibility.PRIVATE)
    op = make_op(runtime, await actor_of(runtime, ann))
    for number in (secret.id, 999):
        with pytest.raises(NotFound) as caught:
            await access_tokens.create_access_token(
                op, ann.id, "laptop", ["repo"], repository_ids=[number]
            )
        assert caught.value.message == (
            f"Could not resolve to a Repository with the id '{number}'."
        )


async def test_a_limited_token_whose_repository_has_gone_reaches_nothing(
    runtime: Runtime, ann: User
) -> None:
    demo = await make_repository(runtime, ann, "demo", visibility=Visibility.PRIVATE)
    other = await make_repository(runtime, ann, "other", visibility=Visibility.PRIVATE)
    made = await make_token(runtime, ann, "repo", "user", repository_ids=[demo.id])
    actor = await by_token(runtime, made)
    with pytest.raises(Forbidden) as account:
        await repositories.create_repository(make_op(runtime, actor), "ann", "third")
    assert account.value.message == (
        "an access token limited to some repositories cannot change the account"
    )
    await repositories.delete_repository(operator(runtime), demo.id)
    actor = await by_token(runtime, made)
    assert actor.repository_ids == frozenset()
    async with make_op(runtime, actor).read() as tx:
        with pytest.raises(NotFound):
            await repositories.get_repository(tx, "ann", other.name)
        rows = await tx.session.scalars(repositories.select_repositories(tx))
        assert list(rows) == []


async def test_ending_tokens(runtime: Runtime, ann: User, bob: User) -> None:
    first, second, third = [await make_token(runtime, ann, "repo") for _ in range(3)]
    stranger = make_op(runtime, await actor_of(runtime, bob))
    for number in (first.row.id, 0, 999, 2**70):
        with pytest.raises(NotFound) as caught:
            await access_tokens.revoke_access_token(stranger, number)
        assert caught.value.message == "there is no such access token"
    # A token may end itself, whatever it may do else, but no other one without the scope.
    itself = make_op(runtime, await by_token(runtime, first))
    with pytest.raises(InsufficientScopes):
        await access_tokens.revoke_access_token(itself, second.row.id)
    await access_tokens.revoke_access_token(itself, first.row.id)
    owner = make_op(runtime, await actor_of(runtime, ann))
    for _ in range(2):
        await access_tokens.revoke_access_token(owner, second.row.id)
    boss = await make_user(runtime, "boss", site_admin=True)
    await access_tokens.revoke_access_token(
        make_op(runtime, await actor_of(runtime, boss)), third.row.id
    )
    for made in (first, second, third):
        with pytest.raises(Unauthenticated):
            await by_token(runtime, made)
    async with owner.read() as tx:
        assert await access_tokens.list_access_tokens(tx) == []
        names = list(await tx.session.scalars(select(Event.name)))
    assert names.count("CredentialRevoked") == 3


async def test_an_account_has_room_for_two_hundred(runtime: Runtime, ann: User) -> None:
    async with runtime.database.write() as session:
        session.add_all(
            AccessToken(
                user_id=ann.id,
                name="old",
                token_hash=f"{number:064}",
                token_last_eight="00000000",
                scopes="",
            )
            for number in range(200)
        )
    with pytest.raises(FailedPrecondition) as caught:
        await make_token(runtime, ann, "repo")
    assert caught.value.message == (
        "an account can have at most 200 access tokens; revoke one first"
    )
