"""Jobs that keep repositories fast and the object store clean."""

import datetime as dt

from gitstore.errors import GitStoreError, RepositoryGone
from gitstore.maintenance import (
    select_due_repositories,
    select_repositories_to_prune,
    sweep_retired,
    sweep_uploads,
)
from models import Event
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


@job("git.sweep_retired", queue="git", every=dt.timedelta(minutes=15))
async def sweep_replaced_objects(op: OpContext) -> None:
    """Delete packs that a compaction replaced once nobody can be reading them any more."""
    runtime = op.runtime
    swept = await sweep_retired(
        runtime.database,
        runtime.object_store,
        older_than=dt.timedelta(seconds=runtime.git.settings.retired_seconds),
    )
    if swept:
        op.log.info("swept replaced packs", count=swept)


@job("git.compact_after_event", queue="git", retries=1)
async def compact_after_event(op: OpContext, event_id: int) -> None:
    """After a push or a fork: compact the repository if that is due."""
    async with op.read() as tx:
        event = await tx.session.get(Event, event_id)
    if event is not None and event.repository_id is not None:
        await _compact_if_due(op, event.repository_id)


@job("git.compact_due", queue="git", every=dt.timedelta(minutes=10))
async def compact_due_repositories(op: OpContext) -> None:
    """Find repositories whose compaction was lost, by a crash or a Redis that was away."""
    settings = op.runtime.git.settings
    async with op.read() as tx:
        due = await select_due_repositories(
            tx.session, max_packs=settings.max_packs, objects=settings.derived_min_objects
        )
    for repository_id in due:
        await _compact_if_due(op, repository_id)


@job("git.prune_due", queue="git", every=dt.timedelta(hours=24))
async def prune_due_repositories(op: OpContext) -> None:
    """Drop what force pushes and deletions left unreachable ``prune_days`` ago."""
    days = op.runtime.git.settings.prune_days
    if days == 0:
        return
    async with op.read() as tx:
        due = await select_repositories_to_prune(
            tx.session, unreachable_for=dt.timedelta(days=days)
        )
    for repository_id in due:
        try:
            report = await op.runtime.git.compactor.prune(
                repository_id, unreachable_for=dt.timedelta(days=days)
            )
        except GitStoreError as error:
            op.log.warning("a prune failed", repository_id=repository_id, error=str(error))
            continue
        if report is not None:
            op.log.info(
                "pruned", repository_id=repository_id, objects_dropped=report.objects_dropped
            )


async def _compact_if_due(op: OpContext, repository_id: int) -> None:
    compactor = op.runtime.git.compactor
    try:
        if not await compactor.is_due(repository_id):
            return
        report = await compactor.compact(repository_id)
    except RepositoryGone:
        return
    if report is not None:
        op.log.info(
            "compacted",
            repository_id=repository_id,
            packs_before=report.packs_before,
            packs_after=report.packs_after,
            derived=report.derived,
        )
