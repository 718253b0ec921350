"""Full, forbidden, vanished and damaged folders under a local store."""

import errno
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from storage_adapters.base import CHUNK_BYTES, ObjectData
from storage_adapters.errors import StorageUnavailable
from storage_adapters.local import LocalObjectStore
from tests.support.object_stores import files_under, list_keys

ORDINARY_USER = 65534


@pytest.fixture
def tiny_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with room for one megabyte: a real disk where we may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = (
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder],
            capture_output=True,
            check=False,
        ).returncode
        == 0
    )
    if not mounted:
        write, room = os.write, 1024 * 1024

        def write_into_little_room(fd: int, data: bytes) -> int:
            nonlocal room
            if len(data) > 16_000:
                if len(data) > room:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                room -= len(data)
            return write(fd, data)

        monkeypatch.setattr(os, "write", write_into_little_room)
    yield folder
    if mounted:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("form", ["bytes", "stream", "file"])
async def test_a_full_disk(tiny_disk: Path, tmp_path: Path, form: str) -> None:
    root = tiny_disk / "objects"
    store = LocalObjectStore(root)
    await store.put("a/old", b"old")
    source = tmp_path / "source"
    source.write_bytes(b"x" * 3_000_000)

    async def stream() -> AsyncIterator[bytes]:
        for _ in range(12):
            yield b"x" * CHUNK_BYTES

    if form == "file" and os.stat(tmp_path).st_dev == os.stat(tiny_disk).st_dev:
        # Without a disk of its own the file would be linked, which needs no room.
        form = "bytes"
    for key in ("a/old", "b/new"):
        forms: dict[str, ObjectData] = {
            "bytes": b"x" * 3_000_000,
            "stream": stream(),
            "file": source,
        }
        with pytest.raises(StorageUnavailable) as refused:
            await store.put(key, forms[form])
        assert str(refused.value) == (
            f"the storage folder {root} cannot store {key!r}: its disk is full; make room"
        )
    assert await store.get("a/old") == b"old"
    assert files_under(root) == ["a/old"]
    # Room enough again, without a hand.
    await store.put("a/old", b"x" * 10_000)
    assert (await store.head("a/old")).size == 10_000
    await store.close()


@pytest.fixture
def ordinary_user() -> Iterator[Path]:
    """A folder of a user who is not root, as whom the test then runs: root may read everything."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        if os.geteuid() != 0:
            yield folder
            return
        os.chown(folder, ORDINARY_USER, -1)
        os.seteuid(ORDINARY_USER)
        try:
            yield folder
        finally:
            os.seteuid(0)


DENIED = "permission denied; the user the server runs as must own it and all in it"


async def test_a_folder_that_may_not_be_used(ordinary_user: Path) -> None:
    root = ordinary_user / "objects"
    store = LocalObjectStore(root)
    await store.put("a/b", b"x")
    (root / "a").chmod(0)
    for deed, attempt in {
        "read": store.get("a/b"),
        "store": store.put("a/b", b"y"),
        "delete": store.delete("a/b"),
    }.items():
        with pytest.raises(StorageUnavailable) as refused:
            await attempt
        assert str(refused.value) == f"the storage folder {root} cannot {deed} 'a/b': {DENIED}"
    with pytest.raises(StorageUnavailable) as refused:
        await list_keys(store)
    assert str(refused.value) == f"the storage folder {root} cannot list '': {DENIED}"
    assert store.local_path("a/b") is None
    (root / "a").chmod(0o700)
    assert await store.get("a/b") == b"x"
    await store.close()


async def test_a_root_that_may_not_be_used(ordinary_user: Path) -> None:
    ordinary_user.chmod(0o500)
    root = ordinary_user / "objects"
    with pytest.raises(StorageUnavailable) as refused:
        LocalObjectStore(root)
    assert str(refused.value) == f"the storage folder {root} cannot be opened: {DENIED}"
    ordinary_user.chmod(0o700)


async def test_a_root_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for root in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(StorageUnavailable) as refused:
            LocalObjectStore(root)
        assert str(refused.value) == f"the storage folder {root} cannot be opened: not a directory"


async def test_a_root_that_vanishes_is_not_an_empty_store(
    local_store: LocalObjectStore, root: Path
) -> None:
    """As when its disk is unmounted, whether or not a folder is left in its place."""
    await local_store.put("a/b", b"x")
    root.rename(root.with_name("elsewhere"))
    for replaced in (False, True):
        if replaced:
            root.mkdir()
        for attempt in (
            local_store.get("a/b"),
            local_store.head("a/b"),
            local_store.put("a/b", b"y"),
            local_store.delete("a/b"),
            list_keys(local_store),
        ):
            with pytest.raises(StorageUnavailable) as refused:
                await attempt
            assert str(refused.value) == (
                f"the storage folder {root} was removed, replaced or unmounted while in use; "
                "restore it and restart the server"
            )
    assert os.listdir(root) == []
    root.rmdir()
    root.with_name("elsewhere").rename(root)
    assert await local_store.get("a/b") == b"x"


async def test_a_file_cut_short_under_a_reader(local_store: LocalObjectStore, root: Path) -> None:
    await local_store.put("key", b"x" * 2 * CHUNK_BYTES)
    (root / "key").chmod(0o600)
    pieces = local_store.stream("key")
    await anext(pieces)
    os.truncate(root / "key", CHUNK_BYTES + 1)
    with pytest.raises(StorageUnavailable) as refused:
        await anext(pieces)
    assert str(refused.value) == f"the file of 'key' in {root} was cut short"
