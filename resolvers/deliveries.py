"""What subscribers share when one event is delivered to many of them.

Hundreds may watch one repository, and a user may have it open in several windows. For one event,
those who are the same actor share one judgement and what their selections load.
"""

import asyncio
import collections
import time
from collections.abc import Awaitable, Callable

from models import Event
from resolvers.loaders import Loaders
from services.actor import Actor
from services.context import OpContext

# A judgement is made when the first of them is given the event. Whoever comes later than this, for
# instance since a socket was slow, is judged by itself.
_GOOD_FOR_SECONDS = 1.0
_REMEMBERED = 1000


class Delivery:
    """One event on its way to one actor, through any number of sockets."""

    def __init__(self, op: OpContext) -> None:
        self.loaders = Loaders(op)
        self.began = time.monotonic()
        self._judgement: asyncio.Future[None] | None = None

    async def judged(self, judge: Callable[[], Awaitable[None]]) -> None:
        """Raises what ``judge`` raises; it is called once."""
        if self._judgement is None:
            self._judgement = asyncio.ensure_future(judge())
        # One subscriber that leaves must not take the judgement from the others.
        await asyncio.shield(self._judgement)


class Deliveries:
    """The deliveries under way in one process."""

    def __init__(self) -> None:
        self._recent: collections.OrderedDict[tuple[Actor, int], Delivery] = (
            collections.OrderedDict()
        )

    def of(self, op: OpContext, event: Event) -> Delivery:
        """The delivery of this event to this actor."""
        key = (op.actor, event.id)
        found = self._recent.get(key)
        if found is None or time.monotonic() - found.began > _GOOD_FOR_SECONDS:
            found = self._recent[key] = Delivery(op)
            self._recent.move_to_end(key)
            while len(self._recent) > _REMEMBERED:
                self._recent.popitem(last=False)
        return found
