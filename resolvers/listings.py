"""What each connection lists and in which order."""

import dataclasses
import datetime as dt
import enum
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, false, func, or_, select, union

from models import (
    AccessToken,
    Collaborator,
    EmailAddress,
    GitRef,
    RefChange,
    Repository,
    RepositoryFork,
    Session,
    SSHKey,
    Star,
    Visibility,
    Watch,
    WatchState,
)
from models.base import utc_now
from models.dialect import starts_with_any
from resolvers.pagination import Listing, OrderKey
from services import access
from services.context import ReadTransaction


class Affiliation(enum.Enum):
    """How a user has to do with a repository."""

    OWNER = "OWNER"
    COLLABORATOR = "COLLABORATOR"
    ORGANIZATION_MEMBER = "ORGANIZATION_MEMBER"


class RepositoryOrderField(enum.Enum):
    CREATED_AT = "CREATED_AT"
    NAME = "NAME"
    PUSHED_AT = "PUSHED_AT"
    UPDATED_AT = "UPDATED_AT"


_ORDER_KEYS: dict[RepositoryOrderField, OrderKey] = {
    RepositoryOrderField.CREATED_AT: OrderKey(
        Repository.created_at.expression, "created_at", dt.datetime
    ),
    RepositoryOrderField.NAME: OrderKey(Repository.name_key.expression, "name_key", str),
    # One that was never pushed to counts as pushed when it was made.
    RepositoryOrderField.PUSHED_AT: OrderKey(
        func.coalesce(Repository.pushed_at, Repository.created_at),
        "pushed_at",
        dt.datetime,
        fallback="created_at",
    ),
    RepositoryOrderField.UPDATED_AT: OrderKey(
        Repository.updated_at.expression, "updated_at", dt.datetime
    ),
}
_OWNED = select(Repository.owner_id.label("user_id"), Repository.id.label("repository_id"))
_SHARED = select(
    Collaborator.user_id.label("user_id"), Collaborator.repository_id.label("repository_id")
)
_OWNED_OR_SHARED = union(_OWNED, _SHARED).subquery("affiliated")
_ONLY_SHARED = _SHARED.subquery("shared")


@dataclasses.dataclass(frozen=True)
class RepositoriesOfUser(Listing[Repository]):
    """Those the viewer may read. ``owner_affiliations``: the listed user's part in them;
    ``viewer_affiliations``: the viewer's own. ``is_nothing``: whether a filter leaves none."""

    owner_affiliations: frozenset[Affiliation] = frozenset((Affiliation.OWNER,))
    is_nothing: bool = False
    viewer_affiliations: frozenset[Affiliation] | None = None
    visibilities: frozenset[Visibility] | None = None
    is_archived: bool | None = None
    is_fork: bool | None = None
    order_field: RepositoryOrderField = RepositoryOrderField.NAME
    descending: bool = False

    def select(self, tx: ReadTransaction) -> Select[Repository]:
        statement = access.readable_repositories(tx.actor)
        if Affiliation.COLLABORATOR in self.owner_affiliations:
            link = self._link()
            statement = statement.join(link, link.c.repository_id == Repository.id)
        elif Affiliation.OWNER not in self.owner_affiliations:
            statement = statement.where(false())
        if self.viewer_affiliations is not None:
            statement = statement.where(_affiliated(tx.actor.user_id, self.viewer_affiliations))
        if self.visibilities is not None:
            statement = statement.where(Repository.visibility.in_(self.visibilities))
        if self.is_nothing:
            statement = statement.where(false())
        if self.is_archived is not None:
            archived = Repository.archived_at.is_not(None)
            statement = statement.where(archived if self.is_archived else ~archived)
        if self.is_fork is not None:
            fork = exists().where(RepositoryFork.repository_id == Repository.id)
            statement = statement.where(fork if self.is_fork else ~fork)
        return statement

    def parent(self) -> ColumnElement[Any]:
        if Affiliation.COLLABORATOR in self.owner_affiliations:
            user_id: ColumnElement[Any] = self._link().c.user_id
            return user_id
        return Repository.owner_id.expression

    def order(self) -> tuple[OrderKey, ...]:
        first = dataclasses.replace(_ORDER_KEYS[self.order_field], descending=self.descending)
        return first, OrderKey(Repository.id.expression, "id", int, self.descending)

    def _link(self) -> Any:
        return _OWNED_OR_SHARED if Affiliation.OWNER in self.owner_affiliations else _ONLY_SHARED


def _affiliated(viewer_id: int | None, affiliations: frozenset[Affiliation]) -> ColumnElement[bool]:
    if viewer_id is None:
        return false()
    ways: list[ColumnElement[bool]] = [false()]
    if Affiliation.OWNER in affiliations:
        ways.append(Repository.owner_id == viewer_id)
    if Affiliation.COLLABORATOR in affiliations:
        ways.append(
            exists().where(
                Collaborator.repository_id == Repository.id, Collaborator.user_id == viewer_id
            )
        )
    return or_(*ways)


@dataclasses.dataclass(frozen=True)
class RefsOfRepository(Listing[GitRef]):
    """Live refs below ``prefix``; ``query`` is a part of the name after it."""

    prefix: str
    query: str | None = None
    descending: bool = False

    def select(self, tx: ReadTransaction) -> Select[GitRef]:
        statement = select(GitRef).where(
            GitRef.oid.is_not(None), *starts_with_any(GitRef.name, [self.prefix])
        )
        if self.query:
            rest = func.substr(GitRef.name, len(self.prefix) + 1)
            statement = statement.where(rest.contains(self.query, autoescape=True))
        return statement

    def parent(self) -> ColumnElement[Any]:
        return GitRef.repository_id.expression

    def order(self) -> tuple[OrderKey, ...]:
        return (OrderKey(GitRef.name.expression, "name", str, self.descending),)


