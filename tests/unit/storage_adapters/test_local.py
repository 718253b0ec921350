"""What only the local store can show: hard and symbolic links, foreign files, folders, threads."""

import asyncio
import contextlib
import errno
import os
import threading
from pathlib import Path

import pytest

from storage_adapters import local_tree
from storage_adapters.base import CHUNK_BYTES
from storage_adapters.errors import ObjectExists, ObjectNotFound, StorageUnavailable
from storage_adapters.local import LocalObjectStore
from tests.support.object_stores import files_under, list_keys

# --- hard links


async def test_a_file_on_the_same_disk_is_linked(
    local_store: LocalObjectStore, root: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"pack")
    for key in ("one", "two", "one"):
        await local_store.put(key, source)
    await local_store.put_if_absent("three", source)
    assert {path.stat().st_ino for path in (root / "one", root / "two", root / "three")} == {
        source.stat().st_ino
    }
    # A rename between two links of one file does nothing; the temporary one must still go.
    assert files_under(root) == ["one", "three", "two"]
    assert source.stat().st_nlink == 4


@pytest.mark.parametrize("fault", [errno.EXDEV, errno.EMLINK, errno.EPERM])
async def test_a_file_that_cannot_be_linked_is_copied(
    local_store: LocalObjectStore,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: int,
) -> None:
    content = os.urandom(5 * 1024 * 1024)
    source = tmp_path / "source"
    source.write_bytes(content)

    def fail(*_: object, **__: object) -> None:
        raise OSError(fault, os.strerror(fault))

    monkeypatch.setattr(os, "link", fail)
    assert await local_store.put("key", source) == len(content)
    assert (root / "key").stat().st_ino != source.stat().st_ino
    assert (root / "key").read_bytes() == content
    assert files_under(root) == ["key"]


async def test_a_filesystem_without_hard_links_is_named(
    local_store: LocalObjectStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", fail)
    with pytest.raises(StorageUnavailable) as refused:
        await local_store.put_if_absent("new/key", b"x")
    assert str(refused.value) == (
        "the storage folder's filesystem has no hard links, without which an object "
        "cannot be put only where none is; move it to another filesystem"
    )
    assert files_under(root) == []
    assert not (root / "new").exists()


async def test_local_path_is_the_file_itself(local_store: LocalObjectStore, root: Path) -> None:
    await local_store.put("a/b", b"x")
    assert local_store.local_path("a/b") == root / "a/b"
    assert (root / "a/b").stat().st_mode & 0o777 == 0o400


# --- symbolic links and foreign files


async def test_symbolic_links_are_not_followed(
    local_store: LocalObjectStore, root: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (root / "folder").symlink_to(outside)
    (root / "file").symlink_to(outside / "secret")

    def refused_text(name: str) -> str:
        return (
            f"{name!r} in the storage folder is a symbolic link, which is not followed; "
            "move the files into the storage folder, or the whole storage folder elsewhere"
        )

    for name, attempt in (
        ("folder", local_store.get("folder/secret")),
        ("folder", local_store.put("folder/new", b"x")),
        ("folder", local_store.put_if_absent("folder/new", b"x")),
        ("folder", local_store.delete("folder/secret")),
        ("file", local_store.get("file")),
        ("file", local_store.head("file")),
    ):
        with pytest.raises(StorageUnavailable) as refused:
            await attempt
        assert str(refused.value) == refused_text(name)
    assert local_store.local_path("folder/secret") is None
    assert local_store.local_path("file") is None
    assert await list_keys(local_store) == []
    with pytest.raises(ObjectExists):
        await local_store.put_if_absent("file", b"x")
    await local_store.put("file", b"replaces the link")
    assert await local_store.get("file") == b"replaces the link"
    assert (outside / "secret").read_bytes() == b"secret"
    assert os.listdir(outside) == ["secret"]


async def test_the_root_itself_may_be_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "objects").symlink_to(tmp_path / "disk")
    store = LocalObjectStore(tmp_path / "objects")
    await store.put("a/b", b"x")
    assert (tmp_path / "disk/a/b").read_bytes() == b"x"
    await store.close()


async def test_a_source_that_is_a_symbolic_link_is_refused(
    local_store: LocalObjectStore, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        await local_store.put("key", tmp_path / "link")
    assert await list_keys(local_store) == []


async def test_files_that_are_no_objects_are_not_listed(
    local_store: LocalObjectStore, root: Path
) -> None:
    await local_store.put("a/b", b"x")
    (root / "lost+found").mkdir(mode=0)
    (root / "README").write_bytes(b"")
    (root / "a/.hidden").write_bytes(b"")
    (root / "a/empty").mkdir()
    os.mkfifo(root / "a/pipe")
    (root / os.fsdecode(b"\xff")).write_bytes(b"")
    assert await list_keys(local_store) == ["a/b"]
    for key in ("a/empty", "a/pipe"):
        with pytest.raises(ObjectNotFound):
            await local_store.get(key)


async def test_an_empty_folder_left_by_a_crash_is_no_obstacle(
    local_store: LocalObjectStore, root: Path
) -> None:
    for put in (local_store.put, local_store.put_if_absent):
        (root / "key").mkdir()
        await put("key", b"x")
        assert await local_store.get("key") == b"x"
        await local_store.delete("key")


async def test_emptied_folders_are_removed(local_store: LocalObjectStore, root: Path) -> None:
    await local_store.put("a/b/c/one", b"")
    await local_store.put("a/two", b"")
    await local_store.delete("a/b/c/one")
    assert os.listdir(root / "a") == ["two"]
    await local_store.delete("a/two")
    assert os.listdir(root) == [".incoming"]


# --- listing in rounds, the event loop


async def test_a_folder_is_listed_in_rounds(
    local_store: LocalObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_tree, "NAMES_PER_ROUND", 7)
    names = sorted(
        [f"n/{number:02}" for number in range(20)]
        + [f"n/{number:02}-/deep" for number in range(20)]
        + [f"n/{number:02}0/deep" for number in range(20)]
    )
    for name in reversed(names):
        await local_store.put(name, b"")
    assert await list_keys(local_store) == names
    assert await list_keys(local_store, "n/1") == [name for name in names if name.startswith("n/1")]


async def test_no_descriptor_is_left_open(local_store: LocalObjectStore, root: Path) -> None:
    await local_store.put("a/b/c", b"x" * 3 * CHUNK_BYTES)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with contextlib.suppress(ObjectExists):
            await local_store.put_if_absent("a/b/c", b"x")
        with contextlib.suppress(ObjectNotFound):
            await local_store.get("a/b")
        await local_store.put("d/e", b"x")
        await local_store.delete("d/e")
        assert await list_keys(local_store) == ["a/b/c"]
        pieces = local_store.stream("a/b/c")
        await anext(pieces)
        await pieces.aclose()
        listing = local_store.list("")
        await anext(listing)
        await listing.aclose()
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_slow_disk_leaves_the_event_loop_free_and_cancellation_waits(
    local_store: LocalObjectStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, release = asyncio.Event(), threading.Event()
    loop, fsync = asyncio.get_running_loop(), os.fsync

    def slow(fd: int) -> None:
        loop.call_soon_threadsafe(entered.set)
        release.wait()
        fsync(fd)

    monkeypatch.setattr(os, "fsync", slow)
    task = asyncio.create_task(local_store.put("key", b"x"))
    await entered.wait()
    task.cancel()
    await asyncio.sleep(0.05)
    assert not task.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    # The put ended before its caller heard of the cancellation: nothing happens afterwards.
    assert files_under(root) == ["key"]
