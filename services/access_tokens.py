"""Personal access tokens: making, listing, revoking. Reading them is ``authentication``'s."""

import dataclasses
import datetime as dt
from collections.abc import Collection

from sqlalchemy import func, select

from models import AccessToken, AccessTokenRepository, User
from models.base import utc_now
from services import access, account_access, credentials, scopes
from services.access import Action
from services.actor import ActorKind
from services.context import OpContext, ReadTransaction, Transaction
from services.errors import FailedPrecondition, Forbidden, Invalid, NotFound
from services.events import CredentialCreated, CredentialRevoked
from services.tokens import hash_token, new_access_token

MAX_TOKENS = 200
MAX_TOKEN_REPOSITORIES = 50
MAX_NAME_LENGTH = 100
_SELF_MADE = "an access token cannot make access tokens; sign in with the password"


@dataclasses.dataclass(frozen=True, slots=True)
class NewAccessToken:
    """``token`` is shown this once; only its hash is kept."""

    row: AccessToken
    token: str


async def create_access_token(
    op: OpContext,
    user_id: int,
    name: str,
    token_scopes: Collection[str],
    *,
    expires_at: dt.datetime | None = None,
    repository_ids: Collection[int] | None = None,
) -> NewAccessToken:
    """Make a token for one's own account, or for any as the server's operator.

    A session must have proven its password within 15 minutes; no other credential makes tokens.
    ``repository_ids`` limits it to repositories the actor may read. Emits CredentialCreated.
    Raises Invalid, Forbidden, NotFound, FailedPrecondition, Unauthenticated.
    """
    name = _checked_name(name)
    wanted = scopes.check_known(token_scopes)
    now = utc_now()
    if expires_at is not None and (expires_at.tzinfo is None or expires_at <= now):
        raise Invalid("the expiry must be a time to come, with its zone", fields=("expiresAt",))
    if repository_ids is not None and not 0 < len(set(repository_ids)) <= MAX_TOKEN_REPOSITORIES:
        raise Invalid(
            f"a token is limited to 1 to {MAX_TOKEN_REPOSITORIES} repositories, or to none at all",
            fields=("repositoryIds",),
        )
    async with op.transaction() as tx:
        if tx.actor.kind is ActorKind.ACCESS_TOKEN:
            raise Forbidden(_SELF_MADE)
        user = await account_access.account_to_equip(tx, user_id, "user")
        await _check_room(tx, user)
        if "site_admin" in wanted and not user.is_site_admin:
            raise Invalid(
                "only an administrator's token can have the scope 'site_admin'", fields=("scopes",)
            )
        # In one order, so that two such requests cannot wait for each other.
        for repository_id in sorted(set(repository_ids or ())):
            await access.get_repository(tx, repository_id, Action.REPOSITORY_READ, lock=True)
        token = new_access_token()
        row = AccessToken(
            user_id=user.id,
            name=name,
            token_hash=hash_token(token),
            token_last_eight=token[-8:],
            scopes=scopes.stored_form(wanted),
            all_repositories=repository_ids is None,
            expires_at=expires_at,
        )
        tx.session.add(row)
        await tx.session.flush()
        tx.session.add_all(
            AccessTokenRepository(access_token_id=row.id, repository_id=repository_id)
            for repository_id in sorted(set(repository_ids or ()))
        )
        tx.emit(CredentialCreated("access_token", row.id, user.id))
    return NewAccessToken(row, token)


async def list_access_tokens(tx: ReadTransaction) -> list[AccessToken]:
    """One's own that are not revoked, newest first. Takes the scope ``user``."""
    user = await account_access.acting_user(tx, "user")
    rows = await tx.session.scalars(
        select(AccessToken)
        .where(AccessToken.user_id == user.id, AccessToken.revoked_at.is_(None))
        .order_by(AccessToken.id.desc())
    )
    return list(rows)


async def revoke_access_token(op: OpContext, access_token_id: int) -> None:
    """End one of one's own tokens, or any as an administrator; a token may end itself.

    Emits CredentialRevoked. Revoking twice changes nothing. Raises NotFound, Forbidden.
    """
    async with op.transaction() as tx:
        if tx.actor.kind is ActorKind.ACCESS_TOKEN and tx.actor.credential_id == access_token_id:
            await credentials.reload(tx.session, tx.actor)
            owner_id = tx.actor.user_id
        else:
            owner_id = await account_access.owner_id_unless_admin(tx, "user")
        row = await tx.session.scalar(
            select(AccessToken)
            .where(AccessToken.id == min(access_token_id, 2**31 - 1))
            .with_for_update()
        )
        if row is None or owner_id not in (None, row.user_id):
            raise NotFound("there is no such access token")
        if row.revoked_at is None:
            row.revoked_at = utc_now()
            tx.emit(CredentialRevoked("access_token", row.id, row.user_id))


async def _check_room(tx: Transaction, user: User) -> None:
    count = await tx.session.scalar(
        select(func.count()).where(AccessToken.user_id == user.id, AccessToken.revoked_at.is_(None))
    )
    if (count or 0) >= MAX_TOKENS:
        raise FailedPrecondition(
            f"an account can have at most {MAX_TOKENS} access tokens; revoke one first"
        )


def _checked_name(name: str) -> str:
    name = name.strip()
    fault = None
    if not name:
        fault = "a token needs a name that tells what it is for"
    elif len(name) > MAX_NAME_LENGTH or not name.isprintable():
        fault = f"a token's name can have at most {MAX_NAME_LENGTH} printable characters"
    if fault:
        raise Invalid(fault, fields=("name",))
    return name
