"""Packs that are small on the wire and large, deep or broken inside: the hub outlives them all."""

import zlib
from collections.abc import Iterator

import pytest

from tests.support.git import run_git
from tests.support.hostile import (
    BLOB,
    COMMIT,
    FILE,
    FIRST_BYTES,
    FOLDER,
    OFS_DELTA,
    TAG,
    TREE,
    Objects,
    delta_bomb,
    entry,
    oid_of,
    pack,
    varint,
    zeros,
)
from tests.support.hostile_hub import Mallory, Target, mallory, refusing, shared_target, target
from tests.support.processes import python_peaks

__all__ = ["mallory", "refusing", "shared_target", "target"]

REF = "refs/heads/hostile"
REF_DELTA = 7
CRASHED = "git crashed over the pack; its trees may be nested too deeply"
TOO_DEEP = "the trees of the pack are nested too deeply"
GROWTH_BYTES = 64 * 1024 * 1024


@pytest.fixture
def calm(mallory: Mallory) -> Iterator[None]:
    """What a git child has to bear is not borne by the hub's own processes."""
    before = python_peaks(mallory.hub.process.pid)
    assert before
    yield
    after = python_peaks(mallory.hub.process.pid)
    assert after.keys() == before.keys()
    assert all(after[pid] - before[pid] < GROWTH_BYTES for pid in before), (before, after)


def refused(target: Target, data: bytes, tip: str) -> str:
    """Push ``tip``; what the whole pack is refused for."""
    report = target.push(data, hostile=tip)
    assert report.refs == {REF: "unpacker error"}
    assert report.error == ""
    return report.unpack


@pytest.mark.parametrize(("levels", "sent"), [(1, 145), (2, 172)], ids=["4 MiB", "256 MiB"])
def test_a_delta_bomb_that_git_can_bear(target: Target, calm: None, levels: int, sent: int) -> None:
    data, size = delta_bomb(levels)
    assert (len(data), size) == (sent, FIRST_BYTES * 64**levels)
    report = target.push(data, hostile=target.base)
    assert (report.unpack, report.refs) == ("ok", {REF: "ok"})


def test_a_delta_bomb_of_16_gib(refusing: Target, calm: None) -> None:
    data, size = delta_bomb(3)
    assert (len(data), size) == (307, 16 * 1024**3)
    assert refused(refusing, data, refusing.base) == (
        "the pack needs more memory than a push may use"
    )


def test_a_large_blob_in_a_small_pack(target: Target, calm: None) -> None:
    data, oid = zeros(400 * 1024 * 1024)
    assert len(data) < 450_000
    objects = Objects()
    tip = objects.commit_of((FILE, b"zeros", oid))
    count = len(objects.by_oid) + 1
    body = data[12:-20] + b"".join(entry(kind, each) for kind, each in objects.by_oid.values())
    report = target.push(pack([body], count=count), hostile=tip)
    assert (report.unpack, report.refs) == ("ok", {REF: "ok"})
    url = target.mallory.hub.clone_url(target.path)
    assert run_git("ls-remote", url, REF) == f"{tip}\t{REF}"


def deep(depth: int) -> tuple[bytes, str]:
    """A pack of one commit with a file below that many folders, and the commit's id."""
    objects = Objects()
    tree = objects.tree((FILE, b"a", objects.blob(b"x")))
    for _ in range(depth):
        tree = objects.tree((FOLDER, b"a", tree))
    tip = objects.commit(tree)
    return objects.pack(), tip


def test_trees_5000_deep(target: Target, calm: None) -> None:
    """Git before 2.43 walks them; later ones go 2048 levels down (``core.maxTreeDepth``)."""
    data, tip = deep(5000)
    before = target.state()
    report = target.push(data, hostile=tip)
    if report.refs == {REF: "ok"}:
        assert report.unpack == "ok"
    else:
        assert (report.unpack, report.refs) == (TOO_DEEP, {REF: "unpacker error"})
        assert target.state() == before


def test_trees_so_deep_that_git_crashes(refusing: Target, calm: None) -> None:
    """A child that dies of a signal is told in words, and nothing of the pack is kept."""
    data, tip = deep(100_000)
    assert refused(refusing, data, tip) in (CRASHED, TOO_DEEP)


def test_deep_trees_in_an_empty_repository(mallory: Mallory, calm: None) -> None:
    """Nobody walks a first push that index-pack found whole, so it is kept; others are served."""
    target = Target(mallory, mallory.create())
    data, tip = deep(20_000)
    report = target.push(data, hostile=tip)
    assert (report.unpack, report.refs) == ("ok", {REF: "ok"})
    mallory.look_at_neighbour()


PERSON = b"A <a@example.com> 1700000000 +0000"
EMPTY_TREE = oid_of(TREE, b"").encode()


def header(**lines: bytes) -> bytes:
    return b"".join(name.encode() + b" " + value + b"\n" for name, value in lines.items()) + b"\n"


NO_COMMIT = "bogus commit object TIP; invalid commit"
WITHOUT_TREE = header(author=PERSON, committer=PERSON)
TWO_AUTHORS = b"author %s\nauthor %s\ncommitter %s\n\n" % (PERSON, PERSON, PERSON)


def commit(**lines: bytes) -> bytes:
    return header(tree=EMPTY_TREE, **lines)


def entries_of(*names: bytes) -> bytes:
    return b"".join(b"100644 %s\0%s\1" % (name, bytes(19)) for name in names)


