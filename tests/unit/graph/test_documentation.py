"""The page for users states the limits that hold."""

import re
from pathlib import Path

from graph import charging, errors, limits, websocket
from resolvers import events
from resolvers.pagination import MAX_PAGE_SIZE
from services import event_feed, markup
from services.errors import ErrorCode
from services.settings import ServiceSettings

PAGE = (Path(__file__).parents[3] / "docs" / "graphql.md").read_text()


def stated(what: str) -> int:
    """The first number in the table's row."""
    row = re.search(rf"^\| {re.escape(what)}[^|]*\| ([\d,]+)", PAGE, re.MULTILINE)
    assert row is not None, what
    return int(row[1].replace(",", ""))


def test_limits() -> None:
    assert {
        "Request body": stated("Request body") * 1024 * 1024,
        "Tokens": stated("Tokens of a document"),
        "Levels": stated("Levels of nesting"),
        "Fields": stated("Fields, fragments written out"),
        "Aliases": stated("Aliases, fragments written out"),
        "Directives": stated("Directives"),
        "Mutations": stated("Mutations in one request"),
        "Ids": stated("Ids in `nodes`"),
        "Nodes": stated("Nodes that the connections"),
        "Time": stated("Time of one request"),
        "Fork": stated("Time of one that forks"),
        "Sockets": stated("Sockets of a user"),
        "Subscriptions of a socket": stated("Subscriptions of a socket"),
        "Subscriptions of a user": stated("Subscriptions of a user"),
        "Messages": stated("Messages of a socket at once"),
        "Points": stated("Points an hour for each user"),
    } == {
        "Request body": limits.MAX_BODY_BYTES,
        "Tokens": limits.MAX_TOKENS,
        "Levels": limits.MAX_DEPTH,
        "Fields": limits.MAX_FIELDS,
        "Aliases": limits.MAX_ALIASES,
        "Directives": limits.MAX_DIRECTIVES,
        "Mutations": limits.MAX_MUTATIONS,
        "Ids": MAX_PAGE_SIZE,
        "Nodes": limits.MAX_NODES,
        "Time": limits.DEADLINE_SECONDS,
        "Fork": limits.FORK_DEADLINE_SECONDS,
        "Sockets": websocket.MAX_SOCKETS_PER_PAYER,
        "Subscriptions of a socket": websocket.MAX_OPERATIONS_PER_SOCKET,
        "Subscriptions of a user": websocket.MAX_OPERATIONS_PER_PAYER,
        "Messages": websocket.MAX_MESSAGES_AT_ONCE,
        "Points": ServiceSettings().rate_limit_per_hour,
    }
    for stated_elsewhere in (
        f"{websocket.MESSAGES_PER_SECOND} a second after that",
        f"`connection_init` within {websocket.INIT_SECONDS:.0f} seconds",
        f"close the socket within {websocket.CREDENTIAL_CHECKED_EVERY_SECONDS:.0f} seconds",
        f"every {events.JUDGED_EVERY_SECONDS:.0f} seconds in between",
        f"{event_feed.MAX_BEHIND} events wait",
        f"larger than {markup.MAX_BYTES // 1024} KiB",
        f"{markup._MAX_DEPTH} deep",
    ):
        assert stated_elsewhere in PAGE
    assert charging.ANONYMOUS_FRACTION == 10
    assert f"{limits.REQUESTS_PER_POINT} requests are a point" in PAGE


def test_every_code_and_its_type() -> None:
    for code in ErrorCode:
        row = next(
            line
            for line in PAGE.splitlines()
            if line.startswith("| ") and f"`{code.value}`" in line
        )
        assert f"`{errors.TYPE_OF_CODE[code]}`" in row.split("|")[2]
