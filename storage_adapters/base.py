"""The object store protocol, and what every store promises.

An object is bytes under a key. Keys are relative slash-separated paths built by
``storage_adapters.keys``; a store refuses others with InvalidKey.

- A ``put`` that returned is durable (local storage: file and folders are fsynced) and visible to
  every reader at once. One that failed or was cancelled leaves what was there; only if it was cut
  while the store was already publishing may the new object be there, and then whole. Never a part.
- ``put`` over an existing object replaces it whole; readers get the old or the new bytes.
- ``put_if_absent`` writes only where no object is, decided by the store, whoever races; the object
  that ObjectExists speaks of is durable.
- A ``Path`` given must be a regular file and must never change afterwards: a store on the same
  disk may keep it by a hard link, not a copy (and sets its modification time). It may be deleted.
- What goes wrong with a source (FileNotFoundError, an iterator's own error) is raised as it is.
- An iterator given is closed by the store, whatever the outcome.
- A key must not lie beneath another object's key (``a/b`` beside ``a``): stores made of folders
  refuse that with InvalidKey.
- A missing key raises ObjectNotFound, except in ``delete``, which is then quiet.
- All methods may be called concurrently; iterators returned are closed by whoever iterates
  (``contextlib.aclosing``), unless they are read to their end.
- Faults raise StorageUnavailable; nothing is retried here beyond what an SDK does by itself.
"""

import dataclasses
import datetime as dt
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

CHUNK_BYTES = 256 * 1024

ObjectData: TypeAlias = bytes | Path | AsyncIterator[bytes]


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

    async def put(self, key: str, data: ObjectData) -> int:
        """Store bytes, a local file's bytes, or a stream's. Returns the size in bytes."""
        ...

    async def put_if_absent(self, key: str, data: ObjectData) -> int:
        """As ``put``, but raises ObjectExists instead of replacing."""
        ...

    async def get(self, key: str) -> bytes:
        """The whole object; for small ones."""
        ...

    def stream(
        self, key: str, *, start: int = 0, end: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """The bytes from ``start`` up to but not including ``end``, in pieces of about CHUNK_BYTES.

        Raises ObjectNotFound at the first piece, and ValueError for a range outside the object.
        """
        ...

    async def head(self, key: str) -> ObjectInfo: ...

    async def delete(self, key: str) -> None:
        """Quiet where there is no such object."""
        ...

    def list(self, prefix: str) -> AsyncGenerator[ObjectInfo, None]:
        """Objects whose key begins with ``prefix``, ordered by key; memory stays flat.

        ``prefix`` is the beginning of a key, not a folder: ``packs/1`` also finds ``packs/12/...``.
        Raises InvalidKey where no key can begin so.
        """
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
