"""Relay connections by key: stable cursors, pages for many parents in one statement.

A ``Listing`` says what a connection lists and in which order; ``load_pages`` reads one page each
for any number of parents. A cursor holds the order's key of a row and a tag of the order itself,
so rows that come and go move no page, and a cursor is refused where it does not belong.
"""

import abc
import base64
import binascii
import dataclasses
import datetime as dt
import json
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Select, and_, func, inspect, or_, select
from sqlalchemy.orm import aliased

from services.context import ReadTransaction
from services.errors import Invalid

MAX_PAGE_SIZE = 100
_MAX_CURSOR_LENGTH = 2048

Row = TypeVar("Row")


class PaginationFault(Invalid):
    """``error_type``: GitHub's name for the fault, shown as the error's type."""

    def __init__(self, error_type: str, message: str, field: str) -> None:
        super().__init__(message, fields=(field,))
        self.error_type = error_type


@dataclasses.dataclass(frozen=True, slots=True)
class PageArguments:
    """The four arguments of a connection field, checked, and the field's name for errors."""

    connection: str
    first: int | None = None
    last: int | None = None
    after: str | None = None
    before: str | None = None

    def __post_init__(self) -> None:
        """Raises PaginationFault in GitHub's words."""
        for name, size in (("first", self.first), ("last", self.last)):
            if size is not None and size < 0:
                raise PaginationFault(
                    "INVALID_PAGINATION",
                    f"`{name}` on the `{self.connection}` connection cannot be less than zero.",
                    name,
                )
            if size is not None and size > MAX_PAGE_SIZE:
                raise PaginationFault(
                    "EXCESSIVE_PAGINATION",
                    f"Requesting {size} records on the `{self.connection}` connection exceeds "
                    f"the `{name}` limit of {MAX_PAGE_SIZE} records.",
                    name,
                )
        if self.first is not None and self.last is not None:
            raise PaginationFault(
                "INVALID_PAGINATION",
                f"Passing both `first` and `last` to paginate the `{self.connection}` "
                "connection is not supported.",
                "last",
            )

    @property
    def size(self) -> int:
        """Rows wanted. Raises PaginationFault if neither bound was given."""
        size = self.first if self.first is not None else self.last
        if size is None:
            raise PaginationFault(
                "MISSING_PAGINATION_BOUNDARIES",
                "You must provide a `first` or `last` value to properly paginate the "
                f"`{self.connection}` connection.",
                "first",
            )
        return size


@dataclasses.dataclass(frozen=True, slots=True)
class OrderKey:
    """One column of an order. ``attribute`` reads the same value, a ``kind``, from a loaded row."""

    column: ColumnElement[Any]
    attribute: str
    kind: type[int | str | dt.datetime]
    descending: bool = False
    fallback: str | None = None  # the attribute to read where the first one is null

    def value(self, row: Any) -> Any:
        value = getattr(row, self.attribute)
        return getattr(row, self.fallback) if value is None and self.fallback else value


class Listing(abc.ABC, Generic[Row]):
    """What one connection lists. Subclasses are frozen dataclasses: equal ones share a batch."""

    @abc.abstractmethod
    def select(self, tx: ReadTransaction) -> Select[Row]:
        """The rows of all parents that the actor may see, in no order."""

    @abc.abstractmethod
    def parent(self) -> ColumnElement[Any]:
        """The column that holds the parent's id."""

    @abc.abstractmethod
    def order(self) -> tuple[OrderKey, ...]:
        """Columns that order a parent's rows without ties."""


@dataclasses.dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """Rows of one page with their cursors, and whether there are more on either side."""

    rows: list[Row]
    cursors: list[str]
    has_next_page: bool
    has_previous_page: bool

    @property
    def start_cursor(self) -> str | None:
        return self.cursors[0] if self.cursors else None

    @property
    def end_cursor(self) -> str | None:
        return self.cursors[-1] if self.cursors else None


async def load_pages(
    tx: ReadTransaction, listing: Listing[Row], parent_ids: Sequence[int], arguments: PageArguments
) -> dict[int, Page[Row]]:
    """One page per parent, in one statement. Raises PaginationFault (also for a strange cursor)."""
    order = listing.order()
    backward = arguments.last is not None
    # With `last` the order is walked from its end, and the page is turned round at the end.
    walk = tuple(dataclasses.replace(key, descending=key.descending ^ backward) for key in order)
    statement = listing.select(tx).where(listing.parent().in_(parent_ids))
    for name, cursor, beyond in (
        ("after", arguments.after, order),
        ("before", arguments.before, _reversed(order)),
    ):
        if cursor is not None:
            statement = statement.where(_beyond(beyond, _read_cursor(order, cursor, name)))
    limit = arguments.size + 1  # the extra row tells whether there are more
    rows_of: dict[int, list[Row]] = {parent_id: [] for parent_id in parent_ids}
    for parent_id, row in await _fetch(tx, listing, statement, walk, parent_ids, limit):
        rows_of[parent_id].append(row)
    return {parent_id: _page(order, rows, arguments) for parent_id, rows in rows_of.items()}


