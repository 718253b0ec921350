"""The HTTP endpoint of the contract: one JSON POST, one operation, one answer.

A WebSocket at the same address is ``graph.websocket``'s.

Nothing but JSON by POST is read, so no form or image of a foreign page can make a request. A
session cookie counts only for requests of this server's own pages.
"""

import dataclasses
import json
from email.message import Message as HeaderParser
from typing import Any

from graph.charging import open_charge, refused_charge
from graph.context import GraphContext, SessionCookie
from graph.errors import format_fault
from graph.http_request import (
    Door,
    Headers,
    Receive,
    Refused,
    Scope,
    Send,
    headers_of,
    rate_headers,
    receive_body,
    send_json,
)
from graph.operation import run_operation
from graph.websocket import WebSocketDoor
from resolvers.deliveries import Deliveries
from resolvers.loaders import Loaders
from services.context import OpContext
from services.errors import RateLimited
from services.runtime import Runtime


@dataclasses.dataclass(frozen=True, slots=True)
class _Body:
    query: str
    variables: dict[str, Any]
    operation_name: str | None


class GraphQLEndpoint:
    """An ASGI application for every path it is mounted at. Safe for concurrent requests."""

    def __init__(self, runtime: Runtime) -> None:
        self._door = Door(runtime)
        self._websocket = WebSocketDoor(runtime)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
            return
        op = self._door.operation(scope)
        headers = [
            (b"x-github-request-id", op.request_id.encode()),
            (b"x-github-media-type", b"github.v4; format=json"),
            (b"cache-control", b"no-store"),
            (b"vary", b"Authorization, Cookie, Origin"),
            (b"x-content-type-options", b"nosniff"),
        ]
        try:
            status, answer = 200, await self._answer(op, scope, receive, headers)
        except Refused as refusal:
            status, answer = refusal.status, {"message": refusal.message}
            headers += refusal.headers
            answer["requestId"] = op.request_id
        await send_json(send, status, answer, headers)

    async def _answer(
        self, op: OpContext, scope: Scope, receive: Receive, headers: Headers
    ) -> dict[str, Any]:
        """Raises Refused; adds to ``headers``."""
        given = headers_of(scope)
        _check_method_and_type(scope, given)
        body = _read_body(await receive_body(receive, given))
        op, forgotten_cookie = await self._door.authenticate(op, given)
        if op.actor.scopes is not None:
            headers.append((b"x-oauth-scopes", ", ".join(sorted(op.actor.scopes)).encode()))
        try:
            charge = await open_charge(op)
        except RateLimited as fault:
            headers += rate_headers(await refused_charge(op))
            headers.append((b"retry-after", str(fault.details["retry_after"]).encode()))
            return {"data": None, "errors": [format_fault(fault, op)]}
        context = GraphContext(
            op=op,
            loaders=Loaders(op),
            deliveries=Deliveries(),
            charge=charge,
            operation_name=body.operation_name,
            user_agent=given.get("user-agent"),
            may_set_cookie=self._door.is_own_page(given),
            session_cookie=SessionCookie(None) if forgotten_cookie else None,
        )
        answer = await run_operation(body.query, body.variables, context, body.operation_name)
        headers += rate_headers(context.charge)
        if context.session_cookie is not None:
            headers.append((b"set-cookie", self._door.set_cookie(context.session_cookie)))
        return answer


def _check_method_and_type(scope: Scope, given: dict[str, str]) -> None:
    if scope["method"] != "POST":
        raise Refused(405, "GraphQL is asked by POST", ((b"allow", b"POST"),))
    parsed = HeaderParser()
    parsed["content-type"] = given.get("content-type", "")
    charset = parsed.get_content_charset("utf-8")
    if parsed.get_content_type() != "application/json" or charset not in ("utf-8", "us-ascii"):
        raise Refused(415, "the request body must be application/json in UTF-8")


def _read_body(raw: bytes) -> _Body:
    try:
        value = json.loads(raw.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise Refused(400, "Problems parsing JSON") from None
    if isinstance(value, list):
        raise Refused(400, "one operation a request: batches are not supported")
    if not isinstance(value, dict):
        raise Refused(400, "the request body must be a JSON object")
    query, variables = value.get("query"), value.get("variables")
    operation_name = value.get("operationName")
    if not isinstance(query, str) or not query.strip():
        raise Refused(400, "A query attribute must be specified and must be a string.")
    if variables is not None and not isinstance(variables, dict):
        raise Refused(400, "variables must be a JSON object")
    if operation_name is not None and not isinstance(operation_name, str):
        raise Refused(400, "operationName must be a string")
    return _Body(query, variables or {}, operation_name or None)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
