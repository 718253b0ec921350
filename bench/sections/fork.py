"""A fork of the project, against the clone that plain git would make."""

import shutil
from collections.abc import Callable

from bench.figures import Item, Record, Section, median
from bench.hub import FORKER, Hub, wait_until
from bench.programs import BenchFailed, git, seconds
from bench.workbench import Rounds, Workbench

_ITEMS = (
    Item("wall", "fork of the project vs git clone --bare --no-local, wall clock", None),
    Item("cpu", "the same, processor time of the hub", None, "s"),
)
_FIELDS = """query { __type(name: "ForkRepositoryInput") { inputFields { name } } }"""
_FIND = """query($owner: String!, $name: String!) {
  repository(owner: $owner, name: $name) { id }
}"""
_FORK = """mutation($input: ForkRepositoryInput!) {
  forkRepository(input: $input) { clientMutationId }
}"""


def _measure(bench: Workbench, record: Record) -> None:
    hub = bench.uncached_hub
    name = bench.served(hub, bench.project)
    make = _by_mutation(hub, name) or _by_command(hub, name)
    copy = bench.plain / bench.plain_copy(hub, name)
    rounds = Rounds(bench.rounds)
    rounds.add("git clone --bare --no-local", lambda: _plain_clone(bench, str(copy)))
    rounds.add("hub", _forks(hub, make, bench.project.tip()), hub.tree)
    rounds.run()
    cpu = rounds.cpu("hub")
    why = (
        "Both write one fresh pack of what branches and tags reach, so that a fork holds nothing "
        "its source has hidden. The hub then stores it durably; the clone does not."
    )
    record.ratio("wall", rounds.seconds("hub"), rounds.seconds("git clone --bare --no-local"), why)
    record.put("cpu", median(cpu.values), [cpu], "Nearly all of it git pack-objects.")


def _by_mutation(hub: Hub, name: str) -> Callable[[str], object] | None:
    """Forks under the name it is given; None where the contract has no such mutation."""
    found = hub.graphql(_FIELDS)["__type"]
    if found is None:
        return None
    known = {field["name"] for field in found["inputFields"]}
    owner, _, short = name.partition("/")
    source = hub.graphql(_FIND, {"owner": owner, "name": short})["repository"]["id"]
    if FORKER not in hub.tokens:
        hub.add_user(FORKER)

    def fork(target: str) -> object:
        values = {"repositoryId": source, "name": target}
        chosen = {key: value for key, value in values.items() if key in known}
        return hub.graphql(_FORK, {"input": chosen}, login=FORKER)

    return fork


def _by_command(hub: Hub, name: str) -> Callable[[str], object]:
    if FORKER not in hub.tokens:
        hub.add_user(FORKER)
    return lambda target: hub.och("repository", "fork", name, f"{FORKER}/{target}")


def _forks(hub: Hub, make: Callable[[str], object], tip: str) -> Callable[[], float]:
    """Each call makes a fork and waits until it shows the source's tip."""
    number = 0

    def fork() -> float:
        nonlocal number
        number += 1
        target = f"fork-{number}"
        hub.tree.settle()

        def whole() -> bool:
            url = f"http://{FORKER}:{hub.tokens[FORKER]}@127.0.0.1:{hub.port}/{FORKER}/{target}.git"
            try:
                return tip.encode() in git("ls-remote", url)
            except BenchFailed:
                return False

        def work() -> None:
            make(target)
            wait_until(whole)

        return seconds(work)

    return fork


def _plain_clone(bench: Workbench, source: str) -> float:
    path = bench.new_path("fork")
    try:
        return seconds(lambda: git("clone", "--quiet", "--bare", "--no-local", source, str(path)))
    finally:
        shutil.rmtree(path, ignore_errors=True)


SECTION = Section("fork", "Fork of the project", _ITEMS, _measure)
