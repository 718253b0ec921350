"""Where a push's objects stay until they are committed: a folder of their own, invisible to all.

The repository's own objects are reachable from it as an alternate; nothing leads the other way.
"""

import asyncio
import contextlib
import dataclasses
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Protocol

from gitstore.cache import CachedRepository
from gitstore.directory import HeldDirectory
from gitstore.errors import (
    MissingObjects,
    PackRejected,
    RelyingOnGarbage,
    RepositoryUnreadable,
)
from gitstore.identifiers import new_ulid
from gitstore.manifest import BRANCHES, INDEX_SUFFIX, TAGS
from gitstore.process import PIPE_READ_BYTES, GitChild, GitProcesses
from gitstore.queues import SMALL_BYTES
from gitstore.settings import GitStoreSettings

# A folder this young may not be locked yet by the push that makes it.
_SWEEP_AGE_SECONDS = 60
# Old projects carry these harmless faults in their history; git's own repository does.
TOLERATED_FAULTS = "badTimezone=ignore,missingSpaceBeforeDate=ignore,zeroPaddedFilemode=ignore"
# Git merely warns of this one.
_REFUSED_FAULTS = "gitattributesSymlink=error"
# Without the commit-graph: a stale one hides a missing commit.
_REV_LIST = ("-c", "core.commitGraph=false", "rev-list", "--stdin")
_FATAL_LINES = 3
_TOO_SLOW = "the pack took too long to check"
_TOO_MUCH_MEMORY = "the pack needs more memory than a push may use"
_CRASHED = "git crashed over the pack; its trees may be nested too deeply"
_TOO_DEEP = "the trees of the pack are nested too deeply"


class PackSource(Protocol):
    """Where the pack's bytes come from; ``read`` returns nothing at the end of the input."""

    async def read(self, limit: int) -> bytes: ...


Progress = Callable[[bytes], Awaitable[None]]


@dataclasses.dataclass(frozen=True, slots=True)
class ReceivedPack:
    """An indexed pack in the quarantine. ``self_contained``: it needs no object from outside."""

    name: str
    folder: Path
    object_count: int
    self_contained: bool

    @property
    def stem(self) -> str:
        return f"pack-{self.name}"


@dataclasses.dataclass(frozen=True, slots=True)
class ObjectDescription:
    """What an id stands for; ``peeled_*`` is what it finally points to if it is a tag."""

    type: str
    peeled_oid: str | None
    peeled_type: str


@dataclasses.dataclass(frozen=True, slots=True)
class NewCommits:
    """The commits that a push brings, each with its parents."""

    parents: dict[str, tuple[str, ...]]

    def leads_back(self, new: str, old: str) -> bool:
        """Whether ``old`` is found among the ancestors of ``new``, looking at new commits alone."""
        seen, waiting = set(), [new]
        while waiting:
            oid = waiting.pop()
            if oid == old:
                return True
            if oid not in seen:
                seen.add(oid)
                waiting += self.parents.get(oid, ())
        return False


