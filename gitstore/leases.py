"""A lease on the upkeep of one repository, by the database's clock, so that work is done once.

Losing it breaks nothing: what a compaction may replace is decided by the rows it still finds.
"""

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator

from sqlalchemy import insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from gitstore.identifiers import new_ulid
from models import RepositoryMaintenance
from models.database import CommitUnknown, Database, DatabaseUnavailable
from models.dialect import database_now

LEASE_SECONDS = 120.0


@contextlib.asynccontextmanager
async def leased(database: Database, repository_id: int) -> AsyncIterator[bool]:
    """Hold the lease for the length of the block; yields False when another worker has it.

    Raises DatabaseUnavailable before the block. A holder that dies keeps it for LEASE_SECONDS.
    """
    token = new_ulid()
    if not await _take(database, repository_id, token):
        yield False
        return
    renewing = asyncio.create_task(_renew(database, repository_id, token))
    try:
        yield True
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)
        with contextlib.suppress(DatabaseUnavailable, CommitUnknown):
            await _set_end(database, repository_id, token, None)


async def _take(database: Database, repository_id: int, token: str) -> bool:
    try:
        async with database.write() as session:
            now = await database_now(session)
            taken = await session.execute(
                update(RepositoryMaintenance)
                .where(
                    RepositoryMaintenance.repository_id == repository_id,
                    or_(
                        RepositoryMaintenance.leased_until.is_(None),
                        RepositoryMaintenance.leased_until < now,
                    ),
                )
                .values(lease_token=token, leased_until=_end(now))
            )
            if taken.rowcount == 1:  # type: ignore[attr-defined]
                return True
            row = await session.scalar(
                select(RepositoryMaintenance.repository_id).where(
                    RepositoryMaintenance.repository_id == repository_id
                )
            )
            if row is not None:
                return False
            await session.execute(
                insert(RepositoryMaintenance).values(
                    repository_id=repository_id, lease_token=token, leased_until=_end(now)
                )
            )
            return True
    except IntegrityError:
        # Another worker inserted the first row of this repository, or the repository is gone.
        return False


async def _renew(database: Database, repository_id: int, token: str) -> None:
    while True:
        await asyncio.sleep(LEASE_SECONDS / 3)
        with contextlib.suppress(DatabaseUnavailable, CommitUnknown):
            async with database.read() as session:
                now = await database_now(session)
            await _set_end(database, repository_id, token, _end(now))


async def _set_end(
    database: Database, repository_id: int, token: str, end: dt.datetime | None
) -> None:
    async with database.write() as session:
        await session.execute(
            update(RepositoryMaintenance)
            .where(
                RepositoryMaintenance.repository_id == repository_id,
                RepositoryMaintenance.lease_token == token,
            )
            .values(leased_until=end)
        )


def _end(now: dt.datetime) -> dt.datetime:
    return now + dt.timedelta(seconds=LEASE_SECONDS)
