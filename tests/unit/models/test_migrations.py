"""The migrations build what the models say, on each system, and only one process runs them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection

from models import Base, dialect
from models.database import DatabaseUnavailable
from models.migrations import runner
from tests.support.databases import Databases

pytestmark = pytest.mark.databases

ALL_REVISIONS = ["0001", "0002", "0003", "0004"]


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[AsyncConnection]:
    engine = dialect.create_migration_engine(url)
    async with engine.begin() as connection:
        yield connection
    await engine.dispose()


def reflected(connection: Connection) -> dict[str, Any]:
    """All the database knows of our tables, in words that can be compared."""
    inspector = inspect(connection)

    def by_name(rows: list[Any]) -> list[str]:
        return sorted(repr(sorted(row.items(), key=repr)) for row in rows)

    return {
        table: {
            "columns": by_name(inspector.get_columns(table)),
            "primary key": inspector.get_pk_constraint(table),
            "foreign keys": by_name(inspector.get_foreign_keys(table)),
            "indexes": by_name(inspector.get_indexes(table)),
            "unique": by_name(inspector.get_unique_constraints(table)),
            "checks": by_name(inspector.get_check_constraints(table)),
            "options": inspector.get_table_options(table),
        }
        for table in inspector.get_table_names()
        if table != "alembic_version"
    }


async def test_up_down_and_up_again(empty_database_url: str) -> None:
    url = empty_database_url
    assert await runner.current(url) is None
    assert await runner.pending(url) == ALL_REVISIONS
    assert await runner.upgrade(url) == ALL_REVISIONS
    assert await runner.current(url) == ALL_REVISIONS[-1]
    assert await runner.pending(url) == []
    assert await runner.upgrade(url) == []
    async with connected(url) as connection:
        first = await connection.run_sync(reflected)
    assert await runner.downgrade(url, "base") == ALL_REVISIONS[::-1]
    assert await runner.current(url) is None
    async with connected(url) as connection:
        assert await connection.run_sync(reflected) == {}
    assert await runner.upgrade(url) == ALL_REVISIONS
    async with connected(url) as connection:
        assert await connection.run_sync(reflected) == first


async def test_alembic_finds_no_difference_to_the_models(database_url: str) -> None:
    def compare(connection: Connection) -> Any:
        options = {"compare_type": True, "compare_server_default": True}
        return compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata)

    async with connected(database_url) as connection:
        assert await connection.run_sync(compare) == []


async def test_the_models_build_the_same_tables(
    database_url: str,
    databases_of: Callable[[str], Databases],
    database_kind: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("models")
    with databases_of(database_kind).fresh(folder, migrated=False) as other_url:
        async with connected(other_url) as connection:
            await connection.run_sync(Base.metadata.create_all)
            expected = await connection.run_sync(reflected)
    async with connected(database_url) as connection:
        assert await connection.run_sync(reflected) == expected


async def test_servers_starting_together_migrate_once(empty_database_url: str) -> None:
    applied = await asyncio.gather(*(runner.upgrade(empty_database_url) for _ in range(4)))
    assert sorted(applied) == [[], [], [], ALL_REVISIONS]


async def test_a_migration_that_does_not_end_is_reported(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "LOCK_TIMEOUT_SECONDS", 1)
    monkeypatch.setattr(dialect, "SQLITE_BUSY_TIMEOUT_SECONDS", 0)
    async with runner._locked(empty_database_url):
        with pytest.raises(runner.MigrationInProgress) as failure:
            await runner.upgrade(empty_database_url)
    assert str(failure.value) == (
        "another process is migrating this database; try again when it has finished"
    )
    assert await runner.upgrade(empty_database_url) == ALL_REVISIONS


async def test_a_database_of_a_newer_version_is_left_alone(database_url: str) -> None:
    async with connected(database_url) as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    message = (
        "this version has no schema revision '9999'; "
        "if a newer version has migrated the database, run that version"
    )
    for act in (runner.pending, runner.upgrade):
        with pytest.raises(runner.UnknownRevision) as failure:
            await act(database_url)
        assert str(failure.value) == message


async def test_a_database_that_is_not_there_is_reported(database_url: str) -> None:
    for broken in ("no/such/folder/", "no-such-"):
        head, _, tail = database_url.rpartition("/tmp/")
        url = f"{head}/tmp/{broken}{tail}" if head else database_url.replace("%2F", f"%2F{broken}")
        for act in (runner.pending, runner.upgrade):
            with pytest.raises(DatabaseUnavailable, match="no connection to the database: "):
                await act(url)


def test_history_is_one_line() -> None:
    assert [script.revision for script in runner.scripts().walk_revisions()] == ALL_REVISIONS[::-1]
