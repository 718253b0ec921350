"""Signing in and out: browser sessions, and the signed tokens of API clients."""

import dataclasses
import datetime as dt
import secrets

from sqlalchemy import delete, func, or_, select

from models import EmailAddress, Owner, Session, User
from models.base import utc_now
from services import account_access, credentials
from services.accounts import verify_own_password
from services.actor import ActorKind
from services.context import OpContext, ReadTransaction, Transaction
from services.errors import Forbidden, NotFound, Unauthenticated
from services.events import CredentialCreated, CredentialRevoked, PasswordConfirmed
from services.jobs import job
from services.names import name_key
from services.tokens import hash_signed_token_id, hash_token, new_session_secret

WRONG = "the login or the password is wrong"
# Failures per window of 15 minutes. An account is throttled for each address alone first, so that a
# stranger who guesses cannot easily lock its owner out.
_WINDOW_SECONDS = 15 * 60
_PER_ACCOUNT_AND_ADDRESS = 10
_PER_ACCOUNT = 100
_PER_ADDRESS = 50
_MAX_USER_AGENT_LENGTH = 512
_KEPT_AFTER_END = dt.timedelta(days=30)


@dataclasses.dataclass(frozen=True, slots=True)
class SignedIn:
    """``secret`` is shown this once: the cookie's value, or a signed token."""

    session: Session
    user: User
    secret: str


async def sign_in(
    op: OpContext, login_or_email: str, password: str, user_agent: str | None = None
) -> SignedIn:
    """Sign a browser in. The session the request came with, if any, ends.

    Emits CredentialCreated. Raises Unauthenticated in the same words and time whether the account
    exists or not, Forbidden for a suspended user with the right password, RateLimited, Unavailable.
    """
    user = await _prove(op, login_or_email, password)
    secret = new_session_secret()
    lifetime = dt.timedelta(days=op.runtime.settings.session_days)
    session = await _begin(op, user, hash_token(secret), lifetime, user_agent)
    return SignedIn(session, user, secret)


async def sign_in_api_client(
    op: OpContext, login_or_email: str, password: str, user_agent: str | None = None
) -> SignedIn:
    """Sign in for a short time with a signed token to send as ``Authorization: Bearer``.

    Emits and raises as ``sign_in``.
    """
    user = await _prove(op, login_or_email, password)
    token_id = secrets.token_urlsafe(24)
    lifetime = dt.timedelta(minutes=op.runtime.settings.signed_token_minutes)
    session = await _begin(op, user, hash_signed_token_id(token_id), lifetime, user_agent)
    signed = op.runtime.signer.sign(session.id, token_id, session.expires_at)
    return SignedIn(session, user, signed)


async def sign_out(op: OpContext) -> None:
    """End the session the request came with; quiet where there is none. Emits CredentialRevoked."""
    if op.actor.kind is not ActorKind.SESSION or op.actor.credential_id is None:
        return
    async with op.transaction() as tx:
        await _end(tx, op.actor.credential_id)


async def list_sessions(tx: ReadTransaction) -> list[Session]:
    """One's own that stand, the one last seen first. For sessions only."""
    user = await _session_user(tx)
    rows = await tx.session.scalars(
        select(Session)
        .where(
            Session.user_id == user.id,
            Session.revoked_at.is_(None),
            Session.expires_at > utc_now(),
        )
        .order_by(Session.last_seen_at.desc(), Session.id.desc())
    )
    return list(rows)


async def revoke_session(op: OpContext, session_id: int) -> None:
    """End one of one's own sessions. Emits CredentialRevoked. Raises NotFound, Forbidden."""
    async with op.transaction() as tx:
        user = await _session_user(tx)
        row = await tx.session.get(Session, min(session_id, 2**31 - 1))
        if row is None or row.user_id != user.id:
            raise NotFound("there is no such session")
        await _end(tx, session_id)


async def confirm_password(op: OpContext, password: str) -> Session:
    """Prove the password again in a session, for acts that need a proof of the last 15 minutes.

    Emits PasswordConfirmed. Raises Invalid for a wrong password, Forbidden, RateLimited.
    """
    user = await verify_own_password(op, password)
    async with op.transaction() as tx:
        await credentials.reload(tx.session, op.actor)
        session = await tx.session.get(Session, op.actor.credential_id)
        if session is None:
            raise Unauthenticated(credentials.SESSION_ENDED)
        session.confirmed_at = utc_now()
        tx.emit(PasswordConfirmed(user.id, session.id))
    return session


