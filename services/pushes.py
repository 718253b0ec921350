"""Pushes: which ref may move where, and the one path on which refs, packs and events change.

Transport-free: ``gitserve.receive`` brings the commands and the bytes and reports the outcome.
"""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Sequence

from gitstore.errors import (
    MissingObjects,
    PackRejected,
    PruneEpochChanged,
    RelyingOnGarbage,
    UploadIntentGone,
)
from gitstore.identifiers import new_ulid
from gitstore.quarantine import (
    NewCommits,
    ObjectDescription,
    PackSource,
    ReceivedPack,
    exclusions,
)
from gitstore.transactions import Applied, GitTransaction, RefUpdate, StoredPack
from models.database import CommitUnknown
from services.context import OpContext
from services.errors import Conflict, ForgeError, Unavailable
from services.git_access import GitRepository
from services.push_records import Door, PushStamp, look_after_lost_commit, record_push
from services.ref_names import BRANCHES, RESERVED, RESERVED_FAULT, ref_name_fault
from services.submodule_rules import gitmodules_of_push_fault

# Beyond this many tips a failed check is not repeated for each ref.
_TIPS_JUDGED_ALONE = 50
# How often a push checks its objects again because a prune went on meanwhile.
_LOOKS_IN_NEW_EPOCHS = 4
# A push of at most so many objects is judged by listing them.
_FEW_OBJECTS = 2000
_MISSING = "missing necessary objects"
_SHALLOW = "shallow update not allowed"
NOT_ALONE = "atomic push failed"
NOT_FORWARD = "Update is not a fast forward"
_BEING_PRUNED = "it needs objects that are being pruned; fetch, then push again"


@dataclasses.dataclass(frozen=True, slots=True)
class RefCommand:
    """Move ``name`` from ``old`` to ``new``; None is absence. ``only_forward``: lose no commit."""

    name: str
    old: str | None
    new: str | None
    only_forward: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class PushRequest:
    """``is_shallow``: the client said that its history is cut off."""

    commands: Sequence[RefCommand]
    atomic: bool = False
    is_shallow: bool = False
    options: Sequence[str] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class PushOutcome:
    """``verdicts``: for each ref the reason of its refusal, or None for success.

    ``pack_fault`` says why the pack as a whole was refused; then no ref has changed.
    """

    verdicts: dict[str, str | None]
    pack_fault: str | None = None


async def receive_push(
    op: OpContext,
    repository: GitRepository,
    request: PushRequest,
    source: PackSource,
    *,
    door: Door,
    progress: Callable[[bytes], Awaitable[None]] | None = None,
    input_ended: Callable[[], None] = lambda: None,
) -> PushOutcome:
    """Check a push and commit what may be committed. Emits PushReceived.

    What the user can mend is in the outcome. Raises NotFound, Forbidden, FailedPrecondition when
    the right to push ended meanwhile, Conflict, Unavailable, the errors of ``gitstore``, of the
    database and of the object store as they come, and whatever ``source`` raises.
    """
    push = _PushInProgress(op, repository, request, door)
    try:
        return await push.run(source, progress, input_ended)
    except PackRejected as fault:
        return push.outcome(pack_fault=str(fault))
    except UploadIntentGone as error:
        raise Conflict(str(error)) from error


class _NothingChanged(Exception):
    """Rolls the transaction back when no ref may change."""

    def __init__(self, applied: Applied) -> None:
        self.applied = applied


