"""Counting uses: in memory, in a real Redis, and while Redis is away."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis.asyncio as redis
import structlog

from services.errors import RateLimited
from services.rate_limits import (
    MemoryRateLimiter,
    RateLimiter,
    RateLimitState,
    RedisRateLimiter,
)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["memory", "redis"])
async def limiter(request: pytest.FixtureRequest) -> AsyncIterator[RateLimiter]:
    if request.param == "memory":
        limiter: RateLimiter = MemoryRateLimiter()
    else:
        limiter = RedisRateLimiter(redis.Redis.from_url(request.getfixturevalue("redis_url")))
    yield limiter
    await limiter.close()


async def test_a_window_holds_so_many_uses(limiter: RateLimiter) -> None:
    assert await limiter.remaining("a", 3, 60) == RateLimitState(limit=3, used=0, reset_seconds=60)
    for used in (1, 2, 3):
        state = await limiter.check("a", 3, 60)
        assert (state.used, state.remaining, state.reset_seconds) == (used, 3 - used, 60)
    for _ in range(2):
        with pytest.raises(RateLimited) as caught:
            await limiter.check("a", 3, 60)
        assert caught.value.message == "too many requests; try again in 60 seconds"
        assert caught.value.details == {"retry_after": 60}
    assert (await limiter.remaining("a", 3, 60)).used == 3
    assert (await limiter.check("b", 3, 60)).used == 1


async def test_uses_may_cost_more_than_one(limiter: RateLimiter) -> None:
    assert (await limiter.check("a", 10, 60, cost=7)).remaining == 3
    with pytest.raises(RateLimited):
        await limiter.check("a", 10, 60, cost=4)
    # What did not fit was not counted.
    assert (await limiter.check("a", 10, 60, cost=3)).remaining == 0
    assert (await limiter.check("a", 10, 60, cost=0)).used == 10
    with pytest.raises(RateLimited):
        await limiter.check("b", 10, 60, cost=11)
    assert (await limiter.remaining("b", 10, 60)).used == 0


async def test_uses_can_be_given_back_and_forgotten(limiter: RateLimiter) -> None:
    for _ in range(3):
        await limiter.check("a", 3, 60)
    await limiter.give_back("a")
    assert (await limiter.remaining("a", 3, 60)).used == 2
    await limiter.give_back("a", 100)
    assert (await limiter.remaining("a", 3, 60)).used == 0
    await limiter.give_back("never used")
    assert (await limiter.check("a", 3, 60)).used == 1
    await limiter.reset("a")
    assert (await limiter.remaining("a", 3, 60)).used == 0


async def test_of_many_at_once_only_so_many_fit(limiter: RateLimiter) -> None:
    outcomes = await asyncio.gather(
        *(limiter.check("a", 10, 60) for _ in range(50)), return_exceptions=True
    )
    taken = sorted(each.used for each in outcomes if isinstance(each, RateLimitState))
    assert taken == list(range(1, 11))
    assert sum(isinstance(each, RateLimited) for each in outcomes) == 40


async def test_a_window_ends(redis_url: str) -> None:
    clock = Clock()
    memory = MemoryRateLimiter(clock)
    await memory.check("a", 1, 60)
    clock.now += 59.5
    with pytest.raises(RateLimited) as caught:
        await memory.check("a", 1, 60)
    assert caught.value.details == {"retry_after": 1}
    clock.now += 0.5
    assert (await memory.remaining("a", 1, 60)).used == 0
    assert (await memory.check("a", 1, 60)).used == 1
    # In Redis the window is the key's time to live, set once, when it begins.
    client = redis.Redis.from_url(redis_url)
    shared = RedisRateLimiter(client)
    await shared.check("a", 5, 60)
    await client.pexpire("och:rate:a", 30_000)
    assert (await shared.check("a", 5, 60)).reset_seconds == 30
    await shared.give_back("a", 2)
    assert (await shared.check("a", 5, 60)).reset_seconds == 30
    await client.delete("och:rate:a")
    assert (await shared.check("a", 5, 60)).reset_seconds == 60
    await shared.close()


async def test_memory_stays_flat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.rate_limits._MAX_KEYS_IN_MEMORY", 10)
    clock = Clock()
    limiter = MemoryRateLimiter(clock)
    for number in range(100):
        await limiter.check(f"key-{number}", 1, 60)
        assert len(limiter._windows) <= 10
    # The newest keys are kept, and those whose window is over go first.
    with pytest.raises(RateLimited):
        await limiter.check("key-99", 1, 60)
    clock.now += 61
    await limiter.check("other", 1, 60)
    assert list(limiter._windows) == ["other"]


async def test_processes_share_a_redis(redis_url: str) -> None:
    limiters = [RedisRateLimiter(redis.Redis.from_url(redis_url)) for _ in range(2)]
    outcomes = await asyncio.gather(
        *(limiters[number % 2].check("a", 10, 60) for number in range(40)),
        return_exceptions=True,
    )
    assert sum(isinstance(each, RateLimitState) for each in outcomes) == 10
    for limiter in limiters:
        await limiter.close()


async def test_without_redis_each_process_counts_and_says_so_once(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.rate_limits._RETRY_REDIS_SECONDS", 0.0)
    address = tmp_path / "redis.sock"
    limiter = RedisRateLimiter(redis.Redis.from_url(f"unix://{address}"))
    with structlog.testing.capture_logs() as logs:
        for used in (1, 2, 3):
            assert (await limiter.check("a", 3, 60)).used == used
        with pytest.raises(RateLimited):
            await limiter.check("a", 3, 60)
        await limiter.give_back("a")
        assert (await limiter.remaining("a", 3, 60)).used == 2
        await limiter.reset("a")
        assert (await limiter.remaining("a", 3, 60)).used == 0
        assert [entry["event"] for entry in logs] == [
            "redis does not answer; rate limits hold for each process alone until it does"
        ]
        os.symlink(redis_url.removeprefix("unix://"), address)
        assert (await limiter.check("a", 3, 60)).used == 1
        assert [entry["event"] for entry in logs][1:] == ["rate limits are shared again"]
    other = RedisRateLimiter(redis.Redis.from_url(redis_url))
    assert (await other.remaining("a", 3, 60)).used == 1
    await other.close()
    await limiter.close()


async def test_a_redis_that_hangs_is_not_waited_for_by_everybody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.rate_limits._REDIS_SECONDS", 0.05)
    connections = 0

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.read()
        writer.close()

    server = await asyncio.start_unix_server(hang, tmp_path / "redis.sock")
    limiter = RedisRateLimiter(redis.Redis.from_url(f"unix://{tmp_path}/redis.sock"))
    for used in range(1, 20):
        assert (await limiter.check("a", 100, 60)).used == used
    assert connections == 1
    await limiter.close()
    server.close()
    await server.wait_closed()


async def test_a_cancelled_command_gives_nobody_anothers_answer(redis_url: str) -> None:
    """As in CVE-2023-28858: a reply left in a connection must not answer the next question."""
    client = redis.Redis.from_url(redis_url, max_connections=1)
    limiter = RedisRateLimiter(client)
    await client.set("mine", "mine")
    for _ in range(30):
        task = asyncio.ensure_future(limiter.check("a", 1000, 60))
        for _ in range(3):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await client.get("mine") == b"mine"
    await limiter.close()
