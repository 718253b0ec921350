"""The WebSocket door of the contract: subscriptions, by the protocol graphql-transport-ws alone.

Strawberry keeps the protocol's states; here are who asks, what a socket may do, and the context of
each operation. https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md
"""

import asyncio
import collections
import contextlib
import json
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from datetime import timedelta
from typing import Any, cast

from graphql import GraphQLError
from strawberry.exceptions import ConnectionRejectionError
from strawberry.http.async_base_view import AsyncBaseHTTPView, AsyncWebSocketAdapter
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import (
    BaseGraphQLTransportWSHandler,
    Operation,
)
from strawberry.types.unset import UNSET
from strawberry.utils.aio import aclosing

from graph.charging import open_charge, payer
from graph.context import GraphContext
from graph.errors import format_errors, format_fault
from graph.http_request import Door, Receive, Refused, Scope, Send, headers_of
from graph.operation import OperationFailed, stream_operation
from graph.schema import schema
from resolvers.deliveries import Deliveries
from resolvers.loaders import Loaders
from services import credentials
from services.actor import Actor
from services.context import OpContext
from services.errors import ForgeError, RateLimited, Unavailable
from services.runtime import Runtime

# Limits of one process; a test compares them with docs/graphql.md.
MAX_SOCKETS_PER_PAYER = 100
MAX_OPERATIONS_PER_SOCKET = 100
MAX_OPERATIONS_PER_PAYER = 500
MAX_MESSAGES_AT_ONCE = 200
MESSAGES_PER_SECOND = 20
INIT_SECONDS = 10.0
CREDENTIAL_CHECKED_EVERY_SECONDS = 20.0

_Handler = BaseGraphQLTransportWSHandler[Any, None]
_FOREIGN = "sockets of pages of other sites need an access token in connection_init"
_TYPES = frozenset(("connection_init", "ping", "pong", "subscribe", "complete"))


class WebSocketDoor:
    """An ASGI application for websocket scopes. Safe for concurrent sockets."""

    def __init__(self, runtime: Runtime) -> None:
        self.door = Door(runtime)
        self.deliveries = Deliveries()
        self.operations: collections.Counter[str] = collections.Counter()
        self.payers: collections.Counter[str] = collections.Counter()
        self._sockets: set[_Socket] = set()
        self._watching: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        if message["type"] != "websocket.connect":
            return
        op = self.door.operation(scope)
        given = headers_of(scope)
        if GRAPHQL_TRANSPORT_WS_PROTOCOL not in scope["subprotocols"]:
            await send({"type": "websocket.accept"})
            await send(_close(4406, f"the subprotocol must be {GRAPHQL_TRANSPORT_WS_PROTOCOL}"))
            return
        await send({"type": "websocket.accept", "subprotocol": GRAPHQL_TRANSPORT_WS_PROTOCOL})
        socket = _Socket(op, given, self, receive, send)
        self._sockets.add(socket)
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch_credentials())
        try:
            await _TransportHandler(socket).handle()
        finally:
            self._sockets.discard(socket)
            if socket.payer is not None:
                _count_down(self.payers, socket.payer)
            if not self._sockets:
                self._watching.cancel()
                self._watching = None

    async def _watch_credentials(self) -> None:
        """Close sockets whose credential is worth nothing, whatever they listen to (K10)."""
        while True:
            await asyncio.sleep(CREDENTIAL_CHECKED_EVERY_SECONDS)
            by_actor: dict[Actor, list[_Socket]] = {}
            for socket in self._sockets:
                by_actor.setdefault(socket.op.actor, []).append(socket)
            for actor, sockets in by_actor.items():
                reason = await _why_worthless(sockets[0].op, actor)
                if reason is not None:
                    # One that does not read must not keep the others from being closed.
                    closing = [asyncio.create_task(each.close(4401, reason)) for each in sockets]
                    await asyncio.wait(closing, timeout=1)


async def _why_worthless(op: OpContext, actor: Actor) -> str | None:
    try:
        async with op.read() as tx:
            await credentials.reload(tx.session, actor)
    except Unavailable:
        return None
    except ForgeError as fault:
        return fault.message
    except Exception:
        op.log.exception("credentials of sockets could not be looked at")
    return None


def _close(code: int, reason: str) -> dict[str, Any]:
    # RFC 6455: a control frame holds 125 bytes, two of which are the code.
    reason = reason.encode()[:120].decode(errors="ignore")
    return {"type": "websocket.close", "code": code, "reason": reason}