async def load_counts(
    tx: ReadTransaction, listing: Listing[Row], parent_ids: Sequence[int]
) -> dict[int, int]:
    """How many rows each parent has in all, in one statement."""
    parent = listing.parent()
    statement = (
        listing.select(tx)
        .where(parent.in_(parent_ids))
        .with_only_columns(parent, func.count(), maintain_column_froms=True)
        .group_by(parent)
    )
    counts = {parent_id: count for parent_id, count in await tx.session.execute(statement)}  # noqa: C416
    return {parent_id: counts.get(parent_id, 0) for parent_id in parent_ids}


async def _fetch(
    tx: ReadTransaction,
    listing: Listing[Row],
    statement: Select[Row],
    walk: tuple[OrderKey, ...],
    parent_ids: Sequence[int],
    limit: int,
) -> list[tuple[int, Row]]:
    ordering = [key.column.desc() if key.descending else key.column.asc() for key in walk]
    if len(parent_ids) == 1:
        rows = await tx.session.scalars(statement.order_by(*ordering).limit(limit))
        return [(parent_ids[0], row) for row in rows]
    # Several parents: a window numbers each one's rows, so that one statement serves all of them.
    parent = listing.parent()
    numbered = statement.add_columns(
        parent.label("page_parent"),
        func.row_number().over(partition_by=parent, order_by=ordering).label("page_position"),
    ).subquery()
    entity = aliased(_entity(statement), numbered)
    query = (
        select(numbered.c.page_parent, entity)
        .where(numbered.c.page_position <= limit)
        .order_by(numbered.c.page_parent, numbered.c.page_position)
    )
    return [(parent_id, row) for parent_id, row in await tx.session.execute(query)]


def _entity(statement: Select[Row]) -> type[Row]:
    entity: type[Row] = inspect(statement.column_descriptions[0]["entity"]).class_
    return entity


def _page(order: tuple[OrderKey, ...], rows: list[Row], arguments: PageArguments) -> Page[Row]:
    more = len(rows) > arguments.size
    rows = rows[: arguments.size]
    backward = arguments.last is not None
    if backward:
        rows.reverse()
    return Page(
        rows=rows,
        cursors=[_write_cursor(order, row) for row in rows],
        # What lies behind the starting cursor is not counted; a cursor means something was there.
        has_next_page=more if not backward else arguments.before is not None,
        has_previous_page=more if backward else arguments.after is not None,
    )


def invalid_cursor(cursor: str, argument: str) -> PaginationFault:
    """GitHub's words."""
    return PaginationFault(
        "INVALID_CURSOR_ARGUMENTS",
        f"`{cursor[:100]}` does not appear to be a valid cursor.",
        argument,
    )


def write_position(position: int) -> str:
    """The cursor of an item of a list that never changes."""
    return base64.urlsafe_b64encode(f"position:{position}".encode()).decode()


def read_position(cursor: str, argument: str) -> int:
    """Raises PaginationFault."""
    try:
        text = base64.b64decode(cursor[:100], altchars=b"-_", validate=True).decode()
        prefix, _, digits = text.partition(":")
        if prefix == "position" and digits.isascii() and digits.isdecimal():
            return min(int(digits), 2**31)
    except (binascii.Error, ValueError):
        pass
    raise invalid_cursor(cursor, argument)


def _reversed(order: tuple[OrderKey, ...]) -> tuple[OrderKey, ...]:
    return tuple(dataclasses.replace(key, descending=not key.descending) for key in order)


def _beyond(order: tuple[OrderKey, ...], values: list[Any]) -> ColumnElement[bool]:
    """Rows that come after the key ``values`` in this order."""
    alternatives = []
    for position, key in enumerate(order):
        equal = [
            earlier.column == value
            for earlier, value in zip(order[:position], values, strict=False)
        ]
        value = values[position]
        further = key.column < value if key.descending else key.column > value
        alternatives.append(and_(*equal, further))
    return or_(*alternatives)


def _tag(order: tuple[OrderKey, ...]) -> str:
    return ",".join(f"{'-' if key.descending else ''}{key.attribute}" for key in order)


def _write_cursor(order: tuple[OrderKey, ...], row: Any) -> str:
    values = [key.value(row) for key in order]
    parts = [value.isoformat() if isinstance(value, dt.datetime) else value for value in values]
    text = json.dumps([_tag(order), *parts], separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode()


def _read_cursor(order: tuple[OrderKey, ...], cursor: str, argument: str) -> list[Any]:
    fault = invalid_cursor(cursor, argument)
    if len(cursor) > _MAX_CURSOR_LENGTH:
        raise fault
    try:
        tag, *values = json.loads(base64.b64decode(cursor, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, TypeError) as error:
        raise fault from error
    if tag != _tag(order) or len(values) != len(order):
        raise fault
    return [_typed(key.kind, value, fault) for key, value in zip(order, values, strict=True)]


def _typed(kind: type[Any], value: Any, fault: PaginationFault) -> Any:
    if kind is dt.datetime and isinstance(value, str):
        try:
            moment = dt.datetime.fromisoformat(value)
        except ValueError as error:
            raise fault from error
        if moment.tzinfo is None:
            raise fault
        return moment
    # bool is an int to isinstance, and a number beyond 64 bits is an error of the driver.
    if type(value) is not kind or (kind is int and not -(2**63) <= value < 2**63):
        raise fault
    # No column holds these, and PostgreSQL refuses the statement.
    if kind is str and any(c == "\x00" or "\ud800" <= c <= "\udfff" for c in value):
        raise fault
    return value
