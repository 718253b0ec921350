"""The subscription root: what clients are told as it happens, over a WebSocket."""

from collections.abc import AsyncGenerator
from typing import Annotated, Any, cast

import strawberry

from graph.context import GraphContext
from graph.limits import DEADLINE_SECONDS
from graph.scalars import BigInt
from graph.types.event import RepositoryEvent
from graph.view import subscription
from resolvers import events
from resolvers.arguments import OPTIONAL, given
from resolvers.context import Info

EventsAfter = Annotated[
    BigInt | None,
    strawberry.argument(
        description="Begin with the events after this number instead of those to come: the "
        "`number` of the last event received, or a repository's `lastEventNumber`."
    ),
]


async def repository_events(
    info: Info,
    repository_id: Annotated[
        strawberry.ID, strawberry.argument(description="The ID of the repository.")
    ],
    after: EventsAfter = OPTIONAL,
) -> AsyncGenerator[Any, None]:
    async for event in events.of_repository(info, repository_id, given(after)):
        await cast(GraphContext, info.context).begin_delivery(DEADLINE_SECONDS)
        yield event


@strawberry.type(
    description="The subscription root: events as they happen, by the protocol "
    "graphql-transport-ws. Rights are judged at each delivery; who loses them gets an error, and "
    "the subscription ends."
)
class Subscription:
    repository_events: AsyncGenerator[RepositoryEvent, None] = subscription(
        repository_events,
        description="What happens in a repository the viewer can read, each event once, in order. "
        "UNAVAILABLE with `details.lastNumber` for who falls 500 events behind: subscribe again "
        "`after` that number.",
    )
