"""Fields of keys, tokens, sessions and e-mail addresses; secrets are not among them."""

import datetime as dt
from typing import Any

from strawberry import Parent

from models import AccessToken, EmailAddress, Session, SSHKey
from resolvers.context import Info
from services.actor import ActorKind


def public_key(root: Parent[SSHKey]) -> str:
    return root.public_key


def own_time(attribute: str) -> Any:
    """A time of a key that only its user may see; null for others, as on GitHub."""

    def read(root: Parent[SSHKey], info: Info) -> dt.datetime | None:
        value: dt.datetime | None = getattr(root, attribute)
        return value if _is_own(root, info) else None

    return read


def own_title(root: Parent[SSHKey], info: Info) -> str | None:
    return root.title if _is_own(root, info) else None


def own_is_read_only(root: Parent[SSHKey], info: Info) -> bool | None:
    return root.read_only if _is_own(root, info) else None


def _is_own(root: SSHKey, info: Info) -> bool:
    actor = info.context.op.actor
    granted = actor.scopes is None or "read:public_key" in actor.scopes
    return granted and actor.user_id is not None and root.user_id == actor.user_id


def token_scopes(root: Parent[AccessToken]) -> list[str]:
    return root.scopes.split()


def session_is_current(root: Parent[Session], info: Info) -> bool:
    actor = info.context.op.actor
    return actor.kind is ActorKind.SESSION and actor.credential_id == root.id


def email_is_verified(root: Parent[EmailAddress]) -> bool:
    return root.verified_at is not None


def email_is_primary(root: Parent[EmailAddress]) -> bool:
    return root.primary_of is not None


def token_is_limited(root: Parent[AccessToken]) -> bool:
    return not root.all_repositories
