"""Any object by its node id, judged by its concrete type exactly as on every other way to it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import strawberry
from strawberry import Parent

from gitstore.objects import Blob, Commit, Tag, Tree
from models import AccessToken, EmailAddress, GitRef, Repository, Session, SSHKey, User
from resolvers import ids, revisions
from resolvers.changes import Comparison, by_oids
from resolvers.context import Info
from resolvers.ids import IdKind
from resolvers.listings import AccessTokensOfViewer, EmailAddressesOfViewer, SessionsOfViewer
from resolvers.located import Located
from resolvers.pagination import MAX_PAGE_SIZE, PaginationFault
from services import access
from services.access import Action
from services.actor import ActorKind
from services.errors import Forbidden, ForgeError, Unauthenticated

_KINDS: dict[type[Any], IdKind] = {
    User: IdKind.USER,
    Repository: IdKind.REPOSITORY,
    EmailAddress: IdKind.EMAIL_ADDRESS,
    AccessToken: IdKind.ACCESS_TOKEN,
    Session: IdKind.SESSION,
}
_OBJECT_KINDS: dict[type[Any], IdKind] = {
    Commit: IdKind.COMMIT,
    Tree: IdKind.TREE,
    Blob: IdKind.BLOB,
    Tag: IdKind.TAG,
}


def node_id(root: Parent[Any]) -> str:
    """The node id of a row."""
    if isinstance(root, Located):
        kind = _OBJECT_KINDS[type(root.value)]
        return ids.encode_named(kind, root.repository.id, root.value.oid)
    if isinstance(root, Comparison):
        oids = f"{root.base.value.oid}...{root.head.value.oid}"
        return ids.encode_named(IdKind.COMPARISON, root.repository.id, oids)
    if isinstance(root, GitRef):
        return ids.encode_named(IdKind.REF, root.repository_id, root.name)
    if isinstance(root, SSHKey):
        kind = IdKind.PUBLIC_KEY if root.user_id is not None else IdKind.DEPLOY_KEY
        return ids.encode(kind, root.id)
    return ids.encode(_KINDS[type(root)], root.id)


async def node(
    info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="ID of the object.")]
) -> Any:
    """Raises NotFound for whatever the viewer may not see."""
    kind, number, name = ids.decode(id)
    try:
        row = await _FINDERS[kind](info, number, name)
    except (Forbidden, Unauthenticated) as fault:
        raise ids.unresolvable(id) from fault
    if row is None:
        raise ids.unresolvable(id)
    return row


async def nodes(
    info: Info,
    ids: Annotated[
        list[strawberry.ID], strawberry.argument(description="The list of node IDs; at most 100.")
    ],
) -> list[Any]:
    """A fault of one id is an error beside the other ids' objects."""
    if len(ids) > MAX_PAGE_SIZE:
        raise PaginationFault(
            "ARGUMENT_LIMIT",
            f"You may not provide more than {MAX_PAGE_SIZE} node ids; you provided {len(ids)}.",
            "ids",
        )

    async def find(each: strawberry.ID) -> Any:
        try:
            return await node(info, each)
        except ForgeError as fault:
            return fault  # The executor raises it at this element.

    return list(await asyncio.gather(*map(find, ids)))


async def _user(info: Info, number: int, _name: str) -> Any:
    return await info.context.loaders.owner_by_id.load(number)


async def _repository(info: Info, number: int, _name: str) -> Any:
    return await info.context.loaders.repository_by_id.load(number)


async def _ref(info: Info, number: int, name: str) -> Any:
    if await info.context.loaders.repository_by_id.load(number) is None:
        return None
    return await info.context.loaders.ref_by_repository_and_name.load((number, name))


def _object(kind: IdKind) -> Callable[[Info, int, str], Awaitable[Any]]:
    async def find(info: Info, number: int, name: str) -> Any:
        repository = await info.context.loaders.repository_by_id.load(number)
        if repository is None or not revisions.is_whole_id(name):
            return None
        found = await revisions.load(info, repository, name)
        is_right = found is not None and _OBJECT_KINDS[type(found.value)] is kind
        return found if is_right else None

    return find


async def _comparison(info: Info, number: int, name: str) -> Any:
    repository = await info.context.loaders.repository_by_id.load(number)
    base, _, head = name.partition("...")
    if repository is None or not (revisions.is_whole_id(base) and revisions.is_whole_id(head)):
        return None
    return await by_oids(info, repository, base, head)


async def _public_key(info: Info, number: int, _name: str) -> Any:
    key = await info.context.loaders.ssh_key_by_id.load(number)
    return key if key is not None and key.user_id is not None else None


async def _deploy_key(info: Info, number: int, _name: str) -> Any:
    key = await info.context.loaders.ssh_key_by_id.load(number)
    if key is None or key.repository_id is None:
        return None
    judged = (Action.REPOSITORY_MANAGE_KEYS, key.repository_id)
    refusal = await info.context.loaders.refusal_by_action_and_repository_id.load(judged)
    return key if refusal is None else None


async def _email_address(info: Info, number: int, _name: str) -> Any:
    return await _own(info, "user:email", EmailAddressesOfViewer(), EmailAddress, number)


async def _access_token(info: Info, number: int, _name: str) -> Any:
    return await _own(info, "user", AccessTokensOfViewer(), AccessToken, number)


async def _session(info: Info, number: int, _name: str) -> Any:
    if info.context.op.actor.kind is not ActorKind.SESSION:
        return None
    return await _own(info, "user", SessionsOfViewer(), Session, number)


async def _own(info: Info, scope: str, listing: Any, table: Any, number: int) -> Any:
    """A row of the viewer's own; the listing of the connection decides which those are."""
    access.require_scope(info.context.op.actor, scope)
    async with info.context.op.read() as tx:
        return await tx.session.scalar(listing.select(tx).where(table.id == number))


_FINDERS: dict[IdKind, Callable[[Info, int, str], Awaitable[Any]]] = {
    IdKind.USER: _user,
    IdKind.REPOSITORY: _repository,
    IdKind.REF: _ref,
    IdKind.PUBLIC_KEY: _public_key,
    IdKind.DEPLOY_KEY: _deploy_key,
    IdKind.EMAIL_ADDRESS: _email_address,
    IdKind.ACCESS_TOKEN: _access_token,
    IdKind.SESSION: _session,
    IdKind.COMPARISON: _comparison,
    **{kind: _object(kind) for kind in _OBJECT_KINDS.values()},
}
