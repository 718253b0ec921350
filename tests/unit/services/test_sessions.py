"""Signing in and out, throttling, and proving the password again."""

import dataclasses
import datetime as dt

import argon2
import pytest
from sqlalchemy import select, update

from models import Event, Session, User
from models.base import utc_now
from services import accounts, authentication, email_addresses, sessions
from services.actor import Actor
from services.errors import Forbidden, Invalid, NotFound, RateLimited, Unauthenticated
from services.password_hashing import PasswordHasher
from services.runtime import Runtime
from tests.support.factories import (
    PASSWORD,
    make_session,
    make_token,
    make_user,
    session_actor,
)
from tests.support.runtime import WEAK_HASHING, make_op, operator

WRONG = "the login or the password is wrong"


async def events(runtime: Runtime) -> list[str]:
    async with runtime.database.read() as session:
        return list(await session.scalars(select(Event.name).order_by(Event.id)))


async def actor_of(runtime: Runtime, user: User) -> Actor:
    return session_actor(await make_session(runtime, user))


@pytest.mark.databases
async def test_signing_in_by_login_or_verified_address(runtime: Runtime, ann: User) -> None:
    for name in ("ann", "ANN", " ann ", "ann@example.com", "Ann@EXAMPLE.com"):
        signed_in = await sessions.sign_in(make_op(runtime), name, PASSWORD, "Browser/1.0")
        assert signed_in.user.id == ann.id
        assert signed_in.session.user_agent == "Browser/1.0"
        assert signed_in.session.address == "192.0.2.1"
        lifetime = signed_in.session.expires_at - signed_in.session.last_seen_at
        assert lifetime == dt.timedelta(days=30)
    client = await sessions.sign_in_api_client(make_op(runtime), "ann", PASSWORD)
    assert client.session.expires_at - client.session.confirmed_at == dt.timedelta(minutes=60)


async def test_wrong_and_unknown_are_one_answer(runtime: Runtime, ann: User) -> None:
    await accounts.create_user(operator(runtime), "robot", "robot@example.com")
    await email_addresses.add_email_address(operator(runtime), ann.id, "claim@example.com")
    for name, password in (
        ("ann", "wrong"),
        ("ann", ""),
        ("ann", PASSWORD + " "),
        ("nobody-here", PASSWORD),
        ("nobody@example.com", PASSWORD),
        ("claim@example.com", PASSWORD),  # not verified, so nobody's
        ("robot", PASSWORD),  # has no password
        ("robot", ""),
        ("", PASSWORD),
        ("an\0n", PASSWORD),
        ("ann\ud800", PASSWORD),
        ("\u0430nn", PASSWORD),  # a Cyrillic letter
        ("\u212a" * 5000, PASSWORD),
    ):
        with pytest.raises(Unauthenticated) as caught:
            await sessions.sign_in(make_op(runtime, address=f"192.0.2.{len(name)}"), name, password)
        assert caught.value.message == WRONG
        assert (caught.value.fields, caught.value.details) == ((), {})


class CountingArgon2:
    """The real algorithm, keeping count of what it computes."""

    def __init__(self, real: argon2.PasswordHasher) -> None:
        self._real = real
        self.computed: list[str] = []

    def hash(self, secret: bytes) -> str:
        self.computed.append("one")
        return self._real.hash(secret)

    def verify(self, stored: str, secret: bytes) -> bool:
        self.computed.append("one")
        return self._real.verify(stored, secret)


async def test_unknown_accounts_cost_as_much_as_known_ones(runtime: Runtime, ann: User) -> None:
    await accounts.create_user(operator(runtime), "robot", "robot@example.com")
    for name in ("ann", "nobody-here", "robot", "nobody@example.com"):
        counting = CountingArgon2(runtime.passwords._argon2)
        runtime.passwords._argon2 = counting  # type: ignore[assignment]
        with pytest.raises(Unauthenticated):
            await sessions.sign_in(make_op(runtime), name, "wrong")
        assert counting.computed == ["one"]


async def test_signing_in_ends_the_session_one_came_with(runtime: Runtime, ann: User) -> None:
    first = await make_session(runtime, ann)
    op = make_op(runtime, session_actor(first))
    second = await sessions.sign_in(op, "ann", PASSWORD)
    with pytest.raises(Unauthenticated):
        await authentication.authenticate_session(make_op(runtime), first.secret)
    assert (
        await authentication.authenticate_session(make_op(runtime), second.secret)
    ).credential_id == second.session.id
    assert await events(runtime) == [
        "UserCreated",
        "CredentialCreated",
        "CredentialRevoked",
        "CredentialCreated",
    ]


