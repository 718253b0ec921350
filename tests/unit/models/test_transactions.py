"""What a transaction promises on each system: snapshots, locks, and honest outcomes."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, make_url, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

import models
from models import Repository, User
from models.database import CommitUnknown, Database, DatabaseUnavailable
from tests.support.cutting_proxy import Cut, CuttingProxy
from tests.support.rows import add_repository, add_user

ROOT = Path(models.__file__).parents[1]

READ_ONLY_ERRORS = {
    "sqlite": "attempt to write a readonly database",
    "postgresql": "cannot execute UPDATE in a read-only transaction",
    "mysql": "Cannot execute statement in a READ ONLY transaction",
}
LONG_STATEMENTS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3000000)"
    " SELECT sum(i) FROM n",
    "postgresql": "SELECT pg_sleep(60)",
    "mysql": "SELECT SLEEP(60)",
}


async def logins(database: Database) -> list[str]:
    async with database.read() as session:
        return list(await session.scalars(select(User.login).order_by(User.id)))


async def driver_connection(session: AsyncSession) -> Any:
    return (await (await session.connection()).get_raw_connection()).driver_connection


@pytest.mark.databases
async def test_a_block_commits_or_rolls_back_as_a_whole(database: Database) -> None:
    async with database.write() as session:
        await add_user(session, "ann")
    with pytest.raises(LookupError):
        async with database.write() as session:
            await add_user(session, "bob")
            raise LookupError
    assert await logins(database) == ["ann"]


@pytest.mark.databases
async def test_a_reader_keeps_its_snapshot_while_a_writer_commits(database: Database) -> None:
    async with database.read() as reader:
        assert list(await reader.scalars(select(User.login))) == []
        async with database.write() as writer:
            await add_user(writer, "ann")
        assert list(await reader.scalars(select(User.login))) == []
    assert await logins(database) == ["ann"]


@pytest.mark.databases
async def test_a_reader_may_not_write(database: Database) -> None:
    with pytest.raises(DBAPIError, match=READ_ONLY_ERRORS[database.dialect_name]):
        async with database.read() as session:
            await session.execute(update(User).values(is_site_admin=True))
    # Nor does a refused write leave the connection unusable.
    assert await logins(database) == []


@pytest.mark.databases
async def test_a_writer_sees_what_was_committed_before_its_statement(database: Database) -> None:
    """The compare-and-swap of a ref must meet the newest value, not an old snapshot's."""
    async with database.write() as session:
        user = await add_user(session, "ann")
        repository = await add_repository(session, user, "demo")
    bump = (
        update(Repository)
        .where(Repository.id == repository.id)
        .values(generation=Repository.generation + 1)
    )

    async def raise_generation() -> None:
        async with database.write() as session:
            await session.execute(bump)

    await asyncio.gather(*(raise_generation() for _ in range(20)))
    async with database.read() as session:
        assert (await session.get_one(Repository, repository.id)).generation == 20


async def test_no_writer_on_sqlite_begins_without_the_lock(database: Database) -> None:
    begun: list[str] = []

    def record(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith("BEGIN"):
            begun.append(statement)

    event.listen(database.write_engine.sync_engine, "before_cursor_execute", record)
    async with database.write():
        other = sqlite3.connect(database.url.database or "", timeout=0, isolation_level=None)
        with pytest.raises(sqlite3.OperationalError, match="database is locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()
    assert begun == ["BEGIN IMMEDIATE"]


INCREMENTS = """
import asyncio, sys
from sqlalchemy import select, update
from models import Repository
from models.database import Database

async def main():
    database = Database(sys.argv[1])
    for _ in range(200):
        async with database.write() as session:
            generation = await session.scalar(select(Repository.generation))
            await session.execute(update(Repository).values(generation=generation + 1))
    await database.close()

asyncio.run(main())
"""


async def test_processes_write_to_one_sqlite_file_without_losing_an_update(
    database: Database, database_url: str
) -> None:
    async with database.write() as session:
        await add_repository(session, await add_user(session, "ann"), "demo")
    children = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", INCREMENTS, database_url, cwd=ROOT, stderr=subprocess.PIPE
        )
        for _ in range(4)
    ]
    for child in children:
        _, errors = await child.communicate()
        assert (child.returncode, errors) == (0, b"")
    async with database.read() as session:
        assert await session.scalar(select(Repository.generation)) == 800


@pytest.mark.databases
@pytest.mark.parametrize("door", ["read", "write"])
async def test_a_cancelled_tasks_connection_is_never_used_again(
    database: Database, door: str
) -> None:
    used: list[Any] = []
    started = asyncio.Event()

    async def ask_at_length() -> None:
        async with getattr(database, door)() as session:
            used.append(await driver_connection(session))
            await session.execute(text("SELECT 1"))
            started.set()
            await session.execute(text(LONG_STATEMENTS[database.dialect_name]))

    task = asyncio.ensure_future(ask_at_length())
    await started.wait()
    await asyncio.sleep(0)  # the statement is on its way
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with getattr(database, door)() as session:
        assert await driver_connection(session) is not used[0]
        assert await session.scalar(text("SELECT 7")) == 7


