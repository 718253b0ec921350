"""The database: one engine that reads snapshots, one that writes; sessions live one transaction."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from models.dialect import create_engines


class CommitUnknown(Exception):
    """The connection was lost during COMMIT: the transaction took place or did not.

    Only looking, on a new connection, for something the transaction would have written can tell.
    """


class Database:
    """Safe for concurrent use within one event loop. ``url`` is any address SQLAlchemy reads."""

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self.url = make_url(url)
        self.dialect_name = {"mariadb": "mysql"}.get(
            self.url.get_backend_name(), self.url.get_backend_name()
        )
        self.read_engine, self.write_engine = create_engines(self.url, pool_size=pool_size)
        # SQLite's own lock between connections is unfair (waits of seconds were measured), so
        # writers of one process queue here, in order.
        self._writer = asyncio.Lock() if self.dialect_name == "sqlite" else None

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A read-only transaction that sees one snapshot."""
        async with AsyncSession(self.read_engine, expire_on_commit=False) as session:
            async with _discarding_when_cancelled(session):
                yield session

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """A transaction that commits when the block ends and rolls back when it raises.

        On SQLite it holds the process's writer lock: await nothing but SQL inside. Raises
        CommitUnknown when the connection broke during COMMIT.
        """
        async with contextlib.AsyncExitStack() as stack:
            if self._writer is not None:
                await stack.enter_async_context(self._writer)
            session = await stack.enter_async_context(
                AsyncSession(self.write_engine, expire_on_commit=False)
            )
            async with _discarding_when_cancelled(session):
                await session.connection()  # begins: on SQLite takes the write lock now
                yield session
                await session.flush()
                try:
                    await session.commit()
                except DBAPIError as error:
                    if error.connection_invalidated:
                        raise CommitUnknown(str(error.orig)) from error
                    raise

    async def ping(self) -> None:
        """Raises when the database does not answer."""
        async with self.read() as session:
            await session.execute(text("SELECT 1"))

    async def close(self) -> None:
        await self.read_engine.dispose()
        await self.write_engine.dispose()


@contextlib.asynccontextmanager
async def _discarding_when_cancelled(session: AsyncSession) -> AsyncIterator[None]:
    """A connection whose task was cancelled may have an answer in flight: it is never used again."""
    try:
        yield
    except asyncio.CancelledError:
        await asyncio.shield(session.invalidate())
        raise
