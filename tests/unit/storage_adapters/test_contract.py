"""What every object store promises, asked of each of them.

A further adapter joins by one entry in ``STORES``: a function that opens an empty store.
"""

import asyncio
import dataclasses
import datetime as dt
import os
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from storage_adapters.base import CHUNK_BYTES, ObjectStore
from storage_adapters.errors import InvalidKey, ObjectExists, ObjectNotFound
from storage_adapters.local import LocalObjectStore
from storage_adapters.memory import MemoryObjectStore
from tests.support.object_stores import list_keys

MIB = 1024 * 1024


@dataclasses.dataclass(frozen=True)
class StoreKind:
    """``open`` takes a folder that is this test's own."""

    open: Callable[[Path], ObjectStore]
    keeps_objects_in_memory: bool = False
    # Stores made of folders cannot keep ``a`` and ``a/b``; others may.
    refuses_nesting: bool = True


STORES = {
    "local": StoreKind(lambda folder: LocalObjectStore(folder / "objects")),
    "memory": StoreKind(lambda folder: MemoryObjectStore(), keeps_objects_in_memory=True),
}


@pytest.fixture(params=STORES)
def kind(request: pytest.FixtureRequest) -> StoreKind:
    return STORES[request.param]


@pytest.fixture
async def store(kind: StoreKind, tmp_path: Path) -> AsyncIterator[ObjectStore]:
    opened = kind.open(tmp_path)
    yield opened
    await opened.close()


class Pieces:
    """A stream that remembers whether it was closed. ``failing`` raises after the pieces."""

    def __init__(self, *pieces: bytes, failing: Exception | None = None) -> None:
        self.pieces = list(pieces)
        self.failing = failing
        self.closed = False

    def __aiter__(self) -> "Pieces":
        return self

    async def __anext__(self) -> bytes:
        await asyncio.sleep(0)
        if self.pieces:
            return self.pieces.pop(0)
        if self.failing is not None:
            raise self.failing
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.closed = True


class Stalled(Pieces):
    """Gives its pieces, then nothing more, for ever. ``reached`` tells when."""

    def __init__(self, *pieces: bytes) -> None:
        super().__init__(*pieces)
        self.reached = asyncio.Event()

    async def __anext__(self) -> bytes:
        if not self.pieces:
            self.reached.set()
            await asyncio.Event().wait()
        return await super().__anext__()


async def read(store: ObjectStore, key: str, *, start: int = 0, end: int | None = None) -> bytes:
    async with aclosing(store.stream(key, start=start, end=end)) as pieces:
        return b"".join([piece async for piece in pieces])


async def test_is_an_object_store(store: ObjectStore) -> None:
    assert isinstance(store, ObjectStore)


# --- put and get


async def test_put_then_get(store: ObjectStore) -> None:
    assert await store.put("packs/1/a.pack", b"bytes") == 5
    assert await store.get("packs/1/a.pack") == b"bytes"
    assert await read(store, "packs/1/a.pack") == b"bytes"


async def test_put_replaces_whole(store: ObjectStore) -> None:
    await store.put("key", b"a long first version")
    assert await store.put("key", b"short") == 5
    assert await store.get("key") == b"short"
    assert (await store.head("key")).size == 5


@pytest.mark.parametrize(
    "make", [bytes, Pieces, lambda: Pieces(b"", b"")], ids=["bytes", "no piece", "empty pieces"]
)
async def test_an_empty_object_is_an_object(
    store: ObjectStore, make: Callable[[], bytes | AsyncIterator[bytes]]
) -> None:
    assert await store.put("empty", make()) == 0
    assert await store.get("empty") == b""
    assert await read(store, "empty") == b""
    assert (await store.head("empty")).size == 0
    assert await list_keys(store) == ["empty"]


