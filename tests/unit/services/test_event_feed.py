"""Numbers of events and who is handed them: order, resumption, lost hints, lost connections."""

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis.asyncio as redis
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from models import Event
from models.database import Database
from models.event import last_event_number, list_events
from services.bus import MemoryEventBus, RedisEventBus
from services.errors import Invalid
from services.event_feed import EventFeed, Listener, number_all
from tests.support.server_process import find_program

SOON = 10.0


def add(session: AsyncSession, name: str, repository_id: int = 1) -> Event:
    event = Event(name=name, repository_id=repository_id, payload={})
    session.add(event)
    return event


async def happen(database: Database, *names: str, repository_id: int = 1) -> None:
    for name in names:
        async with database.write() as session:
            add(session, name, repository_id)


async def numbered(database: Database) -> list[tuple[int, str]]:
    async with database.read() as session:
        events = await list_events(session, after=0, limit=10_000)
    return [(event.number or 0, event.name) for event in events]


async def take(listener: Listener, count: int) -> list[str]:
    """The next names."""
    names: list[str] = []
    while len(names) < count:
        event = await listener.next(SOON)
        assert event is not None, f"after {names} nothing came"
        names.append(event.name)
    return names


@pytest.fixture
async def feed(database: Database) -> AsyncIterator[EventFeed]:
    feed = EventFeed(database, MemoryEventBus())
    yield feed
    await feed.close()


@pytest.mark.databases
async def test_numbers_follow_each_other(database: Database) -> None:
    await happen(database, "a", "b")
    await number_all(database)
    await happen(database, "c")
    await number_all(database)
    await number_all(database)
    assert await numbered(database) == [(1, "a"), (2, "b"), (3, "c")]
    async with database.read() as session:
        assert await last_event_number(session) == 3


@pytest.mark.databases("postgresql", "mariadb")
async def test_transactions_that_commit_in_reverse_are_both_seen(
    database: Database, feed: EventFeed
) -> None:
    async with feed.listen(repository_id=1) as listener:
        async with contextlib.AsyncExitStack() as stack:
            early = await stack.enter_async_context(database.write())
            first = add(early, "written first")
            await early.flush()
            async with database.write() as late:
                second = add(late, "committed first")
                await late.flush()
                assert second.id > first.id
            # The later one is delivered although a smaller id is not committed yet.
            assert await take(listener, 1) == ["committed first"]
        assert await take(listener, 1) == ["written first"]
    assert await numbered(database) == [(1, "committed first"), (2, "written first")]
    async with feed.listen(repository_id=1, after=1) as again:
        assert await take(again, 1) == ["written first"]


@pytest.mark.databases("postgresql", "mariadb")
async def test_a_transaction_that_is_rolled_back_holds_nobody_up(
    database: Database, feed: EventFeed
) -> None:
    async with feed.listen(repository_id=1) as listener:
        with contextlib.suppress(RuntimeError):
            async with database.write() as session:
                add(session, "never")
                await session.flush()
                await happen(database, "meanwhile")
                assert await take(listener, 1) == ["meanwhile"]
                raise RuntimeError
        await happen(database, "after")
        assert await take(listener, 1) == ["after"]
    assert await numbered(database) == [(1, "meanwhile"), (2, "after")]


@pytest.mark.databases
async def test_racing_writers_and_readers_leave_no_gap(database: Database) -> None:
    """Whoever reads sees the numbers from one on without a gap, at every moment."""
    feeds = [EventFeed(database, MemoryEventBus()) for _ in range(2)]
    done = asyncio.Event()

    async def write(writer: int) -> None:
        for place in range(15):
            await happen(database, f"{writer}.{place}")

    async def watch() -> None:
        while not done.is_set():
            seen = [number for number, _ in await numbered(database)]
            assert seen == list(range(1, len(seen) + 1))
            await asyncio.sleep(0.01)

    async with contextlib.AsyncExitStack() as stack:
        for feed in feeds:
            stack.push_async_callback(feed.close)
        listeners = [
            await stack.enter_async_context(feed.listen(repository_id=1)) for feed in feeds
        ]
        watching = asyncio.create_task(watch())
        numbering = [asyncio.create_task(number_all(database)) for _ in range(5)]
        await asyncio.gather(*(write(writer) for writer in range(4)), *numbering)
        got = await asyncio.gather(*(take(listener, 60) for listener in listeners))
        done.set()
        await watching
    assert got[0] == got[1] == [name for _, name in await numbered(database)]
    for writer in range(4):
        own = [name for name in got[0] if name.startswith(f"{writer}.")]
        assert own == [f"{writer}.{place}" for place in range(15)]


