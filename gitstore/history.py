"""Questions about history, for git's commit-graph to answer: lists of commits, counts, merge bases.

Object ids are arguments of git, paths and ref names come over standard input (``--stdin``).
"""

import contextlib
import dataclasses
import datetime as dt
from collections.abc import AsyncIterator

from gitstore.cache import CachedRepository
from gitstore.process import GitProcesses

# Pages of history are read by skipping; what lies further back is asked for by date or author.
MAX_SKIPPED = 1_000_000


@dataclasses.dataclass(frozen=True, slots=True)
class HistoryQuery:
    """Commits that ``tip`` reaches, newest first, as ``git log`` tells them.

    ``path`` keeps those that changed it, ``emails`` those of these authors (in lower case), and
    ``since``/``until`` look at the committer's time. ``follow_renames`` goes on under the names
    that a file had before; it takes a path. ``first_parent`` leaves out what merges brought
    in, ``excluding`` what that commit reaches.
    """

    tip: str
    path: bytes | None = None
    emails: frozenset[str] | None = None
    since: dt.datetime | None = None
    until: dt.datetime | None = None
    follow_renames: bool = False
    first_parent: bool = False
    excluding: str | None = None

    @property
    def can_match(self) -> bool:
        """Whether git can be asked: no file's path has a line break here, and none is empty."""
        return self.path is None or (b"\n" not in self.path and b"\0" not in self.path)

    def arguments(self) -> list[str]:
        bounds = []
        if self.since is not None:
            bounds.append(f"--max-age={int(self.since.timestamp())}")
        if self.until is not None:
            bounds.append(f"--min-age={int(self.until.timestamp())}")
        if self.follow_renames:
            bounds.append("--follow")
        if self.first_parent:
            bounds.append("--first-parent")
        return bounds

    def revisions(self) -> bytes:
        """What git reads from its standard input."""
        lines = [self.tip.encode()]
        if self.excluding is not None:
            lines.append(f"^{self.excluding}".encode())
        if self.path:
            lines += [b"--", self.path]
        return b"\n".join(lines) + b"\n"


async def list_history(
    processes: GitProcesses, copy: CachedRepository, query: HistoryQuery, skip: int, limit: int
) -> list[str]:
    """Ids of at most ``limit`` commits after the first ``skip``. Raises GitFailed, QueueFull."""
    if not query.can_match or skip > MAX_SKIPPED:
        return []
    if query.emails is None and not query.follow_renames:
        completed = await processes.run(
            [
                "--literal-pathspecs",
                "rev-list",
                "--stdin",
                f"--skip={skip}",
                f"--max-count={limit}",
                *query.arguments(),
            ],
            git_dir=copy.path,
            stdin=query.revisions(),
        )
        return completed.stdout.decode("ascii").split()
    found: list[str] = []
    async with _matching(processes, copy, query) as oids:
        async for oid in oids:
            if skip:
                skip -= 1
                continue
            found.append(oid)
            if len(found) == limit:
                break
    return found


async def count_history(
    processes: GitProcesses, copy: CachedRepository, query: HistoryQuery
) -> int:
    """How many commits the query finds. Raises GitFailed, QueueFull."""
    if not query.can_match:
        return 0
    if query.emails is None and not query.follow_renames:
        completed = await processes.run(
            ["--literal-pathspecs", "rev-list", "--count", "--stdin", *query.arguments()],
            git_dir=copy.path,
            stdin=query.revisions(),
        )
        return int(completed.stdout)
    async with _matching(processes, copy, query) as oids:
        return sum([1 async for _ in oids])


async def count_authors(
    processes: GitProcesses, copy: CachedRepository, query: HistoryQuery
) -> int:
    """How many addresses the commits of the query were written from."""
    async with processes.start(
        ["log", "--format=%ae", "--stdin", *query.arguments()], git_dir=copy.path
    ) as child:
        feeder = child.feed(query.revisions())
        try:
            emails = {line.strip().lower() async for line in child.stdout}
            if await child.wait():
                raise child.failure()
        finally:
            feeder.cancel()
    return len(emails)


@contextlib.asynccontextmanager
async def _matching(
    processes: GitProcesses, copy: CachedRepository, query: HistoryQuery
) -> AsyncIterator[AsyncIterator[str]]:
    """Ids of all commits that match, read for as long as the block lasts."""
    emails = query.emails
    arguments = ["--literal-pathspecs", "log", "--format=%H %ae", "--stdin", *query.arguments()]
    async with processes.start(arguments, git_dir=copy.path) as child:
        feeder = child.feed(query.revisions())

        async def read() -> AsyncIterator[str]:
            async for line in child.stdout:
                oid, _, email = line.decode("utf-8", "replace").rstrip("\n").partition(" ")
                if emails is None or email.lower() in emails:
                    yield oid
            if await child.wait():
                raise child.failure()

        try:
            yield read()
        finally:
            feeder.cancel()


async def merge_base(
    processes: GitProcesses, copy: CachedRepository, one: str, other: str
) -> str | None:
    """A best common ancestor of two commits, None where histories are unrelated."""
    completed = await processes.run(["merge-base", one, other], git_dir=copy.path, accept=(0, 1))
    return completed.stdout.decode("ascii").strip() or None


async def ahead_behind(
    processes: GitProcesses, copy: CachedRepository, base: str, head: str
) -> tuple[int, int]:
    """How many commits the head has that the base lacks, and the other way round."""
    completed = await processes.run(
        ["rev-list", "--count", "--left-right", f"{head}...{base}"], git_dir=copy.path
    )
    ahead, behind = completed.stdout.split()
    return int(ahead), int(behind)


async def disambiguate(processes: GitProcesses, copy: CachedRepository, prefix: str) -> list[str]:
    """Ids of all objects that begin with these hexadecimal digits, four or more."""
    completed = await processes.run(
        ["rev-parse", f"--disambiguate={prefix}"], git_dir=copy.path, accept=(0, 128)
    )
    return completed.stdout.decode("ascii").split()
