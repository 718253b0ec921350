"""The small answers that come before every clone, fetch and push, from SQL without a process."""

import base64
import time
from collections.abc import Callable

from bench.clients import KeepAlive, Request
from bench.figures import Item, Record, Section, median
from bench.hub import USER
from bench.sources import make_refs
from bench.workbench import Workbench, milliseconds, push_all

_ROUNDS, _QUICK_ROUNDS = 40, 10
_UNCOUNTED = 3  # connections of the pool are opened, files are read for the first time
_SIZES = ((1_000, 3.0), (40_000, 60.0))
_KINDS = {
    "info": "info/refs (upload-pack, protocol 2)",
    "receive": "info/refs (receive-pack, lists all refs)",
    "ls": "ls-refs",
}
_ITEMS = tuple(
    Item(f"{kind}-{size}", f"{text} with {size:,} refs", limit, "ms")
    for size, limit in _SIZES
    for kind, text in _KINDS.items()
)
_WHY = {
    "info": "Capabilities only: finding the repository and the right to read it, in SQL.",
    "receive": "As ls-refs, and a token is checked first.",
    "ls": "Reading the rows and writing a line for each; the plain side starts a process that "
    "reads packed-refs.",
}


def _measure(bench: Workbench, record: Record) -> None:
    for size, _ in _SIZES:
        took = _time(bench, size)
        for kind in _KINDS:
            series = [milliseconds("hub", took[kind])]
            if kind == "ls":
                series.append(milliseconds("git daemon, connecting included", took["plain"]))
            record.put(
                f"{kind}-{size}",
                median(series[0].values),
                series,
                _WHY[kind],
                two_sided=len(series) > 1,
            )


def _time(bench: Workbench, size: int) -> dict[str, list[float]]:
    """Seconds of each kind of request, in turns, on a repository with that many refs."""
    hub = bench.hub
    source = make_refs(bench.new_path("refs"), size)
    name = hub.create_repository("refs")
    # Over HTTP git's client takes time that grows with the square of the refs.
    push_all(source, hub.ssh(name))
    hub.tree.settle()
    plain = bench.plain_copy(hub, name)
    user = base64.b64encode(f"{USER}:{hub.tokens[USER]}".encode()).decode()
    lists = f"/{name}.git/info/refs?service="
    with KeepAlive(hub.port) as http:
        work: dict[str, Callable[[], object]] = {
            "info": lambda: http.get(f"{lists}git-upload-pack", "Git-Protocol: version=2"),
            "receive": lambda: http.get(f"{lists}git-receive-pack", f"Authorization: Basic {user}"),
            "ls": lambda: http.post(f"/{name}.git", Request.ls_refs()),
            "plain": lambda: bench.daemon.remote(plain).discard(Request.ls_refs()),
        }
        took: dict[str, list[float]] = {kind: [] for kind in work}
        for number in range(_UNCOUNTED + bench.sized(_ROUNDS, _QUICK_ROUNDS)):
            for kind, ask in work.items():
                start = time.perf_counter()
                ask()
                if number >= _UNCOUNTED:
                    took[kind].append(time.perf_counter() - start)
    return took


SECTION = Section("refs", "Lists of refs", _ITEMS, _measure)
