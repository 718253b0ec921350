"""Search for repositories and users: what GitHub's query texts mean here."""

import dataclasses
import datetime as dt
import enum
import shlex
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    exists,
    false,
    func,
    literal_column,
    or_,
    select,
    true,
)
from strawberry import Parent

from models import Owner, Repository, RepositoryFork, User, Visibility
from resolvers.connections import Connection
from resolvers.context import Info
from resolvers.pagination import Listing, OrderKey, PageArguments
from services import access
from services.context import ReadTransaction
from services.errors import Invalid
from services.names import name_key

MAX_QUERY_LENGTH = 256
MAX_TERMS = 20
_owners = Owner.__table__.c


class SearchType(enum.Enum):
    """The kinds of things that can be searched for."""

    REPOSITORY = "REPOSITORY"
    USER = "USER"


@dataclasses.dataclass(frozen=True, slots=True)
class Terms:
    """A query text taken apart: words, and ``name:value`` qualifiers."""

    words: tuple[str, ...] = ()
    qualifiers: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, query: str) -> "Terms":
        """Raises Invalid for texts beyond the limits."""
        if len(query) > MAX_QUERY_LENGTH:
            raise Invalid(f"a search may be {MAX_QUERY_LENGTH} characters long", fields=("query",))
        try:
            parts = shlex.split(query, comments=False, posix=True)
        except ValueError:  # a quotation mark that is not closed is a character like others
            parts = query.split()
        if len(parts) > MAX_TERMS:
            raise Invalid(f"a search may have {MAX_TERMS} terms", fields=("query",))
        words, qualifiers = [], []
        for part in parts:
            name, colon, value = part.partition(":")
            if colon and name.lower() in _QUALIFIERS and value:
                qualifiers.append((name.lower(), value))
            else:
                words.append(part)
        return cls(tuple(words), tuple(qualifiers))


# A search is nobody's: all rows are of one parent, 0. Written as an expression, since a number in
# GROUP BY is the number of a column to MariaDB.
_NO_PARENT: ColumnElement[Any] = literal_column("COALESCE(0, 0)", Integer)
_QUALIFIERS = frozenset(("archived", "fork", "is", "org", "owner", "repo", "user"))
_BOOLEANS = {"true": True, "false": False}


@dataclasses.dataclass(frozen=True)
class RepositoriesFound(Listing[Repository]):
    """Readable repositories with every word in their name, owner's login or description."""

    terms: Terms

    def select(self, tx: ReadTransaction) -> Select[Repository]:
        statement = access.readable_repositories(tx.actor)
        for word in self.terms.words:
            key = word.lower()
            login = (
                select(_owners.id)
                .where(
                    _owners.id == Repository.owner_id,
                    _owners.login_key.contains(key, autoescape=True),
                )
                .exists()
            )
            owner, slash, name = key.partition("/")
            both = (
                exists().where(_owners.id == Repository.owner_id, _owners.login_key == owner)
                & Repository.name_key.startswith(name, autoescape=True)
                if slash
                else false()
            )
            description = func.lower(func.coalesce(Repository.description, ""))
            statement = statement.where(
                or_(
                    Repository.name_key.contains(key, autoescape=True),
                    description.contains(key, autoescape=True),
                    login,
                    both,
                )
            )
        for qualifier, value in self.terms.qualifiers:
            statement = statement.where(_qualified(qualifier, value.lower()))
        return statement

    def parent(self) -> ColumnElement[Any]:
        return _NO_PARENT

    def order(self) -> tuple[OrderKey, ...]:
        return (
            OrderKey(Repository.updated_at.expression, "updated_at", dt.datetime, descending=True),
            OrderKey(Repository.id.expression, "id", int, descending=True),
        )


def _qualified(qualifier: str, value: str) -> ColumnElement[bool]:
    """Raises Invalid for a value that is none."""
    match qualifier:
        case "user" | "owner" | "org":
            return exists().where(
                _owners.id == Repository.owner_id, _owners.login_key == name_key(value)
            )
        case "repo":
            owner, _, name = value.partition("/")
            return exists().where(
                _owners.id == Repository.owner_id, _owners.login_key == name_key(owner)
            ) & (Repository.name_key == name_key(name))
        case "is":
            kinds = {each.value.lower(): each for each in Visibility}
            if value in kinds:
                return Repository.visibility == kinds[value]
        case "archived" if value in _BOOLEANS:
            archived = Repository.archived_at.is_not(None)
            return archived if _BOOLEANS[value] else ~archived
        case "fork" if value in ("only", *_BOOLEANS):
            # As on GitHub, `fork:true` means forks as well.
            fork = exists().where(RepositoryFork.repository_id == Repository.id)
            if value == "only":
                return fork
            return true() if _BOOLEANS[value] else ~fork
    raise Invalid(f"'{qualifier}:{value}' is nothing that can be searched for", fields=("query",))


@dataclasses.dataclass(frozen=True)
class UsersFound(Listing[User]):
    """Accounts with every word in their login or name."""

    terms: Terms

    def select(self, tx: ReadTransaction) -> Select[User]:
        statement = select(User)
        words = [*self.terms.words, *(value for _, value in self.terms.qualifiers)]
        for word in words:
            key = word.lower()
            statement = statement.where(
                or_(
                    User.login_key.contains(key, autoescape=True),
                    func.lower(func.coalesce(User.name, "")).contains(key, autoescape=True),
                )
            )
        return statement

    def parent(self) -> ColumnElement[Any]:
        return _NO_PARENT

    def order(self) -> tuple[OrderKey, ...]:
        return (OrderKey(User.login_key.expression, "login_key", str),)


@dataclasses.dataclass(frozen=True, slots=True)
class Found(Connection[Any]):
    """A search before it is run."""

    kind: SearchType = SearchType.REPOSITORY


def search(query: str, kind: SearchType, page: PageArguments) -> Found:
    """Raises Invalid."""
    terms = Terms.of(query)
    if kind is SearchType.USER:
        return Found(UsersFound(terms), 0, page, kind)
    for qualifier, value in terms.qualifiers:
        _qualified(qualifier, value.lower())  # so that a wrong one is told before the page is read
    return Found(RepositoriesFound(terms), 0, page, kind)


async def repository_count(root: Parent[Found], info: Info) -> int:
    return await root.count(info) if root.kind is SearchType.REPOSITORY else 0


async def user_count(root: Parent[Found], info: Info) -> int:
    return await root.count(info) if root.kind is SearchType.USER else 0
