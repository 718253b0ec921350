"""Two server processes with caches of their own, one database and one object store."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.git import GitRepository
from tests.support.web_servers import WebServers

pytestmark = pytest.mark.databases
ROUNDS = 4
RACERS = 4


@pytest.fixture
def servers(database_url: str, tmp_path: Path) -> Iterator[WebServers]:
    servers = WebServers(tmp_path, database_url=database_url)
    servers.data.mkdir(mode=0o700)
    servers.admin("create-user", "ann", "--email=ann@example.com")
    servers.token = servers.admin("create-token", "ann", "--name=t", "--scopes=repo")
    servers.admin("create-repository", "ann/demo")
    yield servers
    for server in list(servers.servers):
        servers.stop(server)


def push(clone: GitRepository, url: str, *refs: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        ["git", "push", "--quiet", url, *refs],
        cwd=clone.path,
        env=clone.environment,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def test_racing_pushes_through_two_servers(servers: WebServers, tmp_path: Path) -> None:
    """One of those that race for a ref wins, those that do not all succeed, each sees the other."""
    urls = [servers.url(servers.start(cache=f"cache-{number}")) for number in range(2)]
    source = GitRepository.create(tmp_path / "source")
    base = source.commit("base")
    source.git("push", "--quiet", urls[0], "main")
    clones = [
        GitRepository.clone(urls[number % 2], tmp_path / f"clone-{number}")
        for number in range(RACERS)
    ]
    accepted = {base}
    for round_number in range(ROUNDS):
        tips = []
        for number, clone in enumerate(clones):
            clone.git("fetch", "--quiet", "origin")
            clone.git("reset", "--quiet", "--hard", "origin/main")
            tips.append(clone.commit(f"{round_number}-{number}"))
        # All race for main; each has a branch of its own as well, which nothing may hinder.
        running = [
            push(clone, urls[number % 2], "main", f"main:refs/heads/{round_number}/{number}")
            for number, clone in enumerate(clones)
        ]
        errors = [process.communicate()[1].decode() for process in running]
        winners = [tip for tip, process in zip(tips, running, strict=True) if not process.wait()]
        assert len(winners) == 1, errors
        for error in errors:
            assert not error or "changed by another push" in error or "fetch first" in error
        accepted.add(winners[0])
        for url in urls:
            listed = dict(
                reversed(line.split("\t")) for line in source.git("ls-remote", url).splitlines()
            )
            assert listed["refs/heads/main"] == winners[0]
            for number, tip in enumerate(tips):
                if "fetch first" not in errors[number]:
                    assert listed[f"refs/heads/{round_number}/{number}"] == tip
    for number, url in enumerate(urls):
        last = GitRepository.clone(url, tmp_path / f"last-{number}")
        assert last.git("fsck", "--full", "--strict") == ""
        assert accepted <= set(last.git("rev-list", "main").splitlines())
    for server in list(servers.servers):
        servers.stop(server)
    left = servers.inspect()
    assert left.stored == sorted(left.named)
    assert (left.intents, left.quarantines) == ([], [])
    assert left.pushes == left.events


def test_refs_that_exclude_each_other_never_both_exist(servers: WebServers, tmp_path: Path) -> None:
    """``a`` and ``a/b`` pushed at once through two servers: exactly one comes into being."""
    urls = [servers.url(servers.start(cache=f"cache-{number}")) for number in range(2)]
    source = GitRepository.create(tmp_path / "source")
    oid = source.commit("base")
    source.git("push", "--quiet", urls[0], "main")
    for number in range(ROUNDS):
        names = [f"refs/heads/x{number}", f"refs/heads/x{number}/y"]
        running = [push(source, url, f"main:{name}") for url, name in zip(urls, names, strict=True)]
        errors = [process.communicate()[1].decode() for process in running]
        assert sorted(process.wait() for process in running) == [0, 1], errors
        winner = next(
            name for name, process in zip(names, running, strict=True) if process.returncode == 0
        )
        assert any(f"(conflicts with the existing ref {winner})" in error for error in errors)
        listed = source.git("ls-remote", urls[1], f"refs/heads/x{number}*").splitlines()
        assert listed == [f"{oid}\t{winner}"]


def test_names_that_differ_in_case_alone_are_two(servers: WebServers, tmp_path: Path) -> None:
    """Pushed at once through two servers: both come into being, and one moves without the other."""
    urls = [servers.url(servers.start(cache=f"cache-{number}")) for number in range(2)]
    source = GitRepository.create(tmp_path / "source")
    first, second = source.commit("first"), source.commit("second")
    names = ["refs/heads/Topic", "refs/heads/topic"]
    running = [push(source, url, f"{first}:{name}") for url, name in zip(urls, names, strict=True)]
    errors = [process.communicate()[1].decode() for process in running]
    assert [process.wait() for process in running] == [0, 0], errors
    source.git("push", "--quiet", urls[1], f"{second}:{names[0]}")
    for url in urls:
        listed = source.git("ls-remote", url, "refs/heads/*opic").splitlines()
        assert listed == [f"{second}\t{names[0]}", f"{first}\t{names[1]}"]
