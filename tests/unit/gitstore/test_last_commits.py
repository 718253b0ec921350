"""The last commit of each entry, compared with what ``git log -1`` says of every single one."""

import random

import pytest

from gitstore.last_commits import KnownCommits, LastCommits, last_commits
from gitstore.store import GitStore
from gitstore.transactions import RefUpdate
from tests.support.git import GitRepository
from tests.unit.gitstore.conftest import PushPack

MAIN = "refs/heads/main"
NAMES = [b"a", b"b", b"d", b"e", "ü".encode(), b" x", b"new\nline", b"f" * 40, b":(top)", b"-x"]


def entries(source: GitRepository, tip: str, folder: bytes) -> dict[bytes, str]:
    listed = source.run("ls-tree", "-z", f"{tip}:{folder.decode()}").stdout
    found = {}
    for record in listed.split(b"\0")[:-1]:
        meta, name = record.split(b"\t", 1)
        found[name] = meta.split()[2].decode()
    return found


def expected(source: GitRepository, tip: str, folder: bytes) -> LastCommits:
    """As git tells it, entry by entry."""
    found = {}
    for name in entries(source, tip, folder):
        path = (folder + b"/" + name if folder else name).decode()
        log = ("--literal-pathspecs", "log", "-1", "--format=%H", tip, "--", path)
        found[name] = source.git(*log)
    return found


def grow(source: GitRepository, steps: int, chance: random.Random) -> list[str]:
    """A history of edits, deletions, reverts, branches and merges; returns its commits."""
    source.commit("first", files={name.decode(): "0\n" for name in NAMES} | {"d2/s/x": "0\n"})
    commits = [source.oid("HEAD")]
    for step in range(steps):
        source.environment["GIT_COMMITTER_DATE"] = f"{1_700_000_000 + step * 60} +0000"
        kind = chance.randrange(10)
        if kind < 6:
            names = chance.sample([name.decode() for name in NAMES], 2)
            files = {name: f"{chance.randrange(3)}\n" for name in names}
            files[f"d2/s/{chance.randrange(4)}"] = f"{chance.randrange(3)}\n"
            source.commit(f"step {step}", files=files)  # type: ignore[arg-type]
        elif kind < 8:
            side = f"side{step}"
            base = chance.choice(commits)
            source.git("checkout", "--quiet", "-b", side, base)
            source.commit(
                f"on {side}", files={"a": f"{chance.randrange(3)}\n", f"d2/{step}": "1\n"}
            )
            source.git("checkout", "--quiet", "main")
            ours = chance.choice(("ours", "theirs"))
            source.git("merge", "--quiet", "--no-ff", "-X", ours, "-m", f"merge {side}", side)
        else:
            source.commit(f"step {step}", files={f"n{step}": "x\n"})
        commits.append(source.oid("HEAD"))
    return commits


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_every_entry_is_as_git_tells(
    git_store: GitStore,
    repository_id: int,
    source: GitRepository,
    push: PushPack,
    seed: int,
) -> None:
    commits = grow(source, 25, random.Random(seed))
    tip = commits[-1]
    await push(source.pack("main"), RefUpdate(MAIN, None, tip))
    async with git_store.open(repository_id) as copy:
        processes = git_store.processes
        for folder in (b"", b"d2", b"d2/s"):
            whole = expected(source, tip, folder)
            assert (
                await last_commits(processes, copy, tip, folder, entries(source, tip, folder))
                == whole
            )
            # From an answer for an older commit, and for a newer one.
            for old in (commits[0], commits[12], commits[-2], tip):
                known = KnownCommits(
                    old, entries(source, old, folder), expected(source, old, folder)
                )
                found = await last_commits(
                    processes, copy, tip, folder, entries(source, tip, folder), known
                )
                assert found == whole, (folder, commits.index(old))
            newer = KnownCommits(tip, entries(source, tip, folder), whole)
            then = commits[12]
            found = await last_commits(
                processes, copy, then, folder, entries(source, then, folder), newer
            )
            assert found == expected(source, then, folder)


async def test_nothing_and_unrelated_histories(
    git_store: GitStore, repository_id: int, source: GitRepository, push: PushPack
) -> None:
    tip = source.commit("one", files={"a": "1"})
    source.git("checkout", "--quiet", "--orphan", "other")
    other = source.commit("other", files={"b": "1"})
    await push(
        source.pack("main", "other"),
        RefUpdate(MAIN, None, tip),
        RefUpdate("refs/heads/other", None, other),
    )
    async with git_store.open(repository_id) as copy:
        processes = git_store.processes
        assert await last_commits(processes, copy, tip, b"", {}) == {}
        known = KnownCommits(tip, entries(source, tip, b""), {b"a": tip})
        listed = entries(source, other, b"")
        found = await last_commits(processes, copy, other, b"", listed, known)
        assert found == {b"a": other, b"b": other}
