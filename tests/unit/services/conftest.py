"""A runtime around a fresh database, and the people most tests need."""

from collections.abc import AsyncIterator

import pytest

from models import User
from models.database import Database
from services.runtime import Runtime
from tests.support.factories import make_user
from tests.support.runtime import make_runtime


@pytest.fixture
async def runtime(database: Database) -> AsyncIterator[Runtime]:
    runtime = make_runtime(database)
    yield runtime
    await runtime.feed.close()
    await runtime.git.close()
    runtime.passwords.close()


@pytest.fixture
async def ann(runtime: Runtime) -> User:
    return await make_user(runtime, "ann")


@pytest.fixture
async def bob(runtime: Runtime) -> User:
    return await make_user(runtime, "bob")