@pytest.mark.databases
async def test_a_listener_gets_what_it_missed_and_then_what_comes(
    database: Database, feed: EventFeed
) -> None:
    await happen(database, *(f"old {place}" for place in range(450)))
    await happen(database, "elsewhere", repository_id=2)
    async with feed.listen(repository_id=1, after=3) as listener:
        await happen(database, "new")
        names = await take(listener, 448)
    assert names == [*(f"old {place}" for place in range(3, 450)), "new"]


async def test_without_after_only_what_comes(database: Database, feed: EventFeed) -> None:
    await happen(database, "old")
    async with feed.listen(repository_id=1) as listener:
        await happen(database, "new")
        assert await take(listener, 1) == ["new"]


async def test_a_listener_of_all_repositories(database: Database, feed: EventFeed) -> None:
    async with feed.listen() as everything, feed.listen(repository_id=2) as one:
        await happen(database, "a", repository_id=1)
        await happen(database, "b", repository_id=2)
        assert await take(everything, 2) == ["a", "b"]
        assert await take(one, 1) == ["b"]


async def test_a_number_of_another_process_is_known_at_once(
    database: Database, feed: EventFeed
) -> None:
    other = EventFeed(database, MemoryEventBus())
    async with feed.listen(repository_id=1), other.listen(repository_id=1) as listener:
        await happen(database, "seen there")
        await number_all(database)
        async with feed.listen(repository_id=1, after=1) as resumed:
            await happen(database, "next")
            assert await take(resumed, 1) == ["next"]
        with pytest.raises(Invalid) as caught:
            async with feed.listen(repository_id=1, after=3):
                pass
        assert caught.value.message == "there is no event 3 yet; the last is 2"
        assert await take(listener, 2) == ["seen there", "next"]
    await other.close()


async def test_the_feed_rests_without_listeners_and_wakes_again(
    database: Database, feed: EventFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.event_feed._STOP_AFTER_SECONDS", 0.0)
    monkeypatch.setattr("services.event_feed._LOOK_EVERY_SECONDS", 0.02)
    async with feed.listen(repository_id=1):
        pass
    async with asyncio.timeout(SOON):
        while feed._running is not None:
            await asyncio.sleep(0.01)
    await happen(database, "asleep")
    async with feed.listen(repository_id=1) as listener:
        await happen(database, "awake")
        assert await take(listener, 1) == ["awake"]


async def test_events_written_while_nobody_numbers_are_found(
    database: Database, feed: EventFeed
) -> None:
    """A process that was killed after its commit told nobody: the next look finds the event."""
    async with feed.listen(repository_id=1) as listener:
        await happen(database, "told to nobody")
        assert await take(listener, 1) == ["told to nobody"]
    async with database.read() as session:
        assert await session.scalar(select(Event.number)) == 1


@contextlib.contextmanager
def redis_server(address: Path) -> Iterator[None]:
    """A Redis that is killed at the end of the block."""
    program = find_program("redis-server")
    assert program is not None
    command = [program, "--port", "0", "--unixsocket", str(address), "--save", ""]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.kill()


async def test_a_bus_that_loses_redis_heals_itself(tmp_path: Path, redis_url: str) -> None:
    address = tmp_path / "redis.sock"
    client = redis.Redis.from_url(f"unix://{address}", socket_timeout=5)
    bus = RedisEventBus(client)
    heard = asyncio.Event()
    event = Event(id=1, name="a", payload={})

    async def is_heard() -> None:
        async with asyncio.timeout(SOON):
            await heard.wait()
        heard.clear()

    listening = asyncio.create_task(bus.listen(heard.set))
    try:
        for _ in range(2):
            with redis_server(address):
                await is_heard()  # it looks once whenever it has (re)connected
                await bus.publish(event)
                await is_heard()
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await bus.close()


async def test_a_silent_connection_is_asked_whether_it_stands(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.bus._SILENCE_SECONDS", 0.05)
    bus = RedisEventBus(redis.Redis.from_url(redis_url, socket_timeout=5))
    heard = asyncio.Event()
    listening = asyncio.create_task(bus.listen(heard.set))
    async with asyncio.timeout(SOON):
        await heard.wait()
    await asyncio.sleep(0.5)  # ten silences, each with its ping and its answer
    heard.clear()
    await bus.publish(Event(id=1, name="a", payload={}))
    async with asyncio.timeout(SOON):
        await heard.wait()
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await bus.close()
