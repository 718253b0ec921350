"""What the sections share: sources, servers, how rounds are timed. Made when first asked for."""

import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

from bench import baselines, hub, sources
from bench.clients import Request
from bench.figures import Series
from bench.hub import Hub
from bench.processes import ProcessTree
from bench.programs import BenchFailed, git, run, seconds
from bench.remotes import Remote
from bench.sources import BRANCHES_AND_TAGS, MB, Source

CLONE_CACHE = "OCH_CLONE_CACHE_MAX_BYTES"
_REAP_SECONDS = 0.2


class Workbench:
    """``quick`` means small sizes and one round: it shows that the bench works, and no figures."""

    def __init__(
        self, folder: Path, stack: ExitStack, *, repository: Path | None, quick: bool
    ) -> None:
        self.folder = folder
        self.quick = quick
        self.rounds = 1 if quick else 3
        self._stack = stack
        self._repository = repository
        self._served: dict[tuple[int, Path], str] = {}
        self._numbers = 0

    def sized(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    def new_path(self, purpose: str) -> Path:
        self._numbers += 1
        return self.folder / f"{purpose}-{self._numbers}"

    @cached_property
    def project(self) -> Source:
        """The repository that most sections use."""
        if self._repository is not None:
            path = self._repository
            return sources.describe(path, path.parent.name if path.name == ".git" else path.name)
        size = self.sized(300 * MB, 20 * MB)
        return sources.make_project(self.folder / "project.git", size)

    @cached_property
    def bulk(self) -> Source:
        size = self.sized(500 * MB, 100 * MB)
        return sources.make_bulk(self.folder / "bulk.git", size)

    def used_sources(self) -> list[Source]:
        """Those of the two large ones that some section has asked for."""
        made = vars(self)
        return [made[name] for name in ("project", "bulk") if name in made]

    @cached_property
    def tiny(self) -> Source:
        return sources.make_refs(self.folder / "tiny.git", 10)

    @cached_property
    def key(self) -> Path:
        path = self.folder / "id_ed25519"
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)])
        return path

    def start_hub(self, purpose: str, **settings: str) -> Hub:
        """A hub of one's own, which ends with the bench."""
        return self._stack.enter_context(
            hub.serving(self.new_path(f"hub-{purpose}"), self.key, **settings)
        )

    @cached_property
    def hub(self) -> Hub:
        """With the settings it comes with."""
        return self.start_hub("as-it-comes")

    @cached_property
    def uncached_hub(self) -> Hub:
        """Computes every answer anew."""
        return self.start_hub("uncached", **{CLONE_CACHE: "0"})

    @cached_property
    def has_clone_cache(self) -> bool:
        return self.uncached_hub.knows(CLONE_CACHE)

    @cached_property
    def plain(self) -> Path:
        """The folder that both servers of plain git serve."""
        path = self.folder / "plain"
        path.mkdir()
        return path

    @cached_property
    def daemon(self) -> baselines.GitDaemon:
        return self._stack.enter_context(baselines.git_daemon(self.plain))

    @cached_property
    def openssh(self) -> baselines.OpenSSH:
        return self._stack.enter_context(baselines.openssh(self.plain, self.key))

    def empty_bare(self, purpose: str) -> str:
        """A new repository on the plain side; returns its name."""
        return baselines.make_bare(self.plain / f"{self.new_path(purpose).name}.git").name

    def plain_copy(
        self, server: Hub, name: str, *, bitmap: bool = False, derived: bool = True
    ) -> str:
        """The hub's packs on the plain side, and what it derived from them; returns its name."""
        path = self.plain / f"{self.new_path('copy').name}.git"
        cache = server.cache_of(name)
        return baselines.copy_of_cache(cache, path, bitmap=bitmap, derived=derived).name

    def served(self, server: Hub, source: Source) -> str:
        """The source as a repository of a hub, pushed once and compacted if the hub can do that."""
        known = (server.port, source.path)
        if known not in self._served:
            name = server.create_repository("served")
            # Over HTTP git's client takes time that grows with the square of the refs.
            push_all(source, server.ssh(name))
            server.tree.settle()
            try:
                server.compact(name)
            except BenchFailed:
                server.tree.settle()
            self._served[known] = name
        return self._served[known]


def push_all(source: Source, remote: Remote) -> None:
    """All branches and tags."""
    arguments = ["push", "--quiet", remote.url, *BRANCHES_AND_TAGS]
    git(*arguments, cwd=source.path, extra=remote.environment)


def clone_request(source: Source) -> Request:
    """What a clone of all branches and tags asks for."""
    listed = git(
        "for-each-ref", "--format=%(objectname)", "refs/heads", "refs/tags", cwd=source.path
    )
    return Request.fetch(list(dict.fromkeys(listed.decode().split())))


def discarding(remote: Remote, request: Request) -> Callable[[], float]:
    """A raw client's wall clock, for rounds."""
    return lambda: remote.discard(request).seconds


def timed_clone(remote: Remote, path: Path) -> float:
    """Wall clock of ``git clone`` without a work tree, which would be the same for all."""
    try:
        arguments = ["clone", "--quiet", "--bare", remote.url, str(path)]
        return seconds(lambda: git(*arguments, extra=remote.environment))
    finally:
        shutil.rmtree(path, ignore_errors=True)


class Rounds:
    """Takes turns between the sides, so that what else the machine does meets all of them."""

    def __init__(self, rounds: int) -> None:
        self._rounds = rounds
        self._work: list[tuple[str, Callable[[], float], ProcessTree | None]] = []
        self._seconds: dict[str, list[float]] = {}
        self._cpu: dict[str, list[float]] = {}

    def add(self, name: str, work: Callable[[], float], tree: ProcessTree | None = None) -> None:
        """``work`` returns seconds; with ``tree`` that server's processor time is taken too."""
        self._work.append((name, work, tree))

    def run(self) -> None:
        for _ in range(self._rounds):
            for name, work, tree in self._work:
                # What the last one left to be written is not this one's to wait for.
                os.sync()
                before = tree.cpu_seconds() if tree else 0.0
                self._seconds.setdefault(name, []).append(work())
                if tree:
                    time.sleep(_REAP_SECONDS)
                    self._cpu.setdefault(name, []).append(tree.cpu_seconds() - before)

    def seconds(self, name: str) -> Series:
        return Series(name, self._seconds[name])

    def cpu(self, name: str) -> Series:
        return Series(f"{name}, server's processor time", self._cpu[name])


def milliseconds(name: str, values: Sequence[float]) -> Series:
    return Series(name, [value * 1000 for value in values], "ms")
