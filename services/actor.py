"""Who acts: one object from any credential. Made by ``services.authentication`` alone."""

import dataclasses
import datetime as dt
import enum


class ActorKind(enum.Enum):
    ANONYMOUS = "anonymous"
    SESSION = "session"  # a browser, or an API client with a signed short-lived token
    ACCESS_TOKEN = "access_token"  # noqa: S105
    SSH_KEY = "ssh_key"
    DEPLOY_KEY = "deploy_key"
    OPERATOR = "operator"  # the command line on the server itself


@dataclasses.dataclass(frozen=True, slots=True)
class Actor:
    """An identity with the limits of the credential it came from.

    ``scopes`` and ``repository_ids`` are None where the credential does not limit them. A deploy
    key has no user: ``repository_ids`` holds its one repository and ``read_only`` its right.
    ``confirmed_at`` is when a session's password was last proven.
    """

    kind: ActorKind
    user_id: int | None = None
    login: str | None = None
    is_site_admin: bool = False
    credential_id: int | None = None
    scopes: frozenset[str] | None = None
    repository_ids: frozenset[int] | None = None
    read_only: bool = False
    confirmed_at: dt.datetime | None = None

    @property
    def is_anonymous(self) -> bool:
        return self.kind is ActorKind.ANONYMOUS


ANONYMOUS = Actor(ActorKind.ANONYMOUS)
OPERATOR = Actor(ActorKind.OPERATOR, is_site_admin=True)
