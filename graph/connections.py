"""Relay's connection types. GitHub's names follow from the node type: ``RepositoryConnection``."""

from typing import Generic, TypeVar

import strawberry

from graph.view import field
from resolvers import connections

Node = TypeVar("Node")


@strawberry.type(description="Information about pagination in a connection.")
class PageInfo:
    end_cursor: str | None = field(
        description="When paginating forwards, the cursor to continue (pass it as `after`)."
    )
    has_next_page: bool = field(description="When paginating forwards, are there more items?")
    has_previous_page: bool = field(description="When paginating backwards, are there more items?")
    start_cursor: str | None = field(
        description="When paginating backwards, the cursor to continue (pass it as `before`)."
    )


@strawberry.type(description="An edge in a connection.")
class Edge(Generic[Node]):
    cursor: str = field(description="A cursor for use in pagination.")
    node: Node | None = field(description="The item at the end of the edge.")


@strawberry.type(
    description="A page of a list. Give `first` or `last`, at most 100, to select its items."
)
class Connection(Generic[Node]):
    edges: list[Edge[Node] | None] | None = field(connections.edges, description="A list of edges.")
    nodes: list[Node | None] | None = field(connections.nodes, description="A list of nodes.")
    page_info: PageInfo = field(
        connections.page_info, description="Information to aid in pagination."
    )
    total_count: int = field(
        connections.total_count,
        description="The total count of items in the connection, whatever the page.",
    )
