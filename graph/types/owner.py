"""Accounts that own repositories: the interface, and users."""

import datetime as dt
from typing import TYPE_CHECKING, Annotated, Any

import strawberry
from strawberry import Parent

import models
from graph.connections import Connection
from graph.enums import OrderDirection, RepositoryPrivacy
from graph.scalars import HTML, URI
from graph.types.access_token import AccessToken
from graph.types.email_address import EmailAddress
from graph.types.interfaces import Actor, Node, UniformResourceLocatable
from graph.types.keys import PublicKey
from graph.types.session import Session
from graph.types.stars import StarredRepositoryConnection, starred_repositories
from graph.view import field, view_of
from models import Visibility
from resolvers import connections, markup, nodes, users
from resolvers.arguments import (
    OPTIONAL,
    After,
    Before,
    First,
    Last,
    given,
    page_arguments,
)
from resolvers.listings import Affiliation, RepositoriesOfUser, RepositoryOrderField
from services.errors import Invalid

if TYPE_CHECKING:
    from graph.types.repository import Repository

LazyRepository = Annotated["Repository", strawberry.lazy("graph.types.repository")]
_PRIVATE = frozenset((Visibility.PRIVATE, Visibility.INTERNAL))


@strawberry.input(description="Ordering options for repository connections")
class RepositoryOrder:
    direction: OrderDirection = strawberry.field(description="The ordering direction.")
    field: RepositoryOrderField = strawberry.field(
        description="The field to order repositories by."
    )


def repositories(
    root: Parent[models.Owner],
    affiliations: Annotated[
        list[Affiliation | None] | None,
        strawberry.argument(
            description="Array of viewer's affiliation options for repositories returned from the "
            "connection. For example, OWNER will include only repositories that the current "
            "viewer owns."
        ),
    ] = OPTIONAL,
    after: After = OPTIONAL,
    before: Before = OPTIONAL,
    first: First = OPTIONAL,
    has_issues_enabled: Annotated[
        bool | None,
        strawberry.argument(
            description="If non-null, filters repositories according to whether they have issues "
            "enabled; none has here."
        ),
    ] = OPTIONAL,
    is_archived: Annotated[
        bool | None,
        strawberry.argument(
            description="If non-null, filters repositories according to whether they are archived "
            "and not maintained"
        ),
    ] = OPTIONAL,
    is_fork: Annotated[
        bool | None,
        strawberry.argument(
            description="If non-null, filters repositories according to whether they are forks of "
            "another repository"
        ),
    ] = OPTIONAL,
    is_locked: Annotated[
        bool | None,
        strawberry.argument(
            description="If non-null, filters repositories according to whether they have been "
            "locked; none has here."
        ),
    ] = OPTIONAL,
    last: Last = OPTIONAL,
    order_by: Annotated[
        RepositoryOrder | None,
        strawberry.argument(
            description="Ordering options for repositories returned from the connection; by name "
            "if left out."
        ),
    ] = OPTIONAL,
    owner_affiliations: Annotated[
        list[Affiliation | None] | None,
        strawberry.argument(
            description="Array of owner's affiliation options for repositories returned from the "
            "connection. For example, OWNER will include only repositories that the organization "
            "or user being viewed owns."
        ),
    ] = [Affiliation.OWNER, Affiliation.COLLABORATOR],  # noqa: B006
    privacy: Annotated[
        RepositoryPrivacy | None,
        strawberry.argument(
            description="If non-null, filters repositories according to privacy. Internal "
            "repositories are considered private; use the visibility argument if only internal "
            "repositories are needed. Cannot be combined with the visibility argument."
        ),
    ] = OPTIONAL,
    visibility: Annotated[
        Visibility | None,
        strawberry.argument(
            description="If non-null, filters repositories according to visibility. Cannot be "
            "combined with the privacy argument."
        ),
    ] = OPTIONAL,
) -> connections.Connection[models.Repository]:
    """Raises Invalid, PaginationFault."""
    page = page_arguments("repositories", first, after, last, before)
    order = given(order_by)
    owned = _affiliations(owner_affiliations) or frozenset(
        (Affiliation.OWNER, Affiliation.COLLABORATOR)
    )
    listing = RepositoriesOfUser(
        owner_affiliations=owned,
        viewer_affiliations=_affiliations(affiliations),
        visibilities=_visibilities(given(privacy), given(visibility)),
        is_archived=given(is_archived),
        is_fork=given(is_fork),
        is_nothing=bool(given(has_issues_enabled) or given(is_locked)),
        order_field=order.field if order else RepositoryOrderField.NAME,
        descending=order is not None and order.direction is OrderDirection.DESC,
    )
    return connections.Connection(listing, root.id, page)


