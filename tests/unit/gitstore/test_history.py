"""Lists of commits, counts, merge bases and abbreviated ids, as git itself tells them."""

import datetime as dt

import pytest

from gitstore.history import (
    HistoryQuery,
    ahead_behind,
    count_history,
    disambiguate,
    list_history,
    merge_base,
)
from gitstore.store import GitStore
from gitstore.transactions import RefUpdate
from tests.support.git import GitRepository
from tests.unit.gitstore.conftest import PushPack

MAIN = "refs/heads/main"
EPOCH = 1_700_000_000


def commit_at(source: GitRepository, seconds: int, author: str, **files: str) -> str:
    source.environment |= {
        "GIT_AUTHOR_EMAIL": f"{author}@example.com",
        "GIT_COMMITTER_DATE": f"{EPOCH + seconds} +0000",
    }
    return source.commit(
        f"at {seconds}", files={key.replace("_", "/"): files[key] for key in files}
    )


@pytest.fixture
async def commits(source: GitRepository, push: PushPack) -> list[str]:
    """Four commits and a merge, newest first."""
    first = commit_at(source, 0, "ann", a="1", d_x="1")
    second = commit_at(source, 10, "bob", a="2")
    source.git("mv", "a", "b")
    third = commit_at(source, 20, "ann", d_y="1")
    source.git("checkout", "--quiet", "-b", "side", second)
    side = commit_at(source, 30, "Bob", d_z="1")
    source.git("checkout", "--quiet", "main")
    source.environment["GIT_COMMITTER_DATE"] = f"{EPOCH + 40} +0000"
    source.git("merge", "--quiet", "--no-ff", "--message", "merge", "side")
    merge = source.oid("main")
    await push(
        source.pack(*source.refs()),
        RefUpdate(MAIN, None, merge),
        RefUpdate("refs/heads/side", None, side),
    )
    return [merge, side, third, second, first]


Change = dict[str, object]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"path": b"a"}, [2, 3, 4]),
        ({"path": b"d"}, [0, 1, 2, 4]),
        ({"path": b"d/z"}, [1]),
        ({"path": b"none"}, []),
        ({"path": b"*"}, []),  # a name, no pattern
        ({"path": b"--all"}, []),
        ({"path": b"a\nb"}, []),
        ({"path": b"b", "follow_renames": True}, [2, 3, 4]),
        ({"path": b"b"}, [2]),
        ({"emails": frozenset({"bob@example.com"})}, [0, 1, 3]),
        ({"emails": frozenset({"ann@example.com"}), "path": b"a"}, [2, 4]),
        ({"emails": frozenset()}, []),
        ({"since": dt.datetime.fromtimestamp(EPOCH + 20, dt.UTC)}, [0, 1, 2]),
        ({"until": dt.datetime.fromtimestamp(EPOCH + 10, dt.UTC)}, [3, 4]),
        ({"first_parent": True}, [0, 2, 3, 4]),
    ],
)
async def test_history(
    git_store: GitStore,
    repository_id: int,
    commits: list[str],
    changes: Change,
    expected: list[int],
) -> None:
    query = HistoryQuery(commits[0], **changes)  # type: ignore[arg-type]
    wanted = [commits[number] for number in expected]
    async with git_store.open(repository_id) as copy:
        processes = git_store.processes
        assert await list_history(processes, copy, query, skip=0, limit=100) == wanted
        assert await count_history(processes, copy, query) == len(wanted)
        for skip in range(len(wanted) + 1):
            page = await list_history(processes, copy, query, skip=skip, limit=2)
            assert page == wanted[skip : skip + 2]


async def test_bases_and_distances(
    git_store: GitStore, repository_id: int, commits: list[str]
) -> None:
    merge, side, third, second, _ = commits
    async with git_store.open(repository_id) as copy:
        processes = git_store.processes
        assert await merge_base(processes, copy, third, side) == second
        assert await ahead_behind(processes, copy, third, side) == (1, 1)
        assert await ahead_behind(processes, copy, third, merge) == (2, 0)


async def test_histories_without_a_common_commit(
    git_store: GitStore, repository_id: int, source: GitRepository, push: PushPack
) -> None:
    one = source.commit("one")
    source.git("checkout", "--quiet", "--orphan", "other")
    other = source.commit("other")
    await push(
        source.pack(*source.refs()),
        RefUpdate(MAIN, None, one),
        RefUpdate("refs/heads/other", None, other),
    )
    async with git_store.open(repository_id) as copy:
        assert await merge_base(git_store.processes, copy, one, other) is None


async def test_abbreviated_ids(git_store: GitStore, repository_id: int, commits: list[str]) -> None:
    async with git_store.open(repository_id) as copy:
        processes = git_store.processes
        assert await disambiguate(processes, copy, commits[0][:10]) == [commits[0]]
        assert await disambiguate(processes, copy, "f" * 39) == []
