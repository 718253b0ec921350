"""What is written down of a push, in the transaction that moves its refs, and finding it again."""

import asyncio
import dataclasses
import enum
from collections.abc import Sequence

from sqlalchemy import select

from gitstore.transactions import Applied, RefUpdate
from models import GitRef, Push, RefChange, Repository
from models.base import utc_now
from models.database import DatabaseUnavailable
from services import access
from services.access import Action
from services.actor import ActorKind
from services.context import OpContext, Transaction
from services.errors import Conflict, Unavailable
from services.events import PushReceived
from services.ref_names import BRANCHES

# After a connection lost in COMMIT: how long to look for the push, in seconds between looks.
_LOOKS_AFTER_LOST_COMMIT = (0.1, 0.2, 0.5, 1, 2, 5, 5, 5, 5)
_LOST = "the database went away; push again"


class Door(enum.Enum):
    """Through which a push came; recorded with it."""

    HTTP = "http"
    SSH = "ssh"
    API = "api"


@dataclasses.dataclass(frozen=True, slots=True)
class PushStamp:
    """What a push is recorded with. ``key`` is chosen before the transaction (see ``Push``);
    ``forced`` names the refs that lost commits."""

    key: str
    door: Door
    forced: frozenset[str]


async def record_push(
    tx: Transaction, repository_id: int, stamp: PushStamp, applied: Applied
) -> None:
    """Judge the right to push again, at the time of use, and write down what happened.

    Emits PushReceived. Raises Conflict and as ``access.get_repository``.
    """
    actor = tx.actor
    row = await access.get_repository(tx, repository_id, Action.REPOSITORY_PUSH)
    head = BRANCHES + row.default_branch
    if any(change.name == head and change.new is None for change in applied.changed):
        # It became the default only after the names were judged.
        raise Conflict("the default branch changed meanwhile; push again")
    row.pushed_at = utc_now()
    await _choose_default_branch(tx, row, applied)
    by_key = actor.kind in (ActorKind.SSH_KEY, ActorKind.DEPLOY_KEY)
    push = Push(
        key=stamp.key,
        repository_id=row.id,
        pusher_id=actor.user_id,
        ssh_key_id=actor.credential_id if by_key else None,
        access_token_id=(actor.credential_id if actor.kind is ActorKind.ACCESS_TOKEN else None),
        door=stamp.door.value,
        generation=applied.generation,
    )
    tx.session.add(push)
    await tx.session.flush()
    tx.session.add_all(
        RefChange(
            push_id=push.id,
            ref_name=change.name,
            old_oid=change.old,
            new_oid=change.new,
            forced=change.name in stamp.forced,
        )
        for change in applied.changed
    )
    tx.emit(PushReceived(row.id, push.id, applied.generation))


async def look_after_lost_commit(op: OpContext, key: str, updates: Sequence[RefUpdate]) -> Applied:
    """The connection broke during COMMIT: the push's own row tells what became of it.

    Raises Unavailable when the database stays away.
    """
    for pause in _LOOKS_AFTER_LOST_COMMIT:
        await asyncio.sleep(pause)
        try:
            async with op.runtime.database.read() as session:
                push = await session.scalar(select(Push).where(Push.key == key))
                if push is None:
                    break
                changes = await session.scalars(
                    select(RefChange).where(RefChange.push_id == push.id)
                )
                names = {change.ref_name for change in changes}
        except DatabaseUnavailable:
            continue
        return Applied(
            push.generation,
            [each for each in updates if each.name in names],
            {each.name: _LOST for each in updates if each.name not in names},
        )
    else:
        raise Unavailable(
            "the database went away during the commit; fetch to see whether the push took place"
        )
    return Applied(0, [], {each.name: _LOST for each in updates})


async def _choose_default_branch(tx: Transaction, row: Repository, applied: Applied) -> None:
    """An empty repository's first branch becomes its default, unless the default came with it."""
    created = [
        change.name.removeprefix(BRANCHES)
        for change in applied.changed
        if change.old is None and change.new and change.name.startswith(BRANCHES)
    ]
    if not created or row.default_branch in created:
        return
    live = await tx.session.scalar(
        select(GitRef.name).where(
            GitRef.repository_id == row.id,
            GitRef.oid.is_not(None),
            GitRef.name.startswith(BRANCHES),
            GitRef.name.not_in([BRANCHES + name for name in created]),
        )
    )
    if live is None:
        usual = [name for name in ("main", "master", "trunk") if name in created]
        row.default_branch = (usual or created)[0]
