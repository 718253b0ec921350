"""Every kind of credential, right and wrong, and what each answer tells."""

import asyncio
import base64
import dataclasses
import datetime as dt
from collections.abc import Callable

import pytest
from sqlalchemy import event, update

from models import AccessToken, Session, SSHKey, User
from models.base import utc_now
from models.database import Database
from services import (
    access_tokens,
    accounts,
    authentication,
    deploy_keys,
    sessions,
    ssh_keys,
)
from services.actor import ANONYMOUS, OPERATOR, Actor, ActorKind
from services.errors import Forbidden, ForgeError, Unauthenticated
from services.runtime import Runtime
from services.tokens import looks_like_access_token, new_access_token
from tests.support.factories import (
    PASSWORD,
    make_key_pair,
    make_repository,
    make_session,
    make_ssh_key,
    make_token,
    make_user,
)
from tests.support.runtime import make_op, operator

SUSPENDED = "the account is suspended; ask the administrator of this server"


def basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


async def by_header(runtime: Runtime, header: str | None) -> Actor:
    return await authentication.authenticate_authorization(make_op(runtime), header)


async def refusal(runtime: Runtime, header: str) -> str:
    with pytest.raises(Unauthenticated) as caught:
        await by_header(runtime, header)
    return caught.value.message


async def test_a_token_is_its_user_with_its_scopes(runtime: Runtime, ann: User) -> None:
    made = await make_token(runtime, ann, "public_repo", "read:org")
    expected = Actor(
        ActorKind.ACCESS_TOKEN,
        user_id=ann.id,
        login="ann",
        credential_id=made.row.id,
        scopes=frozenset(("public_repo", "read:org")),
    )
    for header in (
        f"Bearer {made.token}",
        f"bearer {made.token}",
        f"token {made.token}",
        f"  token   {made.token} ",
        basic("x-access-token", made.token),
        basic("ann", made.token),
        basic("ANN", made.token),
        basic("", made.token),
        basic("whoever-is-no-account", made.token),
        basic(made.token, ""),
        basic(made.token, "x-oauth-basic"),
    ):
        assert await by_header(runtime, header) == expected


async def test_no_header_is_anonymous(runtime: Runtime) -> None:
    assert await by_header(runtime, None) is ANONYMOUS


async def test_what_is_no_credential_of_ours_gets_one_answer(runtime: Runtime, ann: User) -> None:
    await make_token(runtime, ann, "repo")
    for header in (
        f"Bearer {new_access_token()}",
        "Bearer och_short",
        "Bearer ghp_000000000000000000000000000000000000",
        "Bearer a.b.c",
        "Bearer",
        "token ",
        "Basic !!!",
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Basic " + base64.b64encode(b"\xff:\xff").decode(),
        "Bearer " + "x" * 9000,
    ):
        assert await refusal(runtime, header) == "Bad credentials"
    assert await refusal(runtime, "Digest x") == (
        "the Authorization header must be 'Bearer TOKEN' or Basic"
    )


async def test_account_passwords_are_refused_unread(runtime: Runtime, ann: User) -> None:
    words = (
        "passwords are not accepted here; make an access token in your settings and use it "
        "as the password"
    )
    for username, password in (("ann", PASSWORD), ("ann", "wrong"), ("nobody-here", PASSWORD)):
        assert await refusal(runtime, basic(username, password)) == words


async def test_a_token_under_another_accounts_login_is_refused(
    runtime: Runtime, ann: User, bob: User
) -> None:
    made = await make_token(runtime, ann, "repo")
    assert await refusal(runtime, basic("Bob", made.token)) == (
        "the access token does not belong to Bob; leave the user name out or use the token's own"
    )


async def test_expired_and_revoked_tokens_are_told_so(runtime: Runtime, ann: User) -> None:
    expiring = await access_tokens.create_access_token(
        operator(runtime), ann.id, "short", ["repo"], expires_at=utc_now() + dt.timedelta(hours=1)
    )
    assert (await by_header(runtime, f"Bearer {expiring.token}")).user_id == ann.id
    async with runtime.database.write() as session:
        await session.execute(
            update(AccessToken)
            .where(AccessToken.id == expiring.row.id)
            .values(expires_at=utc_now() - dt.timedelta(seconds=1))
        )
    assert await refusal(runtime, f"Bearer {expiring.token}") == "access token has expired"
    revoked = await make_token(runtime, ann, "repo")
    await access_tokens.revoke_access_token(operator(runtime), revoked.row.id)
    assert await refusal(runtime, f"Bearer {revoked.token}") == "access token has been revoked"
    assert await refusal(runtime, basic("ann", revoked.token)) == "access token has been revoked"


async def test_a_limited_token_carries_its_repositories(runtime: Runtime, ann: User) -> None:
    demo = await make_repository(runtime, ann, "demo")
    made = await make_token(runtime, ann, "repo", repository_ids=[demo.id])
    actor = await by_header(runtime, f"Bearer {made.token}")
    assert actor.repository_ids == frozenset((demo.id,))


