"""The schema: roots, scalars, and the steps every operation passes."""

import strawberry
from strawberry.schema.config import StrawberryConfig

import graph.enums  # noqa: F401  # registers the enums
from graph.execution import CACHED_DOCUMENTS, Limits, SmallParserCache, SmallValidationCache
from graph.mutations.root import Mutation
from graph.queries import Query
from graph.scalars import SCALARS
from graph.subscriptions import Subscription
from graph.types.event import EVENT_TYPES
from graph.types.git import Blob, Commit, Tag, Tree
from graph.types.owner import User
from graph.types.ref import Ref
from graph.types.repository import Repository


class Schema(strawberry.Schema):
    """Errors are logged by ``graph.errors``, once and with the request id, not by the library."""

    def process_errors(self, errors: object, execution_context: object = None) -> None:
        return None


schema = Schema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    types=[User, Repository, Ref, Commit, Tree, Blob, Tag, *EVENT_TYPES],
    extensions=[
        Limits,
        lambda: SmallParserCache(maxsize=CACHED_DOCUMENTS),
        lambda: SmallValidationCache(maxsize=CACHED_DOCUMENTS),
    ],
    config=StrawberryConfig(scalar_map=SCALARS),
)


def print_sdl() -> str:
    """The contract as ``graph/schema.graphql`` holds it."""
    return f"{schema.as_str().rstrip()}\n"


if __name__ == "__main__":
    import sys

    sys.stdout.write(print_sdl())
