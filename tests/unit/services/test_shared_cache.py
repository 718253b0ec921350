"""The shared cache: in memory, over a real Redis, and while Redis is away."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis.asyncio as redis

from services.shared_cache import (
    MAX_VALUE_BYTES,
    MemorySharedCache,
    RedisSharedCache,
    SharedCache,
)


@pytest.fixture(params=["memory", "redis"])
async def cache(request: pytest.FixtureRequest) -> AsyncIterator[SharedCache]:
    if request.param == "memory":
        yield MemorySharedCache()
        return
    cache = RedisSharedCache(redis.Redis.from_url(request.getfixturevalue("redis_url")))
    yield cache
    await cache.close()


async def test_what_is_kept_is_found(cache: SharedCache) -> None:
    assert await cache.get("a") is None
    await cache.put("a", b"\0one\xff", seconds=60)
    await cache.put("b", b"", seconds=60)
    assert await cache.get("a") == b"\0one\xff"
    assert await cache.get("b") == b""
    await cache.put("a", b"two", seconds=60)
    assert await cache.get("a") == b"two"


async def test_a_large_value_is_not_kept(cache: SharedCache) -> None:
    await cache.put("a", b"x" * (2 * MAX_VALUE_BYTES), seconds=60)
    assert await cache.get("a") is None


async def test_processes_share_it_and_it_ends(redis_url: str) -> None:
    one, other = (RedisSharedCache(redis.Redis.from_url(redis_url)) for _ in range(2))
    await one.put("a", b"x", seconds=1)
    assert await other.get("a") == b"x"
    await asyncio.sleep(1.2)
    assert await other.get("a") is None
    await one.close()
    await other.close()


async def test_without_redis_nothing_is_found_and_nothing_fails(tmp_path: Path) -> None:
    cache = RedisSharedCache(redis.Redis.from_url(f"unix://{tmp_path / 'none'}"))
    await cache.put("a", b"x", seconds=60)
    assert await cache.get("a") is None
    await cache.close()
