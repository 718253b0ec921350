"""The query root."""

from typing import Annotated, Any

import strawberry

from graph.scalars import URI
from graph.types import server
from graph.types.interfaces import Node, UniformResourceLocatable
from graph.types.owner import RepositoryOwner, User
from graph.types.repository import Repository
from graph.types.search import SearchResultItemConnection, run_search
from graph.types.server import GitHubMetadata, RateLimit, ServerMetadata
from graph.view import field
from resolvers import nodes, repositories, resources, users
from resolvers.context import Info


async def resource(
    info: Info, url: Annotated[URI, strawberry.argument(description="The URL.")]
) -> Any:
    return await resources.resource(info, url)


@strawberry.type(description="The query root of the GraphQL interface.")
class Query:
    server_metadata: ServerMetadata = field(
        server.metadata, description="Return information about this server."
    )
    meta: GitHubMetadata = field(server.meta, description="Return information about this server.")
    node: Node | None = field(
        nodes.node,
        description="Fetches an object given its ID. One the viewer may not see is NOT_FOUND, "
        "like one that does not exist.",
    )
    nodes: list[Node | None] = field(
        nodes.nodes,
        description="Lookup nodes by a list of IDs, at most 100; one that cannot be found is null "
        "and an error.",
    )
    rate_limit: RateLimit | None = field(
        server.rate_limit, description="The client's rate limit information."
    )
    repository: Repository | None = field(
        repositories.repository,
        description="Lookup a given repository by the owner and repository name. One the viewer "
        "may not read is NOT_FOUND, like one that does not exist.",
    )
    repository_owner: RepositoryOwner | None = field(
        users.repository_owner,
        description="Lookup a repository owner (ie. a User) by login; null if there is none.",
    )
    resource: UniformResourceLocatable | None = field(
        resource,
        description="Lookup resource by a URL: a user's, a repository's or a commit's. Null for "
        "other addresses, and for what the viewer may not see.",
    )
    search: SearchResultItemConnection = field(
        run_search,
        description="Perform a search across resources, returning a maximum of 100 results a page: "
        "repositories the viewer may read, the last updated first, or users.",
    )
    user: User | None = field(users.user, description="Lookup a user by login.")
    viewer: User = field(
        users.viewer, description="The currently authenticated user. UNAUTHENTICATED without one."
    )
