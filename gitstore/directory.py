"""A local folder held open: every path is taken relative to it, and locks live inside it.

If the folder is deleted or replaced meanwhile, operations fail instead of touching its successor.
Locks are ``flock``: they end with the process, and no file's existence means anything.
"""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from pathlib import Path

LOCK_POLL_SECONDS = (0.002, 0.1)


class DirectoryGone(OSError):
    """The folder was deleted or replaced; open it again."""


class HeldDirectory:
    """An open folder. Not safe to use after ``close``."""

    def __init__(self, path: Path) -> None:
        """Raises FileNotFoundError."""
        self.path = path
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        os.close(self.fd)

    def is_current(self) -> bool:
        """Whether the path still leads to this folder."""
        try:
            found = os.stat(self.path)
        except OSError:
            return False
        mine = os.fstat(self.fd)
        return (found.st_ino, found.st_dev) == (mine.st_ino, mine.st_dev)

    def has(self, *names: str) -> bool:
        """Whether there are files or folders of all these names."""
        try:
            for name in names:
                os.stat(name, dir_fd=self.fd)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def read(self, name: str) -> bytes | None:
        """A file's bytes, or None where there is no such file."""
        try:
            fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.fd)
        except FileNotFoundError:
            return None
        with open(fd, "rb") as file:
            return file.read()

    def replace(self, name: str, data: bytes) -> None:
        """Put a file in place whole, by rename. Not synced: a cache need not survive."""
        temporary = f"{name}.{os.getpid()}.tmp"
        fd = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600, dir_fd=self.fd
        )
        with open(fd, "wb") as file:
            file.write(data)
        os.rename(temporary, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    async def write_stream(self, name: str, pieces: AsyncGenerator[bytes, None]) -> None:
        """Write a new file from a stream, which is closed at the end. Raises FileExistsError."""
        fd = os.open(
            name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400, dir_fd=self.fd
        )
        with os.fdopen(fd, "wb") as file:
            async with contextlib.aclosing(pieces):
                async for piece in pieces:
                    await asyncio.to_thread(file.write, piece)

    def names(self, folder: str) -> set[str]:
        """The names in a subfolder."""
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.fd)
        try:
            return set(os.listdir(fd))
        finally:
            os.close(fd)

    def touch(self, name: str) -> None:
        """Set a file's modification time to now; eviction reads it as the time of last use."""
        with contextlib.suppress(FileNotFoundError):
            os.utime(name, dir_fd=self.fd)

    def unlink(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.fd)

    @contextlib.asynccontextmanager
    async def locked(self, name: str, *, exclusive: bool) -> AsyncIterator[None]:
        """Hold a lock of this folder, waiting for it. Raises DirectoryGone."""
        fd = self._open_lock(name)
        try:
            pause, longest = LOCK_POLL_SECONDS
            # Polled, because a thread blocked in flock could not be cancelled.
            while not _try_lock(fd, exclusive=exclusive):
                await asyncio.sleep(pause)
                pause = min(pause * 2, longest)
            if not self.is_current():
                raise DirectoryGone(f"{self.path} was replaced")
            yield
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def locked_now(self, name: str) -> Iterator[bool]:
        """Hold a lock exclusively if it is free at this moment; yields whether it was."""
        fd = self._open_lock(name)
        try:
            yield _try_lock(fd, exclusive=True)
        finally:
            os.close(fd)

    def _open_lock(self, name: str) -> int:
        try:
            return os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=self.fd)
        except FileNotFoundError as error:
            raise DirectoryGone(f"{self.path} was deleted") from error


def _try_lock(fd: int, *, exclusive: bool) -> bool:
    try:
        fcntl.flock(fd, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
