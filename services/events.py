"""What happened, as frozen dataclasses of ids. ``Transaction.emit`` writes them to a table.

The row and what it describes commit together (K4); consumers see an event at least once.
"""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True, slots=True)
class DomainEvent:
    """Base of all events. The class name is the stored name; fields are ids and plain values."""

    @property
    def name(self) -> str:
        return type(self).__name__

    @property
    def repository_id_or_none(self) -> int | None:
        return getattr(self, "repository_id", None)

    def payload(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True, slots=True)
class UserCreated(DomainEvent):
    user_id: int


@dataclasses.dataclass(frozen=True, slots=True)
class RepositoryCreated(DomainEvent):
    repository_id: int
    owner_id: int


@dataclasses.dataclass(frozen=True, slots=True)
class RepositoryForked(DomainEvent):
    repository_id: int
    parent_id: int


@dataclasses.dataclass(frozen=True, slots=True)
class ForkCreated(DomainEvent):
    """A repository was forked: the source's side of ``RepositoryForked``."""

    repository_id: int
    fork_id: int


@dataclasses.dataclass(frozen=True, slots=True)
class RepositoryUpdated(DomainEvent):
    """``changes`` names the attributes that changed."""

    repository_id: int
    changes: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class RepositoryDeleted(DomainEvent):
    repository_id: int
    owner_id: int
    name_with_owner: str


@dataclasses.dataclass(frozen=True, slots=True)
class PushReceived(DomainEvent):
    """One committed push; what it did to each ref stands in ``ref_changes``."""

    repository_id: int
    push_id: int
    generation: int


@dataclasses.dataclass(frozen=True, slots=True)
class CredentialCreated(DomainEvent):
    """``kind``: session, access_token, ssh_key or deploy_key."""

    kind: str
    credential_id: int
    user_id: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class CredentialRevoked(DomainEvent):
    kind: str
    credential_id: int
    user_id: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class UserRenamed(DomainEvent):
    user_id: int
    old_login: str
    new_login: str


@dataclasses.dataclass(frozen=True, slots=True)
class UserSuspended(DomainEvent):
    user_id: int


@dataclasses.dataclass(frozen=True, slots=True)
class UserUnsuspended(DomainEvent):
    user_id: int


@dataclasses.dataclass(frozen=True, slots=True)
class PasswordChanged(DomainEvent):
    user_id: int


@dataclasses.dataclass(frozen=True, slots=True)
class EmailAddressAdded(DomainEvent):
    user_id: int
    email_address_id: int


@dataclasses.dataclass(frozen=True, slots=True)
class EmailAddressRemoved(DomainEvent):
    user_id: int
    email_address_id: int


@dataclasses.dataclass(frozen=True, slots=True)
class EmailAddressVerified(DomainEvent):
    user_id: int
    email_address_id: int


@dataclasses.dataclass(frozen=True, slots=True)
class EmailVerificationRequested(DomainEvent):
    user_id: int
    email_address_id: int


@dataclasses.dataclass(frozen=True, slots=True)
class PrimaryEmailAddressChanged(DomainEvent):
    user_id: int
    email_address_id: int


@dataclasses.dataclass(frozen=True, slots=True)
class PasswordConfirmed(DomainEvent):
    """A session proved its password again."""

    user_id: int
    session_id: int


@dataclasses.dataclass(frozen=True, slots=True)
class RepositoryTransferred(DomainEvent):
    repository_id: int
    old_owner_id: int
    new_owner_id: int


@dataclasses.dataclass(frozen=True, slots=True)
class UserUpdated(DomainEvent):
    """``changes`` names the attributes that changed."""

    user_id: int
    changes: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class CollaboratorAdded(DomainEvent):
    """A person got a role in a repository, or another one than before."""

    repository_id: int
    user_id: int
    role: str


@dataclasses.dataclass(frozen=True, slots=True)
class CollaboratorRemoved(DomainEvent):
    repository_id: int
    user_id: int


@dataclasses.dataclass(frozen=True, slots=True)
class RepositoryStarred(DomainEvent):
    repository_id: int
    user_id: int


@dataclasses.dataclass(frozen=True, slots=True)
class RepositoryUnstarred(DomainEvent):
    repository_id: int
    user_id: int
