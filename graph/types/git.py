"""Git's objects: commits, trees, blobs and tags, and the people who made them."""

import datetime as dt
from typing import TYPE_CHECKING, Annotated, Any

import strawberry
from strawberry import Parent

from gitstore import objects
from gitstore.history import HistoryQuery
from graph.connections import Connection, Edge, PageInfo
from graph.scalars import HTML, URI, Base64String, GitObjectID, GitTimestamp
from graph.types.changes import Blame, ChangedFileConnection
from graph.types.interfaces import Node, UniformResourceLocatable
from graph.types.stars import Subscribable
from graph.view import field, view_of
from models import WatchState
from resolvers import blames, changes, connections, git_objects, histories, markup, submodules
from resolvers.arguments import OPTIONAL, After, Before, First, Last, given, page_arguments
from resolvers.context import Info
from resolvers.located import Located, LocatedEntry

if TYPE_CHECKING:
    from graph.types.owner import User
    from graph.types.repository import Repository

LazyRepository = Annotated["Repository", strawberry.lazy("graph.types.repository")]
LazyUser = Annotated["User", strawberry.lazy("graph.types.owner")]


def _shows(kind: type[Any]) -> Any:
    """Of located objects, those of this kind."""
    return view_of(Located, lambda row: isinstance(row.value, kind))


@strawberry.type(description="Represents an actor in a Git commit (ie. an author or committer).")
@view_of(objects.Signature)
class GitActor:
    date: GitTimestamp | None = field(
        git_objects.signature_date,
        description="The timestamp of the Git action (authoring or committing), in the actor's "
        "own time zone.",
    )
    email: str | None = field(description="The email in the Git commit.")
    name: str | None = field(description="The name in the Git commit.")
    user: LazyUser | None = field(
        git_objects.signer_user,
        description="The GitHub user corresponding to the email field: the account that has "
        "verified it. Null if no such user exists.",
    )


@strawberry.interface(description="Represents a Git object.")
class GitObject:
    abbreviated_oid: str = field(
        git_objects.abbreviated_oid, description="An abbreviated version of the Git object ID"
    )
    commit_resource_path: URI = field(
        git_objects.commit_path, description="The HTTP path for this Git object"
    )
    commit_url: URI = field(git_objects.commit_url, description="The HTTP URL for this Git object")
    id: strawberry.ID = strawberry.field(description="The Node ID of the object")
    oid: GitObjectID = field(git_objects.oid, description="The Git object ID")
    repository: LazyRepository = field(
        git_objects.repository, description="The Repository the Git object belongs to"
    )


@strawberry.type(description="Represents a Git blob.")
@_shows(objects.Blob)
class Blob(Node, GitObject):
    byte_size: int = field(git_objects.blob_byte_size, description="Byte size of Blob object")
    is_binary: bool | None = field(
        git_objects.blob_is_binary,
        description="Indicates whether the Blob is binary or text: it is binary if a zero byte is "
        "among the first 8,000, as for Git.",
    )
    is_truncated: bool = field(
        git_objects.blob_is_truncated,
        description="Indicates whether the contents is truncated: beyond 1 MiB.",
    )
    text: str | None = field(
        git_objects.blob_text,
        description="UTF8 text data or null if the Blob is binary; at most the first 1 MiB. Bytes "
        "that are no UTF-8 are shown as U+FFFD.",
    )


@strawberry.type(
    description="A pointer to a repository at a specific revision embedded inside another "
    "repository."
)
class Submodule:
    branch: str | None = field(
        submodules.branch,
        description="The branch of the upstream submodule for tracking updates",
    )
    git_url: URI = field(
        submodules.git_url,
        description="The git URL of the submodule repository; a relative one is resolved.",
    )
    name: str = field(submodules.name, description="The name of the submodule in .gitmodules")
    name_raw: Base64String = field(
        submodules.name_raw,
        description="The name of the submodule in .gitmodules (Base64-encoded)",
    )
    path: str = field(
        submodules.path,
        description="The path in the superproject that this submodule is located in",
    )
    path_raw: Base64String = field(
        submodules.path_raw,
        description="The path in the superproject that this submodule is located in "
        "(Base64-encoded)",
    )
    subproject_commit_oid: GitObjectID | None = field(
        submodules.subproject_commit_oid,
        description="The commit revision of the subproject repository being tracked by the "
        "submodule",
    )


