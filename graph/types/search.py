"""Search results."""

from typing import Annotated

import strawberry

from graph.connections import PageInfo
from graph.types.owner import User
from graph.types.repository import Repository
from graph.view import field
from resolvers import connections, search
from resolvers.arguments import OPTIONAL, After, Before, First, Last, page_arguments
from resolvers.search import SearchType

SearchResultItem = Annotated[
    Repository | User,
    strawberry.union("SearchResultItem", description="The results of a search."),
]


@strawberry.type(description="An edge in a connection.")
class SearchResultItemEdge:
    cursor: str = field(description="A cursor for use in pagination.")
    node: SearchResultItem | None = field(description="The item at the end of the edge.")


@strawberry.type(
    description="A list of results that matched against a search query. Give `first` or `last`, at "
    "most 100, to select them."
)
class SearchResultItemConnection:
    edges: list[SearchResultItemEdge | None] | None = field(
        connections.edges, description="A list of edges."
    )
    nodes: list[SearchResultItem | None] | None = field(
        connections.nodes, description="A list of nodes."
    )
    page_info: PageInfo = field(
        connections.page_info, description="Information to aid in pagination."
    )
    repository_count: int = field(
        search.repository_count,
        description="The total number of repositories that matched the search query; 0 for other "
        "types.",
    )
    user_count: int = field(
        search.user_count,
        description="The total number of users that matched the search query; 0 for other types.",
    )


def run_search(
    query: Annotated[
        str,
        strawberry.argument(
            description="The search string to look for: words, all of which must be found, and for "
            "repositories `user:LOGIN`, `repo:OWNER/NAME`, `is:public`, `is:private`, "
            "`is:internal`, `archived:true|false` and `fork:true|false|only`. At most 256 "
            "characters."
        ),
    ],
    type: Annotated[
        SearchType, strawberry.argument(description="The types of search items to search within.")
    ],
    after: After = OPTIONAL,
    before: Before = OPTIONAL,
    first: First = OPTIONAL,
    last: Last = OPTIONAL,
) -> search.Found:
    """Raises Invalid, PaginationFault."""
    return search.search(query, type, page_arguments("search", first, after, last, before))
