"""One operation's context: who asks, with which parts; and the transactions it opens.

The first argument of a rule tells its contract: ``op`` means "I open the transaction", ``tx``
means "I join yours". Only ``op.transaction()`` commits; nothing is published before the commit.
"""

import contextlib
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from models import Event
from models.database import DatabaseUnavailable
from services.actor import Actor
from services.errors import Unavailable
from services.events import DomainEvent
from services.runtime import Runtime

DATABASE_UNAVAILABLE = "the database does not answer; try again in a moment"


@dataclasses.dataclass(frozen=True, slots=True)
class ReadTransaction:
    """A read-only snapshot of the database, for one actor."""

    op: "OpContext"
    session: AsyncSession

    @property
    def actor(self) -> Actor:
        return self.op.actor


@dataclasses.dataclass(frozen=True, slots=True)
class Transaction(ReadTransaction):
    """A transaction that commits when its block ends. Await nothing but SQL inside."""

    events: list[Event] = dataclasses.field(default_factory=list)

    def emit(self, event: DomainEvent) -> None:
        """Record an event; it is published after the commit, or never."""
        row = Event(
            name=event.name,
            actor_id=self.actor.user_id,
            repository_id=event.repository_id_or_none,
            payload=event.payload(),
            request_id=self.op.request_id,
        )
        self.session.add(row)
        self.events.append(row)


@dataclasses.dataclass(frozen=True, slots=True)
class OpContext:
    """``address`` is the client's, already freed of proxies that are not trusted.

    ``snapshot`` is set within ``one_snapshot`` alone.
    """

    runtime: Runtime
    actor: Actor
    request_id: str
    address: str | None = None
    snapshot: AsyncSession | None = None

    @property
    def log(self) -> Any:
        return structlog.get_logger("opencodehub").bind(
            request_id=self.request_id, user_id=self.actor.user_id
        )

    def acting_as(self, actor: Actor) -> "OpContext":
        """The same operation with another identity, once a credential has been checked."""
        return dataclasses.replace(self, actor=actor)

    @contextlib.asynccontextmanager
    async def one_snapshot(self) -> AsyncIterator["OpContext"]:
        """The same operation, whose reads in the block, one after another, are one transaction.

        So to find out who asks and what that user may do costs one. Raises as ``read``.
        """
        async with self.read() as tx:
            yield dataclasses.replace(self, snapshot=tx.session)

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[ReadTransaction]:
        """Raises Unavailable when the database does not answer."""
        if self.snapshot is not None:
            yield ReadTransaction(self, self.snapshot)
            return
        try:
            async with self.runtime.database.read() as session:
                yield ReadTransaction(self, session)
        except DatabaseUnavailable as error:
            raise Unavailable(DATABASE_UNAVAILABLE) from error

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Commits at the end, then publishes the events.

        Raises Unavailable when the database does not answer, and lets ``CommitUnknown`` through:
        only the caller can know how to look whether its work took place.
        """
        try:
            async with self.runtime.database.write() as session:
                tx = Transaction(self, session)
                yield tx
        except DatabaseUnavailable as error:
            raise Unavailable(DATABASE_UNAVAILABLE) from error
        if tx.events:
            await self._publish(tx.events)

    async def _publish(self, events: list[Event]) -> None:
        # The rows are committed. Whatever fails here, the scheduled sweep makes good (K4), so a
        # bus that does not answer must not turn a success into an error.
        try:
            for event in events:
                await self.runtime.bus.publish(event)
            await self.runtime.jobs.enqueue("events.dispatch")
        except Exception:
            self.log.warning("events not published; the sweep will", exc_info=True)
