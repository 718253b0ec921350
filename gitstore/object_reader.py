"""Reading objects: ``git cat-file`` children that stay for a while, each lent to one reader.

A process of its own bounds what a hostile pack can do (memory, time) and reads beside the event
loop; kept alive, it answers in a tenth of a millisecond an object.
"""

import asyncio
import contextlib
import dataclasses
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from gitstore.cache import CachedRepository
from gitstore.errors import GitFailed, GitTimedOut
from gitstore.objects import Blob, GitObject, ObjectKind, parse_object
from gitstore.process import GitChild, GitProcesses
from gitstore.queues import Size
from gitstore.settings import GitStoreSettings

# Commits, trees and tags beyond this are not shown; a tree of 400,000 entries is below it.
MAX_STRUCTURE_BYTES = 16 * 1024 * 1024
# So many questions fit into a pipe, so that asking never waits for answers to be read.
_QUESTIONS_AT_ONCE = 500
_IDLE_SECONDS = 30.0
_READ_SECONDS = 60.0

_Copy = tuple[Path, int]  # where it is, and its prune epoch


@dataclasses.dataclass(frozen=True, slots=True)
class ObjectHeader:
    """``size`` in bytes, without git's own header."""

    oid: str
    kind: ObjectKind
    size: int


class ObjectReader:
    """One ``cat-file --batch-command``, used by one task at a time.

    Raises GitFailed and GitTimedOut; then ``is_broken``, and nothing more can be asked.
    """

    def __init__(self, child: GitChild, stack: contextlib.AsyncExitStack) -> None:
        self._child = child
        self._stack = stack
        self.is_broken = False

    @property
    def is_alive(self) -> bool:
        return self._child.process.returncode is None

    async def headers(self, oids: Sequence[str]) -> dict[str, ObjectHeader]:
        """Type and size of each that exists. ``oids`` are whole ids in hexadecimal digits."""
        found = {}
        async with self._answering():
            for some in _in_groups(oids):
                await self._ask("info", some)
                for oid in some:
                    header = await self._read_header(oid)
                    if header is not None:
                        found[oid] = header
        return found

    async def objects(self, oids: Sequence[str], *, blob_bytes: int = 0) -> dict[str, GitObject]:
        """Each object that exists, but for commits, trees and tags beyond MAX_STRUCTURE_BYTES.

        Of a blob at most ``blob_bytes`` are read; ``Blob.size`` tells how large it is.
        """
        headers = await self.headers(oids)
        whole = []
        found: dict[str, GitObject] = {}
        for header in headers.values():
            is_blob = header.kind is ObjectKind.BLOB
            if header.size <= (blob_bytes if is_blob else MAX_STRUCTURE_BYTES):
                whole.append(header.oid)
            elif is_blob:
                found[header.oid] = Blob(header.oid, header.size, b"")
        async with self._answering():
            for some in _in_groups(whole):
                await self._ask("contents", some)
                for oid in some:
                    kind, data = await self._read_contents(oid)
                    found[oid] = parse_object(oid, kind, data)
        return found

    async def blob_head(self, oid: str, limit: int) -> bytes:
        """The first bytes of a blob that is larger. Nothing more can be asked afterwards."""
        async with self._answering(for_the_last_time=True):
            await self._ask("contents", [oid])
            await self._read_header(oid)
            return await self._child.stdout.readexactly(limit)

    async def close(self) -> None:
        self.is_broken = True
        await self._stack.aclose()

    @contextlib.asynccontextmanager
    async def _answering(self, *, for_the_last_time: bool = False) -> AsyncIterator[None]:
        """Whoever leaves in the middle of an answer leaves a reader that nobody can use."""
        if self.is_broken:
            raise self._child.failure()
        self.is_broken = True
        try:
            async with asyncio.timeout(_READ_SECONDS):
                yield
        except TimeoutError as error:
            raise GitTimedOut("cat-file", 0, "an object took too long to read") from error
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            await self._child.wait()
            raise self._child.failure() from error
        self.is_broken = for_the_last_time

    async def _ask(self, command: str, oids: Sequence[str]) -> None:
        lines = "".join(f"{command} {oid}\n" for oid in oids)
        self._child.stdin.write(f"{lines}flush\n".encode("ascii"))
        await self._child.stdin.drain()

    async def _read_header(self, oid: str) -> ObjectHeader | None:
        line = await self._child.stdout.readuntil(b"\n")
        words = line.split()
        if words[-1] == b"missing" or len(words) != 3:
            return None
        return ObjectHeader(oid, ObjectKind(words[1].decode()), int(words[2]))

    async def _read_contents(self, oid: str) -> tuple[ObjectKind, bytes]:
        header = await self._read_header(oid)
        if header is None:  # it was there a moment ago
            raise GitFailed("cat-file", 0, f"{oid} has vanished")
        data = await self._child.stdout.readexactly(header.size + 1)
        return header.kind, data[:-1]


class ObjectReaders:
    """Readers by repository, for one event loop. Idle ones end after a while."""

    def __init__(self, processes: GitProcesses, settings: GitStoreSettings) -> None:
        self._processes = processes
        self._limit = settings.git_readers
        # By use: the one used longest ago first. A copy may stand here many times.
        self._idle: OrderedDict[ObjectReader, tuple[_Copy, asyncio.TimerHandle]] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()
        self._running = 0

    @contextlib.asynccontextmanager
    async def lend(self, copy: CachedRepository) -> AsyncIterator[ObjectReader]:
        """A reader of this copy for the length of the block, which must keep the copy open.

        Raises QueueFull.
        """
        # A reader holds packs open; after a prune it would still show what was dropped.
        key = (copy.path, copy.prune_epoch)
        reader = self._take_idle(key) or await self._start(copy.path)
        try:
            yield reader
        finally:
            if reader.is_broken:
                self._end(reader)
            else:
                self._keep(reader, key)

    async def close(self) -> None:
        for reader in list(self._idle):
            self._end(reader)
        await asyncio.gather(*self._closing)

    def _take_idle(self, copy: _Copy) -> ObjectReader | None:
        for reader, (kept, timer) in reversed(self._idle.items()):
            if kept == copy and reader.is_alive:
                timer.cancel()
                del self._idle[reader]
                return reader
        return None

    async def _start(self, path: Path) -> ObjectReader:
        # One that idles elsewhere makes way.
        if self._running >= self._limit and self._idle:
            self._end(next(iter(self._idle)))
        stack = contextlib.AsyncExitStack()
        child = await stack.enter_async_context(
            self._processes.start(
                ["cat-file", "--batch-command", "--buffer"], git_dir=path, size=Size.READER
            )
        )
        self._running += 1
        return ObjectReader(child, stack)

    def _keep(self, reader: ObjectReader, copy: _Copy) -> None:
        timer = asyncio.get_running_loop().call_later(_IDLE_SECONDS, self._end, reader)
        self._idle[reader] = (copy, timer)

    def _end(self, reader: ObjectReader) -> None:
        if reader in self._idle:
            self._idle.pop(reader)[1].cancel()
        self._running -= 1
        task = asyncio.create_task(reader.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _in_groups(oids: Sequence[str]) -> list[Sequence[str]]:
    unique, size = list(dict.fromkeys(oids)), _QUESTIONS_AT_ONCE
    return [unique[at : at + size] for at in range(0, len(unique), size)]
