"""What a GraphQL operation knows beyond its actor: HTTP facts, its price, and the cookie to set."""

import asyncio
import dataclasses

from graph.charging import Charge
from resolvers.context import RequestContext


@dataclasses.dataclass(frozen=True, slots=True)
class SessionCookie:
    """What the answer shall do to the browser's session cookie; ``value`` None removes it."""

    value: str | None
    max_age_seconds: int = 0


@dataclasses.dataclass(slots=True)
class GraphContext(RequestContext):
    """``operation_name`` is what the client gave.

    ``may_set_cookie``: whether the request came from a page of this server's own.
    """

    charge: Charge
    operation_name: str | None = None
    user_agent: str | None = None
    may_set_cookie: bool = False
    session_cookie: SessionCookie | None = None
    deadline: asyncio.Timeout | None = None
    allowed_seconds: float = 0

    def allow_seconds(self, seconds: float) -> None:
        """Let the request take so long from now on, if that is more than it was allowed before."""
        if self.deadline is not None and seconds > self.allowed_seconds:
            self.allowed_seconds = seconds
            self.deadline.reschedule(asyncio.get_running_loop().time() + seconds)

    def allow_any_time(self) -> None:
        """A subscription has no end of its own."""
        if self.deadline is not None:
            self.deadline.reschedule(None)

    async def begin_delivery(self, seconds: float) -> None:
        """An event is about to be shown, which may take so long, until ``allow_any_time``, and
        costs what the selection does beyond one point. Raises RateLimited."""
        await self.charge.pay_for(self.op, self.charge.cost)
        if self.deadline is not None:
            self.allowed_seconds = seconds
            self.deadline.reschedule(asyncio.get_running_loop().time() + seconds)
