"""Events: activity, audit log and outbox in one table, written in the transaction they describe.

Ids are given when a row is written, and transactions commit in another order. Readers that go on
where they stopped use numbers: given after the commit, one after another, each visible only once
all smaller ones are.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from sqlalchemy import JSON, BigInteger, String, exists, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, BigId, CreatedAt, UTCDateTime

_COUNTER_ID = 1


class Event(CreatedAt, Base):
    """``payload`` holds ids only. ``dispatched_at`` is null until consumers have been told, and
    ``number`` until ``number_events`` has seen the row committed.

    No foreign keys: the audit log outlives what it describes.
    """

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    actor_id: Mapped[int | None] = mapped_column(index=True)
    repository_id: Mapped[int | None] = mapped_column(index=True)
    payload: Mapped[dict[str, Any]] = mapped_column(JSON)
    request_id: Mapped[str | None] = mapped_column(String(64))
    dispatched_at: Mapped[dt.datetime | None] = mapped_column(UTCDateTime, index=True)
    number: Mapped[int | None] = mapped_column(BigInteger, index=True, unique=True)


class EventCounter(Base):
    """One row: the last number given. Whoever gives numbers holds its lock."""

    __tablename__ = "event_counter"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    last_number: Mapped[int] = mapped_column(BigInteger)


async def has_events_to_number(session: AsyncSession) -> bool:
    """Whether committed events wait for their number."""
    found = await session.scalar(select(exists().where(Event.number.is_(None))))
    return bool(found)


async def number_events(session: AsyncSession, limit: int = 500) -> int:
    """Give the next numbers to committed events that have none, oldest first; returns how many.

    Needs a transaction that sees what others committed meanwhile (READ COMMITTED). The counter's
    lock is held until the commit, so nobody sees a number before all smaller ones.
    """
    last = await session.scalar(
        select(EventCounter.last_number).where(EventCounter.id == _COUNTER_ID).with_for_update()
    )
    assert last is not None, "a migration makes the row"
    ids = list(
        await session.scalars(
            select(Event.id).where(Event.number.is_(None)).order_by(Event.id).limit(limit)
        )
    )
    if not ids:
        return 0
    await session.execute(
        update(Event),
        [{"id": each, "number": last + place} for place, each in enumerate(ids, 1)],
    )
    await session.execute(
        update(EventCounter)
        .where(EventCounter.id == _COUNTER_ID)
        .values(last_number=last + len(ids))
    )
    return len(ids)


async def last_event_number(session: AsyncSession) -> int:
    """The highest number there is; 0 before the first event."""
    last = await session.scalar(
        select(EventCounter.last_number).where(EventCounter.id == _COUNTER_ID)
    )
    return last or 0


async def list_events(
    session: AsyncSession,
    *,
    after: int,
    up_to: int | None = None,
    repository_id: int | None = None,
    limit: int,
) -> Sequence[Event]:
    """Events by growing number, those of one repository or all."""
    query = select(Event).where(Event.number > after).order_by(Event.number).limit(limit)
    if up_to is not None:
        query = query.where(Event.number <= up_to)
    if repository_id is not None:
        query = query.where(Event.repository_id == repository_id)
    return (await session.scalars(query)).all()
