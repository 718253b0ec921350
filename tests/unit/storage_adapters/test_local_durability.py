"""What the local store syncs, and what is left after kill -9 at any moment."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import storage_adapters
from storage_adapters.base import ObjectData
from storage_adapters.errors import ObjectExists, ObjectNotFound, StorageUnavailable
from storage_adapters.local import LocalObjectStore
from tests.support.object_stores import files_under, list_keys

PACKAGES = Path(storage_adapters.__file__).parents[1]


def python(script: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=PACKAGES,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


# --- durability


class Journal:
    """Notes what the store syncs and publishes, in order; files and folders by inode."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.entries: list[tuple[str, int]] = []
        fsync, rename, link = os.fsync, os.rename, os.link

        def noted_fsync(fd: int) -> None:
            fsync(fd)
            self.entries.append(("sync", os.fstat(fd).st_ino))

        def noted_rename(source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
            found = os.stat(source, dir_fd=src_dir_fd)
            rename(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
            self.entries.append(("publish", found.st_ino))

        def noted_link(source: str | Path, target: str, **options: Any) -> None:
            link(source, target, **options)
            found = os.stat(target, dir_fd=options["dst_dir_fd"])
            kind = "publish" if "src_dir_fd" in options else "take"
            self.entries.append((kind, found.st_ino))

        patch.setattr(os, "fsync", noted_fsync)
        patch.setattr(os, "rename", noted_rename)
        patch.setattr(os, "link", noted_link)


@pytest.mark.parametrize("method", ["put", "put_if_absent"])
@pytest.mark.parametrize("form", ["bytes", "stream", "file"])
async def test_file_and_folders_are_synced_in_order(
    local_store: LocalObjectStore,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    form: str,
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"content")

    async def stream() -> AsyncIterator[bytes]:
        yield b"content"

    journal = Journal(monkeypatch)
    forms: dict[str, ObjectData] = {"bytes": b"content", "stream": stream(), "file": source}
    await getattr(local_store, method)("packs/7/a.pack", forms[form])
    inode = (root / "packs/7/a.pack").stat().st_ino
    assert journal.entries == [
        *([("take", inode)] if form == "file" else []),
        ("sync", inode),
        ("publish", inode),
        ("sync", (root / "packs/7").stat().st_ino),
        ("sync", (root / "packs").stat().st_ino),
        ("sync", root.stat().st_ino),
    ]


async def test_an_object_that_was_met_is_made_durable(
    local_store: LocalObjectStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who put it may not have come to syncing the folders yet."""
    await local_store.put("a/key", b"first")
    journal = Journal(monkeypatch)
    with pytest.raises(ObjectExists):
        await local_store.put_if_absent("a/key", b"second")
    synced = [inode for kind, inode in journal.entries if kind == "sync"]
    assert synced[-2:] == [(root / "a").stat().st_ino, root.stat().st_ino]


async def test_the_root_is_made_durably(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(monkeypatch)
    store = LocalObjectStore(tmp_path / "srv/hub")
    assert journal.entries == [
        ("sync", tmp_path.stat().st_ino),
        ("sync", (tmp_path / "srv").stat().st_ino),
    ]
    assert store.root == tmp_path / "srv/hub"
    assert (tmp_path / "srv/hub").stat().st_mode & 0o777 == 0o700
    await store.close()


async def test_a_deletion_is_durable(
    local_store: LocalObjectStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await local_store.put("a/one", b"")
    await local_store.put("a/two", b"")
    journal = Journal(monkeypatch)
    await local_store.delete("a/one")
    assert journal.entries == [("sync", (root / "a").stat().st_ino)]


async def test_a_failed_sync_is_a_failed_put(
    local_store: LocalObjectStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await local_store.put("key", b"old")

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageUnavailable) as refused:
        await local_store.put("key", b"new")
    assert str(refused.value) == (
        f"the storage folder {root} cannot store 'key': input/output error"
    )
    assert files_under(root) == ["key"]
    assert await local_store.get("key") == b"old"


# --- crashes

HALF_WAY = """
import asyncio, sys
from pathlib import Path
from typing import Any
from storage_adapters.local import LocalObjectStore

async def pieces():
    for _ in range(3):
        yield b"x" * 262144
    print("half", flush=True)
    await asyncio.Event().wait()

async def main():
    await LocalObjectStore(Path(sys.argv[1])).put(sys.argv[2], pieces())

asyncio.run(main())
"""


async def test_kill_in_the_middle_of_a_stream(local_store: LocalObjectStore, root: Path) -> None:
    await local_store.put("a/old", b"old")
    for key in ("a/old", "a/new"):
        child = python(HALF_WAY, root, key)
        assert child.stdout is not None
        assert child.stdout.readline() == "half\n"
        # A living process's incoming file is left alone.
        other = LocalObjectStore(root)
        assert len(files_under(root)) == 2
        await other.close()
        child.kill()
        child.communicate()
        assert await list_keys(local_store) == ["a/old"]
        assert await local_store.get("a/old") == b"old"
        assert len(files_under(root)) == 2
        other = LocalObjectStore(root)
        assert files_under(root) == ["a/old"]
        await other.close()
    # What is left is our own folder and its lock.
    assert len(os.listdir(root / ".incoming")) == 2


# Ends itself by SIGKILL at the n-th call that changes the disk, before or after it.
KILLED_AT = """
import asyncio, os, signal, sys
from pathlib import Path
from typing import Any
from storage_adapters.local import LocalObjectStore

root, method, key, form, point, side = sys.argv[1:]
store = LocalObjectStore(Path(root))
calls = 0

def counted(call):
    def wrapped(*args, **kwargs):
        global calls
        calls += 1
        if calls == int(point) and side == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            return call(*args, **kwargs)
        finally:
            if calls == int(point):
                os.kill(os.getpid(), signal.SIGKILL)
    return wrapped

for name in ("mkdir", "open", "write", "fsync", "rename", "link", "unlink", "rmdir", "close"):
    setattr(os, name, counted(getattr(os, name)))
source = Path(root).parent / "source"
data = source if form == "file" else b"n" * 300000
asyncio.run(store.delete(key) if method == "delete" else getattr(store, method)(key, data))
os._exit(0)
"""


@pytest.mark.parametrize(
    ("method", "form"),
    [("put", "bytes"), ("put", "file"), ("put_if_absent", "bytes"), ("delete", "-")],
)
async def test_kill_at_every_step(tmp_path: Path, root: Path, method: str, form: str) -> None:
    old, new = b"old", b"n" * 300_000
    (tmp_path / "source").write_bytes(new)
    point, ended = 0, False
    while not ended:
        point += 1
        store = LocalObjectStore(root)
        key = f"k{point}/object"
        before = None if method == "put_if_absent" else old
        if before is not None:
            await store.put(key, before)
        child = python(KILLED_AT, root, method, key, form, point, "before" if point % 2 else "-")
        child.communicate()
        ended = child.returncode == 0
        assert child.returncode in (0, -signal.SIGKILL)
        try:
            found = await store.get(key)
        except ObjectNotFound:
            found = None
        after = None if method == "delete" else new
        assert found in ((after,) if ended else (before, after))
        # Nothing stands in the way of the next, and nothing stays behind.
        await store.put(key, b"again")
        assert await store.get(key) == b"again"
        await store.delete(key)
        await store.close()
        await LocalObjectStore(root).close()
        assert files_under(root) == []
        assert os.listdir(root / ".incoming") == []
    assert point > 5
