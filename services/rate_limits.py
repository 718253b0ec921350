"""How often something may happen: counters in Redis that all processes share.

A window begins with the first use of a key and ends after its length; then the key is free again.
"""

import asyncio
import dataclasses
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import redis.asyncio as redis
import structlog
from redis.exceptions import RedisError

from services.errors import RateLimited

# One script call is one atomic step, so that no two requests take the last place. A request that
# does not fit is not counted. Returns: how much is used, milliseconds left, whether it did fit.
_TAKE = """
local used = tonumber(redis.call('GET', KEYS[1]) or '0')
local cost, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
local fits = used + cost <= limit
if fits and cost > 0 then
  used = redis.call('INCRBY', KEYS[1], cost)
  if redis.call('PTTL', KEYS[1]) < 0 then
    redis.call('PEXPIRE', KEYS[1], ARGV[3])
  end
end
return {used, redis.call('PTTL', KEYS[1]), fits and 1 or 0}
"""
_GIVE_BACK = """
local used = tonumber(redis.call('GET', KEYS[1]) or '0')
local back = math.min(used, tonumber(ARGV[1]))
if back > 0 then
  redis.call('DECRBY', KEYS[1], back)
end
return 0
"""
_REDIS_SECONDS = 2.0
_RETRY_REDIS_SECONDS = 5.0
_MAX_KEYS_IN_MEMORY = 100_000


@dataclasses.dataclass(frozen=True, slots=True)
class RateLimitState:
    """A key's window: how much of ``limit`` is used, and in how many seconds it ends."""

    limit: int
    used: int
    reset_seconds: int

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.used)


class RateLimiter(Protocol):
    """Methods may be called concurrently. Keys are made by rules, such as ``sign-in:7``."""

    async def check(
        self, key: str, limit: int, window_seconds: int, cost: int = 1
    ) -> RateLimitState:
        """Take ``cost`` of ``limit``. Raises RateLimited, which tells when to come again."""
        ...

    async def remaining(self, key: str, limit: int, window_seconds: int) -> RateLimitState:
        """Look without taking anything."""
        ...

    async def give_back(self, key: str, cost: int = 1) -> None:
        """Undo a ``check`` that turned out not to count."""
        ...

    async def reset(self, key: str) -> None:
        """Forget what was used."""
        ...

    async def close(self) -> None: ...


class MemoryRateLimiter:
    """Counts for this process alone: for tests, and while Redis is away."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: dict[str, tuple[float, int]] = {}

    async def check(
        self, key: str, limit: int, window_seconds: int, cost: int = 1
    ) -> RateLimitState:
        now = self._clock()
        ends, used = self._windows.get(key, (now, 0))
        if ends <= now:
            self._windows.pop(key, None)
            ends, used = now + window_seconds, 0
        fits = used + cost <= limit
        if fits and cost > 0:
            self._make_room(now)
            used += cost
            self._windows[key] = (ends, used)
        return _verdict(limit, used, ends - now, fits=fits)

    async def remaining(self, key: str, limit: int, window_seconds: int) -> RateLimitState:
        now = self._clock()
        ends, used = self._windows.get(key, (now, 0))
        if ends <= now:
            return RateLimitState(limit, 0, window_seconds)
        return RateLimitState(limit, used, math.ceil(ends - now))

    async def give_back(self, key: str, cost: int = 1) -> None:
        if key in self._windows:
            ends, used = self._windows[key]
            self._windows[key] = (ends, max(0, used - cost))

    async def reset(self, key: str) -> None:
        self._windows.pop(key, None)

    async def close(self) -> None:
        """Nothing to release."""

    def _make_room(self, now: float) -> None:
        """Memory stays flat, whoever sends how many different keys."""
        if len(self._windows) < _MAX_KEYS_IN_MEMORY:
            return
        self._windows = {key: each for key, each in self._windows.items() if each[0] > now}
        while len(self._windows) >= _MAX_KEYS_IN_MEMORY:
            self._windows.pop(next(iter(self._windows)))


class RedisRateLimiter:
    """Counts in Redis. While Redis is away it counts in this process, and says so once (K12).

    The limiter closes the client.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._take = client.register_script(_TAKE)
        self._return = client.register_script(_GIVE_BACK)
        self._stand_in = MemoryRateLimiter()
        self._away_until = 0.0
        self._is_away = False

    async def check(
        self, key: str, limit: int, window_seconds: int, cost: int = 1
    ) -> RateLimitState:
        answer = await self._ask(key, limit, window_seconds, cost)
        if answer is None:
            return await self._stand_in.check(key, limit, window_seconds, cost)
        used, left, fits = answer
        return _verdict(limit, used, left, fits=fits)

    async def remaining(self, key: str, limit: int, window_seconds: int) -> RateLimitState:
        answer = await self._ask(key, limit, window_seconds, 0)
        if answer is None:
            return await self._stand_in.remaining(key, limit, window_seconds)
        used, left, _ = answer
        return RateLimitState(limit, used, math.ceil(left))

    async def give_back(self, key: str, cost: int = 1) -> None:
        await self._stand_in.give_back(key, cost)
        await self._tell(lambda: self._return(keys=[_redis_key(key)], args=[cost]))

    async def reset(self, key: str) -> None:
        await self._stand_in.reset(key)
        await self._tell(lambda: self._client.delete(_redis_key(key)))

    async def _tell(self, command: Callable[[], Awaitable[Any]]) -> None:
        """What is lost while Redis is away only makes a window a little stricter."""
        if time.monotonic() < self._away_until:
            return
        try:
            async with asyncio.timeout(_REDIS_SECONDS):
                await command()
        except (RedisError, OSError, TimeoutError) as error:
            self._went_away(error)

    async def close(self) -> None:
        await self._client.aclose()

    async def _ask(
        self, key: str, limit: int, window_seconds: int, cost: int
    ) -> tuple[int, float, bool] | None:
        """(used, seconds left, fits), or None while Redis is away."""
        if time.monotonic() < self._away_until:
            return None
        try:
            # A command that is cut by the time limit takes its connection with it (redis-py
            # disconnects on cancellation), so that nobody reads another one's answer.
            async with asyncio.timeout(_REDIS_SECONDS):
                used, left, fits = await self._take(
                    keys=[_redis_key(key)], args=[cost, limit, window_seconds * 1000]
                )
        except (RedisError, OSError, TimeoutError) as error:
            self._went_away(error)
            return None
        if self._is_away:
            self._is_away = False
            structlog.get_logger("opencodehub").info("rate limits are shared again")
        # Without a key there is no time to live: the whole window lies ahead.
        return int(used), left / 1000 if left >= 0 else float(window_seconds), bool(fits)

    def _went_away(self, error: Exception) -> None:
        # Not every request should wait for a Redis that does not answer.
        self._away_until = time.monotonic() + _RETRY_REDIS_SECONDS
        if not self._is_away:
            self._is_away = True
            structlog.get_logger("opencodehub").warning(
                "redis does not answer; rate limits hold for each process alone until it does",
                error=f"{type(error).__name__}: {error}",
            )


def _redis_key(key: str) -> str:
    return f"och:rate:{key}"


def _verdict(limit: int, used: int, seconds_left: float, *, fits: bool) -> RateLimitState:
    seconds = max(1, math.ceil(seconds_left))
    if not fits:
        raise RateLimited(
            f"too many requests; try again in {seconds} seconds",
            details={"retry_after": seconds},
        )
    return RateLimitState(limit, used, seconds)
