"""The HTTP endpoint of the contract: one JSON POST, one operation, one answer.

Nothing but JSON by POST is read, so no form or image of a foreign page can make a request. A
session cookie counts only for requests of this server's own pages.
"""

import asyncio
import dataclasses
import json
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from email.message import Message as HeaderParser
from typing import Any
from urllib.parse import urlsplit

from graphql import GraphQLError
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError

from graph.charging import Charge, open_charge, refused_charge
from graph.context import GraphContext, SessionCookie
from graph.errors import LimitExceeded, format_errors, format_fault
from graph.limits import DEADLINE_SECONDS, MAX_BODY_BYTES, no_such_operation
from graph.schema import schema
from resolvers.loaders import Loaders
from services import authentication
from services.actor import ANONYMOUS, ActorKind
from services.context import OpContext
from services.errors import ForgeError, RateLimited, Unauthenticated, Unavailable
from services.runtime import Runtime

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

BAD_CREDENTIALS = "Bad credentials"
_COOKIE = "och_session"


@dataclasses.dataclass(frozen=True, slots=True)
class _Refused(Exception):
    """An answer that is no GraphQL answer."""

    status: int
    message: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class _Body:
    query: str
    variables: dict[str, Any]
    operation_name: str | None


class GraphQLEndpoint:
    """An ASGI application for every path it is mounted at. Safe for concurrent requests."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._origin = _origin(runtime.settings.web_url)
        self._is_https = self._origin.startswith("https://")
        # The prefix makes browsers insist that the cookie came from this host over https.
        self._cookie = f"__Host-{_COOKIE}" if self._is_https else _COOKIE

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = scope.get("state", {}).get("request_id") or secrets.token_hex(8)
        client = scope["client"][0] if scope.get("client") else None
        op = OpContext(self._runtime, ANONYMOUS, str(request_id), client)
        headers = [
            (b"x-github-request-id", op.request_id.encode()),
            (b"x-github-media-type", b"github.v4; format=json"),
            (b"cache-control", b"no-store"),
            (b"vary", b"Authorization, Cookie, Origin"),
            (b"x-content-type-options", b"nosniff"),
        ]
        try:
            status, answer = 200, await self._answer(op, scope, receive, headers)
        except _Refused as refusal:
            status, answer = refusal.status, {"message": refusal.message}
            headers += refusal.headers
            answer["requestId"] = op.request_id
        await _send_json(send, status, answer, headers)

    async def _answer(
        self, op: OpContext, scope: Scope, receive: Receive, headers: list[tuple[bytes, bytes]]
    ) -> dict[str, Any]:
        """Raises _Refused; adds to ``headers``."""
        given = _headers(scope)
        _check_method_and_type(scope, given)
        body = _read_body(await _receive_body(receive, given))
        op, forgotten_cookie = await self._authenticate(op, given)
        if op.actor.scopes is not None:
            headers.append((b"x-oauth-scopes", ", ".join(sorted(op.actor.scopes)).encode()))
        try:
            charge = await open_charge(op)
        except RateLimited as fault:
            headers += _rate_headers(await refused_charge(op))
            headers.append((b"retry-after", str(fault.details["retry_after"]).encode()))
            return {"data": None, "errors": [format_fault(fault, op)]}
        context = GraphContext(
            op=op,
            loaders=Loaders(op),
            charge=charge,
            operation_name=body.operation_name,
            user_agent=given.get("user-agent"),
            may_set_cookie=self._is_own_page(given),
            session_cookie=SessionCookie(None) if forgotten_cookie else None,
        )
        answer = await _execute(body, context)
        headers += _rate_headers(context.charge)
        if context.session_cookie is not None:
            headers.append((b"set-cookie", self._set_cookie(context.session_cookie)))
        return answer

    async def _authenticate(self, op: OpContext, given: dict[str, str]) -> tuple[OpContext, bool]:
        """The operation with its actor, and whether the browser holds a cookie of no use."""
        authorization = given.get("authorization")
        if authorization is not None:
            try:
                actor = await authentication.authenticate_authorization(op, authorization)
            except ForgeError as fault:
                raise _refusal(fault) from fault
            if actor.kind in (ActorKind.SSH_KEY, ActorKind.DEPLOY_KEY):
                raise _Refused(401, BAD_CREDENTIALS)
            return op.acting_as(actor), False
        # A page of another site can make a browser send the cookie, but not hide where it is from.
        if self._is_foreign_page(given):
            raise _Refused(403, "requests from pages of other sites need an access token")
        secret = _cookie(given.get("cookie", ""), self._cookie)
        if secret is None:
            return op, False
        if not self._is_own_page(given):
            raise _Refused(
                403, "a session cookie needs an Origin header; programs use an access token"
            )
        try:
            return op.acting_as(await authentication.authenticate_session(op, secret)), False
        except Unauthenticated:
            # An ended session must not keep its browser from signing in again.
            return op, True
        except ForgeError as fault:
            raise _refusal(fault) from fault

    def _is_own_page(self, given: dict[str, str]) -> bool:
        if "origin" in given:
            return given["origin"] == self._origin
        return given.get("sec-fetch-site") == "same-origin"

    def _is_foreign_page(self, given: dict[str, str]) -> bool:
        says_where_from = "origin" in given or "sec-fetch-site" in given
        return says_where_from and not self._is_own_page(given)

    def _set_cookie(self, cookie: SessionCookie) -> bytes:
        parts = [f"{self._cookie}={cookie.value or ''}", "Path=/", "HttpOnly", "SameSite=Lax"]
        parts.append(f"Max-Age={cookie.max_age_seconds if cookie.value else 0}")
        if self._is_https:
            parts.append("Secure")
        return "; ".join(parts).encode()


async def _execute(body: _Body, context: GraphContext) -> dict[str, Any]:
    try:
        async with asyncio.timeout(None) as context.deadline:
            context.allow_seconds(DEADLINE_SECONDS)
            result = await schema.execute(
                body.query,
                variable_values=body.variables,
                context_value=context,
                operation_name=body.operation_name,
            )
    except TimeoutError:
        context.loaders.cancel()
        too_long = LimitExceeded(
            f"the request took longer than {context.allowed_seconds} seconds and was stopped; "
            "ask for less at once, and after a mutation look whether the change was made"
        )
        return {"data": None, "errors": [format_fault(too_long, context.op)]}
    except (CannotGetOperationTypeError, InvalidOperationTypeError):
        fault = no_such_operation(body.operation_name)
        return {"data": None, "errors": [format_fault(fault, context.op)]}
    answer: dict[str, Any] = {"data": result.data}
    if result.errors:
        errors = [
            each if isinstance(each, GraphQLError) else GraphQLError(str(each), original_error=each)
            for each in result.errors
        ]
        answer["errors"] = format_errors(errors, context.op)
    return answer


def _refusal(fault: ForgeError) -> _Refused:
    """A credential that was not accepted, as GitHub's REST and GraphQL answer it."""
    if isinstance(fault, RateLimited):
        seconds = str(fault.details.get("retry_after", 60)).encode()
        return _Refused(429, fault.message, ((b"retry-after", seconds),))
    if isinstance(fault, Unavailable):
        return _Refused(503, fault.message, ((b"retry-after", b"5"),))
    if isinstance(fault, Unauthenticated):
        # One text for every reason, so that guessing learns nothing.
        return _Refused(401, BAD_CREDENTIALS, ((b"www-authenticate", b'Basic realm="GraphQL"'),))
    return _Refused(403, fault.message)


