"""An object store whose calls, failures and bytes are counted."""

import contextlib
import time
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

from opencodehub.metrics import HubMetrics
from storage_adapters.base import ObjectData, ObjectInfo, ObjectStore, StoreCapabilities
from storage_adapters.errors import ObjectExists, ObjectNotFound


class MeteredObjectStore:
    """Keeps all promises of the store it wraps, which it closes."""

    def __init__(self, store: ObjectStore, metrics: HubMetrics) -> None:
        self._store = store
        self._metrics = metrics

    @property
    def capabilities(self) -> StoreCapabilities:
        return self._store.capabilities

    async def put(self, key: str, data: ObjectData) -> int:
        with self._counted("put"):
            size = await self._store.put(key, data)
        self._metrics.storage_moved("write", size)
        return size

    async def put_if_absent(self, key: str, data: ObjectData) -> int:
        with self._counted("put"):
            size = await self._store.put_if_absent(key, data)
        self._metrics.storage_moved("write", size)
        return size

    async def get(self, key: str) -> bytes:
        with self._counted("get"):
            data = await self._store.get(key)
        self._metrics.storage_moved("read", len(data))
        return data

    async def stream(
        self, key: str, *, start: int = 0, end: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        with self._counted("get") as clock:
            async with contextlib.aclosing(self._store.stream(key, start=start, end=end)) as pieces:
                async for piece in pieces:
                    self._metrics.storage_moved("read", len(piece))
                    with clock.stopped():
                        yield piece

    async def head(self, key: str) -> ObjectInfo:
        with self._counted("head"):
            return await self._store.head(key)

    async def delete(self, key: str) -> None:
        with self._counted("delete"):
            await self._store.delete(key)

    async def list(self, prefix: str) -> AsyncGenerator[ObjectInfo, None]:
        with self._counted("list") as clock:
            async with contextlib.aclosing(self._store.list(prefix)) as found:
                async for info in found:
                    with clock.stopped():
                        yield info

    async def get_signed_url(
        self, key: str, *, method: str = "GET", expires_in: int = 900, size: int | None = None
    ) -> str | None:
        return await self._store.get_signed_url(
            key, method=method, expires_in=expires_in, size=size
        )

    def local_path(self, key: str) -> Path | None:
        return self._store.local_path(key)

    async def close(self) -> None:
        await self._store.close()

    @contextlib.contextmanager
    def _counted(self, operation: str) -> "Iterator[_Clock]":
        clock, outcome = _Clock(), "failed"
        try:
            yield clock
            outcome = "ok"
        except ObjectNotFound:
            outcome = "not_found"
            raise
        except ObjectExists:
            outcome = "exists"
            raise
        except GeneratorExit:
            outcome = "ok"  # whoever read the stream has seen enough
            raise
        finally:
            self._metrics.storage_called(operation, outcome, clock.seconds)


class _Clock:
    """How long the store took, without the time that its caller takes over what it gave."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._stopped = 0.0

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began - self._stopped

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        since = time.perf_counter()
        try:
            yield
        finally:
            self._stopped += time.perf_counter() - since