class _Socket(AsyncWebSocketAdapter):
    """One connection: its messages in and out, its identity, its limits."""

    def __init__(
        self,
        op: OpContext,
        given: dict[str, str],
        door: WebSocketDoor,
        receive: Receive,
        send: Send,
    ) -> None:
        self.op = op
        self.given = given
        self.door = door
        self._receive = receive
        self._send = send
        self.payer: str | None = None
        self._closed = False
        self._allowance = float(MAX_MESSAGES_AT_ONCE)
        self._allowance_at = time.monotonic()

    async def admit(self, parameters: Mapping[str, Any]) -> bool:
        """Find out who asks, from ``connection_init`` or the handshake; else close the socket."""
        try:
            self.op = await self._authenticate(parameters)
        except Refused as refusal:
            # 4403 is GraphQL's word for 403; whatever else is wrong with a credential is 4401.
            await self.close(
                {403: 4403, 429: 4429, 503: 1013}.get(refusal.status, 4401), refusal.message
            )
            return False
        key, _ = payer(self.op)
        if self.door.payers[key] >= MAX_SOCKETS_PER_PAYER:
            await self.close(4429, f"more than {MAX_SOCKETS_PER_PAYER} sockets at once")
            return False
        self.payer = key
        self.door.payers[key] += 1
        return True

    async def _authenticate(self, parameters: Mapping[str, Any]) -> OpContext:
        """Raises Refused."""
        token = next(
            (
                value
                for name, value in parameters.items()
                if name.lower() == "authorization" and isinstance(value, str)
            ),
            None,
        )
        given = self.given if token is None else {**self.given, "authorization": token}
        if (
            "authorization" not in given
            and "origin" in given
            and not self.door.door.is_own_page(given)
        ):
            raise Refused(403, _FOREIGN)
        op, _ = await self.door.door.authenticate(self.op, given)
        return op

    async def iter_json(
        self, *, ignore_parsing_errors: bool = False
    ) -> AsyncGenerator[object, None]:
        while not self._closed:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return
            if not self._may_say_more():
                await self.close(4429, "too many messages at once")
                return
            value = _parsed(message.get("text"))
            if value is None:
                await self.close(4400, "a message is a JSON object as graphql-transport-ws has it")
                return
            yield value

    def _may_say_more(self) -> bool:
        now = time.monotonic()
        earned = (now - self._allowance_at) * MESSAGES_PER_SECOND
        self._allowance = min(float(MAX_MESSAGES_AT_ONCE), self._allowance + earned) - 1
        self._allowance_at = now
        return self._allowance >= 0

    async def send_json(self, message: Mapping[str, object]) -> None:
        if self._closed:
            return
        text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
        # What git stored may hold bytes that are no text; a frame of text must be UTF-8.
        text = text.encode("utf-8", "replace").decode()
        await self._send({"type": "websocket.send", "text": text})

    async def close(self, code: int, reason: str) -> None:
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(OSError):  # the client is gone already
            await self._send(_close(code, reason))


def _parsed(text: str | None) -> dict[str, Any] | None:
    """The message, if each part is what the protocol says it is."""
    try:
        value = json.loads(text or "")
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        return None
    if value["type"] not in _TYPES:
        return None
    if value["type"] in ("subscribe", "complete") and not _is_identifier(value.get("id")):
        return None
    payload = value.get("payload")
    if value["type"] == "subscribe":
        return value if isinstance(payload, dict) and _is_operation(payload) else None
    if payload is None:
        value.pop("payload", None)
    elif not isinstance(payload, dict):
        return None
    return value


def _is_identifier(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 128


def _is_operation(payload: dict[str, Any]) -> bool:
    return (
        isinstance(payload.get("query"), str)
        and isinstance(payload.get("variables"), dict | None)
        and isinstance(payload.get("operationName"), str | None)
    )


class _View:
    """What Strawberry's handler asks of a view: whether to let the client in."""

    def __init__(self, socket: _Socket) -> None:
        self._socket = socket

    async def on_ws_connect(self, context: "_Connection") -> object:
        if not await self._socket.admit(context.connection_params):
            raise ConnectionRejectionError
        return UNSET


class _Connection:
    """Where Strawberry's handler leaves what ``connection_init`` said."""

    connection_params: Mapping[str, Any] = {}


class _TransportHandler(_Handler):
    """Strawberry's handler, with a context for each operation and errors as everywhere else."""

    def __init__(self, socket: _Socket) -> None:
        super().__init__(
            view=cast("AsyncBaseHTTPView[Any, Any, Any, Any, Any, Any, None]", _View(socket)),
            websocket=socket,
            context=_Connection(),
            root_value=None,
            schema=schema,
            connection_init_wait_timeout=timedelta(seconds=INIT_SECONDS),
            max_subscriptions_per_connection=MAX_OPERATIONS_PER_SOCKET,
        )
        self._socket = socket

    async def run_operation(self, operation: Operation[Any, None]) -> None:
        op = self._socket.op
        try:
            with self._counted():
                context = GraphContext(
                    op=op,
                    loaders=Loaders(op),
                    deliveries=self._socket.door.deliveries,
                    charge=await open_charge(op),
                    operation_name=operation.operation_name,
                    user_agent=self._socket.given.get("user-agent"),
                )
                await self._run(operation, context)
            await operation.send_operation_message({"id": operation.id, "type": "complete"})
        except OperationFailed as failure:
            await self._fail(operation, failure.errors)
        except ForgeError as fault:
            await self._fail(operation, [format_fault(fault, op)])
        except OSError:
            return  # the client is gone
        except Exception as error:
            unexpected = GraphQLError(str(error), original_error=error)
            await self._fail(operation, format_errors([unexpected], op))

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        """Raises RateLimited."""
        counts, key = self._socket.door.operations, self._socket.payer
        assert key is not None  # nothing runs before the acknowledgement
        if counts[key] >= MAX_OPERATIONS_PER_PAYER:
            raise RateLimited(
                f"more than {MAX_OPERATIONS_PER_PAYER} subscriptions at once; end some",
                details={"retry_after": 60},
            )
        counts[key] += 1
        try:
            yield
        finally:
            _count_down(counts, key)

    async def _run(self, operation: Operation[Any, None], context: GraphContext) -> None:
        """Raises OperationFailed."""
        answers = stream_operation(
            operation.query, dict(operation.variables or {}), context, operation.operation_name
        )
        async with aclosing(answers):
            async for answer in answers:
                await operation.send_operation_message(
                    cast(Any, {"id": operation.id, "type": "next", "payload": answer})
                )

    async def _fail(self, operation: Operation[Any, None], errors: list[dict[str, Any]]) -> None:
        """Tell the client that the operation has ended with these errors."""
        with contextlib.suppress(OSError):
            await operation.send_operation_message(
                cast(Any, {"id": operation.id, "type": "error", "payload": errors})
            )


def _count_down(counts: "collections.Counter[str]", key: str) -> None:
    counts[key] -= 1
    if counts[key] <= 0:
        del counts[key]
