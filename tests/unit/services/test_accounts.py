"""Creating, renaming and suspending accounts."""

import asyncio

import pytest
from pydantic import SecretStr
from sqlalchemy import func, select

from models import EmailAddress, Event, LoginRedirect, Owner, User
from services import accounts, authentication
from services.actor import Actor
from services.errors import (
    Conflict,
    Forbidden,
    InsufficientScopes,
    Invalid,
    NotFound,
    RateLimited,
    Unauthenticated,
)
from services.runtime import Runtime
from services.settings import ServiceSettings
from tests.support.factories import (
    PASSWORD,
    make_session,
    make_ssh_key,
    make_token,
    make_user,
    session_actor,
)
from tests.support.runtime import SECRET_KEY, make_op, make_runtime, operator

RESERVED = "the login '{}' is reserved; choose another one"
FORM = (
    "a login can only have letters, digits and single hyphens, "
    "and cannot begin or end with a hyphen"
)
LOOK_ALIKE = (
    "a login can only have the letters a to z, digits and hyphens; "
    "this one has a character that may look like another"
)


async def actor_of(runtime: Runtime, user: User) -> Actor:
    return session_actor(await make_session(runtime, user))


async def count(runtime: Runtime, table: type) -> int:
    async with runtime.database.read() as session:
        return await session.scalar(select(func.count()).select_from(table)) or 0


@pytest.mark.parametrize(
    ("login", "fault"),
    [
        ("", "a login cannot be empty"),
        ("a" * 40, "a login can have at most 39 characters"),
        ("-ann", FORM),
        ("ann-", FORM),
        ("a--b", FORM),
        ("ann_b", FORM),
        ("ann.b", FORM),
        ("ann b", FORM),
        ("ann\n", FORM),
        ("ann\0", FORM),
        ("../etc", FORM),
        ("--upload-pack", FORM),
        ("\u0430nn", LOOK_ALIKE),  # Cyrillic a
        ("an\u0274", LOOK_ALIKE),  # small capital n
        ("\u212aen", LOOK_ALIKE),  # Kelvin sign
        ("\uff41nn", LOOK_ALIKE),  # full width a
        ("ann\u200b", LOOK_ALIKE),  # zero width space
        ("ann\u202e", LOOK_ALIKE),  # right-to-left override
        ("anh\u0131", LOOK_ALIKE),  # dotless i
        *(
            (name, RESERVED.format(name))
            for name in [
                "graphql",
                "api",
                "healthz",
                "readyz",
                "login",
                "settings",
                "admin",
                "assets",
                "static",
                "explore",
                "new",
                "organizations",
                "metrics",
                "ghost",
                "GraphQL",
                "Admin",
                "x-access-token",
                "git",
                "favicon",
            ]
        ),
    ],
)
async def test_bad_logins_are_refused_with_the_reason(
    runtime: Runtime, login: str, fault: str
) -> None:
    with pytest.raises(Invalid) as caught:
        await accounts.create_user(operator(runtime), login, "x@example.com", PASSWORD)
    assert caught.value.message == fault
    assert caught.value.fields == ("login",)
    assert await count(runtime, Owner) == 0


@pytest.mark.parametrize("login", ["a", "7", "a" * 39, "a-b-c", "Ann-7", "0-0"])
async def test_good_logins_are_kept_as_written(runtime: Runtime, login: str) -> None:
    user = await accounts.create_user(operator(runtime), login, "x@example.com", PASSWORD)
    assert (user.login, user.login_key) == (login, login.lower())


@pytest.mark.databases
async def test_creating_an_account(runtime: Runtime) -> None:
    user = await accounts.create_user(
        operator(runtime), "Ann", "Ann@Example.com", PASSWORD, site_admin=True
    )
    assert user.is_site_admin
    assert user.password_hash is not None
    assert user.password_hash.startswith("$argon2id$")
    async with runtime.database.read() as session:
        email = await session.scalar(select(EmailAddress))
        assert email is not None
        assert (email.email, email.email_key) == ("Ann@Example.com", "ann@example.com")
        assert (email.verified_key, email.primary_of) == ("ann@example.com", user.id)
        event = await session.scalar(select(Event))
        assert event is not None
        assert (event.name, event.actor_id) == ("UserCreated", None)
        assert event.payload == {"user_id": user.id}
        assert event.request_id == "test-request"
    assert [event.name for event in runtime.bus.published] == ["UserCreated"]  # type: ignore[attr-defined]
    assert runtime.jobs.queued == [("events.dispatch", ())]  # type: ignore[attr-defined]


