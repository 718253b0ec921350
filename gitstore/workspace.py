"""A private repository for making packs and derived files, out of hard links to a local copy.

Fills and evictions of the copy do not touch it. It lies among the quarantines, locked while in use,
so that what a crash leaves of it is swept with them.
"""

import contextlib
import os
from collections.abc import AsyncIterator, Collection, Sequence
from pathlib import Path

from gitstore.cache import CachedRepository
from gitstore.derived import bitmap_name, installed_key
from gitstore.errors import RepositoryUnreadable
from gitstore.layout import COMMIT_GRAPH, MULTI_PACK_INDEX, PACKS, make_bare_repository
from gitstore.manifest import (
    INDEX_SUFFIX,
    SUFFIXES_IN_ORDER,
    Manifest,
    PackRow,
    RefRow,
    RepositoryState,
)
from gitstore.process import GitProcesses
from gitstore.quarantine import ReceivedPack, object_count, open_private_folder
from gitstore.queues import Size
from models import DerivedKind


class Workspace:
    """Made by ``open_workspace``; used by one task."""

    def __init__(
        self, path: Path, state: RepositoryState, source: CachedRepository, processes: GitProcesses
    ) -> None:
        self.path = path
        self.state = state
        self._source = source
        self._processes = processes

    @property
    def packs(self) -> Path:
        return self.path / PACKS

    def link(self, packs: Sequence[PackRow]) -> None:
        """Have these packs here too. Raises RepositoryUnreadable where the copy lost one."""
        for pack in packs:
            for suffix in SUFFIXES_IN_ORDER:
                name = f"{PACKS}/{pack.stem}{suffix}"
                with contextlib.suppress(FileExistsError):
                    try:
                        os.link(self._source.path / name, self.path / name)
                    except FileNotFoundError as error:
                        if suffix == SUFFIXES_IN_ORDER[1]:
                            continue  # git can do without a reverse index
                        raise RepositoryUnreadable(
                            "a pack left the local copy; try again"
                        ) from error

    def unlink(self, packs: Sequence[PackRow], *, but: ReceivedPack | None) -> None:
        """Forget these packs, so that derived files do not cover them; ``but`` stays."""
        for pack in packs:
            if but is None or pack.stem != but.stem:
                for suffix in reversed(SUFFIXES_IN_ORDER):
                    (self.path / f"{PACKS}/{pack.stem}{suffix}").unlink(missing_ok=True)

    def link_commit_graph(self) -> None:
        """Have the copy's commit-graph, if any: a new one takes over its changed paths."""
        with contextlib.suppress(FileNotFoundError, FileExistsError):
            os.link(self._source.path / COMMIT_GRAPH, self.path / COMMIT_GRAPH)

    def link_bitmap(self, manifest: Manifest) -> bool:
        """Have the copy's multi-pack-index with its bitmap, if it is the manifest's, whose packs
        are linked. Returns whether git can use one here."""
        row = manifest.derived.get(DerivedKind.MULTI_PACK_INDEX)
        if row is None:
            return False

        index = self.path / MULTI_PACK_INDEX
        try:
            os.link(self._source.path / MULTI_PACK_INDEX, index)
            oid_bytes = 20 if self.state.object_format == "sha1" else 32
            name = bitmap_name(index.read_bytes()[-oid_bytes:], oid_bytes)
            os.link(self._source.path / PACKS / name, self.packs / name)
        except FileNotFoundError:
            index.unlink(missing_ok=True)
            return False
        if installed_key(self._read_source, row.kind) != row.storage_key:
            # The copy moved on while we looked; its index may cover packs that are not here.
            index.unlink()
            return False
        return True

    def _read_source(self, name: str) -> bytes | None:
        try:
            return (self._source.path / name).read_bytes()
        except FileNotFoundError:
            return None

    async def existing(self, oids: Collection[str]) -> set[str]:
        """Those of the ids that stand for an object here."""
        if not oids:
            return set()
        completed = await self._processes.run(
            ["cat-file", "--batch-check=%(objectname)"],
            git_dir=self.path,
            stdin="".join(f"{oid}\n" for oid in oids).encode(),
        )
        lines = completed.stdout.decode().splitlines()
        return {line for line in lines if not line.endswith(" missing")}

    async def pack_objects(self, args: Sequence[str], stdin: str) -> ReceivedPack | None:
        """Make a pack with ``git pack-objects``; None where it would have no objects.

        Raises GitFailed, GitTimedOut, QueueFull.
        """
        completed = await self._processes.run(
            [
                *("-c", f"pack.threads={self._processes.threads}"),
                *("pack-objects", "--quiet", "--non-empty", "--delta-base-offset", *args),
                str(self.packs / "pack"),
            ],
            git_dir=self.path,
            stdin=stdin.encode(),
            size=Size.LARGE,
        )
        name = completed.stdout.decode().strip()
        if not name:
            return None
        index = self.packs / f"pack-{name}{INDEX_SUFFIX}"
        return ReceivedPack(
            name=name,
            folder=self.packs,
            object_count=object_count(index),
            self_contained=True,
        )

    async def git(self, args: Sequence[str], stdin: str | None = None) -> None:
        """Run another command of git's here. Raises as ``pack_objects``."""
        await self._processes.run(
            args,
            git_dir=self.path,
            stdin=None if stdin is None else stdin.encode(),
            size=Size.LARGE,
        )


@contextlib.asynccontextmanager
async def open_workspace(
    root: Path,
    source: CachedRepository,
    state: RepositoryState,
    refs: Sequence[RefRow],
    processes: GitProcesses,
) -> AsyncIterator[Workspace]:
    """A repository with these refs and no packs yet, removed at the end of the block.

    ``source`` must be open for as long.
    """
    async with open_private_folder(root) as path:
        make_bare_repository(path, state, threads=processes.threads, refs=refs)
        yield Workspace(path, state, source, processes)
