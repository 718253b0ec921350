"""Jobs that keep the object store clean."""

import datetime as dt

from gitstore.maintenance import sweep_uploads
from services.context import OpContext
from services.jobs import job


@job("git.sweep_uploads", queue="git", every=dt.timedelta(minutes=15))
async def sweep_abandoned_uploads(op: OpContext) -> None:
    """Delete packs of cut pushes and of deleted repositories once their intent is old enough."""
    runtime = op.runtime
    swept = await sweep_uploads(
        runtime.database,
        runtime.object_store,
        older_than=dt.timedelta(seconds=runtime.git.settings.upload_intent_seconds),
    )
    if swept:
        op.log.info("swept abandoned uploads", count=swept)
