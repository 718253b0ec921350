"""A fork of the project, against the clone that plain git would make."""

import shutil
from collections.abc import Callable
from itertools import count

from bench.figures import Item, Record, Section, median
from bench.hub import FORKER, Hub
from bench.programs import BenchFailed, git, seconds
from bench.workbench import Rounds, Workbench

_ITEMS = (
    Item("wall", "fork of the project vs git clone --bare --no-local, wall clock", None),
    Item("cpu", "the same, processor time of the hub", None, "s"),
)
_FIND = """query($owner: String!, $name: String!) {
  repository(owner: $owner, name: $name) { id }
}"""
_FORK = """mutation($input: ForkRepositoryInput!) {
  forkRepository(input: $input) { clientMutationId }
}"""


def _measure(bench: Workbench, record: Record) -> None:
    hub = bench.uncached_hub
    name = bench.served(hub, bench.project)
    copy = bench.plain / bench.plain_copy(hub, name)
    rounds = Rounds(bench.rounds)
    rounds.add("git clone --bare --no-local", lambda: _plain_clone(bench, str(copy)))
    rounds.add("hub", _forks(hub, name, bench.project.tip()), hub.tree)
    rounds.run()
    cpu = rounds.cpu("hub")
    why = (
        "Both write one fresh pack of what branches and tags reach, so that a fork holds nothing "
        "its source has hidden. The hub then stores it durably; the clone does not."
    )
    record.ratio("wall", rounds.seconds("hub"), rounds.seconds("git clone --bare --no-local"), why)
    record.put("cpu", median(cpu.values), [cpu], "Nearly all of it git pack-objects.")


def _forks(hub: Hub, name: str, tip: str) -> Callable[[], float]:
    """Each call makes a fork and sees that it shows the source's tip."""
    owner, _, short = name.partition("/")
    source = hub.graphql(_FIND, {"owner": owner, "name": short})["repository"]["id"]
    forkers = (f"{FORKER}-{number}" for number in count(1))

    def fork() -> float:
        # An account has one fork of a repository.
        forker = next(forkers)
        hub.add_user(forker)
        hub.tree.settle()
        url = f"http://{forker}:{hub.tokens[forker]}@127.0.0.1:{hub.port}/{forker}/{short}.git"

        def work() -> None:
            hub.graphql(_FORK, {"input": {"repositoryId": source}}, login=forker)
            if tip.encode() not in git("ls-remote", url):
                raise BenchFailed("the fork does not show its source's tip")

        return seconds(work)

    return fork


def _plain_clone(bench: Workbench, source: str) -> float:
    path = bench.new_path("fork")
    try:
        return seconds(lambda: git("clone", "--quiet", "--bare", "--no-local", source, str(path)))
    finally:
        shutil.rmtree(path, ignore_errors=True)


SECTION = Section("fork", "Fork of the project", _ITEMS, _measure)
