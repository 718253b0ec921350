"""What ``put`` is given: bytes, a local file, or a stream of pieces."""

import contextlib
import os
import stat
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

from storage_adapters.base import CHUNK_BYTES, ObjectData


class SourceFile:
    """A local file held open while it is stored; ``fd`` is -1 while it is not open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = -1

    def open(self) -> None:
        """Raises FileNotFoundError and other OSErrors, and ValueError unless it is a plain file."""
        # Without O_NONBLOCK, opening a named pipe would wait for its writer for ever.
        self.fd = os.open(
            self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
        )
        if not stat.S_ISREG(os.fstat(self.fd).st_mode):
            raise ValueError(f"{self.path} is not a regular file and cannot be stored")

    def read(self, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes; none at the end of the file."""
        return os.pread(self.fd, size, offset)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


@contextlib.asynccontextmanager
async def closing_source(data: ObjectData) -> AsyncIterator[None]:
    """Close a stream that was given, whether it was read to its end or never begun."""
    try:
        yield
    finally:
        close = getattr(data, "aclose", None)
        if close is not None:
            await close()


async def in_chunks(pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The same bytes in pieces of at least CHUNK_BYTES, the last excepted.

    A stream of small pieces would otherwise cost one hop to a thread, or one request, for each.
    """
    held: list[bytes] = []
    size = 0
    async for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= CHUNK_BYTES:
            yield b"".join(held)
            held.clear()
            size = 0
    if size:
        yield b"".join(held)
