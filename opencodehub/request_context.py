"""What every request gets: an id, a line in the log, safe headers, and an answer if all fails."""

import asyncio
import contextlib
import re
import secrets
import time
from collections.abc import Sequence

import structlog

from opencodehub.asgi import ASGIApp, Message, Receive, Scope, Send, send_error

_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{8,64}")
# Asked every few seconds by load balancers.
_QUIET_PATHS = {"/healthz", "/readyz"}

SECURITY_HEADERS: Sequence[tuple[bytes, bytes]] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (
        b"content-security-policy",
        b"default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
)
_ONLY_HTTPS = (b"strict-transport-security", b"max-age=31536000")


class RequestContext:
    """The outermost layer within ``TrustedProxies``. ``https``: users reach the hub by https."""

    def __init__(self, app: ASGIApp, *, https: bool) -> None:
        self._app = app
        self._added = [*SECURITY_HEADERS, *([_ONLY_HTTPS] if https else [])]
        self._log = structlog.get_logger("opencodehub.web")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        identifier = _request_id(scope)
        scope["state"]["request_id"] = identifier
        answer = _Answer(send, self._added, identifier)
        began = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=identifier):
            try:
                await self._app(scope, receive, answer.send)
            except asyncio.CancelledError:
                # The server is stopping and this took longer than it waits.
                answer.cut = True
                raise
            except Exception:
                self._log.exception("internal error", path=_path(scope))
                if answer.status is None:
                    await send_error(scope, answer.send, 500, "internal error")
                else:
                    # Returning without the end of the body makes the server close the
                    # connection, so that nobody takes half an answer for a whole one.
                    answer.cut = True
            finally:
                self._log_request(scope, answer, time.perf_counter() - began)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A WebSocket: one line in the log when it has ended."""
        identifier = _request_id(scope)
        scope["state"]["request_id"] = identifier
        began = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=identifier):
            try:
                await self._app(scope, receive, send)
            except OSError:
                pass  # the client is gone
            except Exception:
                self._log.exception("internal error", path=_path(scope))
                with contextlib.suppress(Exception):
                    await send({"type": "websocket.close", "code": 1011})
            finally:
                self._log.info(
                    "socket",
                    path=_path(scope),
                    seconds=round(time.perf_counter() - began, 1),
                    client=scope["client"][0] if scope.get("client") else None,
                )

    def _log_request(self, scope: Scope, answer: "_Answer", seconds: float) -> None:
        log = self._log.debug if scope["path"] in _QUIET_PATHS else self._log.info
        log(
            "request",
            method=scope["method"],
            path=_path(scope),
            status=answer.status,
            milliseconds=round(seconds * 1000, 1),
            bytes_sent=answer.bytes_sent,
            client=scope["client"][0] if scope.get("client") else None,
            **({"cut": True} if answer.cut else {}),
        )


class _Answer:
    """Watches what is sent, and adds the headers every answer carries."""

    def __init__(self, send: Send, added: Sequence[tuple[bytes, bytes]], identifier: str) -> None:
        self._send = send
        self._added = [*added, (b"x-github-request-id", identifier.encode())]
        self.status: int | None = None
        self.bytes_sent = 0
        self.cut = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = list(message.get("headers", ()))
            present = {name.lower() for name, _ in headers}
            headers += [pair for pair in self._added if pair[0] not in present]
            message = {**message, "headers": headers}
        elif message["type"] == "http.response.body":
            self.bytes_sent += len(message.get("body", b""))
        await self._send(message)


def _request_id(scope: Scope) -> str:
    forwarded = scope["state"].pop("forwarded_request_id", None)
    if forwarded is not None and _SANE_ID.fullmatch(forwarded):
        return str(forwarded)
    return secrets.token_hex(8)


def _path(scope: Scope) -> str:
    # The path as it was sent has only visible ASCII, so it cannot forge lines of a log; the query
    # is left out, because people put secrets there.
    raw = scope.get("raw_path") or scope["path"].encode()
    return str(raw[:512].decode("ascii", "backslashreplace"))
