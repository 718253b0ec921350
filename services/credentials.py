"""What a stored credential is worth right now: rows in, ``Actor`` out.

``services.authentication`` finds the rows from what a client sends. ``reload`` finds them from an
actor: rights are judged at the time of use, so whoever judges asks again (K10).
"""

import dataclasses
import functools
from typing import TypeVar

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from models import AccessToken, AccessTokenRepository, Session, SSHKey, User
from models.base import utc_now
from services import scopes
from services.actor import Actor, ActorKind
from services.errors import Forbidden, Unauthenticated

Credential = TypeVar("Credential", Session, AccessToken, SSHKey)

SESSION_ENDED = "the session has ended; sign in again"
TOKEN_EXPIRED = "access token has expired"  # noqa: S105
TOKEN_REVOKED = "access token has been revoked"  # noqa: S105
KEY_UNKNOWN = "the SSH key is not known here; add it to an account first"
SUSPENDED = "the account is suspended; ask the administrator of this server"


async def find(
    session: AsyncSession, table: type[Credential], condition: ColumnElement[bool]
) -> Credential | None:
    """The row of ``table`` that the condition names; its user is read by the same statement."""
    row = (await session.execute(_with_user(table).where(condition))).first()
    return None if row is None else row[0]


@functools.cache
def _with_user(table: type[Credential]) -> Select[Credential, User]:
    return select(table, User).outerjoin(User, User.id == table.user_id)


async def load_session(session: AsyncSession, row: Session) -> Actor:
    """Raises Unauthenticated when it has ended and Forbidden for a suspended user."""
    if row.revoked_at is not None or row.expires_at <= utc_now():
        raise Unauthenticated(SESSION_ENDED)
    user = await _user(session, row.user_id)
    actor = Actor(
        ActorKind.SESSION,
        user_id=user.id,
        login=user.login,
        is_site_admin=user.is_site_admin,
        credential_id=row.id,
        confirmed_at=row.confirmed_at,
    )
    return _keep(session, actor)


def new_session_actor(user: User) -> Actor:
    """Somebody who has just proven the password, before there is a session row."""
    return Actor(
        ActorKind.SESSION,
        user_id=user.id,
        login=user.login,
        is_site_admin=user.is_site_admin,
        confirmed_at=utc_now(),
    )


async def load_access_token(session: AsyncSession, row: AccessToken) -> Actor:
    """Raises Unauthenticated when it is revoked or expired and Forbidden for a suspended user.

    An administrator's token makes an administrator only with the scope ``site_admin``.
    """
    if row.revoked_at is not None:
        raise Unauthenticated(TOKEN_REVOKED)
    if row.expires_at is not None and row.expires_at <= utc_now():
        raise Unauthenticated(TOKEN_EXPIRED)
    user = await _user(session, row.user_id)
    granted = scopes.expand(row.scopes.split())
    repository_ids = None
    if not row.all_repositories:
        listed = select(AccessTokenRepository.repository_id).where(
            AccessTokenRepository.access_token_id == row.id
        )
        repository_ids = frozenset(await session.scalars(listed))
    actor = Actor(
        ActorKind.ACCESS_TOKEN,
        user_id=user.id,
        login=user.login,
        is_site_admin=user.is_site_admin and "site_admin" in granted,
        credential_id=row.id,
        scopes=granted,
        repository_ids=repository_ids,
    )
    return _keep(session, actor)


async def load_ssh_key(session: AsyncSession, row: SSHKey) -> Actor:
    """A user's key or a deploy key. Raises Forbidden for a suspended user."""
    if row.repository_id is not None:
        actor = Actor(
            ActorKind.DEPLOY_KEY,
            credential_id=row.id,
            repository_ids=frozenset((row.repository_id,)),
            read_only=row.read_only,
        )
        return _keep(session, actor)
    assert row.user_id is not None  # The table's check constraint says so.
    user = await _user(session, row.user_id)
    actor = Actor(
        ActorKind.SSH_KEY,
        user_id=user.id,
        login=user.login,
        is_site_admin=user.is_site_admin,
        credential_id=row.id,
    )
    return _keep(session, actor)


async def reload(session: AsyncSession, actor: Actor) -> Actor:
    """The actor as its credential and its account stand now.

    Raises Unauthenticated when the credential was revoked, has expired or was deleted, and
    Forbidden when the user was suspended. Within one transaction the answer is kept.
    """
    if actor.kind in (ActorKind.ANONYMOUS, ActorKind.OPERATOR):
        return actor
    known = _known(session)
    if actor not in known:
        known[actor] = await _reload(session, actor)
    return known[actor]


def _known(session: AsyncSession) -> dict[Actor, Actor]:
    """The actors whose worth was looked at in this transaction, and what it is."""
    known: dict[Actor, Actor] = session.info.setdefault("actors", {})
    return known


def _keep(session: AsyncSession, actor: Actor) -> Actor:
    _known(session)[actor] = actor
    return actor


async def _reload(session: AsyncSession, actor: Actor) -> Actor:
    if actor.credential_id is None:
        # Made by the hub for a user, without a stored credential.
        if actor.user_id is None:
            raise Unauthenticated(SESSION_ENDED)
        user = await _user(session, actor.user_id)
        return dataclasses.replace(
            actor, login=user.login, is_site_admin=user.is_site_admin and actor.is_site_admin
        )
    match actor.kind:
        case ActorKind.SESSION:
            row = await find(session, Session, Session.id == actor.credential_id)
            if row is None:
                raise Unauthenticated(SESSION_ENDED)
            return await load_session(session, row)
        case ActorKind.ACCESS_TOKEN:
            token = await find(session, AccessToken, AccessToken.id == actor.credential_id)
            if token is None:
                raise Unauthenticated(TOKEN_REVOKED)
            return await load_access_token(session, token)
        case _:
            key = await find(session, SSHKey, SSHKey.id == actor.credential_id)
            if key is None:
                raise Unauthenticated(KEY_UNKNOWN)
            return await load_ssh_key(session, key)


async def _user(session: AsyncSession, user_id: int) -> User:
    user = await session.get(User, user_id)
    if user is None:
        raise Unauthenticated("the account no longer exists")
    if user.suspended_at is not None:
        raise Forbidden(SUSPENDED)
    return user
