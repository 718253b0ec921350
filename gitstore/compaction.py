"""Keeping a repository fast: fewer packs (roll-up), no garbage (prune), derived files beside them.

A roll-up drops no object, so it is safe against every push: it replaces rows that it still finds.
A prune drops what no ref reaches. It works beside pushes in two steps, each of which begins a new
prune epoch, since every push compares the epoch in its commit and checks its objects again if it
has changed:

1. Begin an epoch with an odd number and read refs and packs under the repository's lock. A push
   that commits later has looked at these refs or newer ones. In such an epoch it may rely only on
   what they reach, which step 2 keeps, and on what it brings itself, which step 2 leaves alone.
2. Put everything the refs of step 1 reach into a new pack, and let it replace the packs of step 1.
   The new epoch has an even number: all that is left is whole, whether or not a ref reaches it.

A prune that dies leaves the odd epoch, in which pushes are only looked at harder.

Uploads come before the transaction, under an intent row, as in a push (see ``transactions``).
"""

import dataclasses
import datetime as dt
from collections.abc import Sequence

from sqlalchemy import or_, select, update

from gitstore.cache import RepositoryCache
from gitstore.derivation import make_derived
from gitstore.errors import RepositoryGone
from gitstore.leases import leased
from gitstore.manifest import (
    Manifest,
    PackRow,
    list_derived,
    list_packs,
    read_manifest,
    read_state,
)
from gitstore.process import GitProcesses
from gitstore.replacement import Replacement, Superseded, discard_replacement, replace_packs
from gitstore.settings import GitStoreSettings
from gitstore.transactions import upload_pack
from gitstore.workspace import Workspace, open_workspace
from models import DerivedKind, Push, RefChange, Repository
from models.database import Database
from models.dialect import database_now
from storage_adapters.base import ObjectStore

# A pack stays out of a roll-up if it is this many times as large as all smaller ones together.
GROWTH_FACTOR = 2
# More rounds than a busy repository needs; what is left then is done by the next job.
_MAX_ROUNDS = 5
# A multi-pack-index is made anew once it misses this share of what it covers.
_UNCOVERED_SHARE = 0.2


@dataclasses.dataclass(frozen=True, slots=True)
class CompactionReport:
    """``objects_dropped`` is always 0 unless it was a prune. Sizes in bytes, of packs alone."""

    packs_before: int
    packs_after: int
    bytes_before: int
    bytes_after: int
    objects_dropped: int = 0
    derived: tuple[str, ...] = ()


