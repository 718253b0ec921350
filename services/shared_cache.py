"""What was found out once, kept for all processes of the hub: in Redis, and never needed.

Whatever is kept here can be found out again; so while Redis is away nothing is found and nothing
kept (K12). Keys hold what the value depends on: ids of objects, a repository's prune epoch.
"""

import asyncio
from typing import Protocol

import redis.asyncio as redis
import structlog
from redis.exceptions import RedisError

from gitstore.memory import Memory

_PREFIX = "och:cache:"
_SECONDS = 1.0
MAX_VALUE_BYTES = 1024 * 1024


class SharedCache(Protocol):
    """Methods never raise; a value that is too large is not kept."""

    async def get(self, key: str) -> bytes | None: ...

    async def put(self, key: str, value: bytes, *, seconds: int) -> None: ...


class MemorySharedCache:
    """For this process alone: for tests, and where there is no Redis."""

    def __init__(self) -> None:
        self._memory = Memory()

    async def get(self, key: str) -> bytes | None:
        found: bytes | None = self._memory.get(key)
        return found

    async def put(self, key: str, value: bytes, *, seconds: int) -> None:
        self._memory.put(key, value, len(value) // 100 + 1)


class RedisSharedCache:
    """Safe for concurrent use."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    async def get(self, key: str) -> bytes | None:
        try:
            async with asyncio.timeout(_SECONDS):
                found = await self._client.get(_PREFIX + key)
                return found if isinstance(found, bytes) else None
        except (RedisError, OSError, TimeoutError) as error:
            _tell(error)
            return None

    async def put(self, key: str, value: bytes, *, seconds: int) -> None:
        if len(value) > MAX_VALUE_BYTES:
            return
        try:
            async with asyncio.timeout(_SECONDS):
                await self._client.set(_PREFIX + key, value, ex=seconds)
        except (RedisError, OSError, TimeoutError) as error:
            _tell(error)

    async def close(self) -> None:
        await self._client.aclose()


def _tell(error: Exception) -> None:
    structlog.get_logger("opencodehub").info("shared cache not available", error=str(error))
