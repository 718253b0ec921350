"""Branches, tags and other refs changed through the API: judged and recorded like every push."""

import dataclasses
from collections.abc import Sequence

from sqlalchemy import select

from gitstore.committing import EmptyPack
from gitstore.transactions import CHANGED_MEANWHILE
from models import GitRef
from services import pushes
from services.context import OpContext
from services.errors import Conflict, Invalid, NotFound
from services.git_access import GitService, open_repository_by_id
from services.push_records import Door
from services.pushes import PushOutcome, PushRequest, RefCommand

MAX_UPDATES = 100
NOT_FORWARD = pushes.NOT_FORWARD


@dataclasses.dataclass(frozen=True, slots=True)
class RefChange:
    """Move ``name`` to ``new``; None deletes it. ``old`` is what it must be now: None for absent.

    Without ``force`` no commit may be lost.
    """

    name: str
    old: str | None
    new: str | None
    force: bool = False


async def change_refs(op: OpContext, repository_id: int, changes: Sequence[RefChange]) -> None:
    """All of them or none. Emits PushReceived.

    Raises Invalid with the reason, Conflict when a ref is not what it must be, Unavailable, and as
    ``open_repository``.
    """
    if len(changes) > MAX_UPDATES:
        raise Invalid(f"one request can change at most {MAX_UPDATES} refs", fields=("refUpdates",))
    if len({change.name for change in changes}) != len(changes):
        raise Invalid("a ref is named more than once", fields=("refUpdates",))
    repository = await open_repository_by_id(op, repository_id, GitService.PUSH)
    commands = [
        RefCommand(change.name, change.old, change.new, only_forward=not change.force)
        for change in changes
        if change.old != change.new
    ]
    if not commands:
        return
    outcome = await pushes.receive_push(
        op,
        repository,
        PushRequest(commands, atomic=True),
        EmptyPack(repository.object_format),
        door=Door.API,
    )
    outcome_of(outcome)


async def require_push(op: OpContext, repository_id: int) -> None:
    """Raises as ``open_repository`` unless the actor may push."""
    await open_repository_by_id(op, repository_id, GitService.PUSH)


async def current_values(op: OpContext, repository_id: int, names: Sequence[str]) -> dict[str, str]:
    """What those of the refs that exist point to now, as ``current_value``."""
    async with op.read() as tx:
        rows = await tx.session.execute(
            select(GitRef.name, GitRef.oid).where(
                GitRef.repository_id == repository_id,
                GitRef.name.in_(names[: MAX_UPDATES + 1]),
                GitRef.oid.is_not(None),
            )
        )
        return {row.name: row.oid or "" for row in rows}


async def current_value(op: OpContext, repository_id: int, name: str) -> str | None:
    """What a ref points to now. The right to read the repository is the caller's to have judged."""
    async with op.read() as tx:
        oid: str | None = await tx.session.scalar(
            select(GitRef.oid).where(GitRef.repository_id == repository_id, GitRef.name == name)
        )
        return oid


async def require_ref(op: OpContext, repository_id: int, name: str) -> str:
    """What an existing ref points to. Raises NotFound."""
    oid = await current_value(op, repository_id, name)
    if oid is None:
        raise NotFound(f"the ref '{name}' no longer exists")
    return oid


def outcome_of(outcome: PushOutcome) -> None:
    """Raises Conflict or Invalid for a push that was refused."""
    if outcome.pack_fault is not None:
        raise Invalid(outcome.pack_fault)
    faults = {name: reason for name, reason in outcome.verdicts.items() if reason}
    for name, reason in faults.items():
        if reason == CHANGED_MEANWHILE:
            raise Conflict(f"the ref '{name}' was changed meanwhile; look at it again")
        if reason != pushes.NOT_ALONE:
            raise Invalid(reason, fields=("name",), details={"name": name})
