"""Answers to clones, kept as files on this machine: one ``pack-objects`` for any number of clients.

A file is filled by one task, the filler, and read as it grows by whoever asks the same meanwhile,
in this process or another one of the machine. Everything between processes is told by the file:

- ``KEY.part`` is being filled for as long as its filler holds an exclusive ``flock`` on it.
- Its mode tells the end: readable alone (COMPLETE) when it is whole and good, readable for the
  group as well (REFUSED) when it is whole but says an error, writable when it is cut off.
- Then it is renamed to ``KEY``, or removed when it is not worth keeping or was cut off.
- Readers hold a shared ``flock`` on ``KEY.readers``; without any the filler gives up.

All of it can be deleted at any moment.
"""

import asyncio
import contextlib
import dataclasses
import enum
import fcntl
import os
import stat
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from gitstore.settings import GitStoreSettings

PIECE_BYTES = 256 * 1024
# Smaller answers cost git less than they cost the disk.
MIN_KEPT_BYTES = 1024 * 1024
COMPLETE, REFUSED, GROWING = 0o400, 0o440, 0o600
# How often a reader looks at a file that another process fills, and a filler for its readers.
_LOOK_SECONDS = 0.05
_WATCH_SECONDS = 0.5
_T = TypeVar("_T")
_PART, _READERS = ".part", ".readers"
_STALE_SECONDS = 60


class AnswerBroken(Exception):
    """The filler failed. ``begun``: this reader was given bytes already."""

    def __init__(self, *, begun: bool) -> None:
        super().__init__("the answer broke off while it was made")
        self.begun = begun


class Source(enum.Enum):
    """Where an answer comes from, for the counters."""

    HIT = "hit"
    JOINED = "joined"
    MISS = "miss"


