"""Derived files in a local copy: commit-graph, multi-pack-index, bitmap. Never needed, only fast.

They are made by ``compaction`` and kept in the object store beside the packs. A copy that cannot
fetch one does without. The order of steps matters to git processes that run meanwhile: a
multi-pack-index goes before the packs it covers, and its bitmap comes before it.
"""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from gitstore.directory import HeldDirectory
from gitstore.layout import COMMIT_GRAPH, MULTI_PACK_INDEX, PACKS
from gitstore.manifest import DerivedRow, Manifest
from models import DerivedKind
from storage_adapters.base import ObjectStore
from storage_adapters.errors import StorageError

GRAPH_SUFFIX, MULTI_PACK_INDEX_SUFFIX, BITMAP_SUFFIX = ".graph", ".midx", ".bitmap"
DERIVED_SUFFIXES = (GRAPH_SUFFIX, MULTI_PACK_INDEX_SUFFIX, BITMAP_SUFFIX)
_INSTALLED = "derived.{kind}"
_TEMPORARY = "derived.{suffix}.tmp"


async def fetch_derived(
    store: ObjectStore, directory: HeldDirectory, manifest: Manifest
) -> dict[DerivedKind, DerivedRow]:
    """Bring the files the copy lacks beside it, under temporary names; returns those that came.

    For ``install_derived``, which puts them in place. Holds the copy's fill lock meanwhile.
    """
    fetched = {}
    for kind, row in manifest.derived.items():
        if installed_key(directory.read, kind) == row.storage_key:
            continue
        with contextlib.suppress(StorageError, OSError):
            for suffix, size in row.sizes.items():
                await _fetch(store, directory, row.storage_key + suffix, suffix, size)
            fetched[kind] = row
    return fetched


def install_derived(
    directory: HeldDirectory, manifest: Manifest, fetched: dict[DerivedKind, DerivedRow]
) -> None:
    """Put fetched files in place and take away those that no longer fit.

    To be called once all packs of the manifest are there and before any other pack goes.
    """
    for kind in DerivedKind:
        wanted = manifest.derived.get(kind)
        installed = installed_key(directory.read, kind)
        if wanted is not None and installed == wanted.storage_key:
            continue
        if installed is not None or wanted is None:
            _remove(directory, kind)
        if kind in fetched:
            _place(directory, fetched[kind])


def is_derived(name: str) -> bool:
    """Whether a file in the folder of packs is not a pack's."""
    return name.startswith("multi-pack-index")


def bitmap_name(multi_pack_index: bytes, oid_bytes: int) -> str:
    """Git names the bitmap by the checksum at the end of its multi-pack-index."""
    return f"multi-pack-index-{multi_pack_index[-oid_bytes:].hex()}{BITMAP_SUFFIX}"


def installed_key(read: Callable[[str], bytes | None], kind: DerivedKind) -> str | None:
    """The storage key of the file in place. ``read`` gives a file of the copy by name."""
    data = read(_INSTALLED.format(kind=kind.value))
    return None if data is None else data.decode()


async def _fetch(
    store: ObjectStore, directory: HeldDirectory, key: str, suffix: str, size: int
) -> None:
    temporary = _TEMPORARY.format(suffix=suffix[1:])
    directory.unlink(temporary)
    local: Path | None = store.local_path(key)
    if local is not None:
        with contextlib.suppress(OSError):
            os.link(local, temporary, dst_dir_fd=directory.fd)
            return
    await directory.write_stream(temporary, store.stream(key))
    if os.stat(temporary, dir_fd=directory.fd).st_size != size:
        raise OSError(f"the object store holds another number of bytes of {key} than {size}")


def _place(directory: HeldDirectory, row: DerivedRow) -> None:
    def move(suffix: str, name: str) -> None:
        temporary = _TEMPORARY.format(suffix=suffix[1:])
        os.rename(temporary, name, src_dir_fd=directory.fd, dst_dir_fd=directory.fd)

    if row.kind is DerivedKind.COMMIT_GRAPH:
        move(GRAPH_SUFFIX, COMMIT_GRAPH)
    else:
        index = directory.read(_TEMPORARY.format(suffix=MULTI_PACK_INDEX_SUFFIX[1:])) or b""
        # Byte 5 of the header names the hash: 1 is SHA-1, 2 is SHA-256 (gitformat-pack).
        oid_bytes = 32 if index[5:6] == b"\2" else 20
        if BITMAP_SUFFIX in row.sizes:
            move(BITMAP_SUFFIX, f"{PACKS}/{bitmap_name(index, oid_bytes)}")
        move(MULTI_PACK_INDEX_SUFFIX, MULTI_PACK_INDEX)
    directory.replace(_INSTALLED.format(kind=row.kind.value), row.storage_key.encode())


def _remove(directory: HeldDirectory, kind: DerivedKind) -> None:
    directory.unlink(_INSTALLED.format(kind=kind.value))
    if kind is DerivedKind.COMMIT_GRAPH:
        directory.unlink(COMMIT_GRAPH)
        return
    directory.unlink(MULTI_PACK_INDEX)
    for name in directory.names(PACKS):
        if is_derived(name):
            directory.unlink(f"{PACKS}/{name}")