async def test_put_a_stream(store: ObjectStore) -> None:
    pieces = Pieces(b"one, ", b"", b"two, ", b"x" * CHUNK_BYTES, b"three")
    assert await store.put("key", pieces) == 15 + CHUNK_BYTES
    assert await store.get("key") == b"one, two, " + b"x" * CHUNK_BYTES + b"three"
    assert pieces.closed


async def test_put_a_file_that_is_deleted_afterwards(store: ObjectStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"from a file")
    assert await store.put("key", source) == 11
    source.unlink()
    assert await store.get("key") == b"from a file"


async def test_put_one_file_under_two_keys_and_twice_under_one(
    store: ObjectStore, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"same")
    for key in ("one", "two", "one"):
        assert await store.put(key, source) == 4
    await store.put("one", b"other")
    assert await store.get("one") == b"other"
    assert await store.get("two") == b"same"
    assert source.read_bytes() == b"same"
    assert await list_keys(store) == ["one", "two"]


async def test_a_missing_source_file_is_the_callers_error(
    store: ObjectStore, tmp_path: Path
) -> None:
    await store.put("key", b"old")
    with pytest.raises(FileNotFoundError):
        await store.put("key", tmp_path / "missing")
    assert await store.get("key") == b"old"


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "pipe"])
async def test_a_source_that_is_no_plain_file_is_refused(
    store: ObjectStore, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    source = tmp_path / "source"
    make(source)
    with pytest.raises(ValueError) as refused:
        await store.put("key", source)
    assert str(refused.value) == f"{source} is not a regular file and cannot be stored"
    assert await list_keys(store) == []


async def test_a_failing_source_leaves_what_was_there(store: ObjectStore) -> None:
    await store.put("old", b"old")
    for key in ("old", "new"):
        pieces = Pieces(b"x" * CHUNK_BYTES, b"y", failing=RuntimeError("the client went away"))
        with pytest.raises(RuntimeError, match=r"^the client went away$"):
            await store.put(key, pieces)
        assert pieces.closed
    assert await store.get("old") == b"old"
    assert await list_keys(store) == ["old"]


async def test_a_cancelled_put_leaves_what_was_there(store: ObjectStore) -> None:
    await store.put("old", b"old")
    for key in ("old", "new"):
        pieces = Stalled(b"x" * CHUNK_BYTES, b"y" * CHUNK_BYTES)
        task = asyncio.create_task(store.put(key, pieces))
        await pieces.reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert pieces.closed
    assert await store.get("old") == b"old"
    assert await list_keys(store) == ["old"]


async def test_a_put_cancelled_anywhere_leaves_a_whole_object(
    store: ObjectStore, tmp_path: Path
) -> None:
    old, new = b"o" * CHUNK_BYTES, b"n" * 2 * CHUNK_BYTES
    source = tmp_path / "source"
    source.write_bytes(new)
    for steps in range(30):
        await store.put("key", old)
        task = asyncio.create_task(
            store.put("key", source if steps % 2 else Pieces(new[:CHUNK_BYTES], new[CHUNK_BYTES:]))
        )
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        # Only a put that ended before it was cancelled must have done its work.
        allowed = (old, new) if task.cancelled() else (new,)
        assert await store.get("key") in allowed
        assert await list_keys(store) == ["key"]


async def test_readers_during_overwrites_see_one_version_whole(store: ObjectStore) -> None:
    versions = [letter * (2 * CHUNK_BYTES + 17) for letter in (b"a", b"b")]
    await store.put("key", versions[0])
    ended = asyncio.Event()

    async def keep_reading(whole: bool) -> int:
        count = 0
        while not ended.is_set() or count == 0:
            got = await (store.get("key") if whole else read(store, "key"))
            assert got in versions
            count += 1
        return count

    readers = [asyncio.create_task(keep_reading(whole)) for whole in (True, False, False)]
    for turn in range(20):
        await store.put("key", versions[turn % 2])
    ended.set()
    assert min(await asyncio.gather(*readers)) > 0


async def test_a_reader_keeps_the_version_it_began_with(store: ObjectStore) -> None:
    old = b"o" * 3 * CHUNK_BYTES
    await store.put("key", old)
    async with aclosing(store.stream("key")) as pieces:
        got = await anext(pieces)
        await store.put("key", b"new")
        await store.delete("key")
        async for piece in pieces:
            got += piece
    assert got == old


async def test_a_large_stream_keeps_memory_flat(kind: StoreKind, store: ObjectStore) -> None:
    size = 64 * MIB

    async def pieces() -> AsyncIterator[bytes]:
        piece = b"\x5a" * CHUNK_BYTES
        for _ in range(size // CHUNK_BYTES):
            yield piece

    tracemalloc.start()
    try:
        assert await store.put("large", pieces()) == size
        got = 0
        async with aclosing(store.stream("large")) as stored:
            async for piece in stored:
                got += len(piece)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert got == size
    if not kind.keeps_objects_in_memory:
        assert peak < 4 * MIB


# --- put_if_absent


async def test_put_if_absent_does_not_replace(store: ObjectStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"file")
    assert await store.put_if_absent("key", source) == 4
    for data in (b"bytes", source, Pieces(b"stream")):
        with pytest.raises(ObjectExists) as refused:
            await store.put_if_absent("key", data)
        assert str(refused.value) == "there is an object at 'key' already"
    assert await store.get("key") == b"file"
    await store.delete("key")
    assert await store.put_if_absent("key", b"again") == 5
    assert await store.get("key") == b"again"


async def test_of_twenty_tasks_one_puts_if_absent(store: ObjectStore) -> None:
    assert store.capabilities.put_if_absent
    for key in ("flat", "in/a/new/folder"):
        contents = [bytes([65 + number]) * (CHUNK_BYTES + 1) for number in range(20)]
        outcomes = await asyncio.gather(
            *(store.put_if_absent(key, content) for content in contents), return_exceptions=True
        )
        winners = [n for n, outcome in enumerate(outcomes) if outcome == CHUNK_BYTES + 1]
        assert len(winners) == 1
        assert sum(isinstance(outcome, ObjectExists) for outcome in outcomes) == 19
        assert await store.get(key) == contents[winners[0]]


# --- missing keys, delete


async def test_a_missing_key(store: ObjectStore) -> None:
    await store.put("there", b"")
    await store.put("folder/there", b"")
    for key in ("missing", "folder", "folder/missing", "no/such/folder", "there/below"):
        for attempt in (store.get(key), store.head(key), read(store, key)):
            with pytest.raises(ObjectNotFound) as refused:
                await attempt
            assert str(refused.value) == f"there is no object at {key!r}"
        assert store.local_path(key) is None
        await store.delete(key)
    assert await list_keys(store) == ["folder/there", "there"]


async def test_delete(store: ObjectStore) -> None:
    await store.put("a/b/c", b"1")
    await store.put("a/b/d", b"2")
    await store.delete("a/b/c")
    await store.delete("a/b/c")
    assert await list_keys(store) == ["a/b/d"]
    with pytest.raises(ObjectNotFound):
        await store.get("a/b/c")
    await store.put("a/b/c", b"3")
    assert await store.get("a/b/c") == b"3"


async def test_a_folder_that_was_emptied_may_become_an_object(store: ObjectStore) -> None:
    await store.put("a/b/c", b"1")
    await store.delete("a/b/c")
    await store.put("a", b"2")
    await store.delete("a")
    await store.put_if_absent("a/b", b"3")
    assert await list_keys(store) == ["a/b"]


async def test_a_key_may_not_lie_beneath_another(kind: StoreKind, store: ObjectStore) -> None:
    if not kind.refuses_nesting:
        pytest.skip("has no folders")
    await store.put("a/b", b"1")
    for put in (store.put, store.put_if_absent):
        for key in ("a/b/c", "a/b/c/d"):
            with pytest.raises(InvalidKey) as refused:
                await put(key, b"2")
            assert str(refused.value) == f"storage key {key!r} lies beneath another object"
        with pytest.raises(InvalidKey) as refused:
            await put("a", b"2")
        assert str(refused.value) == "storage key 'a' is a folder of other objects"
    assert await list_keys(store) == ["a/b"]
    assert await store.get("a/b") == b"1"


async def test_puts_and_deletes_in_one_folder_do_not_disturb_each_other(
    store: ObjectStore,
) -> None:
    async def come_and_go(number: int) -> None:
        for turn in range(40):
            key = f"shared/folder/{number}"
            content = f"{number} {turn}".encode()
            await (store.put if turn % 2 else store.put_if_absent)(key, content)
            assert await store.get(key) == content
            await store.delete(key)

    await asyncio.gather(*(come_and_go(number) for number in range(8)))
    assert await list_keys(store) == []


# --- ranges


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (0, None),
        (0, 0),
        (0, 1),
        (5, 5),
        (1, CHUNK_BYTES),
        (CHUNK_BYTES - 1, CHUNK_BYTES + 1),
        (CHUNK_BYTES, None),
        (3 * CHUNK_BYTES + 6, None),
        (3 * CHUNK_BYTES + 7, None),
        (3 * CHUNK_BYTES + 7, 3 * CHUNK_BYTES + 7),
        (17, 3 * CHUNK_BYTES + 7),
    ],
)
async def test_ranges(store: ObjectStore, start: int, end: int | None) -> None:
    content = os.urandom(3 * CHUNK_BYTES + 7)
    await store.put("key", content)
    assert await read(store, "key", start=start, end=end) == content[start:end]


