"""Fixtures of the API tests: a runtime of its own for each, and a client of its endpoint."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import select

from models import Event
from models.database import Database
from services.runtime import Runtime
from tests.support.graphql import GraphQLClient
from tests.support.runtime import make_runtime


@pytest.fixture
async def runtime(database: Database) -> AsyncIterator[Runtime]:
    runtime = make_runtime(database)
    yield runtime
    await runtime.feed.close()
    await runtime.git.close()
    runtime.passwords.close()


@pytest.fixture
def ask(runtime: Runtime) -> GraphQLClient:
    return GraphQLClient(runtime)


class EventLog:
    """What was emitted since the last look, as (name, payload)."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._seen = 0

    async def new(self) -> list[tuple[str, dict[str, object]]]:
        async with self._runtime.database.read() as session:
            rows = list(
                await session.scalars(select(Event).where(Event.id > self._seen).order_by(Event.id))
            )
        if rows:
            self._seen = rows[-1].id
        return [(row.name, row.payload) for row in rows]


@pytest.fixture
def events(runtime: Runtime) -> EventLog:
    return EventLog(runtime)