@pytest.mark.databases
async def test_a_login_is_taken_whatever_its_case(runtime: Runtime, ann: User) -> None:
    with pytest.raises(Conflict) as caught:
        await accounts.create_user(operator(runtime), "ANN", "other@example.com", PASSWORD)
    assert caught.value.message == "the login 'ANN' is already taken"
    assert caught.value.fields == ("login",)
    with pytest.raises(Conflict) as caught:
        await accounts.create_user(operator(runtime), "other", "ANN@example.com", PASSWORD)
    assert caught.value.message == "the e-mail address is already in use by another account"
    assert caught.value.fields == ("email",)
    assert await count(runtime, Owner) == 1


@pytest.mark.databases
async def test_of_many_who_want_one_login_one_gets_it(runtime: Runtime) -> None:
    outcomes = await asyncio.gather(
        *(
            accounts.create_user(operator(runtime), login, f"{number}@example.com")
            for number, login in enumerate(("ann", "Ann", "ANN", "aNN", "anN"))
        ),
        return_exceptions=True,
    )
    refused = [each for each in outcomes if not isinstance(each, User)]
    assert len(refused) == 4
    assert all(isinstance(each, Conflict) for each in refused)
    assert await count(runtime, Owner) == await count(runtime, EmailAddress) == 1


async def test_who_may_create_accounts(runtime: Runtime, ann: User) -> None:
    async def create(actor: Actor, *, site_admin: bool = False) -> User:
        return await accounts.create_user(
            make_op(runtime, actor), "newcomer", "new@example.com", PASSWORD, site_admin=site_admin
        )

    boss = await make_user(runtime, "boss", site_admin=True)
    with pytest.raises(Forbidden) as closed:
        await create(make_op(runtime).actor)
    assert closed.value.message == "sign-ups are closed; ask the administrator of this server"
    with pytest.raises(Forbidden) as ordinary:
        await create(await actor_of(runtime, ann))
    assert ordinary.value.message == "only an administrator of this server may do this"
    token = await make_token(runtime, boss, "repo", "user", "admin:org")
    with pytest.raises(InsufficientScopes) as scope:
        await create(await authentication.authenticate_token(make_op(runtime), token.token))
    assert scope.value.details == {"scopes": ["site_admin"]}
    key = await make_ssh_key(runtime, boss)
    with pytest.raises(Forbidden) as by_key:
        await create(await authentication.authenticate_ssh_key(make_op(runtime), key.fingerprint))
    assert by_key.value.message == "an SSH key can only fetch and push"
    token = await make_token(runtime, boss, "site_admin")
    created = await create(
        await authentication.authenticate_token(make_op(runtime), token.token), site_admin=True
    )
    assert created.is_site_admin


async def test_sign_ups_where_the_server_is_open(runtime: Runtime, ann: User) -> None:
    open_runtime = make_runtime(
        runtime.database,
        settings=ServiceSettings(secret_key=SecretStr(SECRET_KEY), sign_ups_enabled=True),
    )
    op = make_op(open_runtime)
    # Somebody else's address can be claimed; the answer does not tell that it is anybody's.
    user = await accounts.create_user(op, "newcomer", "ann@example.com", PASSWORD)
    async with runtime.database.read() as session:
        row = await session.scalar(select(EmailAddress).where(EmailAddress.user_id == user.id))
        assert row is not None
        assert (row.verified_key, row.verified_at, row.primary_of) == (None, None, user.id)
    with pytest.raises(Unauthenticated):
        await accounts.create_user(op, "boss", "boss@example.com", PASSWORD, site_admin=True)
    with pytest.raises(Invalid) as caught:
        await accounts.create_user(op, "other", "other@example.com")
    assert caught.value.message == "a password is needed"
    for number in range(9):
        await accounts.create_user(op, f"user-x{number}", f"{number}@example.com", PASSWORD)
    with pytest.raises(RateLimited):
        await accounts.create_user(op, "one-more", "more@example.com", PASSWORD)
    open_runtime.passwords.close()


