"""Connections over git's history, and over short lists that are in memory already."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Generic, TypeVar

from strawberry import Parent

from gitstore.history import HistoryQuery
from gitstore.objects import Commit, Signature
from models import Repository
from resolvers import ids, revisions
from resolvers.arguments import OPTIONAL, After, Before, First, Last, page_arguments
from resolvers.context import Info
from resolvers.ids import IdKind
from resolvers.located import Located
from resolvers.pagination import (
    Page,
    PageArguments,
    PaginationFault,
    invalid_cursor,
    read_position,
    write_position,
)
from services.git_reading import state_of

Thing = TypeVar("Thing")

_CURSOR = re.compile(r"([0-9a-f]{40}|[0-9a-f]{64}) (\d{1,9})")
MAX_AUTHOR_EMAILS = 20


@dataclasses.dataclass(frozen=True, slots=True)
class HistoryConnection:
    """Commits as ``git log`` lists them.

    A cursor is ``TIP POSITION``, as on GitHub: pages go on from where the first one began, whatever
    is pushed meanwhile.
    """

    repository: Repository
    query: HistoryQuery
    arguments: PageArguments

    async def page(self, info: Info) -> Page[Located[Commit]]:
        """Raises PaginationFault, Unavailable."""
        query, skip, size = await self._bounds(info)
        state = state_of(self.repository)
        git = info.context.loaders.git
        oids = await git.history.load((state, query, skip, size + 1))
        more, oids = len(oids) > size, oids[:size]
        found = await git.object_by_oid.load_many([(state, oid) for oid in oids])
        commits = [each for each in found if isinstance(each, Commit)]
        return Page(
            rows=[Located(self.repository, commit) for commit in commits],
            cursors=[f"{query.tip} {skip + position}" for position in range(len(commits))],
            has_next_page=more,
            has_previous_page=skip > 0,
        )

    async def count(self, info: Info) -> int:
        key = (state_of(self.repository), self.query)
        return await info.context.loaders.git.history_count.load(key)

    async def _bounds(self, info: Info) -> tuple[HistoryQuery, int, int]:
        """The query, how many commits come before the page, and how many are on it at most."""
        arguments, query = self.arguments, self.query
        start, end = 0, None
        if arguments.after is not None:
            query, position = await self._start_of(info, arguments.after, "after")
            start = position + 1
        if arguments.before is not None:
            query, end = await self._start_of(info, arguments.before, "before")
        size = arguments.size
        if arguments.last is not None:
            if end is None:
                key = (state_of(self.repository), query)
                end = await info.context.loaders.git.history_count.load(key)
            return query, max(start, end - size), min(size, max(0, end - start))
        return query, start, size if end is None else min(size, max(0, end - start))

    async def _start_of(self, info: Info, cursor: str, argument: str) -> tuple[HistoryQuery, int]:
        """The query from the commit the pages began with, and the position there.

        Raises PaginationFault.
        """
        found = _CURSOR.fullmatch(cursor)
        if found is None:
            raise invalid_cursor(cursor, argument)
        tip = found[1]
        if tip != self.query.tip:
            located = await revisions.load(info, self.repository, tip)
            if located is None or not isinstance(located.value, Commit):
                raise invalid_cursor(cursor, argument)
        return dataclasses.replace(self.query, tip=tip), int(found[2])


@dataclasses.dataclass(frozen=True, slots=True)
class ListConnection(Generic[Thing]):
    """A connection over what is known already; a cursor is a position."""

    items: Sequence[Thing]
    arguments: PageArguments

    async def page(self, info: Info) -> Page[Thing]:
        """Raises PaginationFault."""
        arguments = self.arguments
        start, end = 0, len(self.items)
        if arguments.after is not None:
            start = read_position(arguments.after, "after") + 1
        if arguments.before is not None:
            end = min(end, read_position(arguments.before, "before"))
        if arguments.last is not None:
            start = max(start, end - arguments.size)
        else:
            end = min(end, start + arguments.size)
        return Page(
            rows=list(self.items[start:end]),
            cursors=[write_position(position) for position in range(start, max(start, end))],
            has_next_page=end < len(self.items),
            has_previous_page=start > 0,
        )

    async def count(self, info: Info) -> int:
        return len(self.items)


async def parents(
    root: Parent[Located[Commit]],
    info: Info,
    after: After = OPTIONAL,
    before: Before = OPTIONAL,
    first: First = OPTIONAL,
    last: Last = OPTIONAL,
) -> ListConnection[Located[Commit]]:
    page = page_arguments("parents", first, after, last, before)
    keys = [(root.state, oid) for oid in root.value.parent_oids]
    found = await info.context.loaders.git.object_by_oid.load_many(keys)
    commits = [Located(root.repository, each) for each in found if isinstance(each, Commit)]
    return ListConnection(commits, page)


def authors(
    root: Parent[Located[Commit]],
    after: After = OPTIONAL,
    before: Before = OPTIONAL,
    first: First = OPTIONAL,
    last: Last = OPTIONAL,
) -> ListConnection[Signature]:
    """The author, then those whom ``Co-authored-by`` lines of the message name."""
    page = page_arguments("authors", first, after, last, before)
    return ListConnection(root.value.authors, page)


async def emails_of(
    info: Info, user_id: str | None, emails: Sequence[str] | None
) -> frozenset[str] | None:
    """By which addresses to find an author; None for whoever it is. Raises NotFound,
    PaginationFault."""
    if emails is not None and len(emails) > MAX_AUTHOR_EMAILS:
        raise PaginationFault(
            "ARGUMENT_LIMIT",
            f"You may not provide more than {MAX_AUTHOR_EMAILS} emails; you provided "
            f"{len(emails)}.",
            "emails",
        )
    if user_id is not None:  # as on GitHub it comes before addresses
        number = ids.decode_as(user_id, IdKind.USER)
        return await info.context.loaders.author_emails_by_user_id.load(number) or frozenset()
    return None if emails is None else frozenset(each.lower() for each in emails)