@strawberry.type(description="Represents a Git tree entry.")
@view_of(LocatedEntry)
class TreeEntry:
    content_html: HTML | None = field(
        markup.entry_html,
        name="contentHTML",
        description="The file for reading: GitHub-flavoured Markdown rendered, links resolved, "
        "anything active removed; other text as it is. Null for what is no text or beyond 512 KiB.",
    )
    extension: str | None = field(
        git_objects.entry_extension, description="The extension of the file, such as `.md`"
    )
    last_commit: Annotated["Commit", strawberry.lazy("graph.types.git")] | None = field(
        git_objects.entry_last_commit,
        description="The commit that changed the entry last, as `git log -1` tells it; null in a "
        "tree that was asked for by its own ID.",
    )
    line_count: int | None = field(
        git_objects.entry_line_count,
        description="Number of lines in the file; null for what is no text or beyond 1 MiB.",
    )
    mode: int = field(git_objects.entry_mode, description="Entry file mode.")
    name: str = field(git_objects.entry_name, description="Entry file name.")
    name_raw: Base64String = field(
        git_objects.entry_name_raw, description="Entry file name. (Base64-encoded)"
    )
    object: GitObject | None = field(
        git_objects.entry_object,
        description="Entry file object; null for a submodule, whose commit is elsewhere.",
    )
    oid: GitObjectID = field(git_objects.entry_oid, description="Entry file Git object ID.")
    path: str | None = field(
        git_objects.entry_path,
        description="The full path of the file; null in a tree that was asked for by its own ID.",
    )
    path_raw: Base64String | None = field(
        git_objects.entry_path_raw, description="The full path of the file. (Base64-encoded)"
    )
    repository: LazyRepository = field(
        git_objects.repository, description="The Repository the tree entry belongs to"
    )
    size: int = field(
        git_objects.entry_size,
        description="Entry byte size; 0 for folders and submodules.",
    )
    submodule: Submodule | None = field(
        submodules.of_entry,
        description="If the TreeEntry is for a directory occupied by a submodule project, this "
        "returns the corresponding submodule",
    )
    type: str = field(
        git_objects.entry_type,
        description="Entry file type: `blob`, `tree`, or `commit` for a submodule.",
    )


@strawberry.type(description="Represents a Git tree.")
@_shows(objects.Tree)
class Tree(Node, GitObject):
    entries: list[TreeEntry] | None = field(
        git_objects.tree_entries, description="A list of tree entries, in Git's order."
    )


@strawberry.type(description="Represents a Git tag: an annotated one.")
@_shows(objects.Tag)
class Tag(Node, GitObject):
    message: str | None = field(git_objects.tag_message, description="The Git tag message.")
    name: str = field(git_objects.tag_name, description="The Git tag name.")
    tagger: GitActor | None = field(git_objects.tagger, description="Details about the tag author.")
    target: GitObject = field(
        git_objects.tag_target, description="The Git object the tag points to."
    )


LazyCommit = Annotated["Commit", strawberry.lazy("graph.types.git")]


@strawberry.type(
    description="The connection type for Commit. Give `first` or `last`, at most 100, to select "
    "its items. Pages go on from the commit at which the first one began."
)
class CommitHistoryConnection:
    edges: list[Edge[LazyCommit] | None] | None = field(
        connections.edges, description="A list of edges."
    )
    nodes: list[LazyCommit | None] | None = field(connections.nodes, description="A list of nodes.")
    page_info: PageInfo = field(
        connections.page_info, description="Information to aid in pagination."
    )
    total_count: int = field(
        connections.total_count,
        description="Identifies the total count of items in the connection. Every commit is "
        "counted for it, so ask for it only where it is shown.",
    )


@strawberry.input(description="Specifies an author for filtering Git commits.")
class CommitAuthor:
    emails: list[str] | None = strawberry.field(
        default=strawberry.UNSET,
        description="Email addresses to filter by, at most 20. Commits authored by any of the "
        "specified email addresses will be returned.",
    )
    id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET,
        description="ID of a User to filter by. If non-null, only commits authored by this user "
        "will be returned: those with one of its verified addresses.",
    )


