"""What the HTTP doors of the contract share: who asks, the body, and answers in JSON."""

import dataclasses
import json
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from graph.charging import Charge
from graph.context import SessionCookie
from graph.limits import MAX_BODY_BYTES
from services import authentication
from services.actor import ANONYMOUS, ActorKind
from services.context import OpContext
from services.errors import ForgeError, RateLimited, Unauthenticated, Unavailable
from services.runtime import Runtime

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

BAD_CREDENTIALS = "Bad credentials"
_COOKIE = "och_session"


@dataclasses.dataclass(frozen=True, slots=True)
class Refused(Exception):
    """An answer that is no GraphQL answer."""

    status: int
    message: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Door:
    """Tells who asks. A session cookie counts only for requests of this server's own pages."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._origin = _origin(runtime.settings.web_url)
        self._is_https = self._origin.startswith("https://")
        # The prefix makes browsers insist that the cookie came from this host over https.
        self._cookie = f"__Host-{_COOKIE}" if self._is_https else _COOKIE

    def operation(self, scope: Scope) -> OpContext:
        """The request's operation, before it is known who asks."""
        request_id = scope.get("state", {}).get("request_id") or secrets.token_hex(8)
        client = scope["client"][0] if scope.get("client") else None
        return OpContext(self._runtime, ANONYMOUS, str(request_id), client)

    async def authenticate(self, op: OpContext, given: dict[str, str]) -> tuple[OpContext, bool]:
        """The operation with its actor, and whether the browser holds a cookie of no use."""
        authorization = given.get("authorization")
        if authorization is not None:
            try:
                actor = await authentication.authenticate_authorization(op, authorization)
            except ForgeError as fault:
                raise _refusal(fault) from fault
            if actor.kind in (ActorKind.SSH_KEY, ActorKind.DEPLOY_KEY):
                raise Refused(401, BAD_CREDENTIALS)
            return op.acting_as(actor), False
        # A page of another site can make a browser send the cookie, but not hide where it is from.
        if self._is_foreign_page(given):
            raise Refused(403, "requests from pages of other sites need an access token")
        secret = _cookie(given.get("cookie", ""), self._cookie)
        if secret is None:
            return op, False
        if not self.is_own_page(given):
            raise Refused(
                403, "a session cookie needs an Origin header; programs use an access token"
            )
        try:
            return op.acting_as(await authentication.authenticate_session(op, secret)), False
        except Unauthenticated:
            # An ended session must not keep its browser from signing in again.
            return op, True
        except ForgeError as fault:
            raise _refusal(fault) from fault

    def is_own_page(self, given: dict[str, str]) -> bool:
        if "origin" in given:
            return given["origin"] == self._origin
        return given.get("sec-fetch-site") == "same-origin"

    def _is_foreign_page(self, given: dict[str, str]) -> bool:
        says_where_from = "origin" in given or "sec-fetch-site" in given
        return says_where_from and not self.is_own_page(given)

    def set_cookie(self, cookie: SessionCookie) -> bytes:
        parts = [f"{self._cookie}={cookie.value or ''}", "Path=/", "HttpOnly", "SameSite=Lax"]
        parts.append(f"Max-Age={cookie.max_age_seconds if cookie.value else 0}")
        if self._is_https:
            parts.append("Secure")
        return "; ".join(parts).encode()


def _refusal(fault: ForgeError) -> Refused:
    """A credential that was not accepted, as GitHub's REST and GraphQL answer it."""
    if isinstance(fault, RateLimited):
        seconds = str(fault.details.get("retry_after", 60)).encode()
        return Refused(429, fault.message, ((b"retry-after", seconds),))
    if isinstance(fault, Unavailable):
        return Refused(503, fault.message, ((b"retry-after", b"5"),))
    if isinstance(fault, Unauthenticated):
        # One text for every reason, so that guessing learns nothing.
        return Refused(401, BAD_CREDENTIALS, ((b"www-authenticate", b'Basic realm="GraphQL"'),))
    return Refused(403, fault.message)


async def receive_body(receive: Receive, given: dict[str, str]) -> bytes:
    too_large = Refused(
        413, f"the request body is larger than {MAX_BODY_BYTES} bytes", ((b"connection", b"close"),)
    )
    length = given.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > MAX_BODY_BYTES:
        raise too_large
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "the request body ended early")
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise too_large
        if not message.get("more_body", False):
            return bytes(body)


def headers_of(scope: Scope) -> dict[str, str]:
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


def rate_headers(charge: Charge) -> list[tuple[bytes, bytes]]:
    values = {
        "limit": charge.limit,
        "remaining": charge.state.remaining,
        "used": charge.state.used,
        "reset": int(charge.resets_at.timestamp()),
        "resource": "graphql",
    }
    return [(f"x-ratelimit-{name}".encode(), str(value).encode()) for name, value in values.items()]


async def send_json(send: Send, status: int, value: Any, headers: Headers) -> None:
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    start = [
        (b"content-type", b"application/json; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})