@pytest.mark.databases
async def test_a_task_cancelled_between_statements_changes_nothing(database: Database) -> None:
    added = asyncio.Event()

    async def add_and_wait() -> None:
        async with database.write() as session:
            await add_user(session, "ann")
            added.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(add_and_wait())
    await added.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with database.write() as session:
        await add_user(session, "ann")  # the login is free, and the lock too
    assert await logins(database) == ["ann"]


@pytest.mark.databases
async def test_a_violated_constraint_is_a_plain_error(database: Database) -> None:
    async with database.write() as session:
        await add_user(session, "ann")
    with pytest.raises(IntegrityError):
        async with database.write() as session:
            session.add(User(login="Ann", login_key="ann"))
    assert await logins(database) == ["ann"]


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[CuttingProxy]:
    query = make_url(database_url).query
    server = query.get("unix_socket") or f"{query['host']}/.s.PGSQL.5432"
    async with CuttingProxy.before(Path(str(server))) as proxy:
        yield proxy


@pytest.fixture
async def proxied(database_url: str, proxy: CuttingProxy) -> AsyncIterator[Database]:
    url = make_url(database_url).set(host="127.0.0.1", port=proxy.port, query={})
    database = Database(url)
    yield database
    await database.close()


@pytest.mark.databases("postgresql", "mariadb")
@pytest.mark.parametrize(
    ("cut", "outcome"), [(Cut.BEFORE, ["ann"]), (Cut.AFTER, ["ann", "bob"])], ids=["lost", "done"]
)
async def test_a_connection_cut_during_commit_leaves_the_outcome_unknown(
    proxied: Database, proxy: CuttingProxy, cut: Cut, outcome: list[str]
) -> None:
    async with proxied.write() as session:
        await add_user(session, "ann")
    with pytest.raises(CommitUnknown, match=r"^the outcome of a COMMIT is unknown: "):
        async with proxied.write() as session:
            await add_user(session, "bob")
            proxy.cut, proxy.word = cut, b"COMMIT"
    # Looking on a new connection tells.
    assert await logins(proxied) == outcome


@pytest.mark.databases("postgresql", "mariadb")
async def test_a_connection_cut_before_commit_is_unavailable(
    proxied: Database, proxy: CuttingProxy
) -> None:
    with pytest.raises(DatabaseUnavailable, match=r"^the connection to the database was lost: "):
        async with proxied.write() as session:
            proxy.word = b"INSERT"
            await add_user(session, "ann")
    assert await logins(proxied) == []


@pytest.mark.databases("postgresql", "mariadb")
async def test_a_restarted_database_is_used_again_without_an_error(
    proxied: Database, proxy: CuttingProxy
) -> None:
    assert await logins(proxied) == []
    await proxy.cut_all()
    assert await logins(proxied) == []
    async with proxied.write() as session:
        await add_user(session, "ann")


@pytest.mark.databases("postgresql", "mariadb")
async def test_a_database_that_is_down_is_unavailable(
    proxied: Database, proxy: CuttingProxy
) -> None:
    await proxied.ping()
    proxy.stop()
    await proxy.cut_all()
    for door in (proxied.read, proxied.write):
        with pytest.raises(DatabaseUnavailable, match=r"^no connection to the database: "):
            async with door():
                pytest.fail("a transaction began")
    with pytest.raises(DatabaseUnavailable):
        await proxied.ping()


async def test_a_sqlite_file_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/missing/hub.sqlite3")
    for door in (database.read, database.write):
        with pytest.raises(DatabaseUnavailable) as failure:
            async with door():
                pytest.fail("a transaction began")
        assert str(failure.value) == ("no connection to the database: unable to open database file")
    await database.close()


async def test_a_sqlite_lock_held_elsewhere_is_unavailable(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models.dialect, "SQLITE_BUSY_TIMEOUT_SECONDS", 0)
    database = Database(database_url)
    other = sqlite3.connect(database.url.database or "", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseUnavailable) as failure:
        async with database.write():
            pytest.fail("a transaction began")
    assert str(failure.value) == "no connection to the database: database is locked"
    other.close()
    async with database.write() as session:
        await add_user(session, "ann")
    await database.close()


@pytest.mark.databases
async def test_when_all_connections_stay_in_use_the_database_is_unavailable(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models.dialect, "POOL_TIMEOUT_SECONDS", 0)
    database = Database(database_url, pool_size=1)
    async with database.read():
        with pytest.raises(DatabaseUnavailable) as failure:
            async with database.read():
                pytest.fail("a transaction began")
    assert str(failure.value) == "all connections to the database stayed in use"
    await database.close()


@pytest.mark.databases
async def test_commits_are_durable_whatever_the_server_says(database: Database) -> None:
    """K1. The test's PostgreSQL runs with ``synchronous_commit=off``."""
    async with database.write() as session:
        if database.dialect_name == "postgresql":
            assert await session.scalar(text("SHOW synchronous_commit")) == "on"
        elif database.dialect_name == "sqlite":
            assert await session.scalar(text("PRAGMA synchronous")) == 2  # FULL
            assert await session.scalar(text("PRAGMA journal_mode")) == "wal"
        else:
            # Only the server can promise it; a transactional table is what we can ask for.
            engines = await session.scalars(
                text(
                    "SELECT DISTINCT engine FROM information_schema.tables"
                    " WHERE table_schema = DATABASE() AND table_name <> 'alembic_version'"
                )
            )
            assert list(engines) == ["InnoDB"]