async def test_administrators_need_the_scope(runtime: Runtime) -> None:
    boss = await make_user(runtime, "boss", site_admin=True)
    plain = await make_token(runtime, boss, "repo", "user", "admin:org")
    full = await make_token(runtime, boss, "site_admin")
    assert not (await by_header(runtime, f"Bearer {plain.token}")).is_site_admin
    assert (await by_header(runtime, f"Bearer {full.token}")).is_site_admin
    # Whoever loses the office loses it in every token.
    async with runtime.database.write() as session:
        row = await session.get(User, boss.id)
        assert row is not None
        row.is_site_admin = False
    assert not (await by_header(runtime, f"Bearer {full.token}")).is_site_admin


async def test_a_cookie_is_a_session(runtime: Runtime, ann: User) -> None:
    signed_in = await make_session(runtime, ann)
    actor = await authentication.authenticate_session(make_op(runtime), signed_in.secret)
    assert actor == Actor(
        ActorKind.SESSION,
        user_id=ann.id,
        login="ann",
        credential_id=signed_in.session.id,
        confirmed_at=signed_in.session.confirmed_at,
    )
    for bad in ("", signed_in.secret[:-1], signed_in.session.token_hash, "\ud800", "x" * 10_000):
        with pytest.raises(Unauthenticated) as caught:
            await authentication.authenticate_session(make_op(runtime), bad)
        assert caught.value.message == "the session has ended; sign in again"


async def test_a_signed_token_is_its_session(runtime: Runtime, ann: User) -> None:
    signed_in = await sessions.sign_in_api_client(make_op(runtime), "ann", PASSWORD)
    actor = await by_header(runtime, f"Bearer {signed_in.secret}")
    assert (actor.kind, actor.user_id) == (ActorKind.SESSION, ann.id)
    assert actor.credential_id == signed_in.session.id
    await sessions.sign_out(make_op(runtime, actor))
    assert await refusal(runtime, f"Bearer {signed_in.secret}") == (
        "the session has ended; sign in again"
    )


async def test_a_signed_token_cannot_name_another_session(
    runtime: Runtime, ann: User, bob: User
) -> None:
    """Even the server's key alone does not open a session: its random id must match."""
    theirs = await make_session(runtime, bob)
    signed = runtime.signer.sign(theirs.session.id, "guessed", utc_now() + dt.timedelta(hours=1))
    assert await refusal(runtime, f"Bearer {signed}") == "the session has ended; sign in again"
    signed = runtime.signer.sign(10**17, "guessed", utc_now() + dt.timedelta(hours=1))
    assert await refusal(runtime, f"Bearer {signed}") == "the session has ended; sign in again"
    old = runtime.signer.sign(theirs.session.id, "guessed", utc_now() - dt.timedelta(hours=1))
    assert await refusal(runtime, f"Bearer {old}") == "the signed token has expired; sign in again"


async def test_a_session_ends_with_its_time(runtime: Runtime, ann: User) -> None:
    signed_in = await make_session(runtime, ann)
    async with runtime.database.write() as session:
        await session.execute(update(Session).values(expires_at=utc_now()))
    with pytest.raises(Unauthenticated) as caught:
        await authentication.authenticate_session(make_op(runtime), signed_in.secret)
    assert caught.value.message == "the session has ended; sign in again"


async def test_ssh_keys_are_users_or_repositories(runtime: Runtime, ann: User) -> None:
    key = await make_ssh_key(runtime, ann)
    actor = await authentication.authenticate_ssh_key(make_op(runtime), key.fingerprint)
    assert actor == Actor(ActorKind.SSH_KEY, user_id=ann.id, login="ann", credential_id=key.id)
    demo = await make_repository(runtime, ann, "demo")
    deploy_key = await deploy_keys.add_deploy_key(
        operator(runtime), demo.id, "robot", make_key_pair().public, read_only=True
    )
    actor = await authentication.authenticate_ssh_key(make_op(runtime), deploy_key.fingerprint)
    assert actor == Actor(
        ActorKind.DEPLOY_KEY,
        credential_id=deploy_key.id,
        repository_ids=frozenset((demo.id,)),
        read_only=True,
    )
    await ssh_keys.remove_ssh_key(operator(runtime), key.id)
    for unknown in (key.fingerprint, "SHA256:" + "A" * 43, ""):
        with pytest.raises(Unauthenticated) as caught:
            await authentication.authenticate_ssh_key(make_op(runtime), unknown)
        assert caught.value.message == ("the SSH key is not known here; add it to an account first")


