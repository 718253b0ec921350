"""What follows what: the one place that says which jobs an event sets off.

Events are rows first (K4). This job takes those nobody was told of, in order, queues what follows
and marks them. A crash in between queues a job twice, which jobs are made for, and loses none.
"""

import datetime as dt
from collections.abc import Mapping, Sequence

from sqlalchemy import select, update

from models import Event
from models.base import utc_now
from services.context import OpContext
from services.event_feed import number_all
from services.jobs import job

# The name of an event -> the jobs that follow it, each called with the event's id.
FOLLOWERS: Mapping[str, Sequence[str]] = {
    "PushReceived": ("git.compact_after_event", "git.find_last_commits"),
    "RepositoryForked": ("git.compact_after_event", "git.find_last_commits"),
}
_BATCH = 200


@job("events.dispatch", every=dt.timedelta(minutes=1))
async def dispatch_events(op: OpContext) -> None:
    """Number new events, and queue what follows those not dispatched yet, oldest first.

    Raises what the queue raises; the events that were not reached stay for the next run.
    """
    # Whoever listens does so, too, but nobody may be listening.
    await number_all(op.runtime.database)
    await dispatch(op, FOLLOWERS)


async def dispatch(op: OpContext, followers: Mapping[str, Sequence[str]]) -> None:
    """As ``dispatch_events``, with a table of one's own."""
    while True:
        async with op.read() as tx:
            rows = await tx.session.execute(
                select(Event.id, Event.name)
                .where(Event.dispatched_at.is_(None))
                .order_by(Event.id)
                .limit(_BATCH)
            )
            events = [(row.id, row.name) for row in rows]
        if not events:
            return
        told: list[int] = []
        try:
            for event_id, name in events:
                for follower in followers.get(name, ()):
                    await op.runtime.jobs.enqueue(follower, event_id)
                told.append(event_id)
        finally:
            await _mark(op, told)


async def _mark(op: OpContext, event_ids: Sequence[int]) -> None:
    if not event_ids:
        return
    async with op.transaction() as tx:
        await tx.session.execute(
            update(Event)
            .where(Event.id.in_(event_ids), Event.dispatched_at.is_(None))
            .values(dispatched_at=utc_now())
            .execution_options(synchronize_session=False)
        )