@job("sessions.sweep", every=dt.timedelta(hours=6))
async def sweep_sessions(op: OpContext) -> None:
    """Delete rows of sessions that ended a month ago; the events keep what happened."""
    limit = utc_now() - _KEPT_AFTER_END
    async with op.transaction() as tx:
        await tx.session.execute(
            delete(Session)
            .where(or_(Session.expires_at < limit, Session.revoked_at < limit))
            .execution_options(synchronize_session=False)
        )


async def _prove(op: OpContext, login_or_email: str, password: str) -> User:
    async with op.read() as tx:
        user = await _find_user(tx, login_or_email)
    # Unknown accounts are throttled as known ones are, under a key of what was typed.
    account = f"user:{user.id}" if user else f"name:{hash_token(login_or_email.lower())}"
    limiter = op.runtime.rate_limiter
    limits = {
        f"sign-in:{account}:{op.address}": _PER_ACCOUNT_AND_ADDRESS,
        f"sign-in:{account}": _PER_ACCOUNT,
        f"sign-in:address:{op.address}": _PER_ADDRESS,
    }
    # Taken before the password is looked at, so that many at once cannot slip through.
    for key, limit in limits.items():
        await limiter.check(key, limit, _WINDOW_SECONDS)
    check = await op.runtime.passwords.verify(user.password_hash if user else None, password)
    if user is None or not check.is_right:
        op.log.info("sign-in refused", address=op.address)
        raise Unauthenticated(WRONG)
    if user.suspended_at is not None:
        raise Forbidden(credentials.SUSPENDED)
    for key in limits:
        await limiter.give_back(key)
    if check.new_hash is not None:
        async with op.transaction() as tx:
            row = await tx.session.get(User, user.id)
            if row is not None and row.password_hash == user.password_hash:
                row.password_hash = user.password_hash = check.new_hash
    return user


async def _begin(
    op: OpContext, user: User, token_hash: str, lifetime: dt.timedelta, user_agent: str | None
) -> Session:
    now = utc_now()
    async with op.acting_as(credentials.new_session_actor(user)).transaction() as tx:
        current = await tx.session.scalar(
            select(User).where(User.id == user.id).execution_options(populate_existing=True)
        )
        # The password was checked outside this transaction: it must still be the one.
        if current is None or current.password_hash != user.password_hash:
            raise Unauthenticated(WRONG)
        if current.suspended_at is not None:
            raise Forbidden(credentials.SUSPENDED)
        session = Session(
            user_id=user.id,
            token_hash=token_hash,
            user_agent=user_agent[:_MAX_USER_AGENT_LENGTH] if user_agent else None,
            address=op.address,
            confirmed_at=now,
            last_seen_at=now,
            expires_at=now + lifetime,
        )
        tx.session.add(session)
        await tx.session.flush()
        if op.actor.kind is ActorKind.SESSION and op.actor.credential_id is not None:
            await _end(tx, op.actor.credential_id)
        tx.emit(CredentialCreated("session", session.id, user.id))
    return session


async def _end(tx: Transaction, session_id: int) -> None:
    row = await tx.session.get(Session, session_id)
    if row is not None and row.revoked_at is None:
        row.revoked_at = utc_now()
        tx.emit(CredentialRevoked("session", row.id, row.user_id))


async def _session_user(tx: ReadTransaction) -> User:
    user = await account_access.acting_user(tx, "user")
    if tx.actor.kind is not ActorKind.SESSION:
        raise Forbidden("only somebody who signed in with the password may see sessions")
    return user


async def _find_user(tx: ReadTransaction, login_or_email: str) -> User | None:
    """By login or verified address, in one statement for both."""
    text = login_or_email.strip()
    email = text.lower() if text.isascii() and "@" in text and "\0" not in text else ""
    owners = Owner.__table__.c
    by_login = select(owners.id).where(owners.login_key == name_key(text)).correlate(None)
    by_email = select(EmailAddress.user_id).where(EmailAddress.verified_key == email)
    user_id = func.coalesce(by_login.scalar_subquery(), by_email.scalar_subquery(), 0)
    return await tx.session.scalar(select(User).where(User.id == user_id))
