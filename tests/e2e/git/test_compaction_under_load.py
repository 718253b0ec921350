"""Roll-ups and prunes while people push and fetch: nobody notices, nothing is lost."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.git import GitRepository, run_git
from tests.support.hub import Hub, running_hub

LEAST_PUSHES, MOST_PUSHES = 12, 400
WANTED = {"--all": 2, "--prune": 2}
BUSY = "another process is compacting this repository; try again when it has finished"


@pytest.fixture
def busy_hub(tmp_path: Path) -> Iterator[Hub]:
    """Its worker compacts after every few pushes, too."""
    settings = {"OCH_MAX_PACKS": "4", "OCH_DERIVED_MIN_OBJECTS": "20"}
    with running_hub(tmp_path / "hub", **settings) as hub:
        yield hub


class Load:
    """Threads that push and fetch; what goes wrong in them fails the test."""

    def __init__(self) -> None:
        self.done = dict.fromkeys(WANTED, 0)
        self.stopped = threading.Event()
        self.faults: list[BaseException] = []
        self.tips: dict[str, str] = {}
        self.lost: list[str] = []

    @property
    def is_enough(self) -> bool:
        return all(self.done[how] >= times for how, times in WANTED.items())

    def push(self, url: str, folder: Path, name: str) -> None:
        """Commits on a branch of one's own; every other one is forced away again."""
        repository = GitRepository.clone(url, folder / name)
        repository.git("checkout", "--quiet", "-b", name)
        for number in range(MOST_PUSHES):
            if self.stopped.is_set() or (number >= LEAST_PUSHES and self.is_enough):
                break
            if number % 4 == 3:
                repository.commit(f"secret {name} {number}")
                repository.git("push", "--quiet", "origin", name)
                self.lost.append(repository.oid("HEAD"))
                repository.git("reset", "--quiet", "--hard", "HEAD~")
                repository.git("push", "--quiet", "--force", "origin", name)
            repository.commit(f"change {name} {number}")
            repository.git("push", "--quiet", "origin", name)
        self.tips[f"refs/heads/{name}"] = repository.oid("HEAD")

    def fetch(self, url: str, folder: Path) -> None:
        number = 0
        while not self.stopped.is_set():
            number += 1
            clone = GitRepository.clone(url, folder / f"clone{number}", "--bare")
            assert clone.git("fsck", "--full", "--connectivity-only", "--no-dangling") == ""

    def start(self, work: object, *arguments: object) -> threading.Thread:
        def run() -> None:
            try:
                work(*arguments)  # type: ignore[operator]
            except BaseException as fault:
                self.faults.append(fault)

        thread = threading.Thread(target=run)
        thread.start()
        return thread


def test_pushes_and_fetches_go_on_during_upkeep(busy_hub: Hub, tmp_path: Path) -> None:
    hub = busy_hub
    token = hub.create_user("ann")
    hub.och("create-repository", "ann/demo")
    url = hub.clone_url("ann/demo", token)
    source = GitRepository.create(tmp_path / "source")
    for number in range(10):
        source.commit(f"base {number}")
    source.git("push", "--quiet", url, "main")
    load = Load()
    pushers = [load.start(load.push, url, tmp_path, name) for name in ("one", "two")]
    fetcher = load.start(load.fetch, url, tmp_path)

    try:
        while any(thread.is_alive() for thread in pushers):
            for how in WANTED:
                done = hub.och_result("repository", "compact", how, "ann/demo")
                assert done.returncode == 0 or BUSY in done.stderr, done.stderr
                load.done[how] += done.returncode == 0
    finally:
        load.stopped.set()
        for thread in (*pushers, fetcher):
            thread.join()

    assert load.faults == []
    assert load.is_enough
    hub.och("repository", "compact", "--prune", "ann/demo")
    assert hub.och("repository", "fsck", "ann/demo") == "ann/demo is whole\n"
    listed = run_git("ls-remote", url, "refs/*").splitlines()
    assert dict(line.split("\t")[::-1] for line in listed) == load.tips | {
        "refs/heads/main": source.oid("main")
    }
    fresh = GitRepository.create(tmp_path / "fresh", "--bare")
    for oid in load.lost:
        assert f"not our ref {oid}" in fresh.failure("fetch", "--quiet", url, oid)
    assert '"level": "error"' not in hub.log()
