"""Stars and watches of repositories."""

import datetime as dt
from typing import TYPE_CHECKING, Annotated

import strawberry
from strawberry import Parent

import models
from graph.connections import PageInfo
from graph.enums import OrderDirection, StarOrderField
from graph.view import field
from models import WatchState
from resolvers import connections, nodes, stars
from resolvers.arguments import OPTIONAL, After, Before, First, Last, given, page_arguments
from resolvers.listings import StarsOfRepository, StarsOfUser

if TYPE_CHECKING:
    from graph.types.owner import User
    from graph.types.repository import Repository

LazyUser = Annotated["User", strawberry.lazy("graph.types.owner")]
LazyRepository = Annotated["Repository", strawberry.lazy("graph.types.repository")]


@strawberry.input(description="Ways in which star connections can be ordered.")
class StarOrder:
    direction: OrderDirection = strawberry.field(
        description="The direction in which to order nodes."
    )
    field: StarOrderField = strawberry.field(description="The field in which to order nodes by.")


Order = Annotated[
    StarOrder | None,
    strawberry.argument(
        description="Order for connection; the oldest star first if it is left out."
    ),
]


@strawberry.type(description="Represents a user that's starred a repository.")
class StargazerEdge:
    cursor: str = field(description="A cursor for use in pagination.")
    node: LazyUser = field(stars.stargazer, description="The user.")
    starred_at: dt.datetime = field(
        stars.starred_at, description="Identifies when the item was starred."
    )


@strawberry.type(
    description="The users who starred a repository. Give `first` or `last`, at most 100, to "
    "select them."
)
class StargazerConnection:
    edges: list[StargazerEdge | None] | None = field(
        connections.edges, description="A list of edges."
    )
    nodes: list[LazyUser | None] | None = field(stars.user_nodes, description="A list of nodes.")
    page_info: PageInfo = field(
        connections.page_info, description="Information to aid in pagination."
    )
    total_count: int = field(
        connections.total_count, description="Identifies the total count of items."
    )


@strawberry.type(description="Represents a starred repository.")
class StarredRepositoryEdge:
    cursor: str = field(description="A cursor for use in pagination.")
    node: LazyRepository = field(stars.starred_repository, description="The repository.")
    starred_at: dt.datetime = field(
        stars.starred_at, description="Identifies when the item was starred."
    )


@strawberry.type(
    description="The repositories a user starred, as far as the viewer may read them. Give `first` "
    "or `last`, at most 100, to select them."
)
class StarredRepositoryConnection:
    edges: list[StarredRepositoryEdge | None] | None = field(
        connections.edges, description="A list of edges."
    )
    is_over_limit: bool = field(
        stars.never_over_limit,
        description="Is the list of stars for this user truncated? None is here.",
    )
    nodes: list[LazyRepository | None] | None = field(
        stars.repository_nodes, description="A list of nodes."
    )
    page_info: PageInfo = field(
        connections.page_info, description="Information to aid in pagination."
    )
    total_count: int = field(
        connections.total_count, description="Identifies the total count of items."
    )


@strawberry.type(description="A user in a list.")
class UserEdge:
    cursor: str = field(description="A cursor for use in pagination.")
    node: LazyUser | None = field(description="The item at the end of the edge.")


@strawberry.type(
    description="A list of users. Give `first` or `last`, at most 100, to select them."
)
class UserConnection:
    edges: list[UserEdge | None] | None = field(stars.user_edges, description="A list of edges.")
    nodes: list[LazyUser | None] | None = field(stars.user_nodes, description="A list of nodes.")
    page_info: PageInfo = field(
        connections.page_info, description="Information to aid in pagination."
    )
    total_count: int = field(
        connections.total_count, description="Identifies the total count of items."
    )


def stargazers(
    root: Parent[models.Repository],
    after: After = OPTIONAL,
    before: Before = OPTIONAL,
    first: First = OPTIONAL,
    last: Last = OPTIONAL,
    order_by: Order = OPTIONAL,
) -> connections.Connection[models.Star]:
    """Raises PaginationFault."""
    page = page_arguments("stargazers", first, after, last, before)
    return connections.Connection(StarsOfRepository(_is_descending(order_by)), root.id, page)


def starred_repositories(
    root: Parent[models.User],
    after: After = OPTIONAL,
    before: Before = OPTIONAL,
    first: First = OPTIONAL,
    last: Last = OPTIONAL,
    order_by: Order = OPTIONAL,
    owned_by_viewer: Annotated[
        bool | None,
        strawberry.argument(
            description="Filters starred repositories to only return repositories owned by the "
            "viewer."
        ),
    ] = OPTIONAL,
) -> connections.Connection[models.Star]:
    """Raises PaginationFault."""
    page = page_arguments("starredRepositories", first, after, last, before)
    listing = StarsOfUser(_is_descending(order_by), given(owned_by_viewer))
    return connections.Connection(listing, root.id, page)


def _is_descending(order_by: StarOrder | None) -> bool:
    order = given(order_by)
    return order is not None and order.direction is OrderDirection.DESC


@strawberry.interface(description="Things that can be starred.")
class Starrable:
    id: strawberry.ID = field(nodes.node_id, description="The Node ID of the Starrable object.")
    stargazer_count: int = field(
        stars.stargazer_count,
        description="Returns a count of how many stargazers there are on this object.",
    )
    stargazers: StargazerConnection = field(
        stargazers, description="A list of users who have starred this starrable."
    )
    viewer_has_starred: bool = field(
        stars.viewer_has_starred,
        description="Returns a boolean indicating whether the viewing user has starred this "
        "starrable.",
    )


@strawberry.interface(description="Entities that can be subscribed to.")
class Subscribable:
    id: strawberry.ID = field(nodes.node_id, description="The Node ID of the Subscribable object.")
    viewer_can_subscribe: bool = field(
        stars.viewer_can_subscribe,
        description="Check if the viewer is able to change their subscription status for the "
        "repository.",
    )
    viewer_subscription: WatchState | None = field(
        stars.viewer_subscription,
        description="Identifies if the viewer is watching, not watching, or ignoring the "
        "subscribable entity; null without a viewer.",
    )
