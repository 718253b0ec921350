"""The event bus: tells listeners in any process that events were committed.

A hint, not a record: the events table is the record, and losing a message loses nothing (K4).
"""

import json
from typing import Protocol

import redis.asyncio as redis

from models import Event


def topics(event: Event) -> list[str]:
    """The channels an event is told on."""
    named = ["events"]
    if event.repository_id is not None:
        named.append(f"repository:{event.repository_id}")
    if event.actor_id is not None:
        named.append(f"user:{event.actor_id}")
    return named


class EventBus(Protocol):
    async def publish(self, event: Event) -> None:
        """Tell listeners. Raises when the bus is away; the caller goes on."""
        ...

    async def ping(self) -> None: ...

    async def close(self) -> None: ...


class RedisEventBus:
    """Redis pub/sub; messages carry the event's number and name only."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    async def publish(self, event: Event) -> None:
        message = json.dumps({"id": event.id, "name": event.name})
        for topic in topics(event):
            await self._client.publish(f"och:{topic}", message)

    async def ping(self) -> None:
        await self._client.ping()

    async def close(self) -> None:
        await self._client.aclose()


class MemoryEventBus:
    """Keeps what was published; for tests and the command line."""

    def __init__(self) -> None:
        self.published: list[Event] = []

    async def publish(self, event: Event) -> None:
        self.published.append(event)

    async def ping(self) -> None:
        return None

    async def close(self) -> None:
        return None
