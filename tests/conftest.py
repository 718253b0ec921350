"""Fixtures that every suite shares: databases with the schema in place, and Redis."""

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from models.database import Database
from models.migrations import runner


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "template.sqlite3"
    thread = threading.Thread(target=lambda: asyncio.run(runner.upgrade(f"sqlite:///{path}")))
    thread.start()
    thread.join()
    return path


@pytest.fixture
def database_url(sqlite_template: Path, tmp_path: Path) -> str:
    """The address of a database of this test alone, with the schema in place."""
    path = tmp_path / "hub.sqlite3"
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A ``Database`` on ``database_url``, closed when the test ends."""
    database = Database(database_url)
    yield database
    await database.close()
