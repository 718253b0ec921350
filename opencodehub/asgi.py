"""The ASGI types, and the few answers the application gives by itself."""

import html
import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<h1>{title}</h1>
{body}
</html>
"""


def request_id(scope: Scope) -> str:
    """The id ``RequestContext`` gave the request."""
    return str(scope["state"]["request_id"])


def header(scope: Scope, name: bytes) -> str | None:
    """The first header of this (lower-case) name."""
    for found, value in scope["headers"]:
        if found == name:
            return str(value.decode("latin-1"))
    return None


async def send_bytes(
    send: Send, status: int, content_type: str, body: bytes, headers: Headers = ()
) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", content_type.encode()),
                (b"content-length", str(len(body)).encode()),
                *headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def send_json(send: Send, status: int, value: Any, headers: Headers = ()) -> None:
    body = json.dumps(value).encode() + b"\n"
    await send_bytes(
        send, status, "application/json", body, ((b"cache-control", b"no-store"), *headers)
    )


async def send_page(send: Send, status: int, title: str, body: str, headers: Headers = ()) -> None:
    """A small HTML page. ``body`` is markup; ``title`` is text."""
    page = _PAGE.format(title=html.escape(title), body=body).encode()
    await send_bytes(send, status, "text/html; charset=utf-8", page, headers)


async def send_error(
    scope: Scope, send: Send, status: int, message: str, headers: Headers = ()
) -> None:
    """An error with the request id: a page for browsers, JSON for everybody else."""
    identifier = request_id(scope)
    if "text/html" in (header(scope, b"accept") or ""):
        body = f"<p>{html.escape(message)}</p>\n<p>Request id: <code>{identifier}</code></p>"
        await send_page(send, status, f"Error {status}", body, headers)
    else:
        await send_json(send, status, {"message": message, "requestId": identifier}, headers)
