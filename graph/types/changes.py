"""How commits differ: comparisons, changed files with their patches, and blame."""

from typing import TYPE_CHECKING, Annotated

import strawberry
from strawberry import Parent

from gitstore.diffs import ChangeKind
from graph.connections import Edge, PageInfo
from graph.enums import ComparisonStatus
from graph.scalars import GitObjectID
from graph.types.interfaces import Node
from graph.view import field, view_of
from resolvers import blames, changes, connections
from resolvers.context import Info

if TYPE_CHECKING:
    from graph.types.git import Commit, GitObject

LazyCommit = Annotated["Commit", strawberry.lazy("graph.types.git")]
LazyGitObject = Annotated["GitObject", strawberry.lazy("graph.types.git")]


async def status(root: Parent[changes.Comparison], info: Info) -> ComparisonStatus:
    ahead, behind = await changes.ahead_by(root, info), await changes.behind_by(root, info)
    if ahead and behind:
        return ComparisonStatus.DIVERGED
    if ahead:
        return ComparisonStatus.AHEAD
    return ComparisonStatus.BEHIND if behind else ComparisonStatus.IDENTICAL


@strawberry.type(
    description="A file that differs between two commits. What GitHub tells of a pull request's "
    "files, and more."
)
class ChangedFile:
    additions: int = field(
        changes.file_additions, description="The number of lines added; 0 for a binary file."
    )
    change_type: ChangeKind = field(changes.change_type, description="How the file was changed.")
    deletions: int = field(
        changes.file_deletions, description="The number of lines deleted; 0 for a binary file."
    )
    is_binary: bool = field(
        changes.file_is_binary, description="Whether the file is binary, so that it has no patch."
    )
    is_patch_truncated: bool = field(
        changes.file_patch_is_truncated,
        description="Whether the patch is cut off: beyond 256 KiB, or 4 MiB for a page of files.",
    )
    new_mode: int | None = field(
        changes.new_mode, description="The file's mode afterwards; null if it was deleted."
    )
    new_oid: GitObjectID | None = field(
        changes.new_oid, description="The object afterwards; null if it was deleted."
    )
    old_mode: int | None = field(
        changes.old_mode, description="The file's mode before; null if it was added."
    )
    old_oid: GitObjectID | None = field(
        changes.old_oid, description="The object before; null if it was added."
    )
    patch: str | None = field(
        changes.file_patch,
        description="The hunks, as `git diff` writes them, without the lines above the first; null "
        "for a binary file, empty where only the mode or name changed.",
    )
    path: str = field(changes.file_path, description="The path of the file.")
    previous_path: str | None = field(
        changes.previous_path, description="The path before, if the file was renamed or copied."
    )


@strawberry.type(
    description="The files that differ between two commits, by path. Give `first` or `last`, at "
    "most 100, to select its items."
)
class ChangedFileConnection:
    edges: list[Edge[ChangedFile] | None] | None = field(
        connections.edges, description="A list of edges."
    )
    is_truncated: bool = field(
        changes.files_are_truncated,
        description="Whether there are more than 3,000 files; then the list ends there, and no "
        "lines are counted.",
    )
    nodes: list[ChangedFile | None] | None = field(
        connections.nodes, description="A list of nodes."
    )
    page_info: PageInfo = field(
        connections.page_info, description="Information to aid in pagination."
    )
    total_count: int = field(
        connections.total_count, description="The number of files, at most 3,000."
    )


@strawberry.type(
    description="The connection type for Commit. Give `first` or `last`, at most 100, to select "
    "its items."
)
class ComparisonCommitConnection:
    author_count: int = field(
        changes.author_count,
        description="The total count of authors and co-authors across all commits: of different "
        "author addresses.",
    )
    edges: list[Edge[LazyCommit] | None] | None = field(
        connections.edges, description="A list of edges."
    )
    nodes: list[LazyCommit | None] | None = field(connections.nodes, description="A list of nodes.")
    page_info: PageInfo = field(
        connections.page_info, description="Information to aid in pagination."
    )
    total_count: int = field(
        connections.total_count,
        description="Identifies the total count of items in the connection.",
    )


@strawberry.type(description="Represents a comparison between two commit revisions.")
@view_of(changes.Comparison)
class Comparison(Node):
    ahead_by: int = field(
        changes.ahead_by,
        description="The number of commits ahead of the base branch.",
    )
    base_target: LazyGitObject = field(
        changes.base_target, description="The base revision of this comparison."
    )
    behind_by: int = field(
        changes.behind_by,
        description="The number of commits behind the base branch.",
    )
    commits: ComparisonCommitConnection = field(
        changes.comparison_commits,
        description="The commits which compose this comparison, oldest first.",
    )
    files: ChangedFileConnection = field(
        changes.comparison_files,
        description="The files that the head changed since its last common commit with the base.",
    )
    head_target: LazyGitObject = field(
        changes.head_target, description="The head revision of this comparison."
    )
    merge_base: LazyCommit | None = field(
        changes.merge_base,
        description="A best common commit of base and head; null if they share none.",
    )
    status: ComparisonStatus = field(status, description="The status of this comparison.")


@strawberry.type(description="Represents a range of information from a Git blame.")
class BlameRange:
    age: int = field(
        blames.range_age,
        description="Identifies the recency of the change, from 1 (new) to 10 (old), by its time "
        "between those of the newest and the oldest change in the file.",
    )
    commit: LazyCommit = field(blames.range_commit, description="Identifies the line author")
    ending_line: int = field(blames.range_end, description="The ending line for the range")
    path: str = field(blames.range_path, description="Where the file was in that commit.")
    previous_commit: LazyCommit | None = field(
        blames.previous_commit,
        description="The commit before, to see what the lines were; null if they came with the "
        "file.",
    )
    previous_path: str | None = field(
        blames.range_previous_path, description="Where the file was in the commit before."
    )
    starting_line: int = field(blames.range_start, description="The starting line for the range")


@strawberry.type(description="Represents a Git blame.")
class Blame:
    ranges: list[BlameRange] = field(
        blames.blame_ranges,
        description="The list of ranges from a Git blame, by line; at most 20,000.",
    )