async def test_signing_out_is_quiet_and_repeatable(runtime: Runtime, ann: User) -> None:
    signed_in = await make_session(runtime, ann)
    op = make_op(runtime, session_actor(signed_in))
    await sessions.sign_out(op)
    await sessions.sign_out(op)
    await sessions.sign_out(make_op(runtime))
    assert (await events(runtime)).count("CredentialRevoked") == 1
    with pytest.raises(Unauthenticated):
        await authentication.authenticate_session(make_op(runtime), signed_in.secret)


async def test_sessions_are_listed_and_ended_by_their_owner_alone(
    runtime: Runtime, ann: User, bob: User
) -> None:
    mine, other = await make_session(runtime, ann), await make_session(runtime, ann)
    op = make_op(runtime, session_actor(mine))
    async with op.read() as tx:
        assert [row.id for row in await sessions.list_sessions(tx)] == [
            other.session.id,
            mine.session.id,
        ]
    stranger = make_op(runtime, await actor_of(runtime, bob))
    for number in (other.session.id, 0, 999, 2**70):
        with pytest.raises(NotFound) as caught:
            await sessions.revoke_session(stranger, number)
        assert caught.value.message == "there is no such session"
    await sessions.revoke_session(op, other.session.id)
    async with op.read() as tx:
        assert [row.id for row in await sessions.list_sessions(tx)] == [mine.session.id]
    token = await make_token(runtime, ann, "user", "repo")
    by_token = await authentication.authenticate_token(make_op(runtime), token.token)
    with pytest.raises(Forbidden):
        await sessions.revoke_session(make_op(runtime, by_token), mine.session.id)


async def test_guessing_is_throttled_for_each_account_and_address(
    runtime: Runtime, ann: User, bob: User
) -> None:
    here, elsewhere = make_op(runtime), make_op(runtime, address="198.51.100.7")
    for _ in range(10):
        with pytest.raises(Unauthenticated):
            await sessions.sign_in(here, "ann", "wrong")
    with pytest.raises(RateLimited) as caught:
        await sessions.sign_in(here, "ann", PASSWORD)
    assert caught.value.message == "too many requests; try again in 900 seconds"
    assert caught.value.details == {"retry_after": 900}
    # The owner at home and others at this address are not locked out.
    await sessions.sign_in(elsewhere, "ann", PASSWORD)
    await sessions.sign_in(here, "bob", PASSWORD)


async def test_unknown_names_are_throttled_in_the_same_words(runtime: Runtime) -> None:
    for _ in range(10):
        with pytest.raises(Unauthenticated):
            await sessions.sign_in(make_op(runtime), "nobody-here", "wrong")
    with pytest.raises(RateLimited) as caught:
        await sessions.sign_in(make_op(runtime), "Nobody-Here", "wrong")
    assert caught.value.message == "too many requests; try again in 900 seconds"


async def test_an_address_that_tries_many_accounts_is_throttled(
    runtime: Runtime, ann: User
) -> None:
    for number in range(50):
        with pytest.raises(Unauthenticated):
            await sessions.sign_in(make_op(runtime), f"name-{number}", "wrong")
    with pytest.raises(RateLimited):
        await sessions.sign_in(make_op(runtime), "ann", PASSWORD)
    await sessions.sign_in(make_op(runtime, address="198.51.100.7"), "ann", PASSWORD)


async def test_an_account_that_many_addresses_try_is_throttled(runtime: Runtime, ann: User) -> None:
    for number in range(100):
        with pytest.raises(Unauthenticated):
            await sessions.sign_in(make_op(runtime, address=f"10.0.0.{number}"), "ann", "wrong")
    with pytest.raises(RateLimited):
        await sessions.sign_in(make_op(runtime, address="10.0.1.1"), "ann@example.com", PASSWORD)


async def test_success_is_not_counted(runtime: Runtime, ann: User) -> None:
    for _ in range(60):
        await sessions.sign_in(make_op(runtime), "ann", PASSWORD)


async def test_a_hash_of_older_strength_is_renewed(runtime: Runtime, ann: User) -> None:
    stronger = dataclasses.replace(
        runtime,
        passwords=PasswordHasher(parameters=dataclasses.replace(WEAK_HASHING, time_cost=2)),
    )
    await sessions.sign_in(make_op(stronger), "ann", PASSWORD)
    async with runtime.database.read() as session:
        row = await session.get(User, ann.id)
        assert row is not None
        assert row.password_hash is not None
        assert ",t=2," in row.password_hash
    await sessions.sign_in(make_op(stronger), "ann", PASSWORD)