class AnswerFile:
    """A ``ByteWriter`` to the file that is being filled."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.grown = asyncio.Event()

    async def write(self, data: bytes) -> None:
        """Raises OSError when the disk is full."""
        await _in_thread(_write_all, self._fd, data)
        self.grown.set()
        self.grown.clear()


# Writes the whole answer; returns whether it is good (False: it is an error in git's words).
Fill = Callable[[AnswerFile], Awaitable[bool]]


@dataclasses.dataclass(eq=False)
class _Filling:
    """A filler of this process. ``fault`` is what ended it before it wrote anything."""

    file: AnswerFile
    left: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    ended: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    fault: Exception | None = None


class Answer:
    """One reader's view. ``source`` says where it comes from."""

    def __init__(self, fd: int, source: Source, filling: "_Filling | None") -> None:
        self._fd = fd
        self.source = source
        self._filling = filling
        self._offset = 0
        self._mode = GROWING

    async def read(self) -> bytes:
        """The next piece, waiting for it to be made; empty at the end.

        Raises AnswerBroken, or what a filler of this process met before it wrote anything.
        """
        while True:
            # The mode first: whatever is in the file by then belongs to the answer.
            mode = stat.S_IMODE(os.fstat(self._fd).st_mode)
            data = await _in_thread(os.pread, self._fd, PIECE_BYTES, self._offset)
            if data:
                self._offset += len(data)
                return data
            if mode != GROWING:
                self._mode = mode
                return b""
            await self._wait()

    @property
    def is_refusal(self) -> bool:
        """After the end: whether the answer is an error in git's words."""
        return self._mode == REFUSED

    async def _wait(self) -> None:
        if self._filling is not None:
            if self._filling.ended.is_set():
                if self._is_whole():
                    return
                if self._filling.fault is not None and not self._offset:
                    raise self._filling.fault
                raise AnswerBroken(begun=self._offset > 0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._filling.file.grown.wait()
            return
        await asyncio.sleep(_LOOK_SECONDS)
        if _is_locked(self._fd):
            return
        # Nobody fills it any more: it ended well a moment ago, or its process was killed.
        if not self._is_whole():
            raise AnswerBroken(begun=self._offset > 0)

    def _is_whole(self) -> bool:
        return stat.S_IMODE(os.fstat(self._fd).st_mode) != GROWING


class AnswerCache:
    """Safe for concurrent use by tasks, and by processes that share ``cache_dir``."""

    def __init__(self, settings: GitStoreSettings) -> None:
        self._root = settings.cache_dir.absolute() / "answers"
        self._max_bytes = settings.clone_cache_max_bytes
        self._seconds = settings.clone_cache_seconds
        self._fillings: dict[str, _Filling] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_enabled(self) -> bool:
        return self._max_bytes > 0

    def fits(self, byte_count: int) -> bool:
        """Whether an answer of about this size may be kept."""
        return byte_count <= self._max_bytes // 2

    def has(self, key: str) -> bool:
        """Whether ``open`` would find the answer whole or in the making."""
        path = self._root / key
        return self._is_fresh(path) or path.with_name(key + _PART).exists()

    @contextlib.asynccontextmanager
    async def open(self, key: str, fill: Fill) -> AsyncIterator[Answer]:
        """The answer of this key (a file name), made with ``fill`` unless somebody makes it now.

        Raises OSError when the folder cannot be written. The file may vanish, the answer does not.
        """
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.ExitStack() as stack:
            yield self._enter(stack, key, fill)

    async def close(self) -> None:
        """End the fillers of this process; their readers are cut off."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _enter(self, stack: contextlib.ExitStack, key: str, fill: Fill) -> Answer:
        path, part = self._root / key, self._root / (key + _PART)
        while True:
            if self._is_fresh(path):
                with contextlib.suppress(FileNotFoundError):
                    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                    stack.callback(os.close, fd)
                    # The access time says what was used last; the other one when it was made.
                    os.utime(path, (time.time(), os.fstat(fd).st_mtime))
                    return Answer(fd, Source.HIT, None)
            readers = os.open(
                self._root / (key + _READERS), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
            fcntl.flock(readers, fcntl.LOCK_SH)
            writer = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, GROWING)
            is_filler = _try_exclusive(writer)
            if not _leads_to(part, writer):
                # It was renamed or removed between our looks.
                os.close(writer)
                os.close(readers)
                continue
            filling = self._fillings.get(key)
            if is_filler:
                os.ftruncate(writer, 0)
                filling = _Filling(AnswerFile(writer))
                self._start(key, filling, fill, writer)
                fd = os.open(part, os.O_RDONLY | os.O_CLOEXEC)
            else:
                fd = writer
            stack.callback(os.close, fd)
            stack.callback(_leave, readers, filling)
            return Answer(fd, Source.MISS if is_filler else Source.JOINED, filling)

    def _start(self, key: str, filling: _Filling, fill: Fill, fd: int) -> None:
        self._fillings[key] = filling
        task = asyncio.create_task(self._fill(key, filling, fill, fd))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _fill(self, key: str, filling: _Filling, fill: Fill, fd: int) -> None:
        part = self._root / (key + _PART)
        work = asyncio.ensure_future(fill(filling.file))
        watch = asyncio.create_task(self._until_unread(key, filling))
        good: bool | None = None
        try:
            await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                good = work.result()
        except Exception as error:
            filling.fault = error
        finally:
            for task in (work, watch):
                task.cancel()
            await asyncio.gather(work, watch, return_exceptions=True)
            if good is not None:
                os.fchmod(fd, COMPLETE if good else REFUSED)
            kept = good and os.fstat(fd).st_size >= MIN_KEPT_BYTES
            with contextlib.suppress(OSError):
                if kept:
                    part.rename(self._root / key)
                else:
                    part.unlink()
                (self._root / (key + _READERS)).unlink()
            del self._fillings[key]
            filling.ended.set()
            filling.file.grown.set()
            os.close(fd)
        if kept:
            await asyncio.to_thread(self.evict)

    async def _until_unread(self, key: str, filling: _Filling) -> None:
        """Returns once nobody reads the answer any more."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_WATCH_SECONDS):
                    await filling.left.wait()
            filling.left.clear()
            try:
                fd = os.open(self._root / (key + _READERS), os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                return
            try:
                if _try_exclusive(fd):
                    return
            finally:
                os.close(fd)

    def _is_fresh(self, path: Path) -> bool:
        try:
            return time.time() - path.stat().st_mtime < self._seconds
        except OSError:
            return False

    def evict(self) -> int:
        """Remove answers that are too old, those used longest ago beyond the size, and leftovers.

        Blocks on the disk. Returns how many files went.
        """
        kept: list[tuple[float, int, Path]] = []
        removed = 0
        for path in self._root.iterdir() if self._root.is_dir() else ():
            with contextlib.suppress(OSError):
                found = path.stat()
                if path.suffix in (_PART, _READERS):
                    removed += _remove_if_left(path, found.st_mtime)
                elif not self._is_fresh(path):
                    path.unlink()
                    removed += 1
                else:
                    kept.append((found.st_atime, found.st_size, path))
        total = sum(size for _, size, _ in kept)
        for _, size, path in sorted(kept):
            if total <= self._max_bytes:
                break
            path.unlink(missing_ok=True)
            removed += 1
            total -= size
        return removed


def _remove_if_left(path: Path, modified: float) -> bool:
    """Remove a working file that no process holds a lock on, unless it was made just now."""
    if time.time() - modified < _STALE_SECONDS:
        return False
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        if not _try_exclusive(fd):
            return False
        path.unlink(missing_ok=True)
        return True
    finally:
        os.close(fd)


async def _in_thread(call: Callable[..., _T], *args: object) -> _T:
    """Run in a thread and wait for it even when cancelled.

    A thread cannot be stopped, and whoever awaits it would close the file while it is in use: its
    descriptor may then be another file's.
    """
    running = asyncio.ensure_future(asyncio.to_thread(call, *args))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running})
        raise


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _leave(readers: int, filling: _Filling | None) -> None:
    os.close(readers)
    if filling is not None:
        filling.left.set()


def _leads_to(path: Path, fd: int) -> bool:
    try:
        found = path.stat()
    except OSError:
        return False
    mine = os.fstat(fd)
    return (found.st_ino, found.st_dev) == (mine.st_ino, mine.st_dev)


def _try_exclusive(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_locked(fd: int) -> bool:
    """Whether somebody else holds an exclusive lock."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(fd, fcntl.LOCK_UN)
    return False