def _check_method_and_type(scope: Scope, given: dict[str, str]) -> None:
    if scope["method"] != "POST":
        raise _Refused(405, "GraphQL is asked by POST", ((b"allow", b"POST"),))
    parsed = HeaderParser()
    parsed["content-type"] = given.get("content-type", "")
    charset = parsed.get_content_charset("utf-8")
    if parsed.get_content_type() != "application/json" or charset not in ("utf-8", "us-ascii"):
        raise _Refused(415, "the request body must be application/json in UTF-8")


async def _receive_body(receive: Receive, given: dict[str, str]) -> bytes:
    too_large = _Refused(
        413, f"the request body is larger than {MAX_BODY_BYTES} bytes", ((b"connection", b"close"),)
    )
    length = given.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > MAX_BODY_BYTES:
        raise too_large
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Refused(400, "the request body ended early")
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise too_large
        if not message.get("more_body", False):
            return bytes(body)


def _read_body(raw: bytes) -> _Body:
    try:
        value = json.loads(raw.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise _Refused(400, "Problems parsing JSON") from None
    if isinstance(value, list):
        raise _Refused(400, "one operation a request: batches are not supported")
    if not isinstance(value, dict):
        raise _Refused(400, "the request body must be a JSON object")
    query, variables = value.get("query"), value.get("variables")
    operation_name = value.get("operationName")
    if not isinstance(query, str) or not query.strip():
        raise _Refused(400, "A query attribute must be specified and must be a string.")
    if variables is not None and not isinstance(variables, dict):
        raise _Refused(400, "variables must be a JSON object")
    if operation_name is not None and not isinstance(operation_name, str):
        raise _Refused(400, "operationName must be a string")
    return _Body(query, variables or {}, operation_name or None)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _headers(scope: Scope) -> dict[str, str]:
    """By lower-case name. A header given twice is joined, so that its halves cannot differ."""
    found: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        separator = "; " if name == "cookie" else ", "
        found[name] = f"{found[name]}{separator}{value}" if name in found else value
    return found


def _cookie(header: str, name: str) -> str | None:
    for pair in header.split(";"):
        key, _, value = pair.strip().partition("=")
        if key == name and value:
            return value
    return None


def _origin(url: str) -> str:
    parts = urlsplit(url)
    default = {"http": 80, "https": 443}.get(parts.scheme)
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname
    port = "" if parts.port in (None, default) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def _rate_headers(charge: Charge) -> list[tuple[bytes, bytes]]:
    values = {
        "limit": charge.limit,
        "remaining": charge.state.remaining,
        "used": charge.state.used,
        "reset": int(charge.resets_at.timestamp()),
        "resource": "graphql",
    }
    return [(f"x-ratelimit-{name}".encode(), str(value).encode()) for name, value in values.items()]


async def _send_json(
    send: Send, status: int, value: dict[str, Any], headers: list[tuple[bytes, bytes]]
) -> None:
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    start = [
        (b"content-type", b"application/json; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})
