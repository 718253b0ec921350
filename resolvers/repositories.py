"""Fields of repositories: names, counts, rights of the viewer, and what hangs on a repository."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import strawberry
from strawberry import Parent

from models import Collaborator, GitRef, Owner, Repository, SSHKey, Visibility, event
from resolvers.arguments import OPTIONAL, After, Before, First, Last, page_arguments
from resolvers.connections import Connection, Edge
from resolvers.context import Info
from resolvers.listings import CollaboratorsOfRepository, DeployKeysOfRepository
from resolvers.users import find_repository
from services.access import Action, Role
from services.errors import NotFound


async def repository(
    info: Info,
    owner: Annotated[
        str, strawberry.argument(description="The login field of a user or organization.")
    ],
    name: Annotated[str, strawberry.argument(description="The name of the repository.")],
    follow_renames: Annotated[
        bool | None,
        strawberry.argument(
            description="Follow repository renames. If disabled, a repository referenced by its "
            "old name will return an error."
        ),
    ] = True,
) -> Repository:
    """Raises NotFound in GitHub's words."""
    return await find_repository(info, owner, name, follow_renames=follow_renames is not False)


async def owner(root: Parent[Repository], info: Info) -> Owner:
    known = info.context.loaders.known_owners.get(root.owner_id)
    if known is not None:
        return known
    found = await info.context.loaders.owner_by_id.load(root.owner_id)
    if found is None:
        raise NotFound("the repository no longer exists")
    return found


def shown(read: Callable[[Repository, Info], Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
    """``read``, which waits for the repository's owner alone, as a field: one that gives its value
    at once where the owner is known already."""

    def resolve(root: Parent[Repository], info: Info) -> Any:
        if root.owner_id not in info.context.loaders.known_owners:
            return read(root, info)
        try:
            read(root, info).send(None)
        except StopIteration as done:
            return done.value
        raise AssertionError("it waited for something else than the owner")

    return resolve


async def name_with_owner(root: Parent[Repository], info: Info) -> str:
    return f"{(await owner(root, info)).login}/{root.name}"


async def resource_path(root: Parent[Repository], info: Info) -> str:
    return f"/{await name_with_owner(root, info)}"


async def url(root: Parent[Repository], info: Info) -> str:
    settings = info.context.op.runtime.settings
    return f"{settings.web_url}/{await name_with_owner(root, info)}"


async def ssh_url(root: Parent[Repository], info: Info) -> str:
    settings = info.context.op.runtime.settings
    path = f"{await name_with_owner(root, info)}.git"
    if settings.ssh_public_port == 22:
        return f"git@{settings.ssh_clone_host}:{path}"
    return f"ssh://git@{settings.ssh_clone_host}:{settings.ssh_public_port}/{path}"


async def last_event_number(root: Parent[Repository], info: Info) -> int:
    """Events committed but without a number get a higher one, so none is left out."""
    async with info.context.op.read() as tx:
        return await event.last_event_number(tx.session)


def is_private(root: Parent[Repository]) -> bool:
    # As on GitHub, an internal repository is a private one.
    return root.visibility is not Visibility.PUBLIC


def never(root: Parent[Repository]) -> bool:
    """For what GitHub's tools select in every query and no repository here has."""
    return False


def always(root: Parent[Repository]) -> bool:
    """As ``never``, the other way round."""
    return True


def is_archived(root: Parent[Repository]) -> bool:
    return root.archived_at is not None


async def is_fork(root: Parent[Repository], info: Info) -> bool:
    return await info.context.loaders.parent_id_by_repository_id.load(root.id) is not None


async def parent(root: Parent[Repository], info: Info) -> Repository | None:
    parent_id = await info.context.loaders.parent_id_by_repository_id.load(root.id)
    if parent_id is None:
        return None
    return await info.context.loaders.repository_by_id.load(parent_id)


async def fork_count(root: Parent[Repository], info: Info) -> int:
    return await info.context.loaders.fork_count_by_repository_id.load(root.id) or 0


async def is_empty(root: Parent[Repository], info: Info) -> bool:
    return not await info.context.loaders.has_refs_by_repository_id.load(root.id)


async def disk_usage(root: Parent[Repository], info: Info) -> int:
    size = await info.context.loaders.disk_bytes_by_repository_id.load(root.id)
    return min((size or 0) // 1024, 2**31 - 1)


async def viewer_permission(root: Parent[Repository], info: Info) -> Role | None:
    if info.context.op.actor.is_anonymous:
        return None
    return await info.context.loaders.role_by_repository_id.load(root.id)


async def viewer_can_administer(root: Parent[Repository], info: Info) -> bool:
    return await viewer_permission(root, info) is Role.ADMIN


async def deploy_keys(
    root: Parent[Repository],
    info: Info,
    first: First = OPTIONAL,
    after: After = OPTIONAL,
    last: Last = OPTIONAL,
    before: Before = OPTIONAL,
) -> Connection[SSHKey]:
    """Raises Forbidden, PaginationFault."""
    await _require(root, info, Action.REPOSITORY_MANAGE_KEYS)
    page = page_arguments("deployKeys", first, after, last, before)
    return Connection(DeployKeysOfRepository(), root.id, page)


async def collaborators(
    root: Parent[Repository],
    info: Info,
    first: First = OPTIONAL,
    after: After = OPTIONAL,
    last: Last = OPTIONAL,
    before: Before = OPTIONAL,
) -> Connection[Collaborator]:
    """Raises Forbidden, PaginationFault."""
    await _require(root, info, Action.REPOSITORY_MANAGE_COLLABORATORS)
    page = page_arguments("collaborators", first, after, last, before)
    return Connection(CollaboratorsOfRepository(), root.id, page)


async def collaborator_nodes(
    root: Parent[Connection[Collaborator]], info: Info
) -> list[Owner | None]:
    rows = (await root.page(info)).rows
    return await info.context.loaders.owner_by_id.load_many([row.user_id for row in rows])


async def collaborator_user(root: Parent[Edge[Collaborator]], info: Info) -> Owner | None:
    return await info.context.loaders.owner_by_id.load(root.node.user_id)


def collaborator_permission(root: Parent[Edge[Collaborator]]) -> Role:
    return Role[root.node.role.upper()]


def default_branch_name(root: Parent[Repository]) -> str:
    return root.default_branch


async def default_branch_ref(root: Parent[Repository], info: Info) -> GitRef | None:
    key = (root.id, f"refs/heads/{root.default_branch}")
    return await info.context.loaders.ref_by_repository_and_name.load(key)


async def _require(root: Repository, info: Info, action: Action) -> None:
    """Raises Forbidden, InsufficientScopes, Unauthenticated; one statement for a whole list."""
    key = (action, root.id)
    fault = await info.context.loaders.refusal_by_action_and_repository_id.load(key)
    if fault is not None:
        raise fault
