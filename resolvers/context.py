"""What every resolver can reach: the operation's context and the loaders of this request."""

import dataclasses

import strawberry

from resolvers.deliveries import Deliveries
from resolvers.loaders import Loaders
from services.context import OpContext


@dataclasses.dataclass(slots=True)
class RequestContext:
    """Made per request by the endpoint. ``loaders`` is replaced after each mutation.

    Loaders remember rows for the length of a request; after a change they would show old ones.
    ``deliveries`` is shared by all subscriptions of the process.
    """

    op: OpContext
    loaders: Loaders
    deliveries: Deliveries

    def forget_loaded_rows(self) -> None:
        self.loaders = Loaders(self.op)


Info = strawberry.Info[RequestContext, None]