class Quarantine:
    """Made by ``open_quarantine``; used by one push."""

    def __init__(
        self,
        path: Path,
        repository: CachedRepository,
        processes: GitProcesses,
        settings: GitStoreSettings,
    ) -> None:
        self.path = path
        self.repository = repository
        self.processes = processes
        self._settings = settings

    @property
    def environment(self) -> dict[str, str]:
        return {
            "GIT_OBJECT_DIRECTORY": str(self.path / "objects"),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(self.repository.objects),
        }

    async def receive_pack(
        self, source: PackSource, *, progress: Progress | None, input_ended: Callable[[], None]
    ) -> ReceivedPack | None:
        """Index and check a pack, streaming. None for a pack without objects.

        ``progress`` gets git's progress text; ``input_ended`` is called once the whole pack was
        read. Raises PackRejected with git's own reason, GitTimedOut.
        """
        empty = not (self.repository.path / "objects/pack").exists() or not any(
            name.endswith(INDEX_SUFFIX)
            for name in os.listdir(self.repository.path / "objects/pack")
        )
        args = [
            *("-c", f"pack.threads={self._settings.git_threads}"),
            "index-pack",
            "--stdin",
            "--fix-thin",
            f"--strict={TOLERATED_FAULTS},{_REFUSED_FAULTS}",
            "--report-end-of-input",
            f"--max-input-size={self._settings.push_max_bytes}",
            *(["--check-self-contained-and-connected"] if empty else []),
            *(["--show-resolving-progress", "-v"] if progress else []),
        ]
        async with self.processes.start(
            args,
            git_dir=self.repository.path,
            environment=self.environment,
            read_stderr=True,
        ) as child:
            pump = asyncio.create_task(_pump(source, child))
            report = asyncio.create_task(_relay_stderr(child, progress, input_ended))
            try:
                # A failing source (the client is gone) must end the child, not wait for it. A
                # child that has ended needs no more input: over SSH a client may keep its side
                # open until it has read the report.
                await asyncio.wait({pump, report}, return_when=asyncio.FIRST_COMPLETED)
                if not report.done():
                    await pump
                await report
                output = await child.stdout.read()
                returncode = await child.wait()
            finally:
                for task in (pump, report):
                    task.cancel()
                await asyncio.gather(pump, report, return_exceptions=True)
        if child.timed_out:
            raise PackRejected(_TOO_SLOW)
        if fault := _abnormal_end(returncode, child.stderr_tail):
            raise PackRejected(fault)
        if returncode not in (0, 1) or not output.startswith((b"pack\t", b"keep\t")):
            raise PackRejected(self._reason(child.stderr_tail))
        name = output.split(b"\t", 1)[1].strip().decode()
        count = object_count(self._pack_folder / f"pack-{name}{INDEX_SUFFIX}")
        if count == 0:
            return None
        return ReceivedPack(
            name=name,
            folder=self._pack_folder,
            object_count=count,
            self_contained=empty and returncode == 0,
        )

    @property
    def _pack_folder(self) -> Path:
        return self.path / "objects" / "pack"

    def _reason(self, stderr: str) -> str:
        lines = [
            line.split(": ", 1)[1]
            for line in stderr.replace("\r", "\n").split("\n")
            if line.startswith(("fatal: ", "error: "))
        ]
        if any("exceeds maximum allowed size" in line for line in lines):
            limit = self._settings.push_max_bytes
            return f"the pack is larger than the {limit} bytes that one push may send"
        text = "; ".join(list(dict.fromkeys(lines))[:_FATAL_LINES]).replace(str(self.path), "")
        text = text.replace(str(self.repository.path), "")
        return text or "the pack could not be read"

    async def check_connected(self, tips: Sequence[str], known: Sequence[str]) -> None:
        """Every object that ``tips`` reach must be here, given that all that ``known`` reach are.

        ``known`` are values of refs in the repository. Raises MissingObjects, RepositoryUnreadable,
        and PackRejected when git cannot come to an end over these objects.
        """
        await self._rev_list(tips, known, "--objects", "--quiet")

    async def check_brought(self, tips: Sequence[str], known: Sequence[str]) -> None:
        """As ``check_connected``, and what ``known`` do not reach must have come with this push.

        Also raises RelyingOnGarbage.
        """
        await self.check_connected(tips, known)
        listing = self.path / "new-objects"
        async with self.processes.start(
            [*_REV_LIST, "--objects", "--no-object-names"],
            git_dir=self.repository.path,
            environment=self.environment,
        ) as child:
            feeder = child.feed(_revisions(tips, known))
            try:
                with listing.open("wb") as file:
                    while data := await child.stdout.read(PIPE_READ_BYTES):
                        file.write(data)
                if await child.wait():
                    raise child.failure()
            finally:
                feeder.cancel()
        if await self._lacks_any(listing):
            raise RelyingOnGarbage("the push needs objects that the prune is about to drop")

    async def _lacks_any(self, listing: Path) -> bool:
        """Whether an object of this list did not come with the push."""
        with listing.open("rb") as file:
            async with self.processes.start(
                ["cat-file", "--batch-check=%(objectname)"],
                git_dir=self.repository.path,
                environment={"GIT_OBJECT_DIRECTORY": str(self.path / "objects")},
            ) as child:
                pump = asyncio.create_task(_pump(_FileSource(file), child))
                try:
                    async for line in child.stdout:
                        if line.endswith(b" missing\n"):
                            return True
                finally:
                    pump.cancel()
                    await asyncio.gather(pump, return_exceptions=True)
        return False

    async def _rev_list(self, tips: Sequence[str], known: Sequence[str], *options: str) -> bytes:
        completed = await self.processes.run(
            [*_REV_LIST, *options],
            git_dir=self.repository.path,
            stdin=_revisions(tips, known),
            environment=self.environment,
            accept=(0, 1, 128, *_CRASHES),
        )
        if completed.returncode != 0:
            if fault := _abnormal_end(completed.returncode, completed.stderr):
                raise PackRejected(fault)
            if not (self.repository.path / "generation").exists():
                raise RepositoryUnreadable("the local copy was removed during the push")
            raise MissingObjects("the pack lacks objects that the pushed refs need")
        return completed.stdout

    async def new_commits(self, tips: Sequence[str], known: Sequence[str]) -> NewCommits:
        """The commits that ``tips`` reach and ``known`` do not; they must be here. Raises as above.

        Nothing is said of trees and blobs. Those that came with a pack are whole: index-pack saw to
        it that all they point to is in the pack or here (``--strict``). And so is whatever was here
        before, as every pack came that way, a roll-up drops nothing and a prune only what nothing
        points to. To look at them again takes git as long as to read the whole tree of a commit,
        which for 12,000 files is 60 ms. The exception is a repository that is being pruned.
        """
        listed = await self._rev_list(tips, known, "--parents", "--left-right")
        # The mark sets commits apart from other objects, whose paths could look like anything.
        commits = (line[1:].decode().split(" ") for line in listed.split(b"\n") if line[:1] == b">")
        return NewCommits({oid: tuple(parents) for oid, *parents in commits})

    async def describe(self, oids: Sequence[str]) -> dict[str, ObjectDescription]:
        """Types of objects, peeled. Missing ones are left out."""
        stdin = "".join(f"{oid}\n{oid}^{{}}\n" for oid in oids)
        completed = await self.processes.run(
            ["cat-file", "--batch-check=%(objectname) %(objecttype)"],
            git_dir=self.repository.path,
            stdin=stdin.encode(),
            environment=self.environment,
        )
        lines = completed.stdout.decode().splitlines()
        found: dict[str, ObjectDescription] = {}
        for oid, itself, peeled in zip(oids, lines[::2], lines[1::2], strict=True):
            if itself.endswith(" missing") or peeled.endswith(" missing"):
                continue
            kind = itself.split(" ")[1]
            peeled_oid, peeled_kind = peeled.split(" ")
            found[oid] = ObjectDescription(
                type=kind,
                peeled_oid=peeled_oid if kind == "tag" else None,
                peeled_type=peeled_kind,
            )
        return found

    async def is_ancestor(self, old: str, new: str) -> bool:
        """Whether moving a ref from ``old`` to ``new`` drops no commit."""
        completed = await self.processes.run(
            ["merge-base", "--is-ancestor", "--end-of-options", old, new],
            git_dir=self.repository.path,
            environment=self.environment,
            accept=(0, 1, 128),
        )
        return completed.returncode == 0


