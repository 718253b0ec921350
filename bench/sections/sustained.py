"""Many small fetches and pushes at once, for minutes: no error, no growth."""

import threading
import time
from collections.abc import Callable
from functools import partial

from bench.clients import Request
from bench.figures import Item, Record, Section, Series, median
from bench.programs import BenchFailed, git
from bench.remotes import Remote
from bench.sources import make_small_commits
from bench.workbench import Workbench

_FETCHERS, _PUSHERS = 20, 4
_SECONDS, _QUICK_SECONDS = 300, 20
_WARM_UP_SHARE = 0.2
_COMPARED_SHARE = 0.1
_COMMITS_PER_SECOND = 4
_ITEMS = (
    Item("errors", "20 parallel small fetches and 4 pushes for 5 minutes: errors", 0, "errors"),
    Item("growth", "the same: growth of memory of the hub's processes", 5, "%"),
)


class _Load:
    """Workers that repeat one thing each until they are told to stop."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.took: dict[str, list[float]] = {"fetch": [], "push": []}
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def add(self, kind: str, work: Callable[[], object]) -> None:
        def loop() -> None:
            while not self._stop.is_set():
                start = time.perf_counter()
                try:
                    work()
                except StopIteration:
                    return
                except (BenchFailed, OSError) as error:
                    self.errors.append(f"{kind}: {error}")
                    continue
                self.took[kind].append(time.perf_counter() - start)

        self._threads.append(threading.Thread(target=loop, daemon=True))

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def _measure(bench: Workbench, record: Record) -> None:
    hub = bench.hub
    name = bench.served(hub, bench.project)
    length = bench.sized(_SECONDS, _QUICK_SECONDS)
    request = Request.fetch([bench.project.tip()], [bench.project.tip(20)])
    remotes = (hub.http(name), hub.ssh(name))
    load = _Load()
    for number in range(_FETCHERS):
        remote = remotes[number % 2]
        load.add("fetch", partial(remote.discard, request))
    for number in range(_PUSHERS):
        client = bench.new_path("client")
        commits = make_small_commits(
            client, bench.project, length * _COMMITS_PER_SECOND, f"worker {number}"
        )
        ref = f"refs/heads/bench/worker-{number}"
        load.add("push", _pushing(str(client), remotes[number % 2], ref, commits))
    hub.tree.settle()
    # Git's children come and go; what stays is what can grow.
    lasting = hub.tree.pids()
    samples = []
    load.start()
    end = time.monotonic() + length
    try:
        while time.monotonic() < end:
            samples.append(sum(hub.tree.pss(lasting).values()) / 1e6)
            time.sleep(1)
    finally:
        load.stop()
    fetches, pushes = load.took["fetch"], load.took["push"]
    first = load.errors[0] if load.errors else ""
    record.put(
        "errors",
        len(load.errors),
        [
            Series("fetches done", [len(fetches)], ""),
            Series("pushes done", [len(pushes)], ""),
            Series("fetch, median", [median(fetches)]),
            Series("push, median", [median(pushes)]),
        ],
        f"In {length} s, half of them over SSH. Clients and hub share the processors, which were "
        f"busy all the time.{' First error: ' + first if first else ''}",
    )
    skip, part = int(len(samples) * _WARM_UP_SHARE), max(1, int(len(samples) * _COMPARED_SHARE))
    early, late = median(samples[skip : skip + part]), median(samples[-part:])
    every = max(1, len(samples) // 20)
    record.put(
        "growth",
        max(0.0, (late / early - 1) * 100),
        [Series("PSS of the lasting processes over time", samples[::every], "MB")],
        f"From {early:.1f} MB (median of {part} s after a fifth of the time, when caches are warm) "
        f"to {late:.1f} MB (median of the last {part} s).",
    )


def _pushing(client: str, remote: Remote, ref: str, commits: list[str]) -> Callable[[], object]:
    left = iter(commits)

    def push() -> object:
        arguments = ["-C", client, "push", "--quiet", remote.url, f"{next(left)}:{ref}"]
        return git(*arguments, extra=remote.environment)

    return push


SECTION = Section("sustained", "Small work in parallel for five minutes", _ITEMS, _measure)
