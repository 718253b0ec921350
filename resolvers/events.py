"""What happened in repositories: the source of subscriptions, and fields of events.

Rights are judged again for every event, at the time it is delivered (K10).
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from strawberry import Parent

from models import Event, Owner, RefChange, Repository
from resolvers import ids
from resolvers.arguments import OPTIONAL, After, Before, First, Last, page_arguments
from resolvers.connections import Connection
from resolvers.context import Info
from resolvers.ids import IdKind
from resolvers.listings import RefChangesOfPush
from services import access, credentials
from services.access import Action, Role
from services.context import OpContext
from services.errors import Forbidden, ForgeError, NotFound, Unauthenticated

# A subscription to which nothing is delivered is judged so often: a right taken away ends it.
JUDGED_EVERY_SECONDS = 30.0

# Attributes as `RepositoryUpdated` names them -> fields of the contract.
_FIELDS = {
    "archived_at": "isArchived",
    "default_branch": "defaultBranchRef",
    "description": "description",
    "name": "name",
    "visibility": "visibility",
}


async def _anyone(info: Info, event: Event) -> bool:
    return True


async def _who_sees_the_fork(info: Info, event: Event) -> bool:
    return await _readable(info, event.payload["fork_id"]) is not None


async def _administrators(info: Info, event: Event) -> bool:
    assert event.repository_id is not None
    judged = (Action.REPOSITORY_MANAGE_COLLABORATORS, event.repository_id)
    try:
        await info.context.loaders.refusal_by_action_and_repository_id.load(judged)
    except ForgeError:
        return False
    return True


# The events that are shown, and to whom of those who may read the repository.
SHOWN: Mapping[str, Callable[[Info, Event], Awaitable[bool]]] = {
    "RepositoryCreated": _anyone,
    "RepositoryUpdated": _anyone,
    "RepositoryTransferred": _anyone,
    "PushReceived": _anyone,
    "ForkCreated": _who_sees_the_fork,
    "RepositoryStarred": _anyone,
    "RepositoryUnstarred": _anyone,
    "CollaboratorAdded": _administrators,
    "CollaboratorRemoved": _administrators,
}


async def of_repository(info: Info, repository_id: str, after: int | None) -> AsyncIterator[Event]:
    """The repository's events, without end.

    Raises NotFound for what the viewer may not read, now or later; Unauthenticated and Forbidden
    once the credential is worth nothing; Invalid for a number that no event has; Overflow.
    """
    number = ids.decode_as(repository_id, IdKind.REPOSITORY)
    op, deliveries = info.context.op, info.context.deliveries
    await _require_readable(op, number, repository_id)
    try:
        async with op.runtime.feed.listen(repository_id=number, after=after) as listener:
            while True:
                event = await listener.next(JUDGED_EVERY_SECONDS)
                if event is None:
                    await _require_readable(op, number, repository_id)
                    continue
                delivery = deliveries.of(op, event)
                await delivery.judged(lambda: _require_readable(op, number, repository_id))
                # What was loaded for the event before shows the state of then.
                info.context.loaders = delivery.loaders
                if event.name in SHOWN and await SHOWN[event.name](info, event):
                    yield event
    finally:
        # Others may still use those of the last delivery: they are not this operation's to cancel.
        info.context.forget_loaded_rows()


async def _require_readable(op: OpContext, number: int, repository_id: str) -> None:
    async with op.read() as tx:
        try:
            await access.get_repository(tx, number, Action.REPOSITORY_READ)
        except NotFound as fault:
            raise ids.unresolvable(repository_id) from fault
        except (Forbidden, Unauthenticated) as fault:
            # Told only of the credential; what it hides is missing like anything else.
            await credentials.reload(tx.session, op.actor)
            raise ids.unresolvable(repository_id) from fault


async def _readable(info: Info, repository_id: int) -> Repository | None:
    return await info.context.loaders.repository_by_id.load(repository_id)


async def actor(root: Parent[Event], info: Info) -> Owner | None:
    if root.actor_id is None:
        return None
    return await info.context.loaders.owner_by_id.load(root.actor_id)


async def repository(root: Parent[Event], info: Info) -> Repository:
    """Raises NotFound once the viewer may no longer read it."""
    assert root.repository_id is not None
    found = await _readable(info, root.repository_id)
    if found is None:
        raise NotFound("the repository no longer exists")
    return found


def changed_fields(root: Parent[Event]) -> list[str]:
    return sorted({_FIELDS.get(each, each) for each in root.payload["changes"]})


async def previous_owner(root: Parent[Event], info: Info) -> Owner | None:
    return await info.context.loaders.owner_by_id.load(root.payload["old_owner_id"])


async def fork(root: Parent[Event], info: Info) -> Repository | None:
    return await _readable(info, root.payload["fork_id"])


async def collaborator(root: Parent[Event], info: Info) -> Owner | None:
    return await info.context.loaders.owner_by_id.load(root.payload["user_id"])


def permission(root: Parent[Event]) -> Role:
    return Role[str(root.payload["role"]).upper()]


def ref_changes(
    root: Parent[Event],
    first: First = OPTIONAL,
    after: After = OPTIONAL,
    last: Last = OPTIONAL,
    before: Before = OPTIONAL,
) -> Connection[RefChange]:
    """Raises PaginationFault."""
    page = page_arguments("refChanges", first, after, last, before)
    return Connection(RefChangesOfPush(), root.payload["push_id"], page)


def ref_name(root: Parent[Any]) -> str:
    name: str = root.ref_name
    return name


def before_oid(root: Parent[Any]) -> str | None:
    oid: str | None = root.old_oid
    return oid


def after_oid(root: Parent[Any]) -> str | None:
    oid: str | None = root.new_oid
    return oid


def is_forced(root: Parent[Any]) -> bool:
    forced: bool = root.forced
    return forced