def _affiliations(value: Any) -> frozenset[Affiliation] | None:
    chosen = given(value)
    return None if chosen is None else frozenset(each for each in chosen if each is not None)


def _visibilities(
    privacy: RepositoryPrivacy | None, visibility: Visibility | None
) -> frozenset[Visibility] | None:
    if privacy is not None and visibility is not None:
        raise Invalid(
            "give either privacy or visibility, not both", fields=("privacy", "visibility")
        )
    if visibility is not None:
        return frozenset((visibility,))
    if privacy is None:
        return None
    return _PRIVATE if privacy is RepositoryPrivacy.PRIVATE else frozenset((Visibility.PUBLIC,))


_REPOSITORIES = (
    "A list of repositories that the user owns or collaborates on, as far as the viewer may read "
    "them."
)
_REPOSITORY = "Find Repository. An unknown one, or one the viewer may not read, is NOT_FOUND."


@strawberry.interface(description="Represents an owner of a Repository.")
class RepositoryOwner:
    id: strawberry.ID = field(nodes.node_id, description="The Node ID of the owner.")
    login: str = field(description="The username used to login.")
    repositories: Connection[LazyRepository] = field(repositories, description=_REPOSITORIES)
    repository: LazyRepository | None = field(users.repository, description=_REPOSITORY)
    resource_path: URI = field(users.resource_path, description="The HTTP path for the owner.")
    url: URI = field(users.url, description="The HTTP URL for the owner.")


@strawberry.type(description="A user is an individual's account that owns repositories.")
@view_of(models.User)
class User(Node, Actor, RepositoryOwner, UniformResourceLocatable):
    resource_path: URI = field(users.resource_path, description="The HTTP path for this user.")
    url: URI = field(users.url, description="The HTTP URL for this user.")
    access_tokens: Connection[AccessToken] | None = field(
        users.access_tokens,
        description="The viewer's own personal access tokens, newest first, without revoked ones. "
        "FORBIDDEN for anybody else's. Takes the scope `user`.",
    )
    bio: str | None = field(description="The user's public profile bio.")
    bio_html: HTML = field(
        markup.bio_html,
        name="bioHTML",
        description="The user's public profile bio as HTML.",
    )
    created_at: dt.datetime = field(
        description="Identifies the date and time when the object was created."
    )
    database_id: int | None = field(
        users.database_id, description="Identifies the primary key from the database."
    )
    email: str = field(
        users.email,
        description="The viewer's own primary e-mail address, with the scope `user:email`; empty "
        "for everybody else.",
    )
    emails: Connection[EmailAddress] | None = field(
        users.emails,
        description="The viewer's own e-mail addresses. FORBIDDEN for anybody else's. Takes the "
        "scope `user:email`.",
    )
    is_site_admin: bool = field(
        description="Whether or not this user is an administrator of this server."
    )
    is_viewer: bool = field(
        users.is_viewer, description="Whether or not this user is the viewing user."
    )
    name: str | None = field(description="The user's public profile name.")
    public_keys: Connection[PublicKey] = field(
        users.public_keys, description="A list of public keys associated with this user."
    )
    sessions: Connection[Session] | None = field(
        users.sessions,
        description="The viewer's own sessions that have not ended, newest first. FORBIDDEN for "
        "anybody else's. Takes the scope `user`.",
    )
    starred_repositories: StarredRepositoryConnection = field(
        starred_repositories,
        description="Repositories the user has starred, as far as the viewer may read them.",
    )
    updated_at: dt.datetime = field(
        description="Identifies the date and time when the object was last updated."
    )
