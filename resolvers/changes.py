"""Fields of comparisons: how two commits differ, file by file."""

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any

import strawberry
from strawberry import Parent

from gitstore.diffs import EMPTY_TREE, ChangedFile, ChangedFiles, ChangeKind, Patch, Statistics
from gitstore.history import HistoryQuery
from gitstore.objects import Commit, GitObject, ObjectKind
from models import GitRef, Repository
from resolvers import revisions
from resolvers.arguments import OPTIONAL, After, Before, First, Last, page_arguments
from resolvers.context import Info
from resolvers.git_loaders import Between
from resolvers.histories import ListConnection
from resolvers.located import Located
from resolvers.pagination import Page, PageArguments
from services.git_reading import state_of

IgnoreWhitespace = Annotated[
    bool | None,
    strawberry.argument(description="Leave out changes of white space, as `git diff -w` does."),
]


@dataclasses.dataclass(frozen=True, slots=True)
class Comparison:
    """``base`` and ``head`` are what was asked for (a branch's commit, a tag), the oids those of
    their commits."""

    repository: Repository
    base: Located[GitObject]
    head: Located[GitObject]
    base_oid: str
    head_oid: str


@dataclasses.dataclass(frozen=True, slots=True)
class FilesConnection:
    """The files that differ; read when a page or the count is."""

    repository: Repository
    between: Between
    arguments: PageArguments

    async def changed(self, info: Info) -> ChangedFiles:
        key = (state_of(self.repository), self.between)
        return await info.context.loaders.git.changed_files.load(key)

    async def page(self, info: Info) -> Page[Any]:
        """Raises PaginationFault, Unavailable."""
        files = (await self.changed(info)).files
        located = [LocatedFile(self.repository, self.between, file) for file in files]
        return await ListConnection(located, self.arguments).page(info)

    async def count(self, info: Info) -> int:
        return len((await self.changed(info)).files)


@dataclasses.dataclass(frozen=True, slots=True)
class LocatedFile:
    """A file of a comparison, whose patch is read when asked for."""

    repository: Repository
    between: Between
    file: ChangedFile

    async def patch(self, info: Info) -> Patch | None:
        key = (state_of(self.repository), self.between, self.file)
        return await info.context.loaders.git.patch.load(key)


@dataclasses.dataclass(frozen=True, slots=True)
class ComparisonCommits:
    """The commits that the head has and the base lacks, oldest first."""

    comparison: Comparison
    arguments: PageArguments

    @property
    def query(self) -> HistoryQuery:
        return HistoryQuery(self.comparison.head_oid, excluding=self.comparison.base_oid)

    async def page(self, info: Info) -> Page[Any]:
        """Raises PaginationFault, Unavailable."""
        total = await self.count(info)
        positions = await ListConnection(range(total), self.arguments).page(info)
        commits: Sequence[Commit] = []
        if positions.rows:
            state = state_of(self.comparison.repository)
            # Git lists the newest first.
            skip, limit = total - 1 - positions.rows[-1], len(positions.rows)
            git = info.context.loaders.git
            oids = await git.history.load((state, self.query, skip, limit))
            found = await git.object_by_oid.load_many([(state, oid) for oid in reversed(oids)])
            commits = [each for each in found if isinstance(each, Commit)]
        rows = [Located(self.comparison.repository, commit) for commit in commits]
        return dataclasses.replace(positions, rows=rows)  # type: ignore[arg-type]

    async def count(self, info: Info) -> int:
        return (await _distance(self.comparison, info))[0]


async def compare_ref(
    root: Parent[GitRef],
    info: Info,
    head_ref: Annotated[
        str,
        strawberry.argument(
            description="The head ref to compare against: a branch, tag, ref or commit."
        ),
    ],
) -> Comparison | None:
    repository = await info.context.loaders.repository_by_id.load(root.repository_id)
    if repository is None or root.oid is None:
        return None
    return await _compare(info, repository, root.oid, head_ref)


async def compare(
    root: Parent[Repository],
    info: Info,
    base: Annotated[str, strawberry.argument(description="A branch, tag, ref or commit.")],
    head: Annotated[str, strawberry.argument(description="A branch, tag, ref or commit.")],
) -> Comparison | None:
    base_oid = await revisions.resolve_oid(info, root, base)
    return None if base_oid is None else await _compare(info, root, base_oid, head)


async def by_oids(
    info: Info, repository: Repository, base_oid: str, head_oid: str
) -> Comparison | None:
    """The comparison of two commits or tags; None where one is neither."""
    base = await revisions.load(info, repository, base_oid)
    head = await revisions.load(info, repository, head_oid)
    if base is None or head is None:
        return None
    commits = [
        await revisions.peel(info, repository, oid, ObjectKind.COMMIT)
        for oid in (base_oid, head_oid)
    ]
    if commits[0] is None or commits[1] is None:
        return None
    return Comparison(repository, base, head, commits[0].oid, commits[1].oid)


async def ahead_by(root: Parent[Comparison], info: Info) -> int:
    return (await _distance(root, info))[0]


