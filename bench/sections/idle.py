"""What the hub takes when nobody uses it."""

import time

from bench.figures import Item, Record, Section, Series, median
from bench.processes import name_of
from bench.workbench import Workbench

_ITEMS = (Item("pss", "idle hub, all processes, proportional set size (PSS)", 350, "MB"),)
_SAMPLES, _QUICK_SAMPLES = 10, 3


def _measure(bench: Workbench, record: Record) -> None:
    hub = bench.start_hub("idle")
    hub.tree.settle()
    totals = []
    for _ in range(bench.sized(_SAMPLES, _QUICK_SAMPLES)):
        sizes = hub.tree.pss()
        totals.append(sum(sizes.values()) / 1e6)
        time.sleep(1)
    parts = ", ".join(
        f"{name_of(pid)} {size / 1e6:.0f}"
        for pid, size in sorted(sizes.items(), key=lambda x: -x[1])
    )
    record.put(
        "pss",
        median(totals),
        [Series("sum over the processes", totals, "MB")],
        f"MB by process: {parts}. Python's modules make it up; pages that processes share count "
        "once. Freshly started, with a user, a token and a key.",
    )


SECTION = Section("idle", "Idle hub", _ITEMS, _measure)
