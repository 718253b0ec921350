"""A thousand small pushes in a row: packs must not pile up, nor pushes grow slower."""

from functools import partial

from bench.figures import Item, Record, Section, Series, median
from bench.programs import BenchFailed, git, seconds
from bench.sources import make_small_commits
from bench.workbench import Workbench

_PUSHES, _QUICK_PUSHES = 1000, 60
_SHARE = 10  # the first and the last tenth are compared
_ROLL_UP_SECONDS = 60
_ITEMS = (
    Item("packs", "packs left after 1,000 small pushes in a row", 30, "packs"),
    Item("slower", "mean of the last 100 of them vs the first 100", 1.1),
)


def _measure(bench: Workbench, record: Record) -> None:
    hub = bench.uncached_hub
    name = bench.served(hub, bench.project)
    count = bench.sized(_PUSHES, _QUICK_PUSHES)
    client = bench.new_path("client")
    commits = make_small_commits(client, bench.project, count + 1, "many")
    remote = hub.http(name)
    took = []
    for number, commit in enumerate(commits):
        arguments = ["push", "--quiet", remote.url, f"{commit}:refs/heads/bench/many"]
        one = seconds(partial(git, *arguments, cwd=client))
        if number:  # the first makes the branch
            took.append(one)
    hub.tree.settle(at_most=_ROLL_UP_SECONDS)
    packs = float(len(list((hub.cache_of(name) / "objects" / "pack").glob("*.idx"))))
    try:
        stats = f" The hub says of it: {'; '.join(hub.stats(name).splitlines())}."
    except BenchFailed as error:
        stats = f" (Statistics of the hub are not available: {error}.)"
    record.put(
        "packs",
        packs,
        [Series("packs", [packs], "")],
        f"Packs in the local copy after {count} pushes over HTTP and the background work that "
        f"followed.{stats}",
    )
    part = count // _SHARE
    first, last = took[:part], took[-part:]
    record.put(
        "slower",
        (sum(last) / part) / (sum(first) / part),
        [
            Series(
                f"mean of each {part} pushes",
                [sum(took[at : at + part]) / part for at in range(0, count, part)],
            ),
            Series("slowest", [max(took)]),
            Series("median of all", [median(took)]),
        ],
        "What grows with each push is the number of packs that git looks into and the list of "
        "them in the database; rolling them up keeps both small, and takes processor time itself.",
    )


SECTION = Section("many-pushes", "A thousand small pushes in a row", _ITEMS, _measure)