class Compactor:
    """Safe for concurrent use, by any number of processes."""

    def __init__(
        self,
        cache: RepositoryCache,
        database: Database,
        store: ObjectStore,
        processes: GitProcesses,
        settings: GitStoreSettings,
    ) -> None:
        self._cache = cache
        self._database = database
        self._store = store
        self._processes = processes
        self._settings = settings

    async def is_due(self, repository_id: int) -> bool:
        """Whether ``compact`` would find something to do. Raises RepositoryGone."""
        async with self._database.read() as session:
            state = await read_state(session, repository_id)
            packs = await list_packs(session, repository_id)
            derived = await list_derived(session, state, packs)
        manifest = Manifest(state, [], packs, derived)
        inputs = self._choose(packs, everything=False)
        return bool(inputs) or self._wants_derived(manifest, inputs)

    async def compact(
        self, repository_id: int, *, everything: bool = False
    ) -> CompactionReport | None:
        """Roll up small packs and make derived files where they pay; ``everything``: all packs
        into one, and derived files anew.

        Returns None when another worker has the repository's lease. Raises RepositoryGone,
        RepositoryUnreadable, GitFailed, QueueFull, StorageUnavailable, DatabaseUnavailable.
        """
        async with leased(self._database, repository_id) as mine:
            if not mine:
                return None
            total: CompactionReport | None = None
            for _ in range(_MAX_ROUNDS):
                report, changed = await self._compact_once(repository_id, everything=everything)
                total = report if total is None else _joined(total, report)
                if not changed:
                    break
                everything = False
            return total

    async def prune(
        self, repository_id: int, *, unreachable_for: dt.timedelta | None = None
    ) -> CompactionReport | None:
        """Drop every object that no ref reaches, nor did for ``unreachable_for`` if that is given.

        Returns and raises as ``compact``.
        """
        async with leased(self._database, repository_id) as mine:
            if not mine:
                return None
            manifest = await self._begin_epoch(repository_id)
            async with (
                self._cache.open(repository_id) as local,
                open_workspace(
                    self._cache.root, local, manifest.state, manifest.refs, self._processes
                ) as workspace,
            ):
                workspace.link(manifest.packs)
                tips = {ref.oid for ref in manifest.refs}
                if unreachable_for is not None:
                    young = await self._lost_tips(repository_id, unreachable_for)
                    tips |= await workspace.existing(young - tips)
                pack = await workspace.pack_objects(
                    ["--revs"], "".join(f"{oid}\n" for oid in sorted(tips))
                )
                workspace.unlink(manifest.packs, but=pack)
                replacement = Replacement(
                    inputs=manifest.packs, pack=pack, is_prune=True, state=manifest.state
                )
                if pack is not None and pack.object_count >= self._settings.derived_min_objects:
                    replacement.derived = await make_derived(workspace, pack.object_count)
                await self._publish(replacement)
                if pack is not None:
                    await self._cache.adopt(local, pack.stem, pack.folder)
            before = sum(each.object_count for each in manifest.packs)
            after = 0 if pack is None else pack.object_count
            return dataclasses.replace(
                _report(manifest, replacement), objects_dropped=max(0, before - after)
            )

    async def _lost_tips(self, repository_id: int, age: dt.timedelta) -> set[str]:
        """What refs pointed to that were deleted or forced elsewhere less than ``age`` ago."""
        async with self._database.read() as session:
            limit = await database_now(session) - age
            oids = await session.scalars(
                select(RefChange.old_oid)
                .join(Push, Push.id == RefChange.push_id)
                .where(
                    Push.repository_id == repository_id,
                    Push.created_at >= limit,
                    or_(RefChange.forced, RefChange.new_oid.is_(None)),
                )
            )
            return {oid for oid in oids if oid is not None}

    async def _begin_epoch(self, repository_id: int) -> Manifest:
        async with self._database.write() as session:
            locked = await session.execute(
                update(Repository)
                .where(Repository.id == repository_id)
                .values(
                    # The next odd number.
                    prune_epoch=Repository.prune_epoch + 1 + Repository.prune_epoch % 2,
                    # Local copies learn of the epoch with the next generation.
                    generation=Repository.generation + 1,
                )
                .execution_options(synchronize_session=False)
            )
            if locked.rowcount != 1:  # type: ignore[attr-defined]
                raise RepositoryGone("the repository no longer exists")
            return await read_manifest(session, repository_id)

    async def _compact_once(
        self, repository_id: int, *, everything: bool
    ) -> tuple[CompactionReport, bool]:
        """One round; the second value says whether anything changed or should be tried again."""
        # The manifest first: the copy opened next has all its packs.
        async with self._database.read() as session:
            manifest = await read_manifest(session, repository_id)
        inputs = self._choose(manifest.packs, everything=everything)
        with_derived = self._wants_derived(manifest, inputs, anew=everything)
        replacement = Replacement(inputs=inputs, state=manifest.state)
        if not inputs and not with_derived:
            return _report(manifest, replacement), False
        async with (
            self._cache.open(repository_id) as local,
            open_workspace(
                self._cache.root, local, manifest.state, manifest.refs, self._processes
            ) as workspace,
        ):
            if inputs:
                await self._roll_up(workspace, replacement)
            if with_derived:
                kept = [pack for pack in manifest.packs if pack not in inputs]
                workspace.link(kept)
                workspace.link_commit_graph()
                objects = sum(pack.object_count for pack in manifest.packs)
                replacement.derived = await make_derived(workspace, objects)
            try:
                await self._publish(replacement)
            except Superseded:
                return _report(manifest, Replacement(state=manifest.state)), True
            if replacement.pack is not None:
                await self._cache.adopt(local, replacement.pack.stem, replacement.pack.folder)
        return _report(manifest, replacement), bool(inputs)

    async def _roll_up(self, workspace: Workspace, replacement: Replacement) -> None:
        workspace.link(replacement.inputs)
        names = sorted({pack.stem for pack in replacement.inputs})
        replacement.pack = await workspace.pack_objects(
            ["--stdin-packs"], "".join(f"{name}.pack\n" for name in names)
        )
        workspace.unlink(replacement.inputs, but=replacement.pack)

    async def _publish(self, replacement: Replacement) -> None:
        try:
            if replacement.pack is not None:
                replacement.stored = await upload_pack(
                    self._database,
                    self._store,
                    replacement.state.repository_id,
                    replacement.pack,
                )
            for files in replacement.derived:
                await files.upload(self._database, self._store, replacement.state.repository_id)
            async with self._database.write() as session:
                await replace_packs(session, replacement)
        except Superseded:
            await discard_replacement(self._database, self._store, replacement)
            raise

    def _choose(self, packs: Sequence[PackRow], *, everything: bool) -> list[PackRow]:
        if everything:
            return list(packs) if len(packs) > 1 else []
        if len(packs) <= self._settings.max_packs:
            return []
        return choose_packs(packs, most=self._settings.max_packs // 2)

    def _wants_derived(
        self, manifest: Manifest, inputs: Sequence[PackRow], *, anew: bool = False
    ) -> bool:
        """``anew``: also where the rows say that all is well, since the files may be lost."""
        total = sum(pack.object_count for pack in manifest.packs)
        if total < self._settings.derived_min_objects:
            return False
        index = manifest.derived.get(DerivedKind.MULTI_PACK_INDEX)
        if anew or index is None or DerivedKind.COMMIT_GRAPH not in manifest.derived:
            return True
        if index.packs & {pack.stem for pack in inputs}:
            return True
        uncovered = total - index.object_count
        allowed = max(self._settings.derived_min_objects, index.object_count * _UNCOVERED_SHARE)
        return uncovered > allowed


def choose_packs(packs: Sequence[PackRow], *, most: int) -> list[PackRow]:
    """The packs to roll up so that those left form a geometric progression, largest kept.

    As ``git repack --geometric``, by size in bytes, which is what a roll-up costs. An object is
    thus rewritten a number of times that grows with the logarithm of the repository's size. At most
    ``most`` packs stay as they are, so that their number has a bound whatever their sizes.
    """
    by_size = sorted(packs, key=lambda pack: (sum(pack.sizes.values()), pack.id))
    sizes = [sum(pack.sizes.values()) for pack in by_size]
    split = len(sizes) - 1
    while split > 0 and sizes[split] >= GROWTH_FACTOR * sizes[split - 1]:
        split -= 1
    if split == 0:
        split = -1  # a progression already
    rolled = sum(sizes[: split + 1])
    while split + 1 < len(sizes) and sizes[split + 1] < GROWTH_FACTOR * rolled:
        split += 1
        rolled += sizes[split]
    chosen = by_size[: max(split + 1, len(sizes) - most)]
    return chosen if len(chosen) > 1 else []


def _report(manifest: Manifest, done: Replacement) -> CompactionReport:
    def size(packs: Sequence[PackRow]) -> int:
        return sum(sum(pack.sizes.values()) for pack in packs)

    before = size(manifest.packs)
    added = 0 if done.stored is None else sum(done.stored.sizes.values())
    return CompactionReport(
        packs_before=len(manifest.packs),
        packs_after=len(manifest.packs) - len(done.inputs) + (done.stored is not None),
        bytes_before=before,
        bytes_after=before - size(done.inputs) + added,
        derived=tuple(sorted(files.kind.value for files in done.derived)),
    )


def _joined(first: CompactionReport, second: CompactionReport) -> CompactionReport:
    return CompactionReport(
        packs_before=first.packs_before,
        packs_after=second.packs_after,
        bytes_before=first.bytes_before,
        bytes_after=second.bytes_after,
        derived=tuple(sorted({*first.derived, *second.derived})),
    )
