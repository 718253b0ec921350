"""The object store protocol, and what every store promises.

An object is bytes under a key. Keys are relative slash-separated paths built by
``storage_adapters.keys``; a store refuses others with InvalidKey.

- A ``put`` that returned is durable (local storage: file and folders are fsynced) and visible to
  every reader at once; one that failed or was cancelled leaves the old object or none, never half.
- ``put`` over an existing object replaces it whole; readers get the old or the new bytes.
- ``put_if_absent`` writes only where no object is, decided by the store, whoever races.
- A missing key raises ObjectNotFound, except in ``delete``, which is then quiet.
- All methods may be called concurrently; iterators are closed by whoever iterates.
- Faults raise StorageUnavailable; nothing is retried here beyond what an SDK does by itself.
"""

import dataclasses
import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol, runtime_checkable

CHUNK_BYTES = 256 * 1024


@dataclasses.dataclass(frozen=True, slots=True)
class ObjectInfo:
    """``size`` in bytes; ``modified_at`` by the store's clock."""

    key: str
    size: int
    modified_at: dt.datetime


@dataclasses.dataclass(frozen=True, slots=True)
class StoreCapabilities:
    """What an adapter can promise; a role that needs more refuses to start with it (K11)."""

    put_if_absent: bool
    consistent_list: bool
    signed_urls: bool


@runtime_checkable
class ObjectStore(Protocol):
    """See the module's docstring for the promises."""

    @property
    def capabilities(self) -> StoreCapabilities: ...

    async def put(self, key: str, data: bytes | Path | AsyncIterator[bytes]) -> int:
        """Store bytes, a local file's bytes, or a stream's. Returns the size in bytes."""
        ...

    async def put_if_absent(self, key: str, data: bytes | Path | AsyncIterator[bytes]) -> int:
        """As ``put``, but raises ObjectExists instead of replacing."""
        ...

    async def get(self, key: str) -> bytes:
        """The whole object; for small ones."""
        ...

    def stream(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from ``start`` up to but not including ``end``, in pieces of about CHUNK_BYTES.

        Raises ObjectNotFound at the first piece, and ValueError for a range outside the object.
        """
        ...

    async def head(self, key: str) -> ObjectInfo: ...

    async def delete(self, key: str) -> None:
        """Quiet where there is no such object."""
        ...

    def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Objects whose key begins with ``prefix``, ordered by key; memory stays flat."""
        ...

    async def get_signed_url(
        self, key: str, *, method: str = "GET", expires_in: int = 900, size: int | None = None
    ) -> str | None:
        """An address at which the bearer may GET or PUT the object for ``expires_in`` seconds.

        ``None`` where the store has no such addresses and the application must serve the bytes.
        """
        ...

    def local_path(self, key: str) -> Path | None:
        """The object's file on this machine, to hard-link but never to change; ``None`` if none."""
        ...

    async def close(self) -> None: ...
