"""The interfaces that object types share, as GitHub has them."""

import strawberry

from graph.scalars import URI
from graph.view import field
from resolvers import nodes, users


@strawberry.interface(description="An object with an ID.")
class Node:
    id: strawberry.ID = field(
        nodes.node_id, description="ID of the object; opaque, and the same for good."
    )


@strawberry.interface(description="Represents a type that can be retrieved by a URL.")
class UniformResourceLocatable:
    resource_path: URI = field(description="The HTML path to this resource.")
    url: URI = field(description="The URL to this resource.")


@strawberry.interface(description="Represents an object which can take actions. Typically a User.")
class Actor:
    login: str = field(description="The username of the actor.")
    resource_path: URI = field(users.resource_path, description="The HTTP path for this actor.")
    url: URI = field(users.url, description="The HTTP URL for this actor.")
