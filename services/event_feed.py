"""Events as they become visible, handed to those in this process who listen.

One reader for all listeners of a process: an event is read once, however many wait for it. The
database is the record and its numbers the order; the bus only says when to look, and without it the
feed looks every second. Whether a listener may still see an event is for whoever delivers it.
"""

import asyncio
import collections
import contextlib
from collections.abc import AsyncIterator

import structlog

from models import Event
from models.database import CommitUnknown, Database, DatabaseUnavailable
from models.event import (
    has_events_to_number,
    last_event_number,
    list_events,
    number_events,
)
from services.bus import EventBus
from services.errors import Invalid, Unavailable

# Events a listener may be behind before it is cut off, to come again after the last one it had.
MAX_BEHIND = 500
_PAGE = 200
_LOOK_EVERY_SECONDS = 1.0
_STOP_AFTER_SECONDS = 5.0
_DATABASE_UNAVAILABLE = "the database does not answer; subscribe again after the last number"

log = structlog.get_logger("opencodehub")


class Overflow(Unavailable):
    """The listener is too slow; ``details["last_number"]`` is the last event it was given."""

    def __init__(self, last_number: int) -> None:
        super().__init__(
            f"the subscription fell more than {MAX_BEHIND} events behind; subscribe again after "
            f"{last_number}",
            details={"lastNumber": str(last_number)},
        )


class Listener:
    """What one subscription waits for. Made by ``EventFeed.listen``."""

    def __init__(self, database: Database, repository_id: int | None, after: int, now: int) -> None:
        self._database = database
        self.repository_id = repository_id
        self._last = after
        # Up to here events are read from the database, beyond it the feed brings them.
        self._joined_at = now
        self._missed: collections.deque[Event] = collections.deque()
        self._ahead: collections.deque[Event] = collections.deque()
        self._news = asyncio.Event()
        self._overflowed = False

    def offer(self, event: Event) -> None:
        """Called by the feed, in order."""
        if len(self._ahead) >= MAX_BEHIND:
            self._overflowed = True
            self._ahead.clear()
        if not self._overflowed:
            self._ahead.append(event)
        self._news.set()

    async def next(self, seconds: float) -> Event | None:
        """The next event after the number asked for, each once, by growing number.

        None when nothing happens for so long. Not to be called twice at a time. Raises Overflow,
        Unavailable.
        """
        if self._last < self._joined_at and not self._missed:
            await self._read_missed()
        if self._missed:
            return self._given(self._missed.popleft())
        while True:
            while self._ahead:
                event = self._ahead.popleft()
                if _number(event) > self._last:
                    return self._given(event)
            if self._overflowed:
                raise Overflow(self._last)
            self._news.clear()
            try:
                async with asyncio.timeout(seconds):
                    await self._news.wait()
            except TimeoutError:
                return None

    def _given(self, event: Event) -> Event:
        self._last = _number(event)
        return event

    async def _read_missed(self) -> None:
        try:
            async with self._database.read() as session:
                events = await list_events(
                    session,
                    after=self._last,
                    up_to=self._joined_at,
                    repository_id=self.repository_id,
                    limit=_PAGE,
                )
        except DatabaseUnavailable as error:
            raise Unavailable(_DATABASE_UNAVAILABLE) from error
        self._missed.extend(events)
        if not events:
            self._last = self._joined_at


class EventFeed:
    """Reads while somebody listens. Safe for concurrent use within one event loop."""

    def __init__(self, database: Database, bus: EventBus) -> None:
        self._database = database
        self._bus = bus
        self._listeners: dict[int | None, set[Listener]] = {}
        self._position: int | None = None
        self._wake = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._looking = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def listen(
        self, *, repository_id: int | None = None, after: int | None = None
    ) -> AsyncIterator[Listener]:
        """A listener for the events of a repository, or for all; from now on without ``after``.

        Raises Unavailable, and Invalid for a number that no event has yet.
        """
        now = await self._join()
        if after is not None and after > now:
            # Another process may have shown it already.
            await self._look()
            now = self._position if self._position is not None else now
            if after > now:
                raise Invalid(
                    f"there is no event {after} yet; the last is {now}", fields=("after",)
                )
        listener = Listener(self._database, repository_id, now if after is None else after, now)
        waiting = self._listeners.setdefault(repository_id, set())
        waiting.add(listener)
        try:
            yield listener
        finally:
            waiting.discard(listener)
            if not waiting:
                self._listeners.pop(repository_id, None)

    @property
    def listeners(self) -> int:
        return sum(map(len, self._listeners.values()))

    async def close(self) -> None:
        """Stop reading. Listeners get nothing more."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _join(self) -> int:
        """The number up to which events have been handed over; starts the reader if need be."""
        async with self._starting:
            if self._position is None:
                try:
                    await number_all(self._database)
                    async with self._database.read() as session:
                        self._position = await last_event_number(session)
                except (DatabaseUnavailable, CommitUnknown) as error:
                    raise Unavailable(_DATABASE_UNAVAILABLE) from error
            if self._running is None:
                self._running = asyncio.create_task(self._run())
        return self._position

    async def _run(self) -> None:
        hearing = asyncio.create_task(self._bus.listen(self._wake.set))
        idle_since: float | None = None
        loop = asyncio.get_running_loop()
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), _LOOK_EVERY_SECONDS)
                self._wake.clear()
                if self._listeners:
                    idle_since = None
                else:
                    idle_since = idle_since or loop.time()
                    if loop.time() - idle_since > _STOP_AFTER_SECONDS:
                        return
                await self._look()
        finally:
            # Whoever comes next begins where the events are then.
            self._position = self._running = None
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)

    async def _look(self) -> None:
        try:
            async with self._looking:
                await number_all(self._database)
                while await self._hand_over_page():
                    pass
        except (DatabaseUnavailable, CommitUnknown) as error:
            log.warning("events could not be read; trying again", error=str(error))
        except Exception:
            log.exception("events could not be read; trying again")

    async def _hand_over_page(self) -> bool:
        """Whether there may be more."""
        if self._position is None:  # the reader has ended
            return False
        async with self._database.read() as session:
            events = await list_events(session, after=self._position, limit=_PAGE)
        for event in events:
            # Without a pause in between: who joins now has had either all of it or none.
            self._position = _number(event)
            for key in {event.repository_id, None}:
                for listener in self._listeners.get(key, ()):
                    listener.offer(event)
        return len(events) == _PAGE


async def number_all(database: Database) -> None:
    """Number all committed events. Raises DatabaseUnavailable, CommitUnknown."""
    async with database.read() as session:
        if not await has_events_to_number(session):
            return
    while True:
        async with database.write() as session:
            numbered = await number_events(session)
        if numbered == 0:
            return


def _number(event: Event) -> int:
    assert event.number is not None  # the feed asks for numbered ones
    return event.number
