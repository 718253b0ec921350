"""A connection before it is read: fields ask for a page or a count, and loaders batch both."""

import dataclasses
from typing import Any, Generic, TypeVar

from strawberry import Parent

from resolvers.context import Info
from resolvers.pagination import Listing, Page, PageArguments

Row = TypeVar("Row")


@dataclasses.dataclass(frozen=True, slots=True)
class Connection(Generic[Row]):
    """What connection fields return. Nothing is read until a client selects it."""

    listing: Listing[Row]
    parent_id: int
    arguments: PageArguments

    async def page(self, info: Info) -> Page[Row]:
        """Raises PaginationFault."""
        return await info.context.loaders.page.load((self.listing, self.parent_id, self.arguments))


@dataclasses.dataclass(frozen=True, slots=True)
class Edge(Generic[Row]):
    cursor: str
    node: Row


async def nodes(root: Parent[Connection[Any]], info: Info) -> list[Any]:
    return (await root.page(info)).rows


async def edges(root: Parent[Connection[Any]], info: Info) -> list[Edge[Any]]:
    page = await root.page(info)
    return [Edge(cursor, row) for cursor, row in zip(page.cursors, page.rows, strict=True)]


async def page_info(root: Parent[Connection[Any]], info: Info) -> Page[Any]:
    return await root.page(info)


async def total_count(root: Parent[Connection[Any]], info: Info) -> int:
    return await info.context.loaders.count.load((root.listing, root.parent_id))
