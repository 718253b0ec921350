"""What differs between commits: files, counts and patches, whatever the files are called."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gitstore import diffs
from gitstore.blame import BlameRange, blame
from gitstore.cache import CachedRepository
from gitstore.diffs import (
    EMPTY_TREE,
    ChangedFile,
    ChangeKind,
    Patch,
    Statistics,
    list_changed_files,
    list_patches,
    list_statistics,
)
from gitstore.last_commits import last_commits
from gitstore.quoting import quote, unquote
from gitstore.store import GitStore
from gitstore.transactions import RefUpdate
from tests.support.git import GitRepository
from tests.unit.gitstore.conftest import PushPack

MAIN = "refs/heads/main"
NAMES = [
    "a b",
    "ü",
    'q"uote',
    "back\\slash",
    "tab\there",
    "new\nline",
    "\x01",
    "-x",
    ":(top)y",
    "*",
]
LONG = "".join(f"line {number}\n" for number in range(20))


@pytest.fixture
async def copy(git_store: GitStore, repository_id: int) -> AsyncIterator[CachedRepository]:
    async with git_store.open(repository_id) as copy:
        yield copy


@pytest.fixture
async def commits(source: GitRepository, push: PushPack) -> tuple[str, str]:
    first = source.commit(
        "first",
        files={"long": LONG, "gone": "x\n", "bin": b"\0one", "mode": "m\n", "space": "a b\n"}
        | {f"d/{name}": "1\n" for name in NAMES},
    )
    source.git("rm", "--quiet", "gone")
    source.git("mv", "long", "moved")
    (source.path / "mode").chmod(0o755)
    second = source.commit(
        "second",
        files={
            "moved": LONG.replace("line 7\n", "LINE 7\nmore\n"),
            "bin": b"\0two",
            "space": "a   b\n",
            "added": "+++ b/x\n--- a/y\ndiff --git a/x b/x\n@@ -1 +1 @@\nno end",
        }
        | {f"d/{name}": f"2 {name!a}\n" for name in NAMES},
    )
    await push(source.pack("main"), RefUpdate(MAIN, None, second))
    return first, second


async def test_changed_files(
    git_store: GitStore, commits: tuple[str, str], copy: CachedRepository, source: GitRepository
) -> None:
    found = await list_changed_files(git_store.processes, copy, *commits)
    assert not found.is_truncated
    by_path = {file.path: file for file in found.files}
    assert set(by_path) == {b"moved", b"gone", b"bin", b"mode", b"space", b"added"} | {
        b"d/" + name.encode() for name in NAMES
    }
    assert by_path[b"moved"] == ChangedFile(
        kind=ChangeKind.RENAMED,
        path=b"moved",
        old_path=b"long",
        old_mode=0o100644,
        new_mode=0o100644,
        old_oid=source.oid("main~1:long"),
        new_oid=source.oid("main:moved"),
        additions=2,
        deletions=1,
    )
    gone, added, binary = by_path[b"gone"], by_path[b"added"], by_path[b"bin"]
    assert (gone.kind, gone.new_oid, gone.new_mode, gone.deletions) == (
        ChangeKind.DELETED,
        None,
        None,
        1,
    )
    assert (added.kind, added.old_oid, added.old_mode, added.additions) == (
        ChangeKind.ADDED,
        None,
        None,
        5,
    )
    assert (binary.kind, binary.additions, binary.deletions) == (ChangeKind.MODIFIED, None, None)
    assert (by_path[b"mode"].old_mode, by_path[b"mode"].new_mode) == (0o100644, 0o100755)
    assert by_path[b"space"].additions == 1
    calm = await list_changed_files(git_store.processes, copy, *commits, ignore_whitespace=True)
    assert {file.path: file.additions for file in calm.files}[b"space"] == 0


async def test_patches(
    git_store: GitStore, commits: tuple[str, str], copy: CachedRepository
) -> None:
    processes = git_store.processes
    files = (await list_changed_files(processes, copy, *commits)).files
    patches = dict(
        zip(
            (file.path for file in files),
            await list_patches(processes, copy, *commits, files),
            strict=True,
        )
    )
    assert patches[b"bin"] is None
    assert patches[b"mode"] == Patch(b"", is_truncated=False)
    moved = patches[b"moved"]
    assert moved is not None
    assert moved.text.startswith(
        b"@@ -5,7 +5,8 @@ line 3\n line 4\n line 5\n line 6\n-line 7\n+LINE 7"
    )
    assert patches[b"added"] == Patch(
        b"@@ -0,0 +1,5 @@\n++++ b/x\n+--- a/y\n+diff --git a/x b/x\n+@@ -1 +1 @@\n+no end\n"
        b"\\ No newline at end of file\n",
        is_truncated=False,
    )
    for name in NAMES:
        expected = b"@@ -1 +1 @@\n-1\n+2 " + f"{name!a}\n".encode()
        assert patches[b"d/" + name.encode()] == Patch(expected, is_truncated=False), name
    # Some of them, in another order, and white space left out.
    some = [files[-1], files[0]]
    shown = await list_patches(processes, copy, *commits, some)
    assert shown == [patches[file.path] for file in some]
    space = next(file for file in files if file.path == b"space")
    calm = await list_patches(processes, copy, *commits, [space], ignore_whitespace=True)
    assert calm == [Patch(b"", is_truncated=False)]
    assert await list_patches(processes, copy, *commits, []) == []


async def test_large_changes_are_cut(
    git_store: GitStore,
    repository_id: int,
    source: GitRepository,
    push: PushPack,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(diffs, "MAX_PATCH_BYTES", 1000)
    monkeypatch.setattr(diffs, "MAX_PATCHES_BYTES", 1500)
    files = {
        "a": "x\n" * 2000,
        "b": "y" * 1_000_000,
        "c": "z\n" * 300,
        "d": "z\n" * 300,
        "e": "z\n",
    }
    tip = source.commit("one", files=files)
    await push(source.pack("main"), RefUpdate(MAIN, None, tip))
    async with git_store.open(repository_id) as copy:
        processes = git_store.processes
        between = (EMPTY_TREE["sha1"], tip)
        changed = (await list_changed_files(processes, copy, *between)).files
        a, b, c, d, e = await list_patches(processes, copy, *between, changed)
        assert a is not None
        assert a.is_truncated
        assert 990 < len(a.text) <= 1000
        assert a.text.endswith(b"+x\n")
        assert b == Patch(b"@@ -0,0 +1 @@\n", is_truncated=True)
        assert c == d == Patch(b"", is_truncated=True)  # no room beside the others
        assert e == Patch(b"@@ -0,0 +1 @@\n+z\n", is_truncated=False)
        monkeypatch.setattr(diffs, "MAX_FILES", 2)
        cut = await list_changed_files(processes, copy, *between)
        assert ([file.path for file in cut.files], cut.is_truncated) == ([b"a", b"b"], True)
        assert cut.files[0].additions is None


async def test_statistics_of_many_commits(
    git_store: GitStore, repository_id: int, source: GitRepository, push: PushPack
) -> None:
    first = source.commit("first", files={"a": "1\n2\n", "b": "1\n"})
    second = source.commit("second", files={"a": "1\n3\n4\n"})
    source.git("checkout", "--quiet", "-b", "side", first)
    side = source.commit("side", files={"c": "1\n"})
    source.git("checkout", "--quiet", "main")
    source.git("merge", "--quiet", "--no-ff", "--message", "merge", "side")
    empty = source.commit("empty", files={"a": "1\n3\n4\n"})
    merge = source.oid("main~1")
    await push(source.pack("main"), RefUpdate(MAIN, None, empty))
    async with git_store.open(repository_id) as copy:
        oids = [first, second, side, merge, empty]
        found = await list_statistics(git_store.processes, copy, oids)
    assert found == {
        first: Statistics(2, 3, 0),
        second: Statistics(1, 2, 1),
        side: Statistics(1, 1, 0),
        merge: Statistics(1, 1, 0),  # what it brought to its first parent
        empty: Statistics(0, 0, 0),
    }


async def test_blame(
    git_store: GitStore, repository_id: int, source: GitRepository, push: PushPack
) -> None:
    first = source.commit("first", files={'o"ld': "1\n2\n3\n4\n"})
    second = source.commit("second", files={'o"ld': "1\nTWO\n3\n4\n5\n"})
    source.git("mv", 'o"ld', "new")
    third = source.commit("third", files={"d/x": "1\n"})
    tip = source.commit("tip", files={"new": "0\n1\nTWO\n3\n4\n5\n"})
    await push(source.pack("main"), RefUpdate(MAIN, None, tip))
    old, new = b'o"ld', b"new"
    async with git_store.open(repository_id) as copy:
        processes = git_store.processes
        assert await blame(processes, copy, tip, new) == [
            BlameRange(1, 1, tip, new, third, new),
            BlameRange(2, 2, first, old, None, None),
            BlameRange(3, 3, second, old, first, old),
            BlameRange(4, 5, first, old, None, None),
            BlameRange(6, 6, second, old, first, old),
        ]
        for path in (b"none", b"d", b"*", b"--help", b":(top)new", b"../new", b"x" * 300_000):
            assert await blame(processes, copy, tip, path) is None


@pytest.mark.parametrize("name", [*NAMES, "\x7f\v\f\a\b\r\x1b"])
def test_quoting_is_gits(tmp_path: Path, name: str) -> None:
    source = GitRepository.create(tmp_path)
    source.commit("one", files={name: "x"})
    listed = source.run("-c", "core.quotePath=false", "ls-files").stdout.rstrip(b"\n")
    assert quote(name.encode()) == listed
    assert unquote(listed) == name.encode()


async def test_paths_beyond_what_git_can_be_told(
    git_store: GitStore, repository_id: int, source: GitRepository, push: PushPack
) -> None:
    """A tree of trees, each with a long name: the path is longer than an argument may be."""
    tree = source.git("mktree", stdin=f"100644 blob {blob(source)}\tfile\n".encode())
    for _ in range(600):
        tree = source.git("mktree", stdin=f"040000 tree {tree}\t{'n' * 250}\n".encode())
    plain = f"100644 blob {blob(source)}\tshort\n040000 tree {tree}\tdeep\n".encode()
    tip = source.git("commit-tree", "-m", "deep", source.git("mktree", stdin=plain))
    await push(source.pack(tip), RefUpdate(MAIN, None, tip))
    async with git_store.open(repository_id) as copy:
        processes = git_store.processes
        between = (EMPTY_TREE["sha1"], tip)
        changed = (await list_changed_files(processes, copy, *between)).files
        long, short = sorted(changed, key=lambda file: file.path)
        assert len(long.path) > 150_000
        assert await list_patches(processes, copy, *between, [long, short]) == [
            Patch(b"", is_truncated=True),
            Patch(b"@@ -0,0 +1 @@\n+x\n", is_truncated=False),
        ]
        assert await list_patches(processes, copy, *between, [long]) == [
            Patch(b"", is_truncated=True)
        ]
        folder = long.path.rpartition(b"/")[0]
        assert await last_commits(processes, copy, tip, folder, {b"file": "1" * 40}) == {}


def blob(source: GitRepository) -> str:
    return source.git("hash-object", "-w", "--stdin", stdin=b"x\n")
