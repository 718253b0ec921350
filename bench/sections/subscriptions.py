"""Five hundred people who have a repository's page open: what they cost, and when they hear."""

import asyncio
import contextlib
import json
import time
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from bench.figures import Item, Record, Section, Series, median
from bench.hub import USER, Hub
from bench.programs import BenchFailed
from bench.sections.pages import Client
from bench.workbench import Workbench, milliseconds

_SOCKETS, _QUICK_SOCKETS = 500, 50
_USERS = 10
_ROUNDS, _QUICK_ROUNDS = 10, 3
_ITEMS = (
    Item("memory", "growth with 500 open subscriptions, a socket each", 100, "MB"),
    Item("delivery", "from a change's request to the last of 500 deliveries", 300, "ms"),
)
_ID = """query($owner: String!, $name: String!) {
  repository(owner: $owner, name: $name) { id } }"""
_EVENTS = """subscription($id: ID!) { repositoryEvents(repositoryId: $id) {
  __typename number createdAt actor { login } ... on RepositoryUpdatedEvent { changedFields } } }"""
_DESCRIBE = """mutation { updateRepository(input: {repositoryId: "%s", description: "%d"}) {
  clientMutationId } }"""


async def _subscribed(hub: Hub, token: str, repository_id: str) -> ClientConnection:
    connection = await connect(
        f"ws://127.0.0.1:{hub.port}/graphql",
        subprotocols=[Subprotocol("graphql-transport-ws")],
        compression=None,
        proxy=None,
        ping_interval=None,
    )
    payload: dict[str, Any] = {"Authorization": f"Bearer {token}"}
    await connection.send(json.dumps({"type": "connection_init", "payload": payload}))
    await connection.recv()
    payload = {"query": _EVENTS, "variables": {"id": repository_id}}
    await connection.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
    return connection


async def _delivered(connection: ClientConnection) -> float:
    """When the next event arrived."""
    message = json.loads(await connection.recv())
    moment = time.perf_counter()
    if message["type"] != "next" or "errors" in message["payload"]:
        raise BenchFailed(f"a subscription was answered {message}")
    return moment


async def _measure_sockets(
    bench: Workbench, hub: Hub, client: Client, tokens: list[str], repository_id: str
) -> tuple[float, list[float], list[float]]:
    """Megabytes of growth; seconds to the first and to the last delivery."""
    before = sum(hub.tree.pss().values())
    first, last = [], []
    async with contextlib.AsyncExitStack() as stack:
        sockets = []
        for number in range(bench.sized(_SOCKETS, _QUICK_SOCKETS)):
            socket = await _subscribed(hub, tokens[number % len(tokens)], repository_id)
            stack.push_async_callback(socket.close)
            sockets.append(socket)
        await asyncio.to_thread(hub.tree.settle)
        for number in range(bench.sized(_ROUNDS, _QUICK_ROUNDS)):
            start = time.perf_counter()
            change = asyncio.to_thread(client.ask, _DESCRIBE % (repository_id, number))
            moments = await asyncio.gather(*map(_delivered, sockets), change)
            first.append(min(moments[:-1]) - start)
            last.append(max(moments[:-1]) - start)
        growth = (sum(hub.tree.pss().values()) - before) / 1e6
    return growth, first, last


def _measure(bench: Workbench, record: Record) -> None:
    hub = bench.start_hub("subscriptions")
    for number in range(_USERS):
        hub.add_user(f"reader-{number}")
    name = hub.create_repository("watched")
    client = Client(hub)
    repository_id = client.ask(_ID, name)["repository"]["id"]
    hub.tree.settle()
    tokens = [token for login, token in hub.tokens.items() if login != USER]
    growth, first, last = asyncio.run(_measure_sockets(bench, hub, client, tokens, repository_id))
    record.put(
        "memory",
        growth,
        [Series("all processes, PSS", [growth], "MB")],
        "After the deliveries; sockets are not compressed, and hold no query once it is parsed.",
    )
    record.put(
        "delivery",
        median([each * 1000 for each in last]),
        [milliseconds("first", first), milliseconds("last", last)],
        "Ten users: the right to read is judged again for each event and user, and each of the 500 "
        "runs its own selection.",
    )


SECTION = Section("subscriptions", "Subscriptions", _ITEMS, _measure)
