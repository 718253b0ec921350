"""Fields of blame: who last changed which lines of a file."""

import dataclasses
from collections.abc import Sequence

from strawberry import Parent

from gitstore.blame import BlameRange
from gitstore.objects import Commit, GitObject
from models import Repository
from resolvers import revisions
from resolvers.context import Info
from resolvers.git_objects import Path
from resolvers.located import Located
from services.errors import NotFound


@dataclasses.dataclass(frozen=True, slots=True)
class Blame:
    """Ranges with the times of their commits, of the oldest and the newest of all."""

    repository: Repository
    ranges: Sequence[BlameRange]
    commits: dict[str, Commit]


@dataclasses.dataclass(frozen=True, slots=True)
class LocatedRange:
    repository: Repository
    range: BlameRange
    commit: Commit
    age: int


async def blame(root: Parent[Located[Commit]], info: Info, path: Path) -> Blame:
    """Raises NotFound where there is no such file."""
    raw = path.strip("/").encode("utf-8", "surrogateescape")
    ranges = None
    if raw and b"\0" not in raw:
        key = (root.state, root.value.oid, raw)
        ranges = await info.context.loaders.git.blame.load(key)
    if ranges is None:
        raise NotFound(f"there is no file at the path '{path[:200]}' in this commit")
    oids = {each.oid for each in ranges}
    keys = [(root.state, oid) for oid in oids]
    found = await info.context.loaders.git.object_by_oid.load_many(keys)
    commits = {each.oid: each for each in found if isinstance(each, Commit)}
    return Blame(root.repository, ranges, commits)


def blame_ranges(root: Parent[Blame]) -> list[LocatedRange]:
    times = {oid: commit.committer.moment.timestamp() for oid, commit in root.commits.items()}
    oldest, newest = min(times.values(), default=0), max(times.values(), default=0)

    def age(oid: str) -> int:
        """From 1, as new as the newest of the file, to 10."""
        if newest == oldest:
            return 1
        return 1 + round(9 * (newest - times[oid]) / (newest - oldest))

    return [
        LocatedRange(root.repository, each, root.commits[each.oid], age(each.oid))
        for each in root.ranges
        if each.oid in root.commits
    ]


def range_start(root: Parent[LocatedRange]) -> int:
    return root.range.start


def range_end(root: Parent[LocatedRange]) -> int:
    return root.range.end


def range_age(root: Parent[LocatedRange]) -> int:
    return root.age


def range_commit(root: Parent[LocatedRange]) -> Located[Commit]:
    return Located(root.repository, root.commit)


def range_path(root: Parent[LocatedRange]) -> str:
    return root.range.path.decode("utf-8", "replace")


async def previous_commit(root: Parent[LocatedRange], info: Info) -> Located[GitObject] | None:
    oid = root.range.previous_oid
    return None if oid is None else await revisions.load(info, root.repository, oid)


def range_previous_path(root: Parent[LocatedRange]) -> str | None:
    path = root.range.previous_path
    return None if path is None else path.decode("utf-8", "replace")
