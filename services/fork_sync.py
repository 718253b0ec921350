"""Bringing a branch of a fork up to date with its source."""

import contextlib
import dataclasses
import enum
from collections.abc import AsyncIterator

from sqlalchemy import select

from gitstore.history import merge_base
from gitstore.process import PIPE_READ_BYTES, GitChild
from gitstore.queues import Size
from models import Repository, RepositoryFork
from services import access, pushes
from services.access import Action
from services.context import OpContext
from services.errors import Conflict, FailedPrecondition, NotFound
from services.git_access import GitService, open_repository_by_id
from services.git_reading import GitReading, open_for_reading, state_of
from services.push_records import Door
from services.pushes import PushRequest, RefCommand
from services.ref_changes import current_value, outcome_of
from services.ref_names import BRANCHES

CONFLICT = "the branch has commits that the source lacks, so it cannot be moved forward"


class MergeType(enum.Enum):
    """What it took."""

    FAST_FORWARD = "fast-forward"
    NONE = "none"


@dataclasses.dataclass(frozen=True, slots=True)
class MergedUpstream:
    """``source`` is ``OWNER:BRANCH``."""

    merge_type: MergeType
    source: str


async def merge_upstream(op: OpContext, repository_id: int, branch: str) -> MergedUpstream:
    """Move a fork's branch (a short name) forward to where its source's is; a new one is created.

    Objects are copied, never shared. Emits PushReceived. Raises FailedPrecondition for what is no
    fork, NotFound (also when the source is hidden by now), Conflict when commits would be lost, and
    as ``open_repository``.
    """
    fork = await open_repository_by_id(op, repository_id, GitService.PUSH)
    source, owner_login = await _source(op, repository_id)
    name = BRANCHES + branch
    old = await current_value(op, repository_id, name)
    new = await current_value(op, source.id, name)
    if new is None:
        raise NotFound(f"the source has no branch '{branch}'")
    told = f"{owner_login}:{branch}"
    if old == new:
        return MergedUpstream(MergeType.NONE, told)
    async with open_for_reading(op, state_of(source)) as reading:
        if old is not None and not await _leads_back(reading, new, old):
            raise Conflict(CONFLICT)
        async with _pack(reading, new, old) as pack:
            outcome = await pushes.receive_push(
                op,
                fork,
                PushRequest([RefCommand(name, old, new, only_forward=True)]),
                pack,
                door=Door.API,
            )
    outcome_of(outcome)
    return MergedUpstream(MergeType.FAST_FORWARD, told)


class _ChildPack:
    """What git packs, as a source of a push."""

    def __init__(self, child: GitChild) -> None:
        self._child = child

    async def read(self, limit: int) -> bytes:
        data = await self._child.stdout.read(min(limit, PIPE_READ_BYTES))
        # A pack that ends early must fail here; index-pack would find it, but could not say why.
        if not data and await self._child.wait():
            raise self._child.failure()
        return data


@contextlib.asynccontextmanager
async def _pack(reading: GitReading, new: str, old: str | None) -> AsyncIterator[_ChildPack]:
    """The objects that ``new`` reaches and ``old`` does not."""
    revisions = f"{new}\n" + (f"^{old}\n" if old else "")
    async with reading.processes.start(
        ["pack-objects", "--revs", "--stdout", "--thin", "--delta-base-offset", "--quiet"],
        git_dir=reading.copy.path,
        size=Size.LARGE,
    ) as child:
        feeder = child.feed(revisions.encode())
        try:
            yield _ChildPack(child)
        finally:
            feeder.cancel()


async def _leads_back(reading: GitReading, new: str, old: str) -> bool:
    if not await reading.sizes([old]):
        return False  # the source has never had that commit
    return await merge_base(reading.processes, reading.copy, new, old) == old


async def _source(op: OpContext, repository_id: int) -> tuple[Repository, str]:
    async with op.read() as tx:
        parent_id = await tx.session.scalar(
            select(RepositoryFork.parent_id).where(RepositoryFork.repository_id == repository_id)
        )
        if parent_id is None:
            raise FailedPrecondition("the repository is no fork, so there is nothing to merge")
        source, path = await access.get_named_repository(tx, parent_id, Action.REPOSITORY_READ)
    return source, path.partition("/")[0]
