"""An object store in the memory of this process: for tests and for trying things out."""

import asyncio
import bisect
import dataclasses
import datetime as dt
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

from storage_adapters.base import CHUNK_BYTES, ObjectData, ObjectInfo, StoreCapabilities
from storage_adapters.errors import InvalidKey, ObjectExists, ObjectNotFound
from storage_adapters.keys import check_key, check_prefix
from storage_adapters.ranges import resolve_range
from storage_adapters.sources import SourceFile, closing_source, in_chunks


@dataclasses.dataclass(frozen=True, slots=True)
class _Stored:
    data: bytes
    modified_at: dt.datetime


class MemoryObjectStore:
    """Keeps the promises of ``ObjectStore`` but durability. Belongs to one event loop."""

    def __init__(self) -> None:
        self._objects: dict[str, _Stored] = {}
        self._keys: list[str] = []  # Sorted, for ``list``.

    @property
    def capabilities(self) -> StoreCapabilities:
        return StoreCapabilities(put_if_absent=True, consistent_list=True, signed_urls=False)

    async def put(self, key: str, data: ObjectData) -> int:
        return await self._put(key, data, replace=True)

    async def put_if_absent(self, key: str, data: ObjectData) -> int:
        return await self._put(key, data, replace=False)

    async def _put(self, key: str, data: ObjectData, *, replace: bool) -> int:
        async with closing_source(data):
            check_key(key)
            content = await _read(data)
        # Nothing is awaited from here on, so that no other task comes between question and deed.
        self._refuse_nesting(key)
        if key not in self._objects:
            bisect.insort(self._keys, key)
        elif not replace:
            raise ObjectExists(f"there is an object at {key!r} already")
        self._objects[key] = _Stored(content, dt.datetime.now(dt.UTC))
        return len(content)

    def _refuse_nesting(self, key: str) -> None:
        parts = key.split("/")
        if any("/".join(parts[:count]) in self._objects for count in range(1, len(parts))):
            raise InvalidKey(f"storage key {key!r} lies beneath another object")
        following = bisect.bisect_left(self._keys, f"{key}/")
        if self._keys[following : following + 1] and self._keys[following].startswith(f"{key}/"):
            raise InvalidKey(f"storage key {key!r} is a folder of other objects")

    async def get(self, key: str) -> bytes:
        return self._find(key).data

    async def stream(
        self, key: str, *, start: int = 0, end: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        data = self._find(key).data
        stop = resolve_range(key, len(data), start, end)
        for offset in range(start, stop, CHUNK_BYTES):
            yield data[offset : min(offset + CHUNK_BYTES, stop)]

    async def head(self, key: str) -> ObjectInfo:
        return self._info(key, self._find(key))

    async def delete(self, key: str) -> None:
        if self._objects.pop(check_key(key), None) is not None:
            del self._keys[bisect.bisect_left(self._keys, key)]

    async def list(self, prefix: str) -> AsyncGenerator[ObjectInfo, None]:
        position = bisect.bisect_left(self._keys, check_prefix(prefix))
        while position < len(self._keys) and self._keys[position].startswith(prefix):
            key = self._keys[position]
            yield self._info(key, self._objects[key])
            # Objects may have come and gone while the caller held this one.
            position = bisect.bisect_right(self._keys, key)

    async def get_signed_url(
        self, key: str, *, method: str = "GET", expires_in: int = 900, size: int | None = None
    ) -> str | None:
        check_key(key)
        return None

    def local_path(self, key: str) -> Path | None:
        check_key(key)
        return None

    async def close(self) -> None:
        """Nothing to release; the objects stay."""

    def _find(self, key: str) -> _Stored:
        try:
            return self._objects[check_key(key)]
        except KeyError:
            raise ObjectNotFound(f"there is no object at {key!r}") from None

    @staticmethod
    def _info(key: str, stored: _Stored) -> ObjectInfo:
        return ObjectInfo(key=key, size=len(stored.data), modified_at=stored.modified_at)


async def _read(data: ObjectData) -> bytes:
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    if isinstance(data, Path):
        return await asyncio.to_thread(_read_file, data)
    async with aclosing(in_chunks(data)) as chunks:
        return b"".join([chunk async for chunk in chunks])


def _read_file(path: Path) -> bytes:
    source = SourceFile(path)
    try:
        source.open()
        with open(source.fd, "rb", closefd=False) as file:
            return file.read()
    finally:
        source.close()
