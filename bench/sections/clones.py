"""A clone of the whole project with git's own client."""

from functools import partial

from bench.figures import Item, Record, Section, median
from bench.processes import ProcessTree
from bench.remotes import Remote
from bench.workbench import CLONE_CACHE, Rounds, Workbench, timed_clone

_LIMIT, _CACHED_LIMIT = 1.05, 0.85
# Plain git makes no bitmap of its own accord after a push.
_BARE = ", no bitmap"
_ITEMS = (
    Item("http", "clone over HTTP, answer not cached, vs git daemon", _LIMIT),
    Item("ssh", "clone over SSH, answer not cached, vs OpenSSH", _LIMIT),
    Item(
        "http-cached", "clone over HTTP, answer cached, vs git daemon without bitmap", _CACHED_LIMIT
    ),
    Item("ssh-cached", "clone over SSH, answer cached, vs OpenSSH without bitmap", _CACHED_LIMIT),
    Item("http-cached-bitmap", "clone over HTTP, answer cached, vs git daemon", None),
    Item("ssh-cached-bitmap", "clone over SSH, answer cached, vs OpenSSH", None),
)


def _measure(bench: Workbench, record: Record) -> None:
    uncached, cached = bench.uncached_hub, bench.hub
    name = bench.served(uncached, bench.project)
    copy, bare = bench.plain_copy(uncached, name), bench.plain_copy(uncached, name, derived=False)
    sides: list[tuple[str, Remote, ProcessTree]] = [
        ("git daemon", bench.daemon.remote(copy), bench.daemon.tree),
        (f"git daemon{_BARE}", bench.daemon.remote(bare), bench.daemon.tree),
        ("hub, HTTP", uncached.http(name), uncached.tree),
        ("OpenSSH", bench.openssh.remote(copy), bench.openssh.tree),
        (f"OpenSSH{_BARE}", bench.openssh.remote(bare), bench.openssh.tree),
        ("hub, SSH", uncached.ssh(name), uncached.tree),
    ]
    if bench.has_clone_cache:
        kept = bench.served(cached, bench.project)
        for kind in (cached.http(kept), cached.ssh(kept)):
            timed_clone(kind, bench.new_path("clone"))  # fills the cache
            sides.append((f"{kind.name}, cached", kind, cached.tree))
    rounds = Rounds(bench.rounds)
    for side, remote, tree in sides:
        rounds.add(side, partial(timed_clone, remote, bench.new_path("clone")), tree)
    rounds.run()
    for key, daemon in (("http", "git daemon"), ("ssh", "OpenSSH")):
        ours = f"hub, {key.upper()}"
        if not bench.has_clone_cache:
            reason = f"the hub has no setting {CLONE_CACHE}"
            record.unavailable(reason, f"{key}-cached", f"{key}-cached-bitmap")
        for item, side, plain in (
            (key, ours, daemon),
            (f"{key}-cached", f"{ours}, cached", f"{daemon}{_BARE}"),
            (f"{key}-cached-bitmap", f"{ours}, cached", daemon),
        ):
            if item in record.reasons:
                continue
            cpu, wall = rounds.cpu(side), rounds.seconds(side)
            record.ratio(
                item,
                wall,
                rounds.seconds(plain),
                f"The hub's processes used {median(cpu.values):.2f} s of processor time, "
                f"{plain}'s {median(rounds.cpu(plain).values):.2f} s; the rest is the client, "
                "which unpacks and indexes the same bytes on the same machine whoever sends them.",
                cpu,
                rounds.cpu(plain),
            )


SECTION = Section("clones", "Clone of the whole project", _ITEMS, _measure)
