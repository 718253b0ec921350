"""From any credential to an ``Actor``: the one place that reads what clients send as proof.

A text that is no credential of this server gets one and the same answer, whatever is wrong with it.
A genuine one that has expired or was revoked is told so, since its bearer had it from us.
"""

import asyncio
import base64
import binascii
import datetime as dt
from typing import Any

from sqlalchemy import or_, select, update
from sqlalchemy.exc import SQLAlchemyError

from models import AccessToken, Owner, Session, SSHKey
from models.base import utc_now
from models.database import CommitUnknown
from services import credentials
from services.actor import ANONYMOUS, Actor
from services.context import OpContext, ReadTransaction
from services.errors import ForgeError, Unauthenticated
from services.names import name_key, printable
from services.tokens import (
    InvalidSignedToken,
    SignedTokenExpired,
    hash_signed_token_id,
    hash_token,
    is_same_hash,
    looks_like_access_token,
    looks_like_signed_token,
)

BAD_CREDENTIALS = "Bad credentials"
REFUSED_UNREAD = (
    "passwords are not accepted here; make an access token in your settings and use it "
    "as the password"
)
MAX_HEADER_LENGTH = 8192
_USED_EVERY_SECONDS = 60
_RECORDING_SECONDS = 0.5
# User names that name no account: what GitHub's documentation tells people to write.
_NOBODY = frozenset(("", "x-access-token", "x-oauth-basic", "git", "oauth2", "token"))


async def authenticate_authorization(op: OpContext, header: str | None) -> Actor:
    """Read an ``Authorization`` header: ``Bearer``, ``token`` or ``Basic``. None is anonymous.

    Raises Unauthenticated, Forbidden for a suspended user, Unavailable.
    """
    if header is None:
        return ANONYMOUS
    if len(header) > MAX_HEADER_LENGTH:
        raise Unauthenticated(BAD_CREDENTIALS)
    scheme, _, value = header.strip().partition(" ")
    value = value.strip()
    match scheme.lower():
        case "basic":
            username, password = _basic_pair(value)
            return await authenticate_basic(op, username, password)
        case "bearer" | "token":
            if looks_like_signed_token(value):
                return await authenticate_signed(op, value)
            return await authenticate_token(op, value)
    raise Unauthenticated("the Authorization header must be 'Bearer TOKEN' or Basic")


async def authenticate_token(op: OpContext, token: str) -> Actor:
    """Read an access token. Raises Unauthenticated, Forbidden for a suspended user, Unavailable."""
    if not looks_like_access_token(token):
        raise Unauthenticated(BAD_CREDENTIALS)
    token_hash = hash_token(token)
    async with op.read() as tx:
        row = await credentials.find(tx.session, AccessToken, AccessToken.token_hash == token_hash)
        if row is None or not is_same_hash(row.token_hash, token_hash):
            raise Unauthenticated(BAD_CREDENTIALS)
        actor = await credentials.load_access_token(tx.session, row)
    await _record_use(op, AccessToken, row.id, row.last_used_at, "last_used_at")
    return actor


async def authenticate_session(op: OpContext, cookie_value: str) -> Actor:
    """Read a browser's cookie. Raises as ``authenticate_token``."""
    token_hash = hash_token(cookie_value)
    async with op.read() as tx:
        row = await credentials.find(tx.session, Session, Session.token_hash == token_hash)
        if row is None or not is_same_hash(row.token_hash, token_hash):
            raise Unauthenticated(credentials.SESSION_ENDED)
        actor = await credentials.load_session(tx.session, row)
    await _record_use(op, Session, row.id, row.last_seen_at, "last_seen_at")
    return actor


async def authenticate_signed(op: OpContext, token: str) -> Actor:
    """Read a signed token of an API client; its session must still stand.

    Raises as ``authenticate_token``.
    """
    try:
        claims = op.runtime.signer.read(token)
    except SignedTokenExpired as error:
        raise Unauthenticated("the signed token has expired; sign in again") from error
    except InvalidSignedToken as error:
        raise Unauthenticated(BAD_CREDENTIALS) from error
    async with op.read() as tx:
        session_id = min(claims.session_id, 2**31 - 1)
        row = await credentials.find(tx.session, Session, Session.id == session_id)
        if row is None or not is_same_hash(row.token_hash, hash_signed_token_id(claims.token_id)):
            raise Unauthenticated(credentials.SESSION_ENDED)
        actor = await credentials.load_session(tx.session, row)
    await _record_use(op, Session, row.id, row.last_seen_at, "last_seen_at")
    return actor