class _PushInProgress:
    def __init__(
        self, op: OpContext, repository: GitRepository, request: PushRequest, door: Door
    ) -> None:
        self.op = op
        self.repository = repository
        self.request = request
        self.door = door
        self.key = new_ulid()
        self.rejected: dict[str, str] = {}
        self._forced_names: set[str] = set()
        self._object_count = 0
        self._pruned_away = False

    @property
    def accepted(self) -> list[RefCommand]:
        if self.request.atomic and self.rejected:
            return []
        return [each for each in self.request.commands if each.name not in self.rejected]

    def outcome(self, *, pack_fault: str | None = None) -> PushOutcome:
        verdicts: dict[str, str | None] = {}
        for command in self.request.commands:
            reason = self.rejected.get(command.name)
            if reason is None and pack_fault is not None:
                reason = "unpacker error"
            if reason is None and self.request.atomic and self.rejected:
                reason = NOT_ALONE
            verdicts[command.name] = reason
        return PushOutcome(verdicts, pack_fault)

    async def run(
        self,
        source: PackSource,
        progress: Callable[[bytes], Awaitable[None]] | None,
        input_ended: Callable[[], None],
    ) -> PushOutcome:
        self._judge_names()
        if not self.accepted:
            return self.outcome()
        async with self.op.runtime.git.begin(self.repository.id, self.repository.state) as work:
            stored = None
            if any(command.new for command in self.request.commands):
                try:
                    pack = await work.quarantine.receive_pack(
                        source, progress=progress, input_ended=input_ended
                    )
                except PackRejected:
                    if not self.request.is_shallow:
                        raise
                    self._reject_all(_SHALLOW)
                    return self.outcome()
                self._object_count = pack.object_count if pack else 0
                updates, stored = await self._judge_and_upload(work, pack)
            else:
                input_ended()
                updates = await self._judge_objects(work, trusted=True)
            if updates:
                await self._commit_checked(work, updates, stored)
        return self.outcome()

    async def _judge_and_upload(
        self, work: GitTransaction, pack: ReceivedPack | None
    ) -> tuple[list[RefUpdate], StoredPack | None]:
        """Judge the refs and what the pack holds, and make it durable meanwhile.

        Both take time, and refusals are rare: then the upload is removed again.
        """
        if pack is None:
            return await self._judge_objects(work, trusted=False), None
        upload = asyncio.create_task(work.upload(pack))
        try:
            updates = await self._judge_objects(work, trusted=pack.self_contained)
            stored = await upload
        except asyncio.CancelledError:
            upload.cancel()  # what it leaves behind is for the sweep
            await asyncio.gather(upload, return_exceptions=True)
            raise
        except Exception:
            uploaded = (await asyncio.gather(upload, return_exceptions=True))[0]
            if isinstance(uploaded, StoredPack):
                await work.discard(uploaded)
            raise
        if updates:
            return updates, stored
        await work.discard(stored)
        return [], None

    def _reject_all(self, reason: str) -> None:
        for command in self.accepted:
            self.rejected[command.name] = reason

    def _judge_names(self) -> None:
        """Rules that need no objects. What the default branch is by then is looked at again."""
        head = self.repository.head
        deny_deletes = self.op.runtime.settings.deny_deletes
        for command in self.request.commands:
            fault = ref_name_fault(command.name) if command.new else None
            if command.name.startswith(RESERVED):
                fault = RESERVED_FAULT
            elif command.new is None and command.name == head:
                fault = "the default branch cannot be deleted; choose another one first"
            elif command.new is None and deny_deletes and command.name.startswith(BRANCHES):
                fault = "deletion is forbidden on this server"
            if fault:
                self.rejected[command.name] = fault

    async def _judge_objects(self, work: GitTransaction, *, trusted: bool) -> list[RefUpdate]:
        """Rules that need objects; ``trusted`` if the pack is known to be complete by itself."""
        updates, unsafe = await asyncio.gather(
            self._judge_connected(work, trusted=trusted), self._unsafe_tips(work)
        )
        return self._without(updates, unsafe)

    async def _judge_connected(self, work: GitTransaction, *, trusted: bool) -> list[RefUpdate]:
        """All of them but those about ``.gitmodules``."""
        commands = self.accepted
        tips = sorted({command.new for command in commands if command.new})
        if not tips:
            return [RefUpdate(each.name, each.old, None) for each in commands]
        known = self._known(work)
        new = None if trusted else await self._new_commits(work, tips, known)
        if new is not None:
            described = {tip: ObjectDescription("commit", None, "commit") for tip in tips}
            broken: set[str] = set()
            unclear = [
                each
                for each in commands
                if each.old and each.new and not new.leads_back(each.new, each.old)
            ]
            self._forced_names = await self._forced(work, unclear)
        else:
            described, broken, self._forced_names = await asyncio.gather(
                work.quarantine.describe(tips),
                self._unconnected(work, tips, [] if trusted else known, trusted=trusted),
                self._forced(work, commands),
            )
        for command in commands:
            if fault := self._fault(command, described, broken):
                self.rejected[command.name] = fault
        return [
            RefUpdate(
                command.name,
                command.old,
                command.new,
                described[command.new].peeled_oid if command.new else None,
            )
            for command in self.accepted
        ]

    def _fault(
        self, command: RefCommand, described: dict[str, ObjectDescription], broken: set[str]
    ) -> str | None:
        if command.new is None:
            return None
        if command.new not in described or command.new in broken:
            if self._pruned_away:
                return _BEING_PRUNED
            return _SHALLOW if self.request.is_shallow else _MISSING
        if command.name.startswith(BRANCHES) and described[command.new].type != "commit":
            return "a branch must point to a commit"
        if command.only_forward and command.name in self._forced_names:
            return NOT_FORWARD
        if (
            command.name in self._forced_names
            and command.name.startswith(BRANCHES)
            and self.op.runtime.settings.deny_non_fast_forwards
        ):
            return "the branch would lose commits, which this server forbids"
        return None

    async def _new_commits(
        self, work: GitTransaction, tips: Sequence[str], known: Sequence[str]
    ) -> NewCommits | None:
        """The usual small push, judged with one git child: all tips are new, complete commits.

        None for every other push, which has to be looked at in all respects.
        """
        if not 0 < self._object_count <= _FEW_OBJECTS or self._links_need_a_look(work):
            return None
        try:
            new = await work.quarantine.new_commits(tips, known)
        except MissingObjects:
            return None
        return new if all(tip in new.parents for tip in tips) else None

    def _links_need_a_look(self, work: GitTransaction) -> bool:
        """Whether trees and blobs have to be followed: see ``Quarantine.new_commits``."""
        local = work.quarantine.repository
        return local.is_being_pruned or local.prune_epoch != work.received_in_epoch

    async def _unconnected(
        self, work: GitTransaction, tips: Sequence[str], known: Sequence[str], *, trusted: bool
    ) -> set[str]:
        """The tips whose history is not complete."""
        if trusted:
            return set()
        check = work.quarantine.check_connected
        if work.quarantine.repository.is_being_pruned:
            check = work.quarantine.check_brought
        try:
            await check(tips, known)
        except (MissingObjects, RelyingOnGarbage) as error:
            self._pruned_away |= isinstance(error, RelyingOnGarbage)
            if len(tips) == 1 or len(tips) > _TIPS_JUDGED_ALONE:
                return set(tips)
            broken = set()
            for tip in tips:
                broken |= await self._unconnected(work, [tip], known, trusted=False)
            return broken
        return set()

    def _known(self, work: GitTransaction) -> list[str]:
        """Ids whose history was judged when it came."""
        return exclusions(work.repository, {each.name: each.old for each in self.accepted})

    async def _unsafe_tips(self, work: GitTransaction) -> dict[str, str]:
        known = self._known(work)
        # Whether or not they came with this push: an earlier one may have brought them unseen, with
        # no ref that led there.
        tips = {command.new for command in self.accepted if command.new} - set(known)
        return await self._unsafe(work, sorted(tips), known)

    def _without(self, updates: Sequence[RefUpdate], unsafe: dict[str, str]) -> list[RefUpdate]:
        """Refuse the refs that would move to unsafe tips; returns what is left."""
        for update in updates:
            if update.new in unsafe:
                self.rejected[update.name] = unsafe[update.new]
        accepted = {command.name for command in self.accepted}
        return [update for update in updates if update.name in accepted]

    async def _unsafe(
        self, work: GitTransaction, tips: Sequence[str], known: Sequence[str]
    ) -> dict[str, str]:
        """The tips that bring a ``.gitmodules`` which would harm who clones it, with the reason."""
        if not tips:
            return {}
        count = self._object_count
        try:
            fault = await gitmodules_of_push_fault(work.quarantine, tips, known, object_count=count)
        except MissingObjects:
            fault = _SHALLOW if self.request.is_shallow else _MISSING
        if fault is None:
            return {}
        if len(tips) == 1 or len(tips) > _TIPS_JUDGED_ALONE:
            return dict.fromkeys(tips, fault)
        unsafe: dict[str, str] = {}
        for tip in tips:
            unsafe |= await self._unsafe(work, [tip], known)
        return unsafe

    async def _forced(self, work: GitTransaction, commands: Sequence[RefCommand]) -> set[str]:
        """Names of refs that would drop commits."""
        moved = [each for each in commands if each.old and each.new and each.old != each.new]
        kept = await asyncio.gather(
            *(work.quarantine.is_ancestor(each.old or "", each.new or "") for each in moved)
        )
        return {each.name for each, is_kept in zip(moved, kept, strict=True) if not is_kept}

    async def _commit_checked(
        self, work: GitTransaction, updates: Sequence[RefUpdate], stored: StoredPack | None
    ) -> None:
        try:
            applied = await self._commit(work, updates, stored)
        except PruneEpochChanged:
            applied = await self._commit_in_new_epoch(work, stored)
        except ForgeError as error:
            # Surely rolled back, unless it is not known what became of the commit.
            if stored is not None and not isinstance(error, Unavailable):
                await work.discard(stored)
            raise
        self.rejected |= applied.rejected
        if stored is not None:
            if applied.changed:
                await work.adopt(stored)
            else:
                await work.discard(stored)

    async def _commit_in_new_epoch(
        self, work: GitTransaction, stored: StoredPack | None
    ) -> Applied:
        """Objects were or will be dropped after our check: look again at what is left.

        A prune begins an epoch twice, so two looks are normal.
        """
        for _ in range(_LOOKS_IN_NEW_EPOCHS):
            async with self.op.runtime.git.open(self.repository.id) as fresh:
                work.quarantine.repository = fresh
                updates = await self._judge_objects(work, trusted=False)
                try:
                    return await self._commit(work, updates, stored)
                except PruneEpochChanged:
                    continue
        raise Conflict("the repository is being pruned; push again")

    @property
    def _stamp(self) -> PushStamp:
        return PushStamp(self.key, self.door, frozenset(self._forced_names))

    async def _commit(
        self, work: GitTransaction, updates: Sequence[RefUpdate], stored: StoredPack | None
    ) -> Applied:
        try:
            async with self.op.transaction() as tx:
                applied = await work.apply(tx.session, updates, stored, atomic=self.request.atomic)
                if not applied.changed:
                    raise _NothingChanged(applied)
                await record_push(tx, self.repository.id, self._stamp, applied)
        except _NothingChanged as nothing:
            return nothing.applied
        except CommitUnknown:
            return await look_after_lost_commit(self.op, self.key, updates)
        return applied
