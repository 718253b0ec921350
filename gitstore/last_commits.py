"""Which commit changed each entry of a folder last, found in one walk over history.

For each entry the answer is what ``git log -1 -- ENTRY`` gives: from the tip it is followed to
the first parent that has the same, and where no parent has, the commit changed it. Entries travel
together, so history is walked once, however many there are. An answer for an older commit shortens
the walk to what came since.
"""

import asyncio
import contextlib
import dataclasses
from collections import deque
from collections.abc import AsyncIterator, Mapping

from gitstore.cache import CachedRepository
from gitstore.history import HistoryQuery, list_history, merge_base
from gitstore.process import MAX_PATH_BYTES, PIPE_READ_BYTES, GitChild, GitProcesses

# Beyond so many commits between two answers the older one is of no help.
_MAX_BETWEEN = 10_000
_FEED_BYTES = 16 * 1024

LastCommits = dict[bytes, str]


@dataclasses.dataclass(frozen=True, slots=True)
class KnownCommits:
    """An earlier answer: entries of a folder as of ``tip``, and the last commit of each."""

    tip: str
    entries: Mapping[bytes, str]
    commits: LastCommits


async def last_commits(
    processes: GitProcesses,
    copy: CachedRepository,
    tip: str,
    folder: bytes,
    entries: Mapping[bytes, str],
    known: KnownCommits | None = None,
) -> LastCommits:
    """By name of an entry of ``folder`` (empty for the top); ``entries`` are the ids of all in the
    commit ``tip``. Raises GitFailed, QueueFull."""
    if len(folder) > MAX_PATH_BYTES:
        return {}
    wanted = set(entries)
    found: LastCommits = {}
    start = tip
    if known is not None and (meeting := await merge_base(processes, copy, tip, known.tip)):
        query = HistoryQuery(known.tip, excluding=meeting)
        since = await list_history(processes, copy, query, 0, _MAX_BETWEEN)
        if len(since) < _MAX_BETWEEN:
            walk = _Walk(processes, copy, folder, tip, stop=meeting)
            found, unchanged = await walk.run(wanted)
            # What the older answer tells holds at the meeting point too, unless it came after that.
            later = set(since)
            for name in unchanged:
                commit = known.commits.get(name)
                is_same = known.entries.get(name) == entries[name]
                if commit is not None and is_same and commit not in later:
                    found[name] = commit
            wanted -= found.keys()
            start = meeting if wanted <= unchanged else tip
    if wanted:
        rest, _ = await _Walk(processes, copy, folder, start).run(wanted)
        found |= rest
    return found


class _Walk:
    """One walk from ``tip``, which leaves out what ``stop`` reaches."""

    def __init__(
        self,
        processes: GitProcesses,
        copy: CachedRepository,
        folder: bytes,
        tip: str,
        stop: str | None = None,
    ) -> None:
        self._processes = processes
        self._copy = copy
        self._folder = folder
        self._query = HistoryQuery(tip, path=folder or None, excluding=stop)
        self._stop = stop
        self._asked: deque[tuple[str, list[str]]] = deque()

    async def run(self, names: set[bytes]) -> tuple[LastCommits, set[bytes]]:
        """What was found, and the names that came to the stop unchanged.

        Names that are in neither were the same in something else that the stop reaches.
        """
        found: LastCommits = {}
        arriving: dict[str, set[bytes]] = {}
        left = set(names)
        first = True
        async with self._compared() as commits:
            async for commit, parents, changes in commits:
                # The tip itself is not told if it did not change the folder.
                here = left if first else arriving.pop(commit, None)
                first = False
                if here is None:
                    continue
                for parent, changed in zip(parents, changes, strict=bool(parents)):
                    same = here - changed
                    if same:
                        arriving[parent] = arriving.get(parent, set()) | same
                        here = here & changed
                if not parents:
                    here &= changes[0]
                found |= dict.fromkeys(here, commit)
                if len(found) == len(names):
                    break
        if first:  # nothing since the stop changed the folder
            return found, left
        # With a folder git tells as parents the next commits that changed it, beyond the stop.
        at_stop = [self._stop or ""] if not self._folder else list(arriving)
        return found, set().union(*(arriving.get(commit, set()) for commit in at_stop))

    @contextlib.asynccontextmanager
    async def _compared(
        self,
    ) -> AsyncIterator[AsyncIterator[tuple[str, list[str], list[set[bytes]]]]]:
        """Commits, children before parents, each with its parents and the names that differ from
        each of these; for the first commit of a history, all its names."""
        list_arguments = ["--literal-pathspecs", "rev-list", "--parents", "--date-order", "--stdin"]
        # Where a folder is looked at, what is below it is compared too, else only the top.
        diff_arguments = ["--literal-pathspecs", "diff-tree", "--stdin", "--root", "--always"]
        diff_arguments += ["--raw", "--no-renames", "-z"]
        if self._folder:
            path = self._folder.decode("utf-8", "surrogateescape")
            diff_arguments += ["-r", "--", f"{path}/"]
        async with (
            self._processes.start(list_arguments, git_dir=self._copy.path) as lister,
            self._processes.start(diff_arguments, git_dir=self._copy.path) as differ,
        ):
            feeders = [
                lister.feed(self._query.revisions()),
                asyncio.create_task(self._hand_over(lister, differ)),
            ]
            try:
                yield self._read(differ)
                if feeders[1].done():
                    await feeders[1]
            finally:
                for feeder in feeders:
                    feeder.cancel()
                await asyncio.gather(*feeders, return_exceptions=True)

    async def _hand_over(self, lister: GitChild, differ: GitChild) -> None:
        """A line for each pair of commit and parent, as diff-tree reads them."""
        waiting: list[bytes] = []
        size = 0
        async for line in lister.stdout:
            commit, *parents = line.decode("ascii").split()
            self._asked.append((commit, parents))
            pairs = [f"{commit} {parent}\n" for parent in parents] or [f"{commit}\n"]
            waiting.append("".join(pairs).encode())
            size += len(waiting[-1])
            if size > _FEED_BYTES:
                differ.stdin.write(b"".join(waiting))
                await differ.stdin.drain()
                waiting, size = [], 0
        if await lister.wait():
            raise lister.failure()
        differ.stdin.write(b"".join(waiting))
        await differ.stdin.drain()
        differ.stdin.close()

    async def _read(
        self, differ: GitChild
    ) -> AsyncIterator[tuple[str, list[str], list[set[bytes]]]]:
        """Answers: a commit's id for each pair, then per difference a line and its path."""
        cut = len(self._folder) + 1 if self._folder else 0
        changes: list[set[bytes]] = []
        is_path = False
        async for token in _tokens(differ):
            if is_path:
                changes[-1].add(token[cut:].partition(b"/")[0])
                is_path = False
            elif token.startswith(b":"):
                is_path = True
            else:
                if changes and len(changes) == max(1, len(self._asked[0][1])):
                    yield *self._asked.popleft(), changes
                    changes = []
                changes.append(set())
        if changes:
            yield *self._asked.popleft(), changes
        if await differ.wait():
            raise differ.failure()


async def _tokens(child: GitChild) -> AsyncIterator[bytes]:
    rest = b""
    while data := await child.stdout.read(PIPE_READ_BYTES):
        *tokens, rest = (rest + data).split(b"\0")
        for token in tokens:
            yield token
