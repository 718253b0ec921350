"""Who the client is when proxies stand before the hub: believed only from the configured ones."""

import ipaddress
import re
from collections.abc import Iterable, Sequence

from opencodehub.asgi import ASGIApp, Receive, Scope, Send
from opencodehub.settings import Network

_FORWARDED = {
    b"forwarded",
    b"x-forwarded-for",
    b"x-forwarded-proto",
    b"x-forwarded-host",
    b"x-forwarded-port",
    b"x-real-ip",
    b"x-request-id",
}
_FORWARDED_PAIR = re.compile(r'\s*([a-z]+)\s*=\s*(?:"([^"]*)"|([^\s;,"]*))\s*', re.IGNORECASE)


class TrustedProxies:
    """Sets the client's address and scheme from forwarded headers, then drops those headers.

    From any other peer they are dropped unread, so nothing further in can believe them. A
    forwarded host is never used: links are built from ``OCH_BASE_URL`` alone.
    """

    def __init__(self, app: ASGIApp, networks: Sequence[Network]) -> None:
        self._app = app
        self._networks = networks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            scope = self._resolved(scope)
        await self._app(scope, receive, send)

    def _resolved(self, scope: Scope) -> Scope:
        scope = dict(scope)
        given = [(name, value) for name, value in scope["headers"] if name in _FORWARDED]
        scope["headers"] = [pair for pair in scope["headers"] if pair[0] not in _FORWARDED]
        scope["state"] = dict(scope.get("state", {}))
        peer = scope["client"][0] if scope.get("client") else ""
        if not given or not self._is_trusted(peer):
            return scope
        hops, scheme = _hops_and_scheme(given)
        client = self._first_untrusted(hops)
        if client is not None:
            scope["client"] = (client, 0)
        if scheme is not None:
            websocket = scope["type"] == "websocket"
            scope["scheme"] = {"http": "ws", "https": "wss"}[scheme] if websocket else scheme
        identifiers = [value for name, value in given if name == b"x-request-id"]
        if len(identifiers) == 1:
            scope["state"]["forwarded_request_id"] = identifiers[0].decode("latin-1")
        return scope

    def _is_trusted(self, address: str) -> bool:
        parsed = _address(address)
        return parsed is not None and any(parsed in network for network in self._networks)

    def _first_untrusted(self, hops: Sequence[str]) -> str | None:
        """The nearest hop that is not ours; what stands left of it, the client may have made up."""
        nearest = None
        for hop in reversed(hops):
            parsed = _address(hop)
            if parsed is None:
                return nearest
            nearest = str(parsed)
            if not self._is_trusted(nearest):
                return nearest
        return nearest


def _hops_and_scheme(headers: Iterable[tuple[bytes, bytes]]) -> tuple[list[str], str | None]:
    """The addresses, farthest first, and the scheme the nearest proxy was asked with."""
    hops: list[str] = []
    schemes: list[str] = []
    for name, value in headers:
        text = value.decode("latin-1")
        if name == b"x-forwarded-for":
            hops += [part.strip() for part in text.split(",")]
        elif name == b"x-forwarded-proto":
            schemes += [part.strip().lower() for part in text.split(",")]
        elif name == b"forwarded":
            for element in text.split(","):
                pairs = {
                    match[1].lower(): match[2] if match[2] is not None else match[3]
                    for match in _FORWARDED_PAIR.finditer(element)
                }
                hops += [pairs["for"]] if "for" in pairs else []
                schemes += [pairs["proto"].lower()] if "proto" in pairs else []
    scheme = schemes[-1] if schemes and schemes[-1] in ("http", "https") else None
    return hops, scheme


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address as proxies write it: bare, ``1.2.3.4:56``, ``[::1]`` or ``[::1]:56``."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return None
    # 10.0.0.1 reaches a socket for both families as ::ffff:10.0.0.1.
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return mapped or parsed
