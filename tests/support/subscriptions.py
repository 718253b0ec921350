"""A client of the WebSocket door: graphql-transport-ws as its specification has it."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from models import Repository
from resolvers import ids
from resolvers.ids import IdKind
from services.runtime import Runtime

EVENTS = """subscription($id: ID!, $after: BigInt) {
  repositoryEvents(repositoryId: $id, after: $after) {
    __typename number actor { login } repository { nameWithOwner description }
    ... on RepositoryUpdatedEvent { changedFields }
    ... on RepositoryForkedEvent { fork { nameWithOwner } }
    ... on CollaboratorAddedEvent { permission user { login } }
  }
}"""
PROTOCOL = Subprotocol("graphql-transport-ws")
_SECONDS = 20


class SocketClient:
    """One socket. ``next`` gives the messages of one subscription in their order."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self._ids = itertools.count(1)
        self._waiting: list[dict[str, Any]] = []

    async def send(self, message: Any) -> None:
        await self.connection.send(json.dumps(message))

    async def receive(self) -> dict[str, Any]:
        """The next message of any kind but ping."""
        async with asyncio.timeout(_SECONDS):
            message: dict[str, Any] = json.loads(await self.connection.recv())
        return message

    async def subscribe(self, query: str, variables: Mapping[str, Any] | None = None) -> str:
        """Returns the subscription's id."""
        identifier = str(next(self._ids))
        payload = {"query": query, "variables": dict(variables or {})}
        await self.send({"id": identifier, "type": "subscribe", "payload": payload})
        return identifier

    async def next(self, identifier: str) -> dict[str, Any]:
        """The next message of this subscription: next, error or complete."""
        for place, message in enumerate(self._waiting):
            if message["id"] == identifier:
                return self._waiting.pop(place)
        while True:
            message = await self.receive()
            if message["id"] == identifier:
                return message
            self._waiting.append(message)

    async def data(self, identifier: str) -> Any:
        """The data of the next answer, which must have no errors."""
        message = await self.next(identifier)
        assert message["type"] == "next", message
        assert "errors" not in message["payload"], message
        return message["payload"]["data"]

    async def error(self, identifier: str) -> dict[str, Any]:
        """The one error this subscription ends with."""
        message = await self.next(identifier)
        assert message["type"] == "error", message
        (error,) = message["payload"]
        assert isinstance(error, dict)
        return error

    async def closed(self) -> tuple[int, str]:
        """Wait for the server to close; returns code and reason."""
        try:
            async with asyncio.timeout(_SECONDS):
                while True:
                    await self.connection.recv()
        except ConnectionClosed as closed:
            if closed.rcvd is None:  # lost without a close frame
                return 1006, ""
            return closed.rcvd.code, closed.rcvd.reason


@contextlib.asynccontextmanager
async def opened(
    port: int,
    *,
    protocol: str = PROTOCOL,
    headers: Mapping[str, str] | None = None,
    path: str = "/graphql",
) -> AsyncIterator[SocketClient]:
    """A socket that has not said ``connection_init`` yet."""
    async with connect(
        f"ws://127.0.0.1:{port}{path}",
        subprotocols=[Subprotocol(protocol)],
        additional_headers=dict(headers or {}),
        compression=None,
        proxy=None,
        close_timeout=5,
    ) as connection:
        yield SocketClient(connection)


@contextlib.asynccontextmanager
async def acknowledged(
    port: int,
    token: str | None = None,
    *,
    headers: Mapping[str, str] | None = None,
) -> AsyncIterator[SocketClient]:
    """A socket on which subscriptions may begin."""
    async with opened(port, headers=headers) as client:
        payload = {} if token is None else {"Authorization": f"bearer {token}"}
        await client.send({"type": "connection_init", "payload": payload})
        assert await client.receive() == {"type": "connection_ack"}
        yield client


def node_id(repository: Repository) -> str:
    return ids.encode(IdKind.REPOSITORY, repository.id)


async def until_heard(runtime: Runtime, listeners: int = 1) -> None:
    """Wait until so many subscriptions have begun to listen."""
    async with asyncio.timeout(10):
        while runtime.feed.listeners != listeners:
            await asyncio.sleep(0.01)
