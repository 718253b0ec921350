"""Turning a database's refusal of a second row into a Conflict in words."""

import contextlib
from collections.abc import AsyncIterator

from sqlalchemy.exc import IntegrityError

from models.dialect import violates_unique
from services.context import Transaction
from services.errors import Conflict


@contextlib.asynccontextmanager
async def conflict_if_taken(
    tx: Transaction, message: str, *, fields: tuple[str, ...] = ()
) -> AsyncIterator[None]:
    """Flush what the block changed; raise Conflict if a unique constraint refuses it.

    The database decides a race, so a look beforehand is only for a friendlier order of errors.
    The transaction is over when this raises.
    """
    try:
        yield
        await tx.session.flush()
    except IntegrityError as error:
        if not violates_unique(error):
            raise
        raise Conflict(message, fields=fields) from error
