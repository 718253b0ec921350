"""Repositories and their collaborators."""

import datetime as dt
from typing import Annotated

import strawberry
from strawberry import Parent

import models
from gitstore.objects import GitObject as GitObjectValue
from graph.connections import Connection, PageInfo
from graph.enums import OrderDirection, RefOrderField
from graph.scalars import HTML, URI, BigInt, GitObjectID, GitSSHRemote
from graph.types.changes import Comparison
from graph.types.git import GitObject, Submodule, TreeEntry
from graph.types.interfaces import Node, UniformResourceLocatable
from graph.types.keys import DeployKey
from graph.types.owner import RepositoryOwner, User
from graph.types.ref import Ref
from graph.types.stars import Starrable, Subscribable, UserConnection
from graph.view import field, view_of
from models import Visibility
from resolvers import (
    changes,
    connections,
    git_refs,
    markup,
    readmes,
    repositories,
    revisions,
    stars,
    submodules,
    users,
)
from resolvers.arguments import OPTIONAL, After, Before, First, Last, given, page_arguments
from resolvers.context import Info
from resolvers.listings import RefsOfRepository
from resolvers.located import Located
from services.access import Role
from services.errors import Invalid


@strawberry.input(description="Ways in which lists of git refs can be ordered upon return.")
class RefOrder:
    direction: OrderDirection = strawberry.field(
        description="The direction in which to order refs by the specified field."
    )
    field: RefOrderField = strawberry.field(description="The field in which to order refs by.")


def refs(
    root: Parent[models.Repository],
    ref_prefix: Annotated[
        str,
        strawberry.argument(
            description="A ref name prefix like `refs/heads/`, `refs/tags/`, etc. with the slash "
            "at its end."
        ),
    ],
    after: After = OPTIONAL,
    before: Before = OPTIONAL,
    direction: Annotated[
        OrderDirection | None,
        strawberry.argument(
            description="DEPRECATED: use orderBy. The ordering direction, by name."
        ),
    ] = OPTIONAL,
    first: First = OPTIONAL,
    last: Last = OPTIONAL,
    order_by: Annotated[
        RefOrder | None,
        strawberry.argument(
            description="Ordering options for refs returned from the connection; ascending by "
            "name if left out."
        ),
    ] = OPTIONAL,
    query: Annotated[
        str | None,
        strawberry.argument(description="Filters refs with query on name"),
    ] = OPTIONAL,
) -> connections.Connection[models.GitRef]:
    """Raises Invalid, PaginationFault."""
    page = page_arguments("refs", first, after, last, before)
    order = given(order_by)
    chosen = order.direction if order else given(direction)
    listing = RefsOfRepository(
        prefix=git_refs.checked_prefix(ref_prefix),
        query=given(query),
        descending=chosen is OrderDirection.DESC,
    )
    return connections.Connection(listing, root.id, page)


async def git_object(
    root: Parent[models.Repository],
    info: Info,
    expression: Annotated[
        str | None,
        strawberry.argument(
            description="A Git revision expression suitable for rev-parse: a branch, tag, ref or "
            "object ID, with `~2`, `^2` or `^{tree}`, and after a colon a path, such as "
            "`main:README.md`. What searches texts or reflogs names nothing."
        ),
    ] = OPTIONAL,
    oid: Annotated[
        GitObjectID | None, strawberry.argument(description="The Git object ID")
    ] = OPTIONAL,
) -> Located[GitObjectValue] | None:
    """Raises Invalid unless one of the two is given."""
    wanted, named = given(oid), given(expression)
    if (wanted is None) == (named is None):
        raise Invalid(
            "give either an oid or an expression to look up an object",
            fields=("oid", "expression"),
        )
    if wanted is not None:
        return await revisions.load(info, root, wanted)
    return await revisions.resolve(info, root, named)


@strawberry.type(description="Represents a user who is a collaborator of a repository.")
class RepositoryCollaboratorEdge:
    cursor: str = field(description="A cursor for use in pagination.")
    node: User = field(repositories.collaborator_user, description="The collaborator.")
    permission: Role = field(
        repositories.collaborator_permission,
        description="The permission the user has on the repository.",
    )


@strawberry.type(
    description="The people a repository was shared with. Give `first` or `last`, at most 100, to "
    "select them."
)
class RepositoryCollaboratorConnection:
    edges: list[RepositoryCollaboratorEdge | None] | None = field(
        connections.edges, description="A list of edges."
    )
    nodes: list[User | None] | None = field(
        repositories.collaborator_nodes, description="A list of nodes."
    )
    page_info: PageInfo = field(
        connections.page_info, description="Information to aid in pagination."
    )
    total_count: int = field(
        connections.total_count, description="Identifies the total count of items."
    )


