"""What only the local store can show: syncs, crashes, full disks, links, races of processes."""

import asyncio
import contextlib
import errno
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import storage_adapters
from storage_adapters import local_tree
from storage_adapters.base import CHUNK_BYTES
from storage_adapters.errors import ObjectExists, ObjectNotFound, StorageUnavailable
from storage_adapters.local import LocalObjectStore

PACKAGES = Path(storage_adapters.__file__).parents[1]
ORDINARY_USER = 65534


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "objects"


@pytest.fixture
async def store(root: Path) -> AsyncIterator[LocalObjectStore]:
    opened = LocalObjectStore(root)
    yield opened
    await opened.close()


async def keys(store: LocalObjectStore, prefix: str = "") -> list[str]:
    return [info.key async for info in store.list(prefix)]


def files_under(root: Path) -> list[str]:
    """Every file below the root, keys and leftovers alike, but for the locks."""
    return sorted(
        str(path.relative_to(root))
        for path in root.rglob("*")
        if not path.is_dir() and path.suffix != ".lock"
    )


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

        def noted_link(source: str | Path, target: str, **options: int) -> None:
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
    store: LocalObjectStore,
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
    data = {"bytes": lambda: b"content", "stream": stream, "file": lambda: source}[form]()
    await getattr(store, method)("packs/7/a.pack", data)
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
    store: LocalObjectStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who put it may not have come to syncing the folders yet."""
    await store.put("a/key", b"first")
    journal = Journal(monkeypatch)
    with pytest.raises(ObjectExists):
        await store.put_if_absent("a/key", b"second")
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
    store: LocalObjectStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put("a/one", b"")
    await store.put("a/two", b"")
    journal = Journal(monkeypatch)
    await store.delete("a/one")
    assert journal.entries == [("sync", (root / "a").stat().st_ino)]


async def test_a_failed_sync_is_a_failed_put(
    store: LocalObjectStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put("key", b"old")

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageUnavailable) as refused:
        await store.put("key", b"new")
    assert str(refused.value) == (
        f"the storage folder {root} cannot store 'key': input/output error"
    )
    assert files_under(root) == ["key"]
    assert await store.get("key") == b"old"


# --- hard links


async def test_a_file_on_the_same_disk_is_linked(
    store: LocalObjectStore, root: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"pack")
    for key in ("one", "two", "one"):
        await store.put(key, source)
    await store.put_if_absent("three", source)
    assert {path.stat().st_ino for path in (root / "one", root / "two", root / "three")} == {
        source.stat().st_ino
    }
    # A rename between two links of one file does nothing; the temporary one must still go.
    assert files_under(root) == ["one", "three", "two"]
    assert source.stat().st_nlink == 4


@pytest.mark.parametrize("fault", [errno.EXDEV, errno.EMLINK, errno.EPERM])
async def test_a_file_that_cannot_be_linked_is_copied(
    store: LocalObjectStore,
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
    assert await store.put("key", source) == len(content)
    assert (root / "key").stat().st_ino != source.stat().st_ino
    assert (root / "key").read_bytes() == content
    assert files_under(root) == ["key"]


async def test_a_filesystem_without_hard_links_is_named(
    store: LocalObjectStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", fail)
    with pytest.raises(StorageUnavailable) as refused:
        await store.put_if_absent("new/key", b"x")
    assert str(refused.value) == (
        "the storage folder's filesystem has no hard links, without which an object "
        "cannot be put only where none is; move it to another filesystem"
    )
    assert files_under(root) == []
    assert not (root / "new").exists()


async def test_local_path_is_the_file_itself(store: LocalObjectStore, root: Path) -> None:
    await store.put("a/b", b"x")
    assert store.local_path("a/b") == root / "a/b"
    assert (root / "a/b").stat().st_mode & 0o777 == 0o400


# --- crashes

HALF_WAY = """
import asyncio, sys
from pathlib import Path
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


async def test_kill_in_the_middle_of_a_stream(store: LocalObjectStore, root: Path) -> None:
    await store.put("a/old", b"old")
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
        assert await keys(store) == ["a/old"]
        assert await store.get("a/old") == b"old"
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