async def history(
    root: Parent[Located[objects.Commit]],
    info: Info,
    after: After = OPTIONAL,
    author: Annotated[
        CommitAuthor | None,
        strawberry.argument(
            description="If non-null, filters history to only show commits with matching "
            "authorship."
        ),
    ] = OPTIONAL,
    before: Before = OPTIONAL,
    first: First = OPTIONAL,
    follow_renames: Annotated[
        bool | None,
        strawberry.argument(
            description="With the path of a file: go on under the names it had before."
        ),
    ] = False,
    last: Last = OPTIONAL,
    path: Annotated[
        str | None,
        strawberry.argument(
            description="If non-null, filters history to only show commits touching files under "
            "this path."
        ),
    ] = OPTIONAL,
    since: Annotated[
        GitTimestamp | None,
        strawberry.argument(
            description="Allows specifying a beginning time or date for fetching commits."
        ),
    ] = OPTIONAL,
    until: Annotated[
        GitTimestamp | None,
        strawberry.argument(
            description="Allows specifying an ending time or date for fetching commits."
        ),
    ] = OPTIONAL,
) -> histories.HistoryConnection:
    """Raises Invalid, NotFound, PaginationFault."""
    by = given(author)
    raw_path = (given(path) or "").strip("/").encode("utf-8", "surrogateescape")
    query = HistoryQuery(
        tip=root.value.oid,
        path=raw_path or None,
        emails=by and await histories.emails_of(info, given(by.id), given(by.emails)),
        since=given(since),
        until=given(until),
        follow_renames=bool(follow_renames) and bool(raw_path),
    )
    page = page_arguments("history", first, after, last, before)
    return histories.HistoryConnection(root.repository, query, page)


@strawberry.type(description="Represents a Git commit.")
@_shows(objects.Commit)
class Commit(Node, GitObject, Subscribable, UniformResourceLocatable):
    resource_path: URI = field(git_objects.commit_path, description="The HTTP path for this commit")
    url: URI = field(git_objects.commit_url, description="The HTTP URL for this commit")
    additions: int = field(
        changes.commit_additions,
        description="The number of additions in this commit, against its first parent.",
    )
    author: GitActor | None = field(
        git_objects.author, description="Authorship details of the commit."
    )
    authored_by_committer: bool = field(
        git_objects.authored_by_committer,
        description="Check if the committer and the author match.",
    )
    authored_date: dt.datetime = field(
        git_objects.authored_date,
        description="The datetime when this commit was authored.",
    )
    authors: Connection[GitActor] = field(
        histories.authors,
        description="The list of authors for this commit based on the git author and the "
        "Co-authored-by message trailer. The git author will always be first.",
    )
    blame: Blame = field(
        blames.blame,
        description="Fetches `git blame` information. A path without a file is NOT_FOUND.",
    )
    changed_files: int = field(
        changes.commit_changed_files,
        description="The number of changed files in this commit, against its first parent.",
        deprecation_reason="Use `changedFilesIfAvailable` instead, as on GitHub.",
    )
    changed_files_if_available: int | None = field(
        changes.commit_changed_files,
        description="The number of changed files in this commit, against its first parent.",
    )
    committed_date: dt.datetime = field(
        git_objects.committed_date,
        description="The datetime when this commit was committed.",
    )
    committer: GitActor | None = field(
        git_objects.committer, description="Committer details of the commit."
    )
    deletions: int = field(
        changes.commit_deletions,
        description="The number of deletions in this commit, against its first parent.",
    )
    files: ChangedFileConnection = field(
        changes.commit_files,
        description="The files that differ from the commit's first parent; of the first commit "
        "all.",
    )
    file: TreeEntry | None = field(
        git_objects.commit_file,
        description="The tree entry representing the file located at the given path.",
    )
    history: CommitHistoryConnection = field(
        history,
        description="The linear commit history starting from (and including) this commit, in the "
        "same order as `git log`.",
    )
    message: str = field(git_objects.message, description="The Git commit message")
    message_body: str = field(git_objects.message_body, description="The Git commit message body")
    message_body_html: HTML = field(
        markup.message_body_html,
        name="messageBodyHTML",
        description="The commit message body rendered to HTML.",
    )
    message_headline: str = field(
        git_objects.message_headline, description="The Git commit message headline"
    )
    message_headline_html: HTML = field(
        markup.message_headline_html,
        name="messageHeadlineHTML",
        description="The commit message headline rendered to HTML.",
    )
    parents: Connection[LazyCommit] = field(
        histories.parents, description="The parents of a commit."
    )
    submodules: Connection[Submodule] = field(
        submodules.of_commit,
        description="Returns a list of all submodules in this repository as of this Commit.",
    )
    tree: Tree = field(git_objects.commit_tree, description="Commit's root Tree")
    tree_resource_path: URI = field(
        git_objects.tree_path, description="The HTTP path for the tree of this commit"
    )
    tree_url: URI = field(
        git_objects.tree_url, description="The HTTP URL for the tree of this commit"
    )
    viewer_can_subscribe: bool = field(
        git_objects.never,
        description="Check if the viewer is able to change their subscription status; commits have "
        "no conversations on this server yet.",
    )
    viewer_subscription: WatchState | None = field(
        git_objects.nothing,
        description="Identifies if the viewer is watching, not watching, or ignoring the "
        "subscribable entity; null for commits.",
    )