@strawberry.type(description="A repository contains the content for a project.")
@view_of(models.Repository)
class Repository(Node, Starrable, Subscribable, UniformResourceLocatable):
    resource_path: URI = field(
        repositories.shown(repositories.resource_path),
        description="The HTTP path for this repository.",
    )
    url: URI = field(
        repositories.shown(repositories.url), description="The HTTP URL for this repository."
    )
    archived_at: dt.datetime | None = field(
        description="Identifies the date and time when the repository was archived."
    )
    collaborators: RepositoryCollaboratorConnection | None = field(
        repositories.collaborators,
        description="The people the repository was shared with; its owner is not among them. "
        "Only for administrators of the repository, with the scope `repo`; FORBIDDEN for others.",
    )
    compare: Comparison | None = field(
        changes.compare,
        description="Compares any two commits; null if one of them does not exist.",
    )
    created_at: dt.datetime = field(
        description="Identifies the date and time when the object was created."
    )
    database_id: int | None = field(
        users.database_id, description="Identifies the primary key from the database."
    )
    default_branch_name: str = field(
        repositories.default_branch_name,
        description="The short name of the branch that HEAD points to, which need not exist yet.",
    )
    default_branch_ref: Ref | None = field(
        repositories.default_branch_ref,
        description="The Ref associated with the repository's default branch; null while it does "
        "not exist.",
    )
    deploy_keys: Connection[DeployKey] = field(
        repositories.deploy_keys,
        description="A list of deploy keys that are on this repository. Only for administrators "
        "of the repository, with the scope `repo`; FORBIDDEN for others.",
    )
    description: str | None = field(description="The description of the repository.")
    description_html: HTML = field(
        markup.description_html,
        name="descriptionHTML",
        description="The description of the repository rendered to HTML.",
    )
    disk_usage: int | None = field(
        repositories.disk_usage,
        description="The number of kilobytes this repository occupies in storage.",
    )
    fork_count: int = field(
        repositories.fork_count,
        description="Returns how many forks there are of this repository that the viewer can see.",
    )
    forking_allowed: bool = field(
        repositories.always, description="Whether this repository allows forks; all do here."
    )
    has_issues_enabled: bool = field(
        repositories.never,
        description="Indicates if the repository has issues feature enabled; this server has none "
        "yet.",
    )
    has_projects_enabled: bool = field(
        repositories.never,
        description="Indicates if the repository has the Projects feature enabled; this server "
        "has none.",
    )
    has_wiki_enabled: bool = field(
        repositories.never,
        description="Indicates if the repository has wiki feature enabled; this server has none.",
    )
    is_archived: bool = field(
        repositories.is_archived,
        description="Indicates if the repository is unmaintained: it can only be read.",
    )
    is_disabled: bool = field(
        repositories.never,
        description="Returns whether or not this repository disabled; none is here.",
    )
    is_empty: bool = field(
        repositories.is_empty, description="Returns whether or not this repository is empty."
    )
    is_fork: bool = field(
        repositories.is_fork, description="Identifies if the repository is a fork."
    )
    is_in_organization: bool = field(
        repositories.never,
        description="Indicates if a repository is owned by an organization; this server has none "
        "yet.",
    )
    is_locked: bool = field(
        repositories.never,
        description="Indicates if the repository has been locked or not; none is here.",
    )
    is_mirror: bool = field(
        repositories.never, description="Identifies if the repository is a mirror; none is here."
    )
    is_private: bool = field(
        repositories.is_private,
        description="Identifies if the repository is private or internal.",
    )
    is_template: bool = field(
        repositories.never,
        description="Identifies if the repository is a template that can be used to generate new "
        "repositories; none is here.",
    )
    last_event_number: BigInt = field(
        repositories.last_event_number,
        description="The number of the newest event of the server. Ask for it in a request before "
        "the one for the rest: a subscription `after` it misses nothing the rest does not show.",
    )
    merge_commit_allowed: bool = field(
        repositories.never,
        description="Whether or not PRs are merged with a merge commit on this repository; this "
        "server has no pull requests yet.",
    )
    name: str = field(description="The name of the repository.")
    name_with_owner: str = field(
        repositories.shown(repositories.name_with_owner),
        description="The repository's name with owner.",
    )
    object: GitObject | None = field(
        git_object,
        description="A Git object in the repository; null if there is none.",
    )
    owner: RepositoryOwner = field(
        repositories.shown(repositories.owner), description="The User owner of the repository."
    )
    parent: Annotated["Repository", strawberry.lazy("graph.types.repository")] | None = field(
        repositories.parent,
        description="The repository parent, if this is a fork; null also for one that the viewer "
        "cannot see.",
    )
    pushed_at: dt.datetime | None = field(
        description="Identifies the date and time when the repository was last pushed to."
    )
    readme: TreeEntry | None = field(
        readmes.readme,
        description="The README of the repository or of a folder in it; null if there is none.",
    )
    rebase_merge_allowed: bool = field(
        repositories.never,
        description="Whether or not rebase-merging is enabled on this repository; this server has "
        "no pull requests yet.",
    )
    ref: Ref | None = field(git_refs.ref, description="Fetch a given ref from the repository")
    refs: Connection[Ref] | None = field(
        refs, description="Fetch a list of refs from the repository"
    )
    squash_merge_allowed: bool = field(
        repositories.never,
        description="Whether or not squash-merging is enabled on this repository; this server has "
        "no pull requests yet.",
    )
    ssh_url: GitSSHRemote = field(
        repositories.shown(repositories.ssh_url), description="The SSH URL to clone this repository"
    )
    submodules: Connection[Submodule] = field(
        submodules.of_repository,
        description="Returns a list of all submodules in this repository parsed from the "
        ".gitmodules file as of the default branch's HEAD commit.",
    )
    updated_at: dt.datetime = field(
        description="Identifies the date and time when the object was last updated."
    )
    viewer_can_administer: bool = field(
        repositories.viewer_can_administer,
        description="Indicates whether the viewer has admin permissions on this repository.",
    )
    viewer_permission: Role | None = field(
        repositories.viewer_permission,
        description="The users permission level on the repository. Will return null if there is "
        "no signed-in user.",
    )
    visibility: Visibility = field(description="Indicates the repository's visibility level.")
    watchers: UserConnection = field(
        stars.watchers, description="A list of users watching the repository."
    )
