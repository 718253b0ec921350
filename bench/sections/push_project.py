"""The first push of a whole project into an empty repository."""

from collections.abc import Callable

from bench.figures import Item, Record, Section, median
from bench.hub import Hub
from bench.programs import seconds
from bench.remotes import Remote
from bench.workbench import Rounds, Workbench, push_all

_ITEMS = (
    Item("http", "push of the whole project over HTTP vs OpenSSH with receive.fsckObjects", 1.0),
    Item("ssh", "push of the whole project over SSH vs OpenSSH with receive.fsckObjects", 1.0),
)


def _measure(bench: Workbench, record: Record) -> None:
    hub = bench.hub
    # The commands that make repositories start a Python each, so they come before the clock.
    over_http = [hub.create_repository("pushed") for _ in range(bench.rounds)]
    over_ssh = [hub.create_repository("pushed") for _ in range(bench.rounds)]
    plain = [bench.empty_bare("pushed") for _ in range(bench.rounds)]
    hub.tree.settle()
    rounds = Rounds(bench.rounds)
    rounds.add("OpenSSH", _pushes(bench, bench.openssh.remote, plain), bench.openssh.tree)
    rounds.add("hub, SSH", _pushes(bench, hub.ssh, over_ssh, hub), hub.tree)
    rounds.add("hub, HTTP", _pushes(bench, hub.http, over_http, hub), hub.tree)
    rounds.run()
    for key, side in (("http", "hub, HTTP"), ("ssh", "hub, SSH")):
        record.ratio(
            key,
            rounds.seconds(side),
            rounds.seconds("OpenSSH"),
            f"Server's processor time: hub {median(rounds.cpu(side).values):.1f} s, OpenSSH "
            f"{median(rounds.cpu('OpenSSH').values):.1f} s, nearly all of it git index-pack, which "
            "resolves deltas and checks each object. The hub checks connectivity in the same pass, "
            "plain git walks the history once more. The hub's background work (bitmap) may begin "
            "before its processor time is read.",
            rounds.cpu(side),
            rounds.cpu("OpenSSH"),
        )


def _pushes(
    bench: Workbench,
    remote_of: Callable[[str], Remote],
    names: list[str],
    hub: Hub | None = None,
) -> Callable[[], float]:
    left = iter(names)

    def push() -> float:
        if hub is not None:
            # Not beside the background work that the last push has left.
            hub.tree.settle()
        remote = remote_of(next(left))
        return seconds(lambda: push_all(bench.project, remote))

    return push


SECTION = Section("push-project", "Push of the whole project", _ITEMS, _measure)