@pytest.mark.parametrize(
    ("start", "end", "shown"),
    [(-1, None, "-1-"), (6, None, "6-"), (0, 6, "0-6"), (3, 2, "3-2"), (0, -1, "0--1")],
)
async def test_a_range_outside_the_object(
    store: ObjectStore, start: int, end: int | None, shown: str
) -> None:
    await store.put("key", b"12345")
    with pytest.raises(ValueError) as refused:
        await read(store, "key", start=start, end=end)
    assert str(refused.value) == f"the range {shown} is outside of 'key', which has 5 bytes"


async def test_pieces_are_of_bounded_size(store: ObjectStore) -> None:
    await store.put("key", b"x" * 5 * CHUNK_BYTES)
    async with aclosing(store.stream("key")) as pieces:
        sizes = [len(piece) async for piece in pieces]
    assert sum(sizes) == 5 * CHUNK_BYTES
    assert 0 < min(sizes) <= max(sizes) <= 4 * CHUNK_BYTES


async def test_a_stream_may_be_left_early(store: ObjectStore) -> None:
    await store.put("key", b"x" * 5 * CHUNK_BYTES)
    async with aclosing(store.stream("key")) as pieces:
        await anext(pieces)
    await store.delete("key")
    assert await list_keys(store) == []


# --- head and list


