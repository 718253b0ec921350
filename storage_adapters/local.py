"""An object store in a local folder, shared by all processes of the machine.

A put writes a file that no key can reach, syncs it, moves it to its key by one rename (or, without
replacing, by one hard link) and syncs the folders. Readers hold the file they opened open, so they
see one object whole, whatever is put in its place. The files are for reading only: caches link
them.
"""

import itertools
import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from pathlib import Path

from storage_adapters.base import CHUNK_BYTES, ObjectData, ObjectInfo, StoreCapabilities
from storage_adapters.blocking import BlockingCalls
from storage_adapters.errors import StorageError, StorageUnavailable
from storage_adapters.keys import check_key, check_prefix
from storage_adapters.local_faults import faults_explained
from storage_adapters.local_incoming import IncomingFolder, TemporaryObject
from storage_adapters.local_tree import ObjectTree, describe
from storage_adapters.ranges import resolve_range
from storage_adapters.sources import SourceFile, closing_source, in_chunks

_THREADS = 8
# Long enough to be worth a hop to a thread, short enough to be cancelled soon.
_COPY_BYTES = 4 * 1024 * 1024
_LISTED_AT_ONCE = 200


class LocalObjectStore:
    """Keeps the promises of ``ObjectStore``. Use it in the process and event loop that made it."""

    def __init__(self, root: Path) -> None:
        """Make the folder where it is missing, and sweep what ended processes left in it.

        Raises StorageUnavailable.
        """
        with faults_explained(root, "be opened"):
            self._tree = ObjectTree(root)
            self._incoming = IncomingFolder(self._tree)
        self._blocking = BlockingCalls("object-store", _THREADS)

    @property
    def root(self) -> Path:
        """Absolute."""
        return self._tree.root

    @property
    def capabilities(self) -> StoreCapabilities:
        return StoreCapabilities(put_if_absent=True, consistent_list=True, signed_urls=False)

    async def put(self, key: str, data: ObjectData) -> int:
        return await self._put(key, data, replace=True)

    async def put_if_absent(self, key: str, data: ObjectData) -> int:
        return await self._put(key, data, replace=False)

    async def _put(self, key: str, data: ObjectData, *, replace: bool) -> int:
        run = self._blocking.run
        async with closing_source(data):
            check_key(key)
            temporary = TemporaryObject(self._incoming)
            try:
                if isinstance(data, Path):
                    await self._take_file(key, temporary, data)
                elif isinstance(data, bytes | bytearray | memoryview):
                    await run(self._write_whole, key, temporary, bytes(data))
                else:
                    await run(self._write_whole, key, temporary, b"")
                    async with aclosing(in_chunks(data)) as chunks:
                        async for chunk in chunks:
                            await run(self._write, key, temporary, chunk)
                await run(self._publish, key, temporary, replace=replace)
            finally:
                await run(temporary.discard)
        return temporary.size

    async def _take_file(self, key: str, temporary: TemporaryObject, path: Path) -> None:
        run = self._blocking.run
        source = SourceFile(path)
        try:
            # Not explained as a fault of the store: what is wrong with a source is the caller's.
            await run(source.open)
            if await run(self._link, key, temporary, source):
                return
            await run(self._write_whole, key, temporary, b"")
            while piece := await run(source.read, temporary.size, _COPY_BYTES):
                await run(self._write, key, temporary, piece)
        finally:
            await run(source.close)

    def _link(self, key: str, temporary: TemporaryObject, source: SourceFile) -> bool:
        with faults_explained(self.root, f"store {key!r}"):
            return temporary.link(source)

    def _write_whole(self, key: str, temporary: TemporaryObject, data: bytes) -> None:
        with faults_explained(self.root, f"store {key!r}"):
            temporary.create()
            temporary.write(data)

    def _write(self, key: str, temporary: TemporaryObject, data: bytes) -> None:
        with faults_explained(self.root, f"store {key!r}"):
            temporary.write(data)

    def _publish(self, key: str, temporary: TemporaryObject, *, replace: bool) -> None:
        with faults_explained(self.root, f"store {key!r}"):
            temporary.publish(self._tree, key, replace=replace)

    async def get(self, key: str) -> bytes:
        return await self._blocking.run(self._read_whole, check_key(key))

    def _read_whole(self, key: str) -> bytes:
        with (
            faults_explained(self.root, f"read {key!r}"),
            open(self._tree.open_object(key), "rb") as file,
        ):
            return file.read()

    async def stream(
        self, key: str, *, start: int = 0, end: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        run = self._blocking.run
        reader = _Reader(self._tree, check_key(key))
        try:
            size = await run(reader.open)
            stop = resolve_range(key, size, start, end)
            for offset in range(start, stop, CHUNK_BYTES):
                yield await run(reader.read, offset, min(CHUNK_BYTES, stop - offset))
        finally:
            # Not in a thread: closing a file that was only read does not wait for the disk, and a
            # generator that is dropped has nobody to wait for it.
            reader.close()

    async def head(self, key: str) -> ObjectInfo:
        return await self._blocking.run(self._head, check_key(key))

    def _head(self, key: str) -> ObjectInfo:
        with faults_explained(self.root, f"read {key!r}"):
            fd = self._tree.open_object(key)
            try:
                return describe(key, os.fstat(fd))
            finally:
                os.close(fd)

    async def delete(self, key: str) -> None:
        await self._blocking.run(self._delete, check_key(key))

    def _delete(self, key: str) -> None:
        with faults_explained(self.root, f"delete {key!r}"):
            self._tree.remove(key)

    async def list(self, prefix: str) -> AsyncGenerator[ObjectInfo, None]:
        run = self._blocking.run
        found = self._tree.walk(check_prefix(prefix))
        try:
            while batch := await run(self._next_found, prefix, found):
                for info in batch:
                    yield info
        finally:
            # Gives up the folders it holds open.
            found.close()

    def _next_found(self, prefix: str, found: Iterator[ObjectInfo]) -> tuple[ObjectInfo, ...]:
        with faults_explained(self.root, f"list {prefix!r}"):
            return tuple(itertools.islice(found, _LISTED_AT_ONCE))

    async def get_signed_url(
        self, key: str, *, method: str = "GET", expires_in: int = 900, size: int | None = None
    ) -> str | None:
        check_key(key)
        return None

    def local_path(self, key: str) -> Path | None:
        check_key(key)
        try:
            os.close(self._tree.open_object(key))
        except (StorageError, OSError):
            # ``stream`` says what is wrong.
            return None
        return self.root / key

    async def close(self) -> None:
        """Wait for running calls, and remove the folder for incoming files. May be called again."""
        await self._blocking.close()
        self._incoming.close()


class _Reader:
    """An object's file, open from ``open`` to ``close``."""

    def __init__(self, tree: ObjectTree, key: str) -> None:
        self._tree = tree
        self._key = key
        self._fd = -1

    def open(self) -> int:
        """The object's size in bytes. Raises ObjectNotFound, StorageUnavailable."""
        with faults_explained(self._tree.root, f"read {self._key!r}"):
            self._fd = self._tree.open_object(self._key)
            return os.fstat(self._fd).st_size

    def read(self, offset: int, size: int) -> bytes:
        """Exactly ``size`` bytes. Raises StorageUnavailable."""
        with faults_explained(self._tree.root, f"read {self._key!r}"):
            piece = os.pread(self._fd, size, offset)
        if len(piece) < size:
            raise StorageUnavailable(
                f"the file of {self._key!r} in {self._tree.root} was cut short"
            )
        return piece

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