async def behind_by(root: Parent[Comparison], info: Info) -> int:
    return (await _distance(root, info))[1]


def base_target(root: Parent[Comparison]) -> Located[GitObject]:
    return root.base


def head_target(root: Parent[Comparison]) -> Located[GitObject]:
    return root.head


async def merge_base(root: Parent[Comparison], info: Info) -> Located[GitObject] | None:
    oid = await _merge_base(root, info)
    return None if oid is None else await revisions.load(info, root.repository, oid)


def comparison_commits(
    root: Parent[Comparison],
    after: After = OPTIONAL,
    before: Before = OPTIONAL,
    first: First = OPTIONAL,
    last: Last = OPTIONAL,
) -> ComparisonCommits:
    page = page_arguments("commits", first, after, last, before)
    return ComparisonCommits(root, page)


async def author_count(root: Parent[ComparisonCommits], info: Info) -> int:
    key = (state_of(root.comparison.repository), root.query)
    return await info.context.loaders.git.author_count.load(key)


async def comparison_files(
    root: Parent[Comparison],
    info: Info,
    after: After = OPTIONAL,
    before: Before = OPTIONAL,
    first: First = OPTIONAL,
    ignore_whitespace: IgnoreWhitespace = False,
    last: Last = OPTIONAL,
) -> FilesConnection:
    """What the head changed since it left the base; from nothing where they share no commit."""
    page = page_arguments("files", first, after, last, before)
    old = await _merge_base(root, info) or EMPTY_TREE[root.repository.object_format]
    between = Between(old, root.head_oid, bool(ignore_whitespace))
    return FilesConnection(root.repository, between, page)


def commit_files(
    root: Parent[Located[Commit]],
    after: After = OPTIONAL,
    before: Before = OPTIONAL,
    first: First = OPTIONAL,
    ignore_whitespace: IgnoreWhitespace = False,
    last: Last = OPTIONAL,
) -> FilesConnection:
    page = page_arguments("files", first, after, last, before)
    parents = root.value.parent_oids
    old = parents[0] if parents else EMPTY_TREE[root.repository.object_format]
    between = Between(old, root.value.oid, bool(ignore_whitespace))
    return FilesConnection(root.repository, between, page)


async def files_are_truncated(root: Parent[FilesConnection], info: Info) -> bool:
    return (await root.changed(info)).is_truncated


async def commit_additions(root: Parent[Located[Commit]], info: Info) -> int:
    return (await _statistics(root, info)).additions


async def commit_deletions(root: Parent[Located[Commit]], info: Info) -> int:
    return (await _statistics(root, info)).deletions


async def commit_changed_files(root: Parent[Located[Commit]], info: Info) -> int:
    return (await _statistics(root, info)).files


def file_path(root: Parent[LocatedFile]) -> str:
    return root.file.path.decode("utf-8", "replace")


def previous_path(root: Parent[LocatedFile]) -> str | None:
    if root.file.old_path == root.file.path:
        return None
    return root.file.old_path.decode("utf-8", "replace")


def change_type(root: Parent[LocatedFile]) -> ChangeKind:
    return root.file.kind


def file_additions(root: Parent[LocatedFile]) -> int:
    return root.file.additions or 0


def file_deletions(root: Parent[LocatedFile]) -> int:
    return root.file.deletions or 0


async def file_is_binary(root: Parent[LocatedFile], info: Info) -> bool:
    return await root.patch(info) is None


async def file_patch(root: Parent[LocatedFile], info: Info) -> str | None:
    patch = await root.patch(info)
    return None if patch is None else patch.text.decode("utf-8", "replace")


async def file_patch_is_truncated(root: Parent[LocatedFile], info: Info) -> bool:
    patch = await root.patch(info)
    return patch is not None and patch.is_truncated


def old_mode(root: Parent[LocatedFile]) -> int | None:
    return root.file.old_mode


def new_mode(root: Parent[LocatedFile]) -> int | None:
    return root.file.new_mode


def old_oid(root: Parent[LocatedFile]) -> str | None:
    return root.file.old_oid


def new_oid(root: Parent[LocatedFile]) -> str | None:
    return root.file.new_oid


async def _compare(
    info: Info, repository: Repository, base_oid: str, head: str
) -> Comparison | None:
    head_oid = await revisions.resolve_oid(info, repository, head)
    return None if head_oid is None else await by_oids(info, repository, base_oid, head_oid)


async def _distance(comparison: Comparison, info: Info) -> tuple[int, int]:
    key = (state_of(comparison.repository), comparison.base_oid, comparison.head_oid)
    return await info.context.loaders.git.distance.load(key)


async def _merge_base(comparison: Comparison, info: Info) -> str | None:
    key = (state_of(comparison.repository), comparison.base_oid, comparison.head_oid)
    return await info.context.loaders.git.merge_base.load(key)


async def _statistics(root: Located[Commit], info: Info) -> Statistics:
    key = (root.state, root.value.oid)
    return await info.context.loaders.git.statistics_by_commit_oid.load(key)