async def test_head_and_list_tell_the_same(store: ObjectStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"from long ago")
    os.utime(source, (0, 0))
    before = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=5)
    await store.put("a/bytes", b"12345")
    await store.put("a/file", source)
    listed = [info async for info in store.list("")]
    assert listed == [await store.head("a/bytes"), await store.head("a/file")]
    assert [(info.key, info.size) for info in listed] == [("a/bytes", 5), ("a/file", 13)]
    for info in listed:
        assert before < info.modified_at < dt.datetime.now(dt.UTC) + dt.timedelta(seconds=5)


ORDERED = ["b/Z", "b/a-b/x", "b/a.b", "b/a.b0", "b/a/b", "b/a/b0", "b/a0", "b/ab"]


async def test_list_is_ordered_by_key(store: ObjectStore) -> None:
    for key in reversed(ORDERED):
        await store.put(key, b"")
    assert sorted(ORDERED) == ORDERED
    assert await list_keys(store) == ORDERED


@pytest.mark.parametrize("prefix", ["", "b", "b/", "b/a", "b/a/", "b/a/b", "b/a.", "b/ab", "b/c"])
async def test_list_by_prefix(store: ObjectStore, prefix: str) -> None:
    for key in [*ORDERED, "a/other", "bb/other", "c"]:
        await store.put(key, b"")
    every = await list_keys(store)
    assert len(every) == 11
    assert await list_keys(store, prefix) == [key for key in every if key.startswith(prefix)]


