"""What every request gets, and the bounds of its body, through ASGI as a server drives it."""

import asyncio
import ipaddress
import json
import re
from typing import Any

import httpx
import pytest
import structlog

from opencodehub.asgi import ASGIApp, Receive, Scope, Send, send_bytes
from opencodehub.body_limits import BodyLimit
from opencodehub.proxies import TrustedProxies
from opencodehub.request_context import RequestContext
from opencodehub.settings import Network

LOCAL: tuple[Network, ...] = (ipaddress.ip_network("127.0.0.1"),)


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await send_bytes(send, 200, "text/plain", b"hello")


async def failing(scope: Scope, receive: Receive, send: Send) -> None:
    raise ValueError("the password is swordfish")


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await send_bytes(send, 200, "text/plain", body)


async def ask(
    application: ASGIApp,
    *,
    trusted: tuple[Network, ...] = (),
    https: bool = False,
    method: str = "GET",
    **options: Any,
) -> httpx.Response:
    wrapped = TrustedProxies(RequestContext(application, https=https), trusted)
    transport = httpx.ASGITransport(wrapped)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://hub") as client:
        return await client.request(method, "/ann/demo?token=secret", **options)


async def test_an_answer_carries_the_request_id_and_safe_headers() -> None:
    answer = await ask(hello)
    assert re.fullmatch("[0-9a-f]{16}", answer.headers["x-github-request-id"])
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["content-security-policy"] == (
        "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    assert "strict-transport-security" not in answer.headers
    secure = await ask(hello, https=True)
    assert secure.headers["strict-transport-security"] == "max-age=31536000"


async def test_an_application_may_set_a_policy_of_its_own() -> None:
    async def own(scope: Scope, receive: Receive, send: Send) -> None:
        policy = (b"content-security-policy", b"sandbox")
        await send_bytes(send, 200, "text/plain", b"", [policy])

    answer = await ask(own)
    assert answer.headers.get_list("content-security-policy") == ["sandbox"]


async def test_an_id_is_taken_from_a_trusted_proxy_only_if_it_is_sane() -> None:
    for given, taken in (
        ("0123-4567.ab", True),
        ("short", False),
        ("x" * 65, False),
        ("white space", False),
    ):
        answer = await ask(hello, trusted=LOCAL, headers={"x-request-id": given})
        assert (answer.headers["x-github-request-id"] == given) is taken
    answer = await ask(hello, headers={"x-request-id": "0123-4567.ab"})
    assert answer.headers["x-github-request-id"] != "0123-4567.ab"


async def test_an_unexpected_error_shows_nothing_but_the_id() -> None:
    answer = await ask(failing)
    assert answer.status_code == 500
    assert answer.json() == {
        "message": "internal error",
        "requestId": answer.headers["x-github-request-id"],
    }


async def test_browsers_get_a_page() -> None:
    answer = await ask(failing, headers={"accept": "text/html,*/*"})
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["x-github-request-id"] in answer.text
    assert "swordfish" not in answer.text


async def test_each_request_is_logged_with_its_id_and_without_its_query() -> None:
    with structlog.testing.capture_logs(
        processors=[structlog.contextvars.merge_contextvars]
    ) as entries:
        answer = await ask(hello)
    (entry,) = entries
    assert entry.pop("milliseconds") >= 0
    assert entry == {
        "event": "request",
        "log_level": "info",
        "request_id": answer.headers["x-github-request-id"],
        "method": "GET",
        "path": "/ann/demo",
        "status": 200,
        "bytes_sent": 5,
        "client": "127.0.0.1",
    }


async def test_an_error_is_logged_with_the_same_id() -> None:
    with structlog.testing.capture_logs(
        processors=[structlog.contextvars.merge_contextvars]
    ) as entries:
        answer = await ask(failing)
    assert [(entry["event"], entry["request_id"]) for entry in entries] == [
        ("internal error", answer.headers["x-github-request-id"]),
        ("request", answer.headers["x-github-request-id"]),
    ]


async def test_an_answer_that_breaks_off_is_not_completed() -> None:
    async def half(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ValueError

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "client": None}
    await TrustedProxies(RequestContext(half, https=False), ())(scope, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[-1]["more_body"] is True


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_large_is_refused(chunked: bool) -> None:
    async def pieces() -> Any:
        for _ in range(11):
            yield b"x" * 100

    content = pieces() if chunked else b"x" * 1100
    answer = await ask(BodyLimit(echo, 1024), method="POST", content=content)
    assert answer.status_code == 413
    assert answer.headers["connection"] == "close"
    assert json.loads(answer.text)["message"] == "the request body is larger than 1024 bytes"


async def test_a_body_within_the_limit_passes() -> None:
    answer = await ask(BodyLimit(echo, 1024), method="POST", content=b"x" * 1024)
    assert (answer.status_code, len(answer.content)) == (200, 1024)


async def test_a_body_that_takes_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opencodehub.body_limits.BODY_SECONDS", 0.0)

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        async def stalled() -> Any:
            await asyncio.Event().wait()

        await BodyLimit(echo, 1024)(scope, stalled, send)

    answer = await ask(slow, method="POST", content=b"x")
    assert answer.status_code == 408
    assert answer.json()["message"] == "the request body took longer than 0 seconds"
