"""The database: one engine that reads snapshots, one that writes; sessions live one transaction."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from sqlalchemy import URL, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncSession

from models.dialect import async_url, create_engines


class DatabaseUnavailable(Exception):
    """No connection could be had, or it was lost before COMMIT. Nothing was changed; try again."""


class CommitUnknown(Exception):
    """The connection was lost during COMMIT: the transaction took place or did not.

    Only looking, on a new connection, for something the transaction would have written can tell.
    """


class Database:
    """Safe for concurrent use within one event loop. ``url`` is any address SQLAlchemy reads.

    Raises ``models.dialect.UnsupportedDatabase`` when made for an address of another system.
    """

    def __init__(self, url: str | URL, *, pool_size: int = 10) -> None:
        self.url = async_url(url)
        self.dialect_name = self.url.get_backend_name()
        """``sqlite``, ``postgresql`` or ``mysql`` (MariaDB too)."""
        self.read_engine, self.write_engine = create_engines(self.url, pool_size=pool_size)
        # SQLite's own lock between connections is unfair (waits of seconds were measured), so
        # writers of one process queue here, in order.
        self._writer = asyncio.Lock() if self.dialect_name == "sqlite" else None

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A transaction that sees one snapshot, taken no later than its first query.

        Statements that write fail. Raises DatabaseUnavailable.
        """
        async with (
            AsyncSession(self.read_engine, expire_on_commit=False) as session,
            _safeguarded(session),
        ):
            await _begin(session)
            yield session

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """A transaction that commits when the block ends and rolls back when it raises.

        On SQLite it holds the process's writer lock: await nothing but SQL inside. Raises
        DatabaseUnavailable when nothing was committed, and CommitUnknown when only looking can
        tell.
        """
        async with contextlib.AsyncExitStack() as stack:
            if self._writer is not None:
                await stack.enter_async_context(self._writer)
            session = await stack.enter_async_context(
                AsyncSession(self.write_engine, expire_on_commit=False)
            )
            await stack.enter_async_context(_safeguarded(session))
            await _begin(session)
            yield session
            await session.flush()
            await _commit(session)

    async def ping(self) -> None:
        """Raises DatabaseUnavailable when the database does not answer."""
        async with self.read() as session:
            await session.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close all connections. Transactions still running are the caller's fault."""
        await self.read_engine.dispose()
        await self.write_engine.dispose()


async def _begin(session: AsyncSession) -> None:
    """Connect and begin: on SQLite a writer takes the lock now, not at its first statement."""
    try:
        await session.connection()
    except PoolTimeout as error:
        raise DatabaseUnavailable("all connections to the database stayed in use") from error
    except (DBAPIError, OSError) as error:
        reason = error.orig if isinstance(error, DBAPIError) else error
        raise DatabaseUnavailable(f"no connection to the database: {reason}") from error


async def _commit(session: AsyncSession) -> None:
    try:
        await session.commit()
    except IntegrityError:
        raise  # a constraint checked at the end; the database has said no
    except (DBAPIError, OSError) as error:
        # A lost connection is the usual case, but a server that is being shut down or a disk that
        # fails to sync may also report an error for what a restart then shows to be committed.
        reason = error.orig if isinstance(error, DBAPIError) else error
        raise CommitUnknown(f"the outcome of a COMMIT is unknown: {reason}") from error


@contextlib.asynccontextmanager
async def _safeguarded(session: AsyncSession) -> AsyncIterator[None]:
    """Never reuse the connection of a cancelled task; name the loss of a connection."""
    try:
        yield
    except asyncio.CancelledError:
        # An answer may be in flight; the next user of the connection would read it as its own.
        await _finish(asyncio.ensure_future(session.invalidate()))
        raise
    except DBAPIError as error:
        if error.connection_invalidated:
            raise DatabaseUnavailable(
                f"the connection to the database was lost: {error.orig}"
            ) from error
        raise


async def _finish(task: asyncio.Future[None]) -> None:
    """Wait for the task to its end, even when cancelled again: the session has no second user."""
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(task)
    task.result()