async def test_list_sees_what_was_just_put_and_deleted(store: ObjectStore) -> None:
    if not store.capabilities.consistent_list:
        pytest.skip("the store does not promise it")
    for number in range(10):
        await store.put(f"n/{number}", b"")
        assert len(await list_keys(store, "n/")) == number + 1
    for number in range(10):
        await store.delete(f"n/{number}")
        assert len(await list_keys(store, "n/")) == 9 - number


async def test_objects_may_go_while_they_are_listed(store: ObjectStore) -> None:
    names = [f"n/{number:03}/object" for number in range(300)]
    for name in names:
        await store.put(name, b"")
    listed = []
    async for info in store.list("n/"):
        listed.append(info.key)
        await store.delete(info.key)
    assert listed == names
    assert await list_keys(store) == []


# --- keys, addresses, the end

INVALID_KEYS = [
    "",
    "/",
    "/etc/passwd",
    "a/",
    "a//b",
    "..",
    "../a",
    "a/../b",
    "a/..",
    "a..b",
    ".",
    "./a",
    ".a",
    ".incoming/a",
    "a/.b",
    "-a",
    "a/-b",
    "A/b",
    "a\0b",
    "a b",
    "a\n",
    "a\\b",
    "caf\u00e9",
    "a" * 256,
]


@pytest.mark.parametrize("key", INVALID_KEYS)
async def test_invalid_keys_are_refused_everywhere(
    store: ObjectStore, tmp_path: Path, key: str
) -> None:
    pieces = Pieces(b"x")
    source = tmp_path / "source"
    source.write_bytes(b"x")
    for attempt in (
        store.put(key, b"x"),
        store.put(key, source),
        store.put(key, pieces),
        store.put_if_absent(key, b"x"),
        store.get(key),
        read(store, key),
        store.head(key),
        store.delete(key),
        store.get_signed_url(key),
    ):
        with pytest.raises(InvalidKey) as refused:
            await attempt
        assert str(refused.value) == f"invalid storage key {key!r}"
    assert pieces.closed
    with pytest.raises(InvalidKey):
        store.local_path(key)
    assert await list_keys(store) == []


async def test_invalid_prefixes_are_refused(store: ObjectStore) -> None:
    for prefix in ("/", "../", "a/../", ".incoming", "a\0", "a//"):
        with pytest.raises(InvalidKey) as refused:
            await list_keys(store, prefix)
        assert str(refused.value) == f"invalid storage key prefix {prefix!r}"


async def test_the_longest_key(store: ObjectStore) -> None:
    for key in ("a" * 255, "b" + "/b" * 127):
        await store.put(key, key.encode())
        assert await store.get(key) == key.encode()
    assert await list_keys(store) == ["a" * 255, "b" + "/b" * 127]
    await store.delete("b" + "/b" * 127)
    assert await list_keys(store) == ["a" * 255]


async def test_signed_urls_as_the_capabilities_say(store: ObjectStore) -> None:
    await store.put("key", b"x")
    for method in ("GET", "PUT"):
        url = await store.get_signed_url("key", method=method, expires_in=60, size=1)
        assert (url is not None) == store.capabilities.signed_urls


async def test_a_local_path_leads_to_the_bytes(store: ObjectStore) -> None:
    await store.put("a/b", b"content")
    path = store.local_path("a/b")
    if path is not None:
        assert path.read_bytes() == b"content"


async def test_close_may_be_called_again(store: ObjectStore) -> None:
    await store.put("key", b"x")
    await store.close()
    await store.close()
