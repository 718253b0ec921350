"""Ten clones of one commit at once: the answer is computed once."""

from concurrent.futures import ThreadPoolExecutor

from bench.clients import Request
from bench.figures import Item, Record, Section, Series, median
from bench.processes import PackObjectsCount
from bench.sources import MB
from bench.workbench import Workbench

_CLIENTS = 10
_PER_BYTES = 300 * MB
_ITEMS = (
    Item("http-processes", "ten simultaneous clones over HTTP: pack-objects processes", 1, "of 10"),
    Item("ssh-processes", "ten simultaneous clones over SSH: pack-objects processes", 1, "of 10"),
    Item("http", "each further clone over HTTP: server's processor time per 300 MB", 0.3, "s"),
    Item("ssh", "each further clone over SSH (AES-GCM): the same", 0.8, "s"),
)


def _measure(bench: Workbench, record: Record) -> None:
    hub = bench.hub
    name = bench.served(hub, bench.project)
    back = 0
    for key, remote in (("http", hub.http(name)), ("ssh", hub.ssh(name))):
        alone, ten, further, counts = [], [], [], []
        for _ in range(bench.rounds):
            figures = []
            for clients in (1, _CLIENTS):
                # A commit that nobody has asked for yet, so that no earlier answer serves.
                request = Request.fetch([bench.project.tip(back)])
                back += 1
                hub.tree.settle()
                before = hub.tree.cpu_seconds()
                with (
                    PackObjectsCount(hub.tree) as watched,
                    ThreadPoolExecutor(clients) as pool,
                ):
                    answers = list(pool.map(remote.discard, [request] * clients))
                hub.tree.settle(0.5)
                figures.append(hub.tree.cpu_seconds() - before)
            alone.append(figures[0])
            ten.append(figures[1])
            size = median([answer.size for answer in answers])
            further.append((figures[1] - figures[0]) / (_CLIENTS - 1) * _PER_BYTES / size)
            counts.append(float(watched.count))
        record.put(
            f"{key}-processes",
            max(counts),
            [Series("pack-objects processes", counts, "")],
            "Counted in /proc while ten clients asked for one commit nobody had asked for before; "
            "the highest count of all rounds.",
        )
        record.put(
            key,
            median(further),
            [
                Series("each further clone, per 300 MB", further),
                Series("one clone alone, server's processor time", alone),
                Series("ten at once, server's processor time", ten),
            ],
            f"(ten at once - one alone) / {_CLIENTS - 1}, scaled from an answer of "
            f"{size / 1e6:.0f} MB. "
            + (
                "What is left is encryption, which each client needs for itself, and copying."
                if key == "ssh"
                else "What is left is copying from the one answer to each socket."
            ),
        )


SECTION = Section("simultaneous", "Ten simultaneous clones of one commit", _ITEMS, _measure)