async def test_suspended_users_are_nobody_with_any_credential(runtime: Runtime, ann: User) -> None:
    op = make_op(runtime)
    token, key = await make_token(runtime, ann, "repo"), await make_ssh_key(runtime, ann)
    browser = await make_session(runtime, ann)
    client = await sessions.sign_in_api_client(op, "ann", PASSWORD)
    await accounts.suspend_user(operator(runtime), ann.id)
    for attempt in (
        authentication.authenticate_token(op, token.token),
        authentication.authenticate_basic(op, "ann", token.token),
        authentication.authenticate_session(op, browser.secret),
        authentication.authenticate_signed(op, client.secret),
        authentication.authenticate_ssh_key(op, key.fingerprint),
        sessions.sign_in(op, "ann", PASSWORD),
    ):
        with pytest.raises(Forbidden) as caught:
            await attempt
        assert caught.value.message == SUSPENDED
    # Without the password nobody learns that the account is suspended.
    with pytest.raises(Unauthenticated) as wrong:
        await sessions.sign_in(op, "ann", "wrong password")
    assert wrong.value.message == "the login or the password is wrong"
    await accounts.unsuspend_user(operator(runtime), ann.id)
    assert (await authentication.authenticate_token(op, token.token)).user_id == ann.id


async def test_reauthenticating_looks_again(runtime: Runtime, ann: User) -> None:
    token = await make_token(runtime, ann, "repo")
    actor = await authentication.authenticate_token(make_op(runtime), token.token)
    op = make_op(runtime, actor)
    assert await authentication.reauthenticate(op) == actor
    for steady in (ANONYMOUS, OPERATOR):
        assert await authentication.reauthenticate(make_op(runtime, steady)) is steady
    await accounts.suspend_user(operator(runtime), ann.id)
    with pytest.raises(Forbidden) as forbidden:
        await authentication.reauthenticate(op)
    assert forbidden.value.message == SUSPENDED
    await accounts.unsuspend_user(operator(runtime), ann.id)
    await access_tokens.revoke_access_token(operator(runtime), token.row.id)
    with pytest.raises(Unauthenticated) as revoked:
        await authentication.reauthenticate(op)
    assert revoked.value.message == "access token has been revoked"


def count_writes(database: Database) -> Callable[[], int]:
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if statement.startswith("UPDATE"):
            seen.append(statement)

    event.listen(database.write_engine.sync_engine, "before_cursor_execute", note)
    return lambda: len(seen)


@pytest.mark.databases
async def test_use_is_recorded_once_a_minute(runtime: Runtime, ann: User) -> None:
    made = await make_token(runtime, ann, "repo")
    key = await make_ssh_key(runtime, ann)
    writes = count_writes(runtime.database)
    op = make_op(runtime)
    for _ in range(3):
        await authentication.authenticate_token(op, made.token)
        await authentication.authenticate_ssh_key(op, key.fingerprint, proven=False)
    assert writes() == 1
    await authentication.authenticate_ssh_key(op, key.fingerprint)
    assert writes() == 2
    async with runtime.database.read() as session:
        token_row, key_row = await session.get(AccessToken, 1), await session.get(SSHKey, 1)
        assert token_row is not None
        assert key_row is not None
        assert token_row.last_used_at is not None
        assert key_row.last_used_at is not None
        first = token_row.last_used_at
    async with runtime.database.write() as session:
        await session.execute(
            update(AccessToken).values(last_used_at=first - dt.timedelta(seconds=61))
        )
    await asyncio.gather(*(authentication.authenticate_token(op, made.token) for _ in range(5)))
    async with runtime.database.read() as session:
        token_row = await session.get(AccessToken, made.row.id)
        assert token_row is not None
        assert token_row.last_used_at is not None
        assert token_row.last_used_at >= first


async def test_a_database_that_cannot_write_turns_no_credential_away(
    runtime: Runtime, ann: User
) -> None:
    made, key = await make_token(runtime, ann, "repo"), await make_ssh_key(runtime, ann)

    class ReadOnly(Database):
        """The same database, as after its disk became read-only."""

        def __init__(self, database: Database) -> None:
            self.__dict__.update(database.__dict__)
            self.write_engine = database.read_engine
            self._writer = None

    frozen = dataclasses.replace(runtime, database=ReadOnly(runtime.database))
    op = make_op(frozen)
    assert (await authentication.authenticate_token(op, made.token)).user_id == ann.id
    assert (await authentication.authenticate_ssh_key(op, key.fingerprint)).user_id == ann.id
    with pytest.raises(Exception, match="readonly database"):
        await accounts.rename_user(operator(frozen), ann.id, "anna")


async def test_secrets_are_stored_hashed(runtime: Runtime, ann: User) -> None:
    """Whoever reads the database can use nothing of it (rows 56 and 80 of the requirements)."""
    token, browser = await make_token(runtime, ann, "repo"), await make_session(runtime, ann)
    client = await sessions.sign_in_api_client(make_op(runtime), "ann", PASSWORD)
    path = runtime.database.url.database
    assert path is not None
    await runtime.database.close()
    with open(path, "rb") as file:
        stored = file.read()
    for secret in (token.token, browser.secret, client.secret, PASSWORD):
        assert secret.encode() not in stored
    assert token.row.token_last_eight.encode() in stored
    assert looks_like_access_token(token.token)
    for shown in (token.row.token_hash, browser.session.token_hash, client.session.token_hash):
        with pytest.raises(ForgeError):
            await by_header(runtime, f"Bearer {shown}")