def exclusions(repository: CachedRepository, touched: Mapping[str, str | None]) -> list[str]:
    """Ids whose history needs no check: branches, tags, and what the touched refs point to now."""
    return sorted(
        {
            ref.oid
            for ref in repository.packed_refs()
            if ref.name.startswith((BRANCHES, TAGS)) or ref.name in touched
        }
    )


def _revisions(tips: Sequence[str], known: Sequence[str]) -> bytes:
    """What git reads with ``--stdin``."""
    return ("".join(f"{oid}\n" for oid in tips) + "".join(f"^{oid}\n" for oid in known)).encode()


class _FileSource:
    """A file as a PackSource."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    async def read(self, limit: int) -> bytes:
        return self._file.read(limit)


_CRASHES = (-signal.SIGSEGV, -signal.SIGBUS, -signal.SIGABRT, -signal.SIGXCPU)


def _abnormal_end(returncode: int, stderr: str) -> str | None:
    """Why git could not come to an end over a pack, as far as it is the pack's own doing."""
    if returncode == -signal.SIGXCPU:
        return _TOO_SLOW
    if returncode in _CRASHES:
        return _CRASHED
    if returncode not in (0, 1):
        if "out of memory" in stderr.lower():
            return _TOO_MUCH_MEMORY
        if "maximum allowed tree depth" in stderr:
            return _TOO_DEEP
    return None


