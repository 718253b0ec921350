"""Whether large work leaves room for small: a fetch beside a clone and a push of 500 MB."""

import threading
import time

from bench.clients import Request
from bench.figures import Item, Record, Section, median
from bench.programs import BenchFailed
from bench.remotes import Remote
from bench.workbench import Workbench, clone_request, milliseconds, push_all

_ALONE, _QUICK_ALONE = 40, 10
_ITEMS = (
    Item("http", "small fetch over HTTP beside a clone and a push of 500 MB vs alone", 3.0),
    Item("ssh", "small fetch over SSH beside a clone and a push of 500 MB vs alone", 3.0),
)


def _measure(bench: Workbench, record: Record) -> None:
    hub = bench.uncached_hub
    name = bench.served(hub, bench.project)
    bulk = bench.served(hub, bench.bulk)
    request = Request.fetch([bench.project.tip()], [bench.project.tip(5)])
    small: dict[str, Remote] = {"http": hub.http(name), "ssh": hub.ssh(name)}
    alone: dict[str, list[float]] = {key: [] for key in small}
    beside: dict[str, list[float]] = {key: [] for key in small}
    targets = [hub.create_repository("bulk") for _ in range(bench.rounds)]
    hub.tree.settle()
    for _ in range(bench.sized(_ALONE, _QUICK_ALONE)):
        for key, remote in small.items():
            alone[key].append(remote.discard(request).seconds)
    clones = pushes = 0
    faults: list[str] = []
    busy = threading.Event()

    def clone() -> None:
        nonlocal clones
        asks = clone_request(bench.bulk)
        while busy.is_set():
            hub.http(bulk).discard(asks)
            clones += 1

    def push() -> None:
        nonlocal pushes
        try:
            for target in targets:
                push_all(bench.bulk, hub.http(target))
                pushes += 1
        except BenchFailed as error:
            faults.append(str(error))
        finally:
            busy.clear()

    busy.set()
    threads = [threading.Thread(target=work, daemon=True) for work in (clone, push)]
    for thread in threads:
        thread.start()
    while busy.is_set():
        for key, remote in small.items():
            beside[key].append(remote.discard(request).seconds)
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    if faults:
        raise BenchFailed(faults[0])
    for key in small:
        record.put(
            key,
            median(beside[key]) / median(alone[key]),
            [milliseconds("beside", beside[key]), milliseconds("alone", alone[key])],
            f"Medians, during {pushes} pushes and {clones} clones of the large repository over "
            "HTTP, one of each at any time. All share the machine's processors with their clients, "
            "so waiting for a processor makes it up.",
        )


SECTION = Section("beside", "A small fetch beside large work", _ITEMS, _measure)