# --- several processes

COME_AND_GO = """
import asyncio, sys
from pathlib import Path
from storage_adapters.local import LocalObjectStore

async def main():
    store = LocalObjectStore(Path(sys.argv[1]))
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(150):
        key = f"shared/folder/{sys.argv[2]}"
        await store.put(key, b"%d" % number)
        assert await store.get(key) == b"%d" % number
        await store.delete(key)
    await store.close()

asyncio.run(main())
"""


async def test_deletes_of_one_process_do_not_fail_puts_of_another(
    store: LocalObjectStore, root: Path
) -> None:
    children = [python(COME_AND_GO, root, number) for number in range(3)]
    run_together(children)
    assert await keys(store) == []
    assert os.listdir(root) == [".incoming"]


RACER = """
import asyncio, sys
from pathlib import Path
from storage_adapters.errors import ObjectExists
from storage_adapters.local import LocalObjectStore

async def main():
    store = LocalObjectStore(Path(sys.argv[1]))
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(40):
        try:
            await store.put_if_absent(f"raced/{number}/object", sys.argv[2].encode() * 1000)
        except ObjectExists:
            continue
        print(number)
    await store.close()

asyncio.run(main())
"""


async def test_of_several_processes_one_puts_if_absent(store: LocalObjectStore, root: Path) -> None:
    names = "ABCD"
    outputs = run_together([python(RACER, root, name) for name in names])
    won = {name: output.split() for name, output in zip(names, outputs, strict=True)}
    assert sorted(int(number) for numbers in won.values() for number in numbers) == list(range(40))
    for name, numbers in won.items():
        for number in numbers:
            assert await store.get(f"raced/{number}/object") == name.encode() * 1000


def run_together(children: list[subprocess.Popen[str]]) -> list[str]:
    """Let them go at the same time; their outputs once all ended well."""
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    outputs = [child.communicate()[0] for child in children]
    assert [child.returncode for child in children] == [0] * len(children)
    return outputs


async def test_closing_removes_its_incoming_folder_alone(
    store: LocalObjectStore, root: Path
) -> None:
    own = sorted(os.listdir(root / ".incoming"))
    other = LocalObjectStore(root)
    assert len(os.listdir(root / ".incoming")) == 4
    await other.close()
    assert sorted(os.listdir(root / ".incoming")) == own