async def _pump(source: PackSource, child: GitChild) -> None:
    """Hand the pack to index-pack, which finds its end by itself and then closes its input."""
    size = 0
    while data := await source.read(PIPE_READ_BYTES):
        size += len(data)
        if size > SMALL_BYTES:
            await child.grow()
        # Only the pipe's own breaking is git's end of input; a source that fails is a lost client.
        try:
            child.stdin.write(data)
            await child.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            return
    child.stdin.close()


async def _relay_stderr(
    child: GitChild, progress: Progress | None, input_ended: Callable[[], None]
) -> None:
    """Pass progress on, keep errors. A NUL byte says that the whole pack was read."""
    while data := await child.stderr.read(PIPE_READ_BYTES):
        if b"\0" in data:
            input_ended()
            data = data.replace(b"\0", b"")
        child.keep_stderr(data)
        if progress is not None and not data.lstrip().startswith((b"fatal:", b"error:")):
            await progress(data)


def object_count(index: Path) -> int:
    """The number of objects of a pack, from its version 2 index (git's gitformat-pack)."""
    with index.open("rb") as file:
        file.seek(8 + 255 * 4)
        return int.from_bytes(file.read(4), "big")


@contextlib.asynccontextmanager
async def open_quarantine(
    root: Path,
    repository: CachedRepository,
    processes: GitProcesses,
    settings: GitStoreSettings,
) -> AsyncIterator[Quarantine]:
    """A place for one push's objects, removed at the end."""
    async with open_private_folder(root) as path:
        yield Quarantine(path, repository, processes, settings)


@contextlib.asynccontextmanager
async def open_private_folder(root: Path) -> AsyncIterator[Path]:
    """A fresh folder, locked while in use, removed at the end; a crash leaves it to the sweep."""
    path = root / "quarantine" / new_ulid()
    (path / "objects" / "pack").mkdir(parents=True, mode=0o700)
    directory = HeldDirectory(path)
    try:
        async with directory.locked("use.lock", exclusive=True):
            yield path
    finally:
        directory.close()
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, path, ignore_errors=True))


def sweep_quarantines(root: Path) -> int:
    """Remove the folders whose process died. Returns how many."""
    swept = 0
    folder = root / "quarantine"
    for path in folder.iterdir() if folder.is_dir() else ():
        try:
            directory = HeldDirectory(path)
        except FileNotFoundError:
            continue
        try:
            age = time.time() - os.fstat(directory.fd).st_mtime
            with directory.locked_now("use.lock") as free:
                if free and age > _SWEEP_AGE_SECONDS:
                    shutil.rmtree(path, ignore_errors=True)
                    swept += 1
        except OSError:
            continue
        finally:
            directory.close()
    return swept
