"""A push of one small commit onto the project, as people make them all day."""

from collections.abc import Callable
from pathlib import Path

from bench.figures import Item, Record, Section
from bench.programs import git, seconds
from bench.remotes import Remote
from bench.sources import make_small_commits
from bench.workbench import Rounds, Workbench

_PUSHES, _QUICK_PUSHES = 25, 5
_ITEMS = (
    Item("ssh", "push of one commit over SSH vs OpenSSH with core.fsync=all", 0.6),
    Item("http", "push of one commit over HTTP vs OpenSSH with core.fsync=all", 0.5),
    Item(
        "ssh-loose", "push of one commit over SSH vs OpenSSH, same but git's own unpackLimit", None
    ),
)
_PLAIN, _LOOSE = "OpenSSH", "OpenSSH, unpackLimit=100"


def _measure(bench: Workbench, record: Record) -> None:
    hub = bench.uncached_hub
    name = bench.served(hub, bench.project)
    copy, loose = bench.plain_copy(hub, name), bench.plain_copy(hub, name)
    git("config", "receive.unpackLimit", "100", cwd=bench.plain / loose)
    count = bench.sized(_PUSHES, _QUICK_PUSHES)
    sides: list[tuple[str, Remote]] = [
        (_PLAIN, bench.openssh.remote(copy)),
        ("hub, SSH", hub.ssh(name)),
        ("hub, HTTP", hub.http(name)),
        (_LOOSE, bench.openssh.remote(loose)),
    ]
    rounds = Rounds(count)
    for number, (side, remote) in enumerate(sides):
        client = bench.new_path("client")
        # The hub's two pushes go to one repository, which must not know the other's commits.
        commits = make_small_commits(client, bench.project, count + 1, f"small {number}")
        push = _pushes(client, remote, f"refs/heads/bench/small-{number}", commits)
        push()  # makes the branch
        rounds.add(side, push)
    rounds.run()
    for key, side, plain in (
        ("ssh", "hub, SSH", _PLAIN),
        ("http", "hub, HTTP", _PLAIN),
        ("ssh-loose", "hub, SSH", _LOOSE),
    ):
        record.ratio(
            key,
            rounds.seconds(side),
            rounds.seconds(plain),
            f"Medians of {count} pushes in turns. Starting processes and signing in make it up: "
            "the client's own git and ssh, on the plain side sshd's for each connection and "
            "receive-pack's children, on the hub three short git children.",
        )


def _pushes(client: Path, remote: Remote, ref: str, commits: list[str]) -> Callable[[], float]:
    left = iter(commits)

    def push() -> float:
        arguments = ["push", "--quiet", remote.url, f"{next(left)}:{ref}"]
        return seconds(lambda: git(*arguments, cwd=client, extra=remote.environment))

    return push


SECTION = Section("push-commit", "Push of one commit", _ITEMS, _measure)