async def test_confirming_the_password(runtime: Runtime, ann: User) -> None:
    op = make_op(runtime, await actor_of(runtime, ann))
    async with runtime.database.write() as session:
        await session.execute(update(Session).values(confirmed_at=utc_now() - dt.timedelta(days=1)))
    with pytest.raises(Invalid) as wrong:
        await sessions.confirm_password(op, "wrong")
    assert wrong.value.message == "the password is wrong"
    assert wrong.value.fields == ("password",)
    row = await sessions.confirm_password(op, PASSWORD)
    assert utc_now() - row.confirmed_at < dt.timedelta(minutes=1)
    assert (await events(runtime))[-1] == "PasswordConfirmed"
    with pytest.raises(Unauthenticated):
        await sessions.confirm_password(make_op(runtime), PASSWORD)
    token = await make_token(runtime, ann, "user", "repo")
    by_token = await authentication.authenticate_token(make_op(runtime), token.token)
    with pytest.raises(Forbidden) as forbidden:
        await sessions.confirm_password(make_op(runtime, by_token), PASSWORD)
    assert forbidden.value.message == ("only somebody who signed in with the password may do this")


async def test_guessing_in_a_stolen_session_is_throttled(runtime: Runtime, ann: User) -> None:
    op = make_op(runtime, await actor_of(runtime, ann))
    for _ in range(10):
        with pytest.raises(Invalid):
            await sessions.confirm_password(op, "wrong")
    with pytest.raises(RateLimited):
        await sessions.confirm_password(op, PASSWORD)


async def test_a_new_password_ends_the_other_sessions(runtime: Runtime, ann: User) -> None:
    mine, other = await make_session(runtime, ann), await make_session(runtime, ann)
    op = make_op(runtime, session_actor(mine))
    new = "a different and longer password"
    for current, wanted, fault in (
        ("wrong", new, "the password is wrong"),
        (PASSWORD, "short", "a password needs at least 8 characters"),
    ):
        with pytest.raises(Invalid) as caught:
            await accounts.change_password(op, current, wanted)
        assert caught.value.message == fault
    await accounts.change_password(op, PASSWORD, new)
    anonymous = make_op(runtime)
    assert (await authentication.authenticate_session(anonymous, mine.secret)).user_id == ann.id
    with pytest.raises(Unauthenticated):
        await authentication.authenticate_session(anonymous, other.secret)
    with pytest.raises(Unauthenticated):
        await sessions.sign_in(anonymous, "ann", PASSWORD)
    assert (await sessions.sign_in(anonymous, "ann", new)).user.id == ann.id
    assert "PasswordChanged" in await events(runtime)


async def test_an_administrator_sets_a_password(runtime: Runtime, ann: User, bob: User) -> None:
    theirs = await make_session(runtime, ann)
    boss = await make_user(runtime, "boss", site_admin=True)
    with pytest.raises(Forbidden):
        await accounts.set_password(
            make_op(runtime, await actor_of(runtime, bob)), ann.id, "another long password"
        )
    op = make_op(runtime, await actor_of(runtime, boss))
    await accounts.set_password(op, ann.id, "another long password")
    with pytest.raises(Unauthenticated):
        await authentication.authenticate_session(make_op(runtime), theirs.secret)
    await sessions.sign_in(make_op(runtime), "ann", "another long password")
    with pytest.raises(NotFound):
        await accounts.set_password(op, 2**40, "another long password")


@pytest.mark.databases
async def test_rows_of_sessions_go_a_month_after_their_end(runtime: Runtime, ann: User) -> None:
    ended, revoked, recent, standing = [await make_session(runtime, ann) for _ in range(4)]
    now = utc_now()
    changes = {
        ended.session.id: {"expires_at": now - dt.timedelta(days=31)},
        revoked.session.id: {"revoked_at": now - dt.timedelta(days=31)},
        recent.session.id: {"revoked_at": now - dt.timedelta(days=29)},
    }
    async with runtime.database.write() as session:
        for session_id, values in changes.items():
            await session.execute(update(Session).where(Session.id == session_id).values(values))
    await sessions.sweep_sessions(operator(runtime))
    async with runtime.database.read() as session:
        kept = await session.scalars(select(Session.id).order_by(Session.id))
        assert list(kept) == [recent.session.id, standing.session.id]