@dataclasses.dataclass(frozen=True)
class DeployKeysOfRepository(Listing[SSHKey]):
    """Whether the viewer may see them is asked before, once for the repository."""

    def select(self, tx: ReadTransaction) -> Select[SSHKey]:
        return select(SSHKey)

    def parent(self) -> ColumnElement[Any]:
        return SSHKey.repository_id.expression

    def order(self) -> tuple[OrderKey, ...]:
        return (OrderKey(SSHKey.id.expression, "id", int),)


@dataclasses.dataclass(frozen=True)
class CollaboratorsOfRepository(Listing[Collaborator]):
    """Whether the viewer may see them is asked before, once for the repository."""

    def select(self, tx: ReadTransaction) -> Select[Collaborator]:
        return select(Collaborator)

    def parent(self) -> ColumnElement[Any]:
        return Collaborator.repository_id.expression

    def order(self) -> tuple[OrderKey, ...]:
        return (OrderKey(Collaborator.user_id.expression, "user_id", int),)


@dataclasses.dataclass(frozen=True)
class StarsOfRepository(Listing[Star]):
    descending: bool = False

    def select(self, tx: ReadTransaction) -> Select[Star]:
        return select(Star)

    def parent(self) -> ColumnElement[Any]:
        return Star.repository_id.expression

    def order(self) -> tuple[OrderKey, ...]:
        return (
            OrderKey(Star.created_at.expression, "created_at", dt.datetime, self.descending),
            OrderKey(Star.user_id.expression, "user_id", int, self.descending),
        )


@dataclasses.dataclass(frozen=True)
class StarsOfUser(Listing[Star]):
    """Of repositories that the viewer may read; ``owned_by_viewer``: only or none of the own."""

    descending: bool = False
    owned_by_viewer: bool | None = None

    def select(self, tx: ReadTransaction) -> Select[Star]:
        readable = access.readable_repositories(tx.actor)
        if self.owned_by_viewer is not None:
            owned = Repository.owner_id == (tx.actor.user_id or 0)
            readable = readable.where(owned if self.owned_by_viewer else ~owned)
        return select(Star).where(Star.repository_id.in_(readable.with_only_columns(Repository.id)))

    def parent(self) -> ColumnElement[Any]:
        return Star.user_id.expression

    def order(self) -> tuple[OrderKey, ...]:
        return (
            OrderKey(Star.created_at.expression, "created_at", dt.datetime, self.descending),
            OrderKey(Star.repository_id.expression, "repository_id", int, self.descending),
        )


@dataclasses.dataclass(frozen=True)
class WatchersOfRepository(Listing[Watch]):
    def select(self, tx: ReadTransaction) -> Select[Watch]:
        return select(Watch).where(Watch.state == WatchState.SUBSCRIBED)

    def parent(self) -> ColumnElement[Any]:
        return Watch.repository_id.expression

    def order(self) -> tuple[OrderKey, ...]:
        return (OrderKey(Watch.user_id.expression, "user_id", int),)


@dataclasses.dataclass(frozen=True)
class RefChangesOfPush(Listing[RefChange]):
    """Whether the viewer may see the push is asked before."""

    def select(self, tx: ReadTransaction) -> Select[RefChange]:
        return select(RefChange)

    def parent(self) -> ColumnElement[Any]:
        return RefChange.push_id.expression

    def order(self) -> tuple[OrderKey, ...]:
        return (OrderKey(RefChange.id.expression, "id", int),)


@dataclasses.dataclass(frozen=True)
class PublicKeysOfUser(Listing[SSHKey]):
    """Anyone may see them, as on GitHub: they are public by nature."""

    def select(self, tx: ReadTransaction) -> Select[SSHKey]:
        return select(SSHKey)

    def parent(self) -> ColumnElement[Any]:
        return SSHKey.user_id.expression

    def order(self) -> tuple[OrderKey, ...]:
        return (OrderKey(SSHKey.id.expression, "id", int),)


@dataclasses.dataclass(frozen=True)
class EmailAddressesOfViewer(Listing[EmailAddress]):
    def select(self, tx: ReadTransaction) -> Select[EmailAddress]:
        return select(EmailAddress).where(EmailAddress.user_id == tx.actor.user_id)

    def parent(self) -> ColumnElement[Any]:
        return EmailAddress.user_id.expression

    def order(self) -> tuple[OrderKey, ...]:
        return (OrderKey(EmailAddress.id.expression, "id", int),)


@dataclasses.dataclass(frozen=True)
class AccessTokensOfViewer(Listing[AccessToken]):
    """Those not revoked; expired ones are shown as such."""

    def select(self, tx: ReadTransaction) -> Select[AccessToken]:
        return select(AccessToken).where(
            AccessToken.user_id == tx.actor.user_id, AccessToken.revoked_at.is_(None)
        )

    def parent(self) -> ColumnElement[Any]:
        return AccessToken.user_id.expression

    def order(self) -> tuple[OrderKey, ...]:
        return (OrderKey(AccessToken.id.expression, "id", int, descending=True),)


@dataclasses.dataclass(frozen=True)
class SessionsOfViewer(Listing[Session]):
    """Those that are still good."""

    def select(self, tx: ReadTransaction) -> Select[Session]:
        return select(Session).where(
            Session.user_id == tx.actor.user_id,
            and_(Session.revoked_at.is_(None), Session.expires_at > utc_now()),
        )

    def parent(self) -> ColumnElement[Any]:
        return Session.user_id.expression

    def order(self) -> tuple[OrderKey, ...]:
        return (OrderKey(Session.id.expression, "id", int, descending=True),)
