"""Forwarded headers: believed from configured proxies, dropped unread from everybody else."""

import ipaddress
from collections.abc import Sequence
from typing import Any

import pytest

from opencodehub.asgi import Receive, Scope, Send
from opencodehub.proxies import TrustedProxies

NETWORKS = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))


async def seen(
    peer: str, headers: Sequence[tuple[str, str]], *, type_: str = "http", scheme: str = "http"
) -> dict[str, Any]:
    """What the application behind the proxies sees."""
    found: dict[str, Any] = {}

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        found.update(
            client=scope["client"][0],
            scheme=scope["scheme"],
            headers=[name.decode() for name, _ in scope["headers"]],
            request_id=scope["state"].get("forwarded_request_id"),
        )

    async def receive() -> dict[str, Any]:
        raise AssertionError("nothing is to be received")

    async def send(message: Any) -> None:
        raise AssertionError("nothing is to be sent")

    scope = {
        "type": type_,
        "client": (peer, 4711),
        "scheme": scheme,
        "headers": [(name.encode(), value.encode()) for name, value in headers],
    }
    await TrustedProxies(application, NETWORKS)(scope, receive, send)
    return found


async def test_a_stranger_is_not_believed() -> None:
    headers = [
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.example"),
        ("x-real-ip", "1.2.3.4"),
        ("forwarded", "for=1.2.3.4;proto=https"),
        ("x-request-id", "chosen-by-a-stranger"),
        ("host", "hub.example.org"),
    ]
    assert await seen("203.0.113.9", headers) == {
        "client": "203.0.113.9",
        "scheme": "http",
        "headers": ["host"],
        "request_id": None,
    }


@pytest.mark.parametrize(
    ("headers", "client", "scheme"),
    [
        ([("x-forwarded-for", "198.51.100.7"), ("x-forwarded-proto", "https")],
         "198.51.100.7", "https"),
        # What stands left of the nearest untrusted hop was written by the client.
        ([("x-forwarded-for", "6.6.6.6, 198.51.100.7, 10.1.1.1")], "198.51.100.7", "http"),
        ([("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "198.51.100.7")],
         "198.51.100.7", "http"),
        ([("x-forwarded-for", "10.1.1.1, 10.2.2.2")], "10.1.1.1", "http"),
        ([("x-forwarded-for", "198.51.100.7:8080")], "198.51.100.7", "http"),
        ([("x-forwarded-for", "[2001:db8::7]:8080")], "2001:db8::7", "http"),
        ([("x-forwarded-for", "::ffff:198.51.100.7")], "198.51.100.7", "http"),
        ([("forwarded", 'for="[2001:db8::7]:80";proto=https, for=10.1.1.1;proto=http')],
         "2001:db8::7", "http"),
        ([("forwarded", "For=198.51.100.7; Proto=HTTPS")], "198.51.100.7", "https"),
        # Nonsense leaves the peer: better the proxy's address than an invented one.
        ([("x-forwarded-for", "unknown")], "10.0.0.1", "http"),
        ([("x-forwarded-proto", "gopher")], "10.0.0.1", "http"),
        ([], "10.0.0.1", "http"),
    ],
)  # fmt: skip
async def test_a_trusted_proxy_is_believed(
    headers: Sequence[tuple[str, str]], client: str, scheme: str
) -> None:
    result = await seen("10.0.0.1", headers)
    assert (result["client"], result["scheme"], result["headers"]) == (client, scheme, [])


async def test_websockets_have_schemes_of_their_own() -> None:
    headers = [("x-forwarded-proto", "https")]
    assert (await seen("fd00::1", headers, type_="websocket", scheme="ws"))["scheme"] == "wss"


async def test_a_proxy_that_reaches_us_by_a_mapped_address() -> None:
    headers = [("x-forwarded-for", "198.51.100.7")]
    assert (await seen("::ffff:10.0.0.1", headers))["client"] == "198.51.100.7"


async def test_a_trusted_proxy_names_the_request() -> None:
    assert (await seen("10.0.0.1", [("x-request-id", "abcd1234")]))["request_id"] == "abcd1234"
    twice = [("x-request-id", "abcd1234"), ("x-request-id", "efgh5678")]
    assert (await seen("10.0.0.1", twice))["request_id"] is None
