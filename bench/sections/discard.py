"""The answer to a clone, thrown away by its client: the server alone."""

from bench.baselines import has_bitmap
from bench.figures import Item, Record, Section, median
from bench.processes import ProcessTree
from bench.remotes import Remote
from bench.workbench import CLONE_CACHE, Rounds, Workbench, clone_request, discarding

_ITEMS = (
    Item("http", "bytes thrown away, HTTP with bitmap vs git daemon with bitmap", 1.05),
    Item("ssh", "bytes thrown away, SSH with bitmap vs OpenSSH with bitmap", 1.05),
    Item("http-plain", "bytes thrown away, HTTP vs git daemon, both without bitmap", None),
    Item("ssh-plain", "bytes thrown away, SSH vs OpenSSH, both without bitmap", None),
    Item("http-cached", "bytes thrown away, HTTP cached vs git daemon as above", None),
    Item("ssh-cached", "bytes thrown away, SSH cached vs OpenSSH as above", None),
)
_ROUNDS = 7


def _measure(bench: Workbench, record: Record) -> None:
    hub, cached = bench.uncached_hub, bench.hub
    name = bench.served(hub, bench.project)
    bitmap = has_bitmap(hub.cache_of(name))
    copy = bench.plain_copy(hub, name, bitmap=bitmap)
    request = clone_request(bench.project)
    sides: list[tuple[Remote, ProcessTree, str]] = [
        (bench.daemon.remote(copy), bench.daemon.tree, ""),
        (hub.http(name), hub.tree, ""),
        (bench.openssh.remote(copy), bench.openssh.tree, ""),
        (hub.ssh(name), hub.tree, ""),
    ]
    if bench.has_clone_cache:
        kept = bench.served(cached, bench.project)
        sides += [(cached.http(kept), cached.tree, ", cached")]
        sides += [(cached.ssh(kept), cached.tree, ", cached")]
    rounds = Rounds(bench.sized(_ROUNDS, 1))
    for remote, tree, suffix in sides:
        size = remote.discard(request).size  # what is read from disk for the first time
        rounds.add(f"{remote.name}{suffix}", discarding(remote, request), tree)
    rounds.run()
    if not bitmap:
        record.unavailable("the hub's local copy has no bitmap", "http", "ssh")
    for key, plain in (("http", "git daemon"), ("ssh", "OpenSSH")):
        ours = f"hub, {key.upper()}"
        rows = {key if bitmap else f"{key}-plain": ours}
        if bench.has_clone_cache:
            rows[f"{key}-cached"] = f"{ours}, cached"
        else:
            record.unavailable(f"the hub has no setting {CLONE_CACHE}", f"{key}-cached")
        for item, side in rows.items():
            record.ratio(
                item,
                rounds.seconds(side),
                rounds.seconds(plain),
                f"An answer of {size / 1e6:.0f} MB. Server's processor time: hub "
                f"{median(rounds.cpu(side).values):.2f} s, {plain} "
                f"{median(rounds.cpu(plain).values):.2f} s. Not cached, git's pack-objects makes "
                "it up on both sides, and what the hub adds is copying and, over SSH, encryption; "
                "cached, these are all there is.",
                rounds.cpu(side),
                rounds.cpu(plain),
            )


SECTION = Section("discard", "The same, when the client throws the bytes away", _ITEMS, _measure)
