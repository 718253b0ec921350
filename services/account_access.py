"""Who may act on accounts: one's own, and any for those who run the server.

What concerns a repository is ``services.access``'s.
"""

import datetime as dt

from sqlalchemy import select

from models import Owner, Session, User, Visibility
from models.base import utc_now
from services import credentials
from services.access import require_scope
from services.actor import ActorKind
from services.context import ReadTransaction
from services.errors import Forbidden, NotFound
from services.names import is_id, name_key, printable

PASSWORD_FRESH = dt.timedelta(minutes=15)


async def acting_user(tx: ReadTransaction, scope: str, *, prove_password: bool = False) -> User:
    """The user on whose own account the actor acts now.

    With ``prove_password`` a session must have proven the password within 15 minutes. Raises as
    ``require_scope``, and Forbidden where there is no user.
    """
    actor = await credentials.reload(tx.session, tx.actor)
    require_scope(actor, scope)
    user = await tx.session.get(User, actor.user_id) if actor.user_id is not None else None
    if user is None:
        raise Forbidden("only a user has an account to change")
    if prove_password and actor.kind is ActorKind.SESSION:
        confirmed_at = actor.confirmed_at
        if actor.credential_id is not None:
            confirmed_at = await tx.session.scalar(
                select(Session.confirmed_at).where(Session.id == actor.credential_id)
            )
        if confirmed_at is None or confirmed_at < utc_now() - PASSWORD_FRESH:
            raise Forbidden(
                "confirm your password first; it was last given more than 15 minutes ago",
                details={"reason": "password_confirmation_required"},
            )
    return user


async def account_to_equip(tx: ReadTransaction, user_id: int, scope: str) -> User:
    """The account that gets a new credential: one's own, or any for the server's operator.

    Nobody else, administrators included: who adds a key to an account can act as it. Raises as
    ``acting_user``, and NotFound.
    """
    if tx.actor.kind is not ActorKind.OPERATOR:
        user = await acting_user(tx, scope, prove_password=True)
        if user.id != user_id:
            raise Forbidden("credentials can only be made for one's own account")
        return user
    found = await tx.session.get(User, user_id) if is_id(user_id) else None
    if found is None:
        raise NotFound(f"Could not resolve to a User with the id '{user_id}'.")
    return found


async def owner_id_unless_admin(tx: ReadTransaction, scope: str) -> int | None:
    """To whom a thing must belong for the actor to take it away; None for an administrator."""
    actor = await credentials.reload(tx.session, tx.actor)
    if actor.is_site_admin and actor.kind is not ActorKind.SSH_KEY:
        return None
    return (await acting_user(tx, scope)).id


async def require_site_admin(tx: ReadTransaction) -> None:
    """Raises Unauthenticated or Forbidden unless the actor administers this server now."""
    actor = await credentials.reload(tx.session, tx.actor)
    if actor.kind is ActorKind.OPERATOR:
        return
    require_scope(actor, "site_admin")
    if not actor.is_site_admin:
        raise Forbidden("only an administrator of this server may do this")


async def get_owner_to_fill(tx: ReadTransaction, login: str, visibility: Visibility) -> Owner:
    """The account in which the actor may put a repository of this visibility.

    One's own; any for an administrator of the server. Raises NotFound, Unauthenticated, Forbidden,
    InsufficientScopes.
    """
    actor = await credentials.reload(tx.session, tx.actor)
    if actor.kind is not ActorKind.OPERATOR:
        require_scope(actor, "public_repo" if visibility is Visibility.PUBLIC else "repo")
    key = name_key(login)
    owner = await tx.session.scalar(select(Owner).where(Owner.login_key == key))
    if owner is None:
        raise NotFound(f"Could not resolve to a User with the login of '{printable(login)}'.")
    if owner.id != actor.user_id and not actor.is_site_admin:
        raise Forbidden(f"you cannot create repositories for {owner.login}")
    return owner
