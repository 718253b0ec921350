"""Moves a database between revisions of the schema, one process at a time.

Alembic's own command line and ``env.py`` are for developers who write a migration. Servers call
these functions instead: they need no configuration file and no module-level state, so several may
run in one process.
"""

import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy import URL, Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from models.database import Database, DatabaseUnavailable
from models.dialect import create_migration_engine

LOCK_TIMEOUT_SECONDS = 60

# Any number, as long as nothing else in the same PostgreSQL database takes it.
_POSTGRESQL_LOCK = 0x6F63685F6D696772

_POSTGRESQL_LOCK_NOT_AVAILABLE = "55P03"
_SQLITE_BUSY = "database is locked"


class MigrationInProgress(Exception):
    """Another process holds the lock of the migrations and did not finish in time."""


class UnknownRevision(Exception):
    """The database, or the caller, names a revision this version of the program does not have."""


def scripts() -> ScriptDirectory:
    """The revisions this version of the program knows."""
    return ScriptDirectory(str(Path(__file__).parent))


async def upgrade(database_url: str | URL, revision: str = "head") -> list[str]:
    """Apply what is missing up to ``revision``; returns the revisions applied, oldest first.

    Safe to call from several servers at once: one works, the others wait, then find nothing to do.
    PostgreSQL and SQLite apply all or nothing. MariaDB commits each statement by itself, so a
    failure there needs the backup. Raises DatabaseUnavailable, MigrationInProgress,
    UnknownRevision, and ``models.dialect.UnsupportedDatabase``.
    """
    async with _locked(database_url) as connection:
        return await connection.run_sync(_upgrade, revision)


async def downgrade(database_url: str | URL, revision: str) -> list[str]:
    """Undo everything after ``revision`` (``base``: everything); returns what was undone in order.

    Raises as ``upgrade`` does.
    """
    async with _locked(database_url) as connection:
        return await connection.run_sync(_downgrade, revision)


async def current(database_url: str | URL) -> str | None:
    """The revision the database is at; ``None`` before the first. Raises DatabaseUnavailable."""
    return await _read(database_url, _current)


async def pending(database_url: str | URL) -> list[str]:
    """The revisions ``upgrade`` would apply, oldest first; empty when the schema is up to date.

    Raises DatabaseUnavailable, and UnknownRevision when a newer program migrated the database.
    """
    found = await _read(database_url, _current)
    return [script.revision for script in _between(scripts(), found, "head")]


def _upgrade(connection: Connection, revision: str) -> list[str]:
    directory = scripts()
    context = MigrationContext.configure(connection)
    steps = _between(directory, context.get_current_revision(), revision)
    for script in steps:
        script.module.upgrade(Operations(context))
        context.stamp(directory, script.revision)
    return [script.revision for script in steps]


def _downgrade(connection: Connection, revision: str) -> list[str]:
    directory = scripts()
    context = MigrationContext.configure(connection)
    steps = _between(directory, revision, context.get_current_revision())
    for script in reversed(steps):
        script.module.downgrade(Operations(context))
        assert script.down_revision is None or isinstance(script.down_revision, str)
        context.stamp(directory, script.down_revision or "base")
    return [script.revision for script in reversed(steps)]


def _between(directory: ScriptDirectory, after: str | None, until: str | None) -> list[Script]:
    """The scripts later than ``after``, up to and with ``until``, oldest first."""
    history = list(directory.walk_revisions())[::-1]
    # How many scripts are behind a database at that revision.
    passed = {"base": 0, None: 0, "head": len(history)}
    passed |= {script.revision: number for number, script in enumerate(history, start=1)}
    for revision in (after, until):
        if revision not in passed:
            raise UnknownRevision(
                f"this version has no schema revision {revision!r}; "
                "if a newer version has migrated the database, run that version"
            )
    return history[passed[after] : passed[until]]


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


async def _read(
    database_url: str | URL, function: Callable[[Connection], str | None]
) -> str | None:
    database = Database(database_url, pool_size=1)
    try:
        async with database.read() as session:
            return await (await session.connection()).run_sync(function)
    finally:
        await database.close()


@contextlib.asynccontextmanager
async def _locked(database_url: str | URL) -> AsyncIterator[AsyncConnection]:
    """A transaction in which no other process migrates; commits at the end."""
    engine = create_migration_engine(database_url)
    try:
        async with contextlib.AsyncExitStack() as stack:
            try:
                connection = await stack.enter_async_context(engine.connect())
                await stack.enter_async_context(connection.begin())
            except (DBAPIError, OSError) as error:
                if _SQLITE_BUSY in str(error):
                    raise _in_progress() from error
                reason = error.orig if isinstance(error, DBAPIError) else error
                raise DatabaseUnavailable(f"no connection to the database: {reason}") from error
            await _lock(connection)
            yield connection
            await _check_foreign_keys(connection)
    finally:
        await engine.dispose()


async def _lock(connection: AsyncConnection) -> None:
    """Wait for the lock. It ends with the connection, on PostgreSQL with the transaction."""
    match connection.dialect.name:
        case "sqlite":
            return  # The transaction is an immediate one: it is the lock.
        case "postgresql":
            await connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'"))
            try:
                await connection.execute(
                    text("SELECT pg_advisory_xact_lock(:number)"), {"number": _POSTGRESQL_LOCK}
                )
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) != _POSTGRESQL_LOCK_NOT_AVAILABLE:
                    raise
                raise _in_progress() from error
        case _:
            # These locks belong to the whole server, and their names may have 64 characters.
            database = str(await connection.scalar(text("SELECT DATABASE()")))
            name = f"opencodehub-migrate-{hashlib.sha256(database.encode()).hexdigest()[:32]}"
            taken = await connection.scalar(
                text("SELECT GET_LOCK(:name, :seconds)"),
                {"name": name, "seconds": LOCK_TIMEOUT_SECONDS},
            )
            if taken != 1:
                raise _in_progress()


def _in_progress() -> MigrationInProgress:
    return MigrationInProgress(
        "another process is migrating this database; try again when it has finished"
    )


async def _check_foreign_keys(connection: AsyncConnection) -> None:
    """SQLite migrates with foreign keys off; nothing may be left pointing nowhere."""
    if connection.dialect.name == "sqlite":
        broken = (await connection.execute(text("PRAGMA foreign_key_check"))).first()
        if broken is not None:
            raise RuntimeError(f"the migration broke a foreign key of table {broken[0]!r}")