# The kind of object, its bytes, and what is said about it.
BROKEN = {
    "no tree": (COMMIT, WITHOUT_TREE, NO_COMMIT),
    "short tree": (COMMIT, b"tree 12\n" + WITHOUT_TREE, NO_COMMIT),
    "no end": (COMMIT, b"tree " + EMPTY_TREE, NO_COMMIT),
    "empty commit": (COMMIT, b"", NO_COMMIT),
    "bad parent": (
        COMMIT,
        commit(parent=b"x" * 40, author=PERSON, committer=PERSON),
        "bad parents in commit TIP; invalid commit",
    ),
    "no author": (
        COMMIT,
        commit(committer=PERSON),
        "object TIP: missingAuthor: invalid format - expected 'author' line",
    ),
    "no committer": (
        COMMIT,
        commit(author=PERSON),
        "object TIP: missingCommitter: invalid format - expected 'committer' line",
    ),
    "two authors": (
        COMMIT,
        b"tree " + EMPTY_TREE + b"\n" + TWO_AUTHORS,
        "object TIP: multipleAuthors: invalid format - multiple 'author' lines",
    ),
    "no address": (
        COMMIT,
        commit(author=b"A 1 +0", committer=PERSON),
        "object TIP: missingEmail: invalid author/committer line - missing email",
    ),
    "time beyond 64 bits": (
        COMMIT,
        commit(author=PERSON, committer=b"A <a> 99999999999999999999 +0000"),
        "object TIP: badDateOverflow: invalid author/committer line - date causes integer overflow",
    ),
    "zero byte": (
        COMMIT,
        commit(author=PERSON + b"\0", committer=PERSON),
        "object TIP: nulInHeader: unterminated header: NUL at offset 87",
    ),
    "tag without object": (TAG, header(type=b"commit", tag=b"x", tagger=PERSON), "invalid tag"),
    "tag of nonsense": (
        TAG,
        header(object=EMPTY_TREE, type=b"nonsense", tag=b"x", tagger=PERSON),
        "unknown tag type 'nonsense' in TIP; invalid tag",
    ),
    "tag without name": (
        TAG,
        header(object=EMPTY_TREE, type=b"tree", tagger=PERSON),
        "invalid tag",
    ),
    "cut tree": (
        TREE,
        b"100644 a\0short",
        "too-short tree object; object TIP: badTree: cannot be parsed as a tree",
    ),
    "unsorted tree": (
        TREE,
        entries_of(b"b", b"a"),
        "object TIP: treeNotSorted: not properly sorted",
    ),
    "name twice in a tree": (
        TREE,
        entries_of(b"a", b"a"),
        "object TIP: duplicateEntries: contains duplicate file entries",
    ),
    "null id": (
        TREE,
        b"100644 a\0" + bytes(20),
        "object TIP: nullSha1: contains entries pointing to null sha1",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_objects_with_broken_headers(refusing: Target, case: str) -> None:
    kind, data, fault = BROKEN[case]
    tip = oid_of(kind, data)
    text = refused(refusing, pack([entry(TREE, b""), entry(kind, data)]), tip)
    assert text.removesuffix("; fsck error in packed object") == fault.replace("TIP", tip)


@pytest.fixture
def small() -> tuple[list[bytes], str]:
    """The encoded objects of one commit, its blob first, and its id."""
    objects = Objects()
    tip = objects.files(README=b"x")
    return [entry(kind, data) for kind, data in objects.by_oid.values()], tip


def test_a_pack_with_a_wrong_checksum(refusing: Target, small: tuple[list[bytes], str]) -> None:
    entries, tip = small
    data = pack(entries)
    assert refused(refusing, data[:-1] + bytes([data[-1] ^ 1]), tip) == (
        "pack is corrupted (SHA1 mismatch)"
    )


@pytest.mark.parametrize(
    ("count", "reason"),
    [
        (2, "pack is corrupted (SHA1 mismatch)"),
        (2**31, "data too large to fit into virtual memory space"),
    ],
)
def test_a_pack_that_lies_about_its_count(
    refusing: Target, small: tuple[list[bytes], str], count: int, reason: str
) -> None:
    entries, tip = small
    assert refused(refusing, pack(entries, count=count), tip) == reason


def test_an_object_twice_in_a_pack(refusing: Target, small: tuple[list[bytes], str]) -> None:
    entries, tip = small
    blob = oid_of(BLOB, b"x")
    assert refused(refusing, pack([*entries, entries[0]]), tip) == (
        f"The same object {blob} appears twice in the pack"
    )


@pytest.mark.parametrize(("size", "code"), [(10, -5), (2**30, 1)], ids=["too small", "too large"])
def test_an_object_that_lies_about_its_size(refusing: Target, size: int, code: int) -> None:
    lie = entry(BLOB, zlib.compress(b"x" * 100), size=size)
    assert refused(refusing, pack([lie]), refusing.base) == (
        f"pack has bad object at offset 12: inflate returned {code}"
    )


def test_a_thin_pack_without_its_base(refusing: Target) -> None:
    delta = varint(5) + varint(5) + b"\x05hello"
    missing = bytes([REF_DELTA << 4 | len(delta)]) + b"\x11" * 20 + zlib.compress(delta)
    assert refused(refusing, pack([missing]), refusing.base) == "pack has 1 unresolved delta"


def test_a_delta_that_reads_beyond_its_base(refusing: Target) -> None:
    """CVE-2018-10887 and its like: a copy of what the base does not have."""
    base = entry(BLOB, b"short")
    delta = varint(5) + varint(100) + b"\x91\x02\x64"
    assert refused(
        refusing, pack([base, entry(OFS_DELTA, delta, offset=len(base))]), refusing.base
    ) == (
        f"delta replay has gone wild; pack has bad object at offset {12 + len(base)}:"
        " failed to apply delta"
    )
