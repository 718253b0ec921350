"""For Alembic's command line, with which developers draft a migration; servers use ``runner``.

``alembic -x url=<a database at head> revision --autogenerate --rev-id 0002 -m "Add teams"``
"""

import asyncio

from alembic import context
from alembic.operations import Operations
from alembic.util import CommandError
from sqlalchemy import Connection

import models
from models.dialect import create_migration_engine


def _run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=models.Base.metadata)
    with context.begin_transaction():
        context.run_migrations(op=Operations(context.get_context()))


async def _connect_and_run(url: str) -> None:
    engine = create_migration_engine(url)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_run)
    finally:
        await engine.dispose()


arguments = context.get_x_argument(as_dictionary=True)
if "url" not in arguments:
    raise CommandError("say which database: alembic -x url=sqlite:///draft.sqlite3 ...")
asyncio.run(_connect_and_run(arguments["url"]))
