"""Points per hour: a request pays one before it is parsed, the rest before it is executed."""

import dataclasses
import datetime as dt
import ipaddress

from graph.limits import QueryCost
from models.base import utc_now
from services.context import OpContext
from services.rate_limits import RateLimitState

WINDOW_SECONDS = 3600
ANONYMOUS_FRACTION = 10


@dataclasses.dataclass(slots=True)
class Charge:
    """What this request has paid and what its payer has left."""

    key: str
    limit: int
    state: RateLimitState
    cost: QueryCost = dataclasses.field(default_factory=lambda: QueryCost(nodes=0, requests=0))

    @property
    def resets_at(self) -> dt.datetime:
        return utc_now() + dt.timedelta(seconds=self.state.reset_seconds)

    async def pay_for(self, op: OpContext, cost: QueryCost) -> None:
        """Take what the operation costs beyond the point already paid. Raises RateLimited."""
        self.cost = cost
        if cost.points > 1:
            self.state = await op.runtime.rate_limiter.check(
                self.key, self.limit, WINDOW_SECONDS, cost.points - 1
            )


def payer(op: OpContext) -> tuple[str, int]:
    """Whose points a request takes (a user's, whichever credential; else an address's), and how
    many there are an hour."""
    limit = op.runtime.settings.rate_limit_per_hour
    if op.actor.user_id is not None:
        return f"graphql:user:{op.actor.user_id}", limit
    return f"graphql:address:{_network(op.address)}", max(1, limit // ANONYMOUS_FRACTION)


async def open_charge(op: OpContext) -> Charge:
    """Pay the first point. Raises RateLimited."""
    key, limit = payer(op)
    state = await op.runtime.rate_limiter.check(key, limit, WINDOW_SECONDS)
    return Charge(key, limit, state)


async def refused_charge(op: OpContext) -> Charge:
    """The state of a payer who has no points left."""
    key, limit = payer(op)
    return Charge(key, limit, await op.runtime.rate_limiter.remaining(key, limit, WINDOW_SECONDS))


def _network(address: str | None) -> str:
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return "unknown"
    # One customer commonly has a /64 of IPv6 to choose addresses from.
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