@pytest.mark.databases
async def test_an_old_login_leads_to_the_account_until_it_is_taken(
    runtime: Runtime, ann: User, bob: User
) -> None:
    op = make_op(runtime, await actor_of(runtime, ann))
    await accounts.rename_user(op, ann.id, "Anna")
    await accounts.rename_user(op, ann.id, "ann")
    await accounts.rename_user(op, ann.id, "annie")
    async with runtime.database.read() as session:
        redirects = await session.execute(
            select(LoginRedirect.login_key, LoginRedirect.owner_id).order_by(
                LoginRedirect.login_key
            )
        )
        assert [tuple(row) for row in redirects] == [("ann", ann.id), ("anna", ann.id)]
    with pytest.raises(Conflict) as caught:
        await accounts.rename_user(op, ann.id, "BOB")
    assert caught.value.message == "the login 'BOB' is already taken"
    other = await accounts.create_user(operator(runtime), "ann", "other@example.com")
    async with runtime.database.read() as session:
        kept = await session.scalars(select(LoginRedirect.login_key))
        assert list(kept) == ["anna"]
    assert other.id != ann.id
    async with op.read() as tx:
        assert (await accounts.get_user(tx, "ANN")).id == other.id
        with pytest.raises(NotFound) as missing:
            await accounts.get_user(tx, "anna\0")
        assert missing.value.message == "Could not resolve to a User with the login of 'anna?'."


async def test_a_change_of_case_needs_no_redirect(runtime: Runtime, ann: User) -> None:
    user = await accounts.rename_user(operator(runtime), ann.id, "ANN")
    assert (user.login, user.login_key) == ("ANN", "ann")
    assert await count(runtime, LoginRedirect) == 0
    before = await count(runtime, Event)
    await accounts.rename_user(operator(runtime), ann.id, "ANN")
    assert await count(runtime, Event) == before


async def test_only_oneself_and_administrators_rename(
    runtime: Runtime, ann: User, bob: User
) -> None:
    with pytest.raises(Forbidden):
        await accounts.rename_user(make_op(runtime, await actor_of(runtime, bob)), ann.id, "stolen")
    with pytest.raises(Unauthenticated):
        await accounts.rename_user(make_op(runtime), ann.id, "stolen")
    token = await make_token(runtime, ann, "read:user", "repo")
    by_token = await authentication.authenticate_token(make_op(runtime), token.token)
    with pytest.raises(InsufficientScopes) as caught:
        await accounts.rename_user(make_op(runtime, by_token), ann.id, "stolen")
    assert caught.value.details == {"scopes": ["user"]}
    async with make_op(runtime).read() as tx:
        assert (await accounts.get_user(tx, "ann")).id == ann.id


@pytest.mark.databases
async def test_two_who_want_each_others_name_cannot_both_have_it(
    runtime: Runtime, ann: User, bob: User
) -> None:
    outcomes = await asyncio.gather(
        accounts.rename_user(operator(runtime), ann.id, "carol"),
        accounts.rename_user(operator(runtime), bob.id, "Carol"),
        return_exceptions=True,
    )
    assert sorted(type(each).__name__ for each in outcomes) == ["Conflict", "User"]


async def test_only_administrators_suspend(runtime: Runtime, ann: User, bob: User) -> None:
    with pytest.raises(Forbidden):
        await accounts.suspend_user(make_op(runtime, await actor_of(runtime, bob)), ann.id)
    boss = await make_user(runtime, "boss", site_admin=True)
    op = make_op(runtime, await actor_of(runtime, boss))
    with pytest.raises(Forbidden) as caught:
        await accounts.suspend_user(op, boss.id)
    assert caught.value.message == "you cannot suspend yourself"
    for _ in range(2):
        assert (await accounts.suspend_user(op, ann.id)).suspended_at is not None
    for _ in range(2):
        assert (await accounts.unsuspend_user(op, ann.id)).suspended_at is None
    async with runtime.database.read() as session:
        names = list(await session.scalars(select(Event.name).order_by(Event.id)))
    assert names[-2:] == ["UserSuspended", "UserUnsuspended"]
