"""Stars and watches: who, which, since when, and what the viewer said."""

import datetime as dt
from typing import Any

from strawberry import Parent

from models import Owner, Repository, Star, User, Watch, WatchState
from resolvers.arguments import OPTIONAL, After, Before, First, Last, page_arguments
from resolvers.connections import Connection, Edge
from resolvers.context import Info
from resolvers.listings import StarsOfRepository, WatchersOfRepository
from services.errors import NotFound


async def stargazer_count(root: Parent[Repository], info: Info) -> int:
    return await info.context.loaders.count.load((StarsOfRepository(), root.id))


async def viewer_has_starred(root: Parent[Repository], info: Info) -> bool:
    if info.context.op.actor.user_id is None:
        return False
    return bool(await info.context.loaders.has_starred_by_repository_id.load(root.id))


def viewer_can_subscribe(root: Parent[Repository], info: Info) -> bool:
    return info.context.op.actor.user_id is not None


async def viewer_subscription(root: Parent[Repository], info: Info) -> WatchState | None:
    if info.context.op.actor.user_id is None:
        return None
    found = await info.context.loaders.watch_state_by_repository_id.load(root.id)
    return found or WatchState.UNSUBSCRIBED


def watchers(
    root: Parent[Repository],
    first: First = OPTIONAL,
    after: After = OPTIONAL,
    last: Last = OPTIONAL,
    before: Before = OPTIONAL,
) -> Connection[Watch]:
    """Raises PaginationFault."""
    page = page_arguments("watchers", first, after, last, before)
    return Connection(WatchersOfRepository(), root.id, page)


async def user_nodes(root: Parent[Connection[Any]], info: Info) -> list[Owner | None]:
    rows = (await root.page(info)).rows
    return await info.context.loaders.owner_by_id.load_many([row.user_id for row in rows])


async def user_edges(root: Parent[Connection[Any]], info: Info) -> list[Edge[Owner | None]]:
    page, users = await root.page(info), await user_nodes(root, info)
    return [Edge(cursor, user) for cursor, user in zip(page.cursors, users, strict=True)]


async def stargazer(root: Parent[Edge[Star]], info: Info) -> User:
    found = await info.context.loaders.owner_by_id.load(root.node.user_id)
    if not isinstance(found, User):
        raise NotFound("the account no longer exists")
    return found


async def repository_nodes(root: Parent[Connection[Star]], info: Info) -> list[Repository | None]:
    rows = (await root.page(info)).rows
    load = info.context.loaders.repository_by_id.load_many
    return await load([row.repository_id for row in rows])


async def starred_repository(root: Parent[Edge[Star]], info: Info) -> Repository:
    found = await info.context.loaders.repository_by_id.load(root.node.repository_id)
    if found is None:
        raise NotFound("the repository no longer exists")
    return found


def starred_at(root: Parent[Edge[Star]]) -> dt.datetime:
    return root.node.created_at


def never_over_limit(root: Parent[Connection[Star]]) -> bool:
    return False
