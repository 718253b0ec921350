"""The event bus: tells listeners in any process that events were committed.

A hint, not a record: the events table is the record, and losing a message loses nothing (K4).
"""

import asyncio
import json
from collections.abc import Callable
from typing import Protocol

import redis.asyncio as redis
import structlog
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from models import Event

_CHANNEL = "och:events"
# A connection that says nothing for so long is asked whether it still stands.
_SILENCE_SECONDS = 15.0
_RETRY_SECONDS = (0.2, 1.0, 3.0)

log = structlog.get_logger("opencodehub")


class EventBus(Protocol):
    async def publish(self, event: Event) -> None:
        """Tell listeners. Raises when the bus is away; the caller goes on."""
        ...

    async def listen(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` for whatever is told, until cancelled.

        Heals itself: after a connection was lost ``wake`` is called once more than needed, for what
        may have been told meanwhile.
        """
        ...

    async def ping(self) -> None: ...

    async def close(self) -> None: ...


class RedisEventBus:
    """Redis pub/sub; messages carry the event's id and name only."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    async def publish(self, event: Event) -> None:
        await self._client.publish(_CHANNEL, json.dumps({"id": event.id, "name": event.name}))

    async def listen(self, wake: Callable[[], None]) -> None:
        failures = 0
        while True:
            channel = self._client.pubsub()
            try:
                await channel.subscribe(_CHANNEL)
                if failures:
                    log.info("the event bus answers again")
                failures = 0
                wake()
                await self._hear(channel, wake)
            except (RedisError, OSError, TimeoutError) as error:
                if not failures:
                    log.warning(
                        "redis does not answer; the database is asked for events until it does",
                        error=f"{type(error).__name__}: {error}",
                    )
                await asyncio.sleep(_RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)])
                failures += 1
            finally:
                await channel.aclose()  # type: ignore[no-untyped-call]

    async def _hear(self, channel: PubSub, wake: Callable[[], None]) -> None:
        """Raises when the connection is lost, or silent even when asked."""
        asked = False
        while True:
            message = await channel.get_message(timeout=_SILENCE_SECONDS)
            if message is not None:
                asked = False
                if message["type"] == "message":
                    wake()
            elif asked:
                raise TimeoutError("no answer to a ping")
            else:
                await channel.ping()
                asked = True

    async def ping(self) -> None:
        await self._client.ping()

    async def close(self) -> None:
        await self._client.aclose()


class MemoryEventBus:
    """Keeps what was published, and tells listeners of this process; for tests and the CLI."""

    def __init__(self) -> None:
        self.published: list[Event] = []
        self._listeners: set[Callable[[], None]] = set()

    async def publish(self, event: Event) -> None:
        self.published.append(event)
        for wake in self._listeners:
            wake()

    async def listen(self, wake: Callable[[], None]) -> None:
        self._listeners.add(wake)
        try:
            await asyncio.Event().wait()
        finally:
            self._listeners.discard(wake)

    async def ping(self) -> None:
        return None

    async def close(self) -> None:
        return None
