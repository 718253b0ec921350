"""What differs between SQLite, PostgreSQL and MariaDB. Everything above is written once."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from sqlalchemy import URL, Connection, DateTime, cast, event, func, literal_column, select
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.dml import Insert

SQLITE_BUSY_TIMEOUT_SECONDS = 30


class UnsupportedDatabase(ValueError):
    """The database address names a system this project does not run on."""


def async_url(url: URL) -> URL:
    """The same address with the asynchronous driver this project pins.

    Raises UnsupportedDatabase with the list of supported schemes.
    """
    match url.get_backend_name():
        case "sqlite":
            return url.set(drivername="sqlite+aiosqlite")
        case "postgresql":
            return url.set(drivername="postgresql+psycopg")
        case "mysql" | "mariadb":
            return url.set(drivername="mysql+asyncmy").update_query_dict({"charset": "utf8mb4"})
        case name:
            raise UnsupportedDatabase(
                f"database {name!r} is not supported; use sqlite, postgresql, mysql or mariadb"
            )


def create_engines(url: URL, *, pool_size: int) -> tuple[AsyncEngine, AsyncEngine]:
    """Two engines on one database: the first only reads, each transaction one snapshot; the second writes."""
    url = async_url(url)
    if url.get_backend_name() == "sqlite":
        return (
            _sqlite_engine(url, begin="BEGIN DEFERRED", read_only=True, pool_size=pool_size),
            # A second writing connection could only wait for the first one's lock.
            _sqlite_engine(url, begin="BEGIN IMMEDIATE", read_only=False, pool_size=1),
        )
    options: dict[str, Any] = {"pool_size": pool_size, "max_overflow": 0, "pool_pre_ping": True}
    read = create_async_engine(url, isolation_level="REPEATABLE READ", **options)
    write = create_async_engine(url, isolation_level="READ COMMITTED", **options)
    if url.get_backend_name() == "postgresql":
        event.listen(read.sync_engine, "begin", _postgresql_read_only)
        event.listen(write.sync_engine, "begin", _postgresql_durable)
    else:
        event.listen(read.sync_engine, "begin", _mysql_read_only)
    return read, write


def _sqlite_engine(url: URL, *, begin: str, read_only: bool, pool_size: int) -> AsyncEngine:
    engine = create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS},
    )

    def connect(connection: DBAPIConnection, _record: object) -> None:
        # The driver must not begin transactions by itself: it would begin deferred ones, which
        # fail with "busy" when two of them turn into writers, whatever the time-out.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute(f"PRAGMA query_only={'ON' if read_only else 'OFF'}")
        cursor.close()

    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine.sync_engine, "connect", connect)
    event.listen(engine.sync_engine, "begin", start)
    return engine


def _postgresql_read_only(connection: Connection) -> None:
    connection.exec_driver_sql("SET TRANSACTION READ ONLY")


def _postgresql_durable(connection: Connection) -> None:
    # K1: an acknowledged push survives, whatever the server's default says.
    connection.exec_driver_sql("SET LOCAL synchronous_commit = on")


def _mysql_read_only(connection: Connection) -> None:
    # The driver's BEGIN is implicit (autocommit is off), so this opens the transaction itself.
    connection.exec_driver_sql("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")


async def database_now(session: AsyncSession) -> dt.datetime:
    """The database's clock, the one clock all servers share."""
    if session.get_bind().dialect.name == "sqlite":
        text = await session.scalar(select(func.strftime("%Y-%m-%dT%H:%M:%f", "now")))
        assert isinstance(text, str)
        return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)
    if session.get_bind().dialect.name == "postgresql":
        now = await session.scalar(select(func.clock_timestamp()))
    else:
        now = await session.scalar(select(cast(func.utc_timestamp(literal_column("6")), DateTime)))
    assert isinstance(now, dt.datetime)
    return now.replace(tzinfo=dt.UTC) if now.tzinfo is None else now.astimezone(dt.UTC)


def insert_or_ignore(dialect_name: str, table: Any, rows: Sequence[dict[str, Any]]) -> Insert:
    """An INSERT that leaves rows alone that exist already. Read ``rowcount`` to learn who won."""
    if dialect_name == "postgresql":
        return postgresql.insert(table).values(rows).on_conflict_do_nothing()
    if dialect_name == "sqlite":
        return sqlite.insert(table).values(rows).on_conflict_do_nothing()
    return mysql.insert(table).values(rows).prefix_with("IGNORE")


def starts_with_any(column: InstrumentedAttribute[str], prefixes: Sequence[str]) -> list[Any]:
    """Range conditions, one a prefix, that an index on ``column`` serves on every database.

    PostgreSQL orders text by the database's collation, so the column compares in "C" there.
    """
    return [(column >= prefix) & (column < prefix + "\U0010ffff") for prefix in prefixes if prefix]
