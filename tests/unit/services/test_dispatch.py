"""Events are told to jobs in order, at least once, whatever fails."""

import asyncio
import dataclasses
import datetime as dt

import pytest
from sqlalchemy import select, update

from models import Event, User
from models.base import utc_now
from services import accounts, dispatch
from services.jobs import REGISTRY, JobArgument, MemoryJobQueue
from services.runtime import Runtime
from tests.support.factories import make_user
from tests.support.runtime import make_op, operator


class Queue(MemoryJobQueue):
    """Takes any job; ``fails_after`` so many it is away."""

    def __init__(self, fails_after: int | None = None) -> None:
        super().__init__()
        self.fails_after = fails_after

    async def enqueue(self, name: str, *arguments: JobArgument) -> None:
        if self.fails_after is not None and len(self.queued) >= self.fails_after:
            raise ConnectionError("the broker is away")
        self.queued.append((name, arguments))


FOLLOWERS = {"UserCreated": ("mail.welcome", "search.index"), "UserRenamed": ("search.index",)}


async def undispatched(runtime: Runtime) -> list[str]:
    async with runtime.database.read() as session:
        rows = await session.scalars(
            select(Event.name).where(Event.dispatched_at.is_(None)).order_by(Event.id)
        )
        return list(rows)


def with_queue(runtime: Runtime, queue: Queue) -> Runtime:
    return dataclasses.replace(runtime, jobs=queue)


def test_the_sweep_comes_every_minute() -> None:
    job = REGISTRY["events.dispatch"]
    assert (job.every, job.queue) == (dt.timedelta(minutes=1), "default")
    # Every follower is a job that exists.
    assert {name for names in dispatch.FOLLOWERS.values() for name in names} <= set(REGISTRY)


@pytest.mark.databases
async def test_events_are_told_in_order_and_once(runtime: Runtime, ann: User) -> None:
    await accounts.rename_user(operator(runtime), ann.id, "anna")
    await make_user(runtime, "bob")
    queue = Queue()
    op = make_op(with_queue(runtime, queue))
    await dispatch.dispatch(op, FOLLOWERS)
    assert queue.queued == [
        ("mail.welcome", (1,)),
        ("search.index", (1,)),
        ("search.index", (2,)),
        ("mail.welcome", (3,)),
        ("search.index", (3,)),
    ]
    assert await undispatched(runtime) == []
    await dispatch.dispatch(op, FOLLOWERS)
    assert len(queue.queued) == 5


async def test_the_job_marks_what_nothing_follows(runtime: Runtime, ann: User) -> None:
    assert await undispatched(runtime) == ["UserCreated"]
    await runtime.jobs.run_all(make_op(runtime))  # type: ignore[attr-defined]
    assert await undispatched(runtime) == []


async def test_more_than_a_batch(runtime: Runtime) -> None:
    async with runtime.database.write() as session:
        session.add_all(Event(name="UserCreated", payload={}) for _ in range(450))
    queue = Queue()
    await dispatch.dispatch(make_op(with_queue(runtime, queue)), {"UserCreated": ("a.b",)})
    assert [arguments for _, arguments in queue.queued] == [(n,) for n in range(1, 451)]
    assert await undispatched(runtime) == []


async def test_a_queue_that_goes_away_loses_nothing(runtime: Runtime) -> None:
    for login in ("ann", "bob", "carol"):
        await make_user(runtime, login)
    broken = Queue(fails_after=3)
    with pytest.raises(ConnectionError):
        await dispatch.dispatch(make_op(with_queue(runtime, broken)), FOLLOWERS)
    # The second event was told to one of its two followers: it comes again, to both.
    assert len(await undispatched(runtime)) == 2
    whole = Queue()
    await dispatch.dispatch(make_op(with_queue(runtime, whole)), FOLLOWERS)
    assert whole.queued == [
        ("mail.welcome", (2,)),
        ("search.index", (2,)),
        ("mail.welcome", (3,)),
        ("search.index", (3,)),
    ]


@pytest.mark.databases
async def test_two_dispatchers_lose_nothing(runtime: Runtime) -> None:
    for login in ("ann", "bob", "carol"):
        await make_user(runtime, login)
    queue = Queue()
    op = make_op(with_queue(runtime, queue))
    await asyncio.gather(*(dispatch.dispatch(op, FOLLOWERS) for _ in range(3)))
    told = {arguments for name, arguments in queue.queued if name == "mail.welcome"}
    assert told == {(1,), (2,), (3,)}
    assert await undispatched(runtime) == []


async def test_an_event_that_commits_late_is_still_told(runtime: Runtime) -> None:
    """Numbers may become visible out of order."""
    for login in ("ann", "bob"):
        await make_user(runtime, login)
    async with runtime.database.write() as session:
        await session.execute(update(Event).where(Event.id == 2).values(dispatched_at=utc_now()))
    queue = Queue()
    await dispatch.dispatch(make_op(with_queue(runtime, queue)), {"UserCreated": ("a.b",)})
    assert queue.queued == [("a.b", (1,))]