async def authenticate_basic(op: OpContext, username: str, password: str) -> Actor:
    """Read what git sends: an access token as the password, or as the user name without one.

    The user name counts for nothing, but another account's login is taken for a mix-up and
    refused. Account passwords are refused unread, right or wrong. Raises as ``authenticate_token``.
    """
    if password in ("", "x-oauth-basic") and looks_like_access_token(username):
        username, password = "", username
    if not looks_like_access_token(password):
        raise Unauthenticated(REFUSED_UNREAD)
    actor = await authenticate_token(op, password)
    if username.lower() not in _NOBODY and username.lower() != (actor.login or "").lower():
        async with op.read() as tx:
            if await _is_login(tx, username):
                raise Unauthenticated(
                    f"the access token does not belong to {printable(username)}; "
                    "leave the user name out or use the token's own"
                )
    return actor


async def authenticate_ssh_key(
    op: OpContext, public_key_blob_fingerprint: str, *, proven: bool = True
) -> Actor:
    """Whom a key (``SHA256:...``) stands for: a user or, as a deploy key, a repository.

    The caller proves possession. With ``proven`` false it has not yet, and no use is recorded.
    Raises Unauthenticated for an unknown key, Forbidden for a suspended user, Unavailable.
    """
    async with op.read() as tx:
        row = await credentials.find(
            tx.session, SSHKey, SSHKey.fingerprint == public_key_blob_fingerprint
        )
        if row is None or not is_same_hash(row.fingerprint, public_key_blob_fingerprint):
            raise Unauthenticated(credentials.KEY_UNKNOWN)
        actor = await credentials.load_ssh_key(tx.session, row)
    if proven:
        await _record_use(op, SSHKey, row.id, row.last_used_at, "last_used_at")
    return actor


async def reauthenticate(op: OpContext) -> Actor:
    """The operation's actor as its credential stands now; for what lasts longer than a request.

    Raises Unauthenticated once it is revoked, expired or deleted, Forbidden for a suspended user,
    Unavailable.
    """
    async with op.read() as tx:
        return await credentials.reload(tx.session, op.actor)


def _basic_pair(value: str) -> tuple[str, str]:
    try:
        decoded = base64.b64decode(value, validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise Unauthenticated(BAD_CREDENTIALS) from error
    username, colon, password = decoded.partition(":")
    if not colon:
        raise Unauthenticated(BAD_CREDENTIALS)
    return username, password


async def _is_login(tx: ReadTransaction, username: str) -> bool:
    found = await tx.session.scalar(
        select(Owner.__table__.c.id).where(Owner.__table__.c.login_key == name_key(username))
    )
    return found is not None


async def _record_use(
    op: OpContext, table: Any, row_id: int, last: dt.datetime | None, column: str
) -> None:
    """Note that a credential is in use, at most once a minute.

    A database that is read-only, full or busy must not turn a valid credential away, so whatever
    fails here is logged and forgotten.
    """
    now = utc_now()
    limit = now - dt.timedelta(seconds=_USED_EVERY_SECONDS)
    if last is not None and last > limit:
        return
    field = getattr(table, column)
    # Processes that saw the old time together write it once.
    statement = (
        update(table)
        .where(table.id == row_id, or_(field.is_(None), field <= limit))
        .values({column: now})
        .execution_options(synchronize_session=False)
    )
    try:
        async with asyncio.timeout(_RECORDING_SECONDS), op.transaction() as tx:
            await tx.session.execute(statement)
    except (ForgeError, SQLAlchemyError, CommitUnknown, OSError, TimeoutError) as error:
        op.log.warning("use of a credential not recorded", error=type(error).__name__)
