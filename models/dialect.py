"""What differs between SQLite, PostgreSQL and MariaDB. Everything above is written once."""

import asyncio
import datetime as dt
import sqlite3
import time
from collections.abc import Sequence
from typing import Any

import aiosqlite
from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    and_,
    event,
    func,
    literal_column,
    make_url,
    select,
    true,
    type_coerce,
)
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.pool import NullPool

from models import sqlite_driver
from models.base import UTCDateTime

SQLITE_BUSY_TIMEOUT_SECONDS = 30
CONNECT_TIMEOUT_SECONDS = 10
POOL_TIMEOUT_SECONDS = 30

_MYSQL_DUPLICATE_ENTRY = 1062
_POSTGRESQL_UNIQUE_VIOLATION = "23505"
_LAST_CODE_POINT = "\U0010ffff"


class UnsupportedDatabase(ValueError):
    """The database address names a system this project does not run on."""


def async_url(url: str | URL) -> URL:
    """The same address with the asynchronous driver this project pins.

    Raises UnsupportedDatabase, which says what is supported and never repeats a password.
    """
    try:
        url = make_url(url)
    except ArgumentError as error:
        raise UnsupportedDatabase(
            "the database's address cannot be read; "
            "it looks like postgresql://user:password@host/name or sqlite:////folder/file"
        ) from error
    match url.get_backend_name():
        case "sqlite":
            if url.database in (None, "", ":memory:") or "mode=memory" in str(url):
                raise UnsupportedDatabase(
                    "a SQLite database in memory is not supported; "
                    "name a file, as in sqlite:////var/lib/opencodehub/hub.sqlite3"
                )
            return url.set(drivername="sqlite+aiosqlite")
        case "postgresql":
            return url.set(drivername="postgresql+psycopg")
        case "mysql" | "mariadb":
            return url.set(drivername="mysql+asyncmy").update_query_dict({"charset": "utf8mb4"})
        case name:
            raise UnsupportedDatabase(
                f"database {name!r} is not supported; use sqlite, postgresql, mysql or mariadb"
            )


def create_engines(url: str | URL, *, pool_size: int) -> tuple[AsyncEngine, AsyncEngine]:
    """Two engines on one database: the first reads snapshots and refuses writes; the second writes.

    Raises UnsupportedDatabase.
    """
    url = async_url(url)
    options: dict[str, Any] = {"max_overflow": 0, "pool_timeout": POOL_TIMEOUT_SECONDS}
    if url.get_backend_name() == "sqlite":
        read = _sqlite_engine(url, "BEGIN DEFERRED", pool_size=pool_size, **options)
        event.listen(read.sync_engine, "connect", _sqlite_query_only)
        # A second writing connection could only wait for the first one's lock.
        return read, _sqlite_engine(url, "BEGIN IMMEDIATE", pool_size=1, **options)
    # The ping lets the first request after a restart of the database succeed.
    options |= {"pool_size": pool_size, "pool_pre_ping": True}
    read = _server_engine(url, isolation_level="REPEATABLE READ", **options)
    write = _server_engine(url, isolation_level="READ COMMITTED", **options)
    if url.get_backend_name() == "postgresql":
        event.listen(read.sync_engine, "connect", _postgresql_read_only)
        event.listen(write.sync_engine, "begin", _postgresql_durable)
    else:
        event.listen(read.sync_engine, "begin", _mysql_read_only)
    return read, write


def create_migration_engine(url: str | URL) -> AsyncEngine:
    """One connection, not pooled, to change the schema with. Raises UnsupportedDatabase.

    SQLite changes a table by copying it and dropping the old one, which with foreign keys enforced
    would delete all that refers to its rows. So they are off here, and the migrations check them.
    """
    url = async_url(url)
    if url.get_backend_name() == "sqlite":
        engine = _sqlite_engine(url, "BEGIN IMMEDIATE", poolclass=NullPool)
        event.listen(engine.sync_engine, "connect", _sqlite_foreign_keys_off)
        return engine
    return _server_engine(url, isolation_level="READ COMMITTED", poolclass=NullPool)


def _sqlite_engine(url: URL, begin: str, **options: Any) -> AsyncEngine:
    engine = create_async_engine(
        url,
        connect_args={
            "timeout": SQLITE_BUSY_TIMEOUT_SECONDS,
            # The driver must not begin transactions by itself: it would begin deferred ones,
            # which fail with "busy" when two turn into writers, whatever the time-out.
            "isolation_level": None,
            "async_creator_fn": _open_sqlite,
        },
        **options,
    )

    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine.sync_engine, "connect", _sqlite_durable)
    event.listen(engine.sync_engine, "begin", start)
    return engine


