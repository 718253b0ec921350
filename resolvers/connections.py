"""A connection before it is read: fields ask for a page or a count, and loaders batch both."""

import dataclasses
from typing import Any, Generic, Protocol, TypeVar

from strawberry import Parent

from resolvers.context import Info
from resolvers.pagination import Listing, Page, PageArguments

Row = TypeVar("Row")


class Pages(Protocol):
    """What the fields of connections ask, whatever is listed."""

    async def page(self, info: Info) -> Page[Any]: ...

    async def count(self, info: Info) -> int: ...


@dataclasses.dataclass(frozen=True, slots=True)
class Connection(Generic[Row]):
    """What connection fields return. Nothing is read until a client selects it."""

    listing: Listing[Row]
    parent_id: int
    arguments: PageArguments

    async def page(self, info: Info) -> Page[Row]:
        """Raises PaginationFault."""
        return await info.context.loaders.page.load((self.listing, self.parent_id, self.arguments))

    async def count(self, info: Info) -> int:
        return await info.context.loaders.count.load((self.listing, self.parent_id))


@dataclasses.dataclass(frozen=True, slots=True)
class Edge(Generic[Row]):
    cursor: str
    node: Row


async def nodes(root: Parent[Pages], info: Info) -> list[Any]:
    return (await root.page(info)).rows


async def edges(root: Parent[Pages], info: Info) -> list[Edge[Any]]:
    page = await root.page(info)
    return [Edge(cursor, row) for cursor, row in zip(page.cursors, page.rows, strict=True)]


async def page_info(root: Parent[Pages], info: Info) -> Page[Any]:
    return await root.page(info)


async def total_count(root: Parent[Pages], info: Info) -> int:
    return await root.count(info)
