"""The HTTP door of the REST shim, mounted at ``/api/v3``: finds the route, asks, and answers."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from graph.charging import Charge, open_charge, refused_charge
from graph.context import GraphContext
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
)
from graph.operation import run_operation
from graph.rest.routes import Ask, Call, Reply, RestFault, Variables, fault_of, find_route
from graph.rest.shapes import etag
from resolvers.deliveries import Deliveries
from resolvers.loaders import Loaders
from services.context import OpContext
from services.errors import RateLimited
from services.runtime import Runtime

PREFIX = "/api/v3"


class RestEndpoint:
    """An ASGI application for every path below ``PREFIX``. Safe for concurrent requests."""

    def __init__(self, runtime: Runtime) -> None:
        self._door = Door(runtime)
        self._base = f"{runtime.settings.web_url}{PREFIX}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        op = self._door.operation(scope)
        headers: Headers = [
            (b"x-github-request-id", op.request_id.encode()),
            (b"x-github-media-type", b"github.v3; format=json"),
            (b"cache-control", b"private, no-cache"),
            (b"vary", b"Accept, Authorization, Cookie"),
            (b"x-content-type-options", b"nosniff"),
        ]
        given = headers_of(scope)
        try:
            reply = await self._answer(op, scope, receive, given, headers)
        except Refused as refusal:
            headers += refusal.headers
            reply = Reply(refusal.status, {"message": refusal.message})
        except RestFault as fault:
            if fault.accepted_scopes:
                scopes = ", ".join(sorted(fault.accepted_scopes)).encode()
                headers.append((b"x-accepted-oauth-scopes", scopes))
            body: dict[str, Any] = {"message": fault.message}
            if fault.errors:
                body["errors"] = list(fault.errors)
            reply = Reply(fault.status, body)
        await self._send(scope, send, reply, given, headers)

    async def _answer(
        self,
        op: OpContext,
        scope: Scope,
        receive: Receive,
        given: Mapping[str, str],
        headers: Headers,
    ) -> Reply:
        """Raises Refused, RestFault; adds to ``headers``."""
        path = scope["path"].removeprefix(PREFIX)
        handler, parts = find_route(scope["method"], path)
        body = _read_body(await receive_body(receive, dict(given)))
        op, _ = await self._door.authenticate(op, dict(given))
        if op.actor.scopes is not None:
            headers.append((b"x-oauth-scopes", ", ".join(sorted(op.actor.scopes)).encode()))
        try:
            charge = await open_charge(op)
        except RateLimited as fault:
            headers += rate_headers(await refused_charge(op))
            headers.append((b"retry-after", str(fault.details["retry_after"]).encode()))
            raise RestFault(429, fault.message) from fault
        query = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1")))
        try:
            return await handler(_asking(op, charge), Call(self._base, parts, query, body))
        finally:
            headers += rate_headers(charge)

    async def _send(
        self,
        scope: Scope,
        send: Send,
        reply: Reply,
        given: Mapping[str, str],
        headers: Headers,
    ) -> None:
        status = reply.status
        body = b""
        if status != 204:
            text = json.dumps(reply.body, ensure_ascii=False, separators=(",", ":"))
            body = text.encode("utf-8", "replace")
            headers.append((b"content-type", b"application/json; charset=utf-8"))
        if status == 200:
            tag = etag(body)
            headers.append((b"etag", tag))
            if given.get("if-none-match", "").encode("latin-1") == tag:
                status, body = 304, b""
        if reply.next_page is not None:
            address = f"{self._base}{scope['path'].removeprefix(PREFIX)}?{reply.next_page}"
            headers.append((b"link", f'<{address}>; rel="next"'.encode()))
        if status not in (204, 304):
            headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        shown = b"" if scope["method"] == "HEAD" else body
        await send({"type": "http.response.body", "body": shown})


def _asking(op: OpContext, charge: Charge) -> Ask:
    async def ask(document: str, variables: Variables) -> Any:
        context = GraphContext(op=op, loaders=Loaders(op), deliveries=Deliveries(), charge=charge)
        answer = await run_operation(document, variables, context)
        if errors := answer.get("errors"):
            raise fault_of(errors[0])
        return answer["data"]

    return ask


def _read_body(raw: bytes) -> dict[str, Any]:
    if not raw.strip():
        return {}
    try:
        value = json.loads(raw.decode())
    except (ValueError, RecursionError):
        raise Refused(400, "Problems parsing JSON") from None
    if not isinstance(value, dict):
        raise Refused(400, "Body should be a JSON object")
    return value