async def test_an_incoming_folder_that_was_removed_is_made_again(
    store: LocalObjectStore, root: Path
) -> None:
    for path in sorted((root / ".incoming").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    await store.put("key", b"x")
    assert await store.get("key") == b"x"
    assert files_under(root) == ["key"]


# --- faults


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
        data = {"bytes": lambda: source.read_bytes(), "stream": stream, "file": lambda: source}[
            form
        ]()
        with pytest.raises(StorageUnavailable) as refused:
            await store.put(key, data)
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
        await keys(store)
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
    store: LocalObjectStore, root: Path
) -> None:
    """As when its disk is unmounted, whether or not a folder is left in its place."""
    await store.put("a/b", b"x")
    root.rename(root.with_name("elsewhere"))
    for replaced in (False, True):
        if replaced:
            root.mkdir()
        for attempt in (
            store.get("a/b"),
            store.head("a/b"),
            store.put("a/b", b"y"),
            store.delete("a/b"),
            keys(store),
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
    assert await store.get("a/b") == b"x"


async def test_a_file_cut_short_under_a_reader(store: LocalObjectStore, root: Path) -> None:
    await store.put("key", b"x" * 2 * CHUNK_BYTES)
    (root / "key").chmod(0o600)
    pieces = store.stream("key")
    await anext(pieces)
    os.truncate(root / "key", CHUNK_BYTES + 1)
    with pytest.raises(StorageUnavailable) as refused:
        await anext(pieces)
    assert str(refused.value) == f"the file of 'key' in {root} was cut short"


# --- symbolic links and foreign files


async def test_symbolic_links_are_not_followed(
    store: LocalObjectStore, root: Path, tmp_path: Path
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
        ("folder", store.get("folder/secret")),
        ("folder", store.put("folder/new", b"x")),
        ("folder", store.put_if_absent("folder/new", b"x")),
        ("folder", store.delete("folder/secret")),
        ("file", store.get("file")),
        ("file", store.head("file")),
    ):
        with pytest.raises(StorageUnavailable) as refused:
            await attempt
        assert str(refused.value) == refused_text(name)
    assert store.local_path("folder/secret") is None
    assert store.local_path("file") is None
    assert await keys(store) == []
    with pytest.raises(ObjectExists):
        await store.put_if_absent("file", b"x")
    await store.put("file", b"replaces the link")
    assert await store.get("file") == b"replaces the link"
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
    store: LocalObjectStore, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        await store.put("key", tmp_path / "link")
    assert await keys(store) == []


async def test_files_that_are_no_objects_are_not_listed(
    store: LocalObjectStore, root: Path
) -> None:
    await store.put("a/b", b"x")
    (root / "lost+found").mkdir(mode=0)
    (root / "README").write_bytes(b"")
    (root / "a/.hidden").write_bytes(b"")
    (root / "a/empty").mkdir()
    os.mkfifo(root / "a/pipe")
    (root / os.fsdecode(b"\xff")).write_bytes(b"")
    assert await keys(store) == ["a/b"]
    for key in ("a/empty", "a/pipe"):
        with pytest.raises(ObjectNotFound):
            await store.get(key)


async def test_an_empty_folder_left_by_a_crash_is_no_obstacle(
    store: LocalObjectStore, root: Path
) -> None:
    for put in (store.put, store.put_if_absent):
        (root / "key").mkdir()
        await put("key", b"x")
        assert await store.get("key") == b"x"
        await store.delete("key")


async def test_emptied_folders_are_removed(store: LocalObjectStore, root: Path) -> None:
    await store.put("a/b/c/one", b"")
    await store.put("a/two", b"")
    await store.delete("a/b/c/one")
    assert os.listdir(root / "a") == ["two"]
    await store.delete("a/two")
    assert os.listdir(root) == [".incoming"]


# --- listing in rounds, the event loop


async def test_a_folder_is_listed_in_rounds(
    store: LocalObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_tree, "NAMES_PER_ROUND", 7)
    names = sorted(
        [f"n/{number:02}" for number in range(20)]
        + [f"n/{number:02}-/deep" for number in range(20)]
        + [f"n/{number:02}0/deep" for number in range(20)]
    )
    for name in reversed(names):
        await store.put(name, b"")
    assert await keys(store) == names
    assert await keys(store, "n/1") == [name for name in names if name.startswith("n/1")]


async def test_no_descriptor_is_left_open(store: LocalObjectStore, root: Path) -> None:
    await store.put("a/b/c", b"x" * 3 * CHUNK_BYTES)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with contextlib.suppress(ObjectExists):
            await store.put_if_absent("a/b/c", b"x")
        with contextlib.suppress(ObjectNotFound):
            await store.get("a/b")
        await store.put("d/e", b"x")
        await store.delete("d/e")
        assert await keys(store) == ["a/b/c"]
        pieces = store.stream("a/b/c")
        await anext(pieces)
        await pieces.aclose()
        listing = store.list("")
        await anext(listing)
        await listing.aclose()
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_slow_disk_leaves_the_event_loop_free_and_cancellation_waits(
    store: LocalObjectStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, release = asyncio.Event(), threading.Event()
    loop, fsync = asyncio.get_running_loop(), os.fsync

    def slow(fd: int) -> None:
        loop.call_soon_threadsafe(entered.set)
        release.wait()
        fsync(fd)

    monkeypatch.setattr(os, "fsync", slow)
    task = asyncio.create_task(store.put("key", b"x"))
    await entered.wait()
    task.cancel()
    await asyncio.sleep(0.05)
    assert not task.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    # The put ended before its caller heard of the cancellation: nothing happens afterwards.
    assert files_under(root) == ["key"]