def _server_engine(url: URL, **options: Any) -> AsyncEngine:
    arguments: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT_SECONDS}
    if url.get_backend_name() == "mysql":
        # A server may have been told to cut long texts instead of refusing them, or to ignore
        # foreign keys.
        arguments["init_command"] = (
            "SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES'),"
            " SESSION foreign_key_checks = 1, SESSION time_zone = '+00:00'"
        )
    # What the address says goes before what is chosen here.
    arguments = {name: value for name, value in arguments.items() if name not in url.query}
    return create_async_engine(url, connect_args=arguments, **options)


def _sqlite_run(connection: DBAPIConnection, statement: str) -> None:
    cursor = connection.cursor()
    cursor.execute(statement)
    cursor.close()


def _sqlite_durable(connection: Any, _record: object) -> None:
    connection.run_async(_sqlite_use_wal)
    _sqlite_run(connection, "PRAGMA synchronous = FULL")  # K1
    _sqlite_run(connection, "PRAGMA foreign_keys = ON")


async def _open_sqlite(*arguments: Any, **options: Any) -> aiosqlite.Connection:
    connection = sqlite_driver.connect(*arguments, **options)
    # As SQLAlchemy does: a forgotten connection must not keep the process alive.
    connection._thread.daemon = True
    try:
        return await connection
    except sqlite3.Error:
        # The driver's thread still reports to this event loop, which might be closed by then.
        await asyncio.to_thread(connection._thread.join)
        raise


async def _sqlite_use_wal(connection: aiosqlite.Connection) -> None:
    """Switch a new database file to its write-ahead log.

    Two processes that switch the same file at once wait for each other's lock, so nobody may wait
    with a lock in hand: each tries, lets go, and tries again.
    """
    await connection.execute("PRAGMA busy_timeout = 0")
    deadline = time.monotonic() + SQLITE_BUSY_TIMEOUT_SECONDS
    while True:
        try:
            await connection.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY  # of any kind
            if not busy or time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.01)
    await connection.execute(f"PRAGMA busy_timeout = {SQLITE_BUSY_TIMEOUT_SECONDS * 1000}")


def _sqlite_query_only(connection: DBAPIConnection, _record: object) -> None:
    _sqlite_run(connection, "PRAGMA query_only = ON")


def _sqlite_foreign_keys_off(connection: DBAPIConnection, _record: object) -> None:
    _sqlite_run(connection, "PRAGMA foreign_keys = OFF")


def _postgresql_read_only(connection: Any, _record: object) -> None:
    # The driver then says so in BEGIN itself, which saves each transaction a round trip.
    connection.set_read_only(True)


def _postgresql_durable(connection: Connection) -> None:
    # K1: an acknowledged push survives, whatever the server's default says. A server that waits
    # for its replicas as well ("remote_apply") is left to it.
    connection.exec_driver_sql(
        "SELECT set_config('synchronous_commit', 'on', true)"
        " WHERE current_setting('synchronous_commit') IN ('off', 'local', 'remote_write')"
    )


def _mysql_read_only(connection: Connection) -> None:
    # The driver's BEGIN is implicit (autocommit is off), so this opens the transaction itself.
    connection.exec_driver_sql("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")


async def database_now(session: AsyncSession) -> dt.datetime:
    """The database's clock, the one clock all servers share. SQLite knows milliseconds only."""
    match session.get_bind().dialect.name:
        case "sqlite":
            text = await session.scalar(select(func.strftime("%Y-%m-%dT%H:%M:%f", "now")))
            assert isinstance(text, str)
            return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)
        case "postgresql":
            clock = func.clock_timestamp()
        case _:
            clock = func.utc_timestamp(literal_column("6"))
    now = await session.scalar(select(type_coerce(clock, UTCDateTime)))
    assert isinstance(now, dt.datetime)
    return now


def violates_unique(error: DBAPIError) -> bool:
    """Whether the database refused a row because another one has the same key."""
    fault = error.orig
    if fault is None:
        return False
    return (
        getattr(fault, "sqlstate", None) == _POSTGRESQL_UNIQUE_VIOLATION
        or (bool(fault.args) and fault.args[0] == _MYSQL_DUPLICATE_ENTRY)
        or str(fault).startswith("UNIQUE constraint failed")
    )


def starts_with_any(
    column: InstrumentedAttribute[str], prefixes: Sequence[str]
) -> list[ColumnElement[bool]]:
    """Range conditions, one a prefix, that an index on ``column`` serves on every database.

    The column must compare byte by byte (``models.base.bytewise_string``). The empty prefix matches
    every text.
    """
    return [_starts_with(column, prefix) for prefix in prefixes]


def _starts_with(column: InstrumentedAttribute[str], prefix: str) -> ColumnElement[bool]:
    if not prefix:
        return true()
    # UTF-8 sorts as code points do, so the texts with this prefix end before the prefix whose
    # last code point is one higher.
    stem = prefix.rstrip(_LAST_CODE_POINT)
    if not stem:
        return column >= prefix
    following = ord(stem[-1]) + 1
    if 0xD800 <= following <= 0xDFFF:  # surrogates are no characters
        following = 0xE000
    return and_(column >= prefix, column < stem[:-1] + chr(following))
