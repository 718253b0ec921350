"""The web application: which path leads to which door, and the few answers of its own."""

import html
import re

from gitserve.smart_http import GitHTTP
from graph.endpoint import GraphQLEndpoint
from graph.rest.endpoint import PREFIX as REST
from graph.rest.endpoint import RestEndpoint
from opencodehub import health
from opencodehub.asgi import (
    ASGIApp,
    Receive,
    Scope,
    Send,
    request_id,
    send_bytes,
    send_error,
    send_page,
)
from opencodehub.body_limits import BodyLimit
from opencodehub.metrics_page import send_metrics
from opencodehub.proxies import TrustedProxies
from opencodehub.request_context import RequestContext
from opencodehub.settings import Settings
from services import git_access
from services.actor import ANONYMOUS
from services.context import OpContext
from services.errors import ForgeError, NotFound, Unavailable
from services.git_access import GitService
from services.runtime import Runtime

_GRAPHQL = re.compile(r"/(?:api/)?graphql/?")
_REPOSITORY = re.compile(r"/([^/]+/[^/]+?)(?:\.git)?/?")


class WebApplication:
    """The whole web server as one ASGI application. The caller opens and closes the runtime."""

    def __init__(self, runtime: Runtime, settings: Settings) -> None:
        https = settings.base_url.scheme == "https"
        self._git = GitHTTP(runtime)
        routes = _Routes(runtime, settings, self._git)
        self._app = TrustedProxies(RequestContext(routes, https=https), settings.trusted_proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    async def drain(self, seconds: float) -> None:
        """Refuse new pushes; return when the running ones have ended or the time is up."""
        await self._git.drain(seconds)


class _Routes:
    def __init__(self, runtime: Runtime, settings: Settings, git: GitHTTP) -> None:
        self._runtime = runtime
        self._settings = settings
        self._git = git
        limit = settings.request_body_max_bytes
        self._graphql: ASGIApp = BodyLimit(GraphQLEndpoint(runtime), limit)
        self._rest: ASGIApp = BodyLimit(RestEndpoint(runtime), limit)
        self._pages: ASGIApp = BodyLimit(self._page, limit)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            # Closed before it was accepted: the server answers 403.
            door = self._graphql if _GRAPHQL.fullmatch(scope["path"]) else _refuse_socket
            await door(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        if self._git.matches(scope):
            await self._git(scope, receive, send)
        elif _GRAPHQL.fullmatch(scope["path"]):
            await self._graphql(scope, receive, send)
        elif scope["path"] == REST or scope["path"].startswith(f"{REST}/"):
            await self._rest(scope, receive, send)
        else:
            await self._pages(scope, receive, send)

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if scope["method"] not in ("GET", "HEAD"):
            await _not_found_or_allowed(scope, send, path)
        elif path == "/":
            await send_page(send, 200, "OpenCodeHub", _front_page(self._runtime))
        elif path == "/healthz":
            await health.send_alive(send)
        elif path == "/readyz":
            await health.send_ready(scope, send, self._runtime)
        elif path == "/metrics":
            await send_metrics(scope, send, self._runtime, self._settings)
        elif path == "/robots.txt":
            await send_bytes(send, 200, "text/plain", b"User-agent: *\nAllow: /\n")
        elif match := _REPOSITORY.fullmatch(path):
            await self._repository(scope, send, match[1])
        else:
            await send_error(scope, send, 404, "not found")

    async def _repository(self, scope: Scope, send: Send, path: str) -> None:
        """Where a public repository lives; an old name leads to the new one."""
        client = scope["client"][0] if scope.get("client") else None
        op = OpContext(self._runtime, ANONYMOUS, request_id(scope), client)
        try:
            repository = await git_access.open_repository(op, path, GitService.FETCH)
        except Unavailable as error:
            await send_error(scope, send, 503, error.message, [(b"retry-after", b"5")])
            return
        except NotFound:
            await send_error(scope, send, 404, "not found")
            return
        except ForgeError as error:
            await send_error(scope, send, 403, error.message)
            return
        if repository.moved_from is not None:
            location = f"{self._runtime.settings.web_url}/{repository.name_with_owner}"
            headers = [(b"location", location.encode()), (b"cache-control", b"no-cache")]
            await send_bytes(send, 301, "text/plain", location.encode() + b"\n", headers)
            return
        name = repository.name_with_owner
        await send_page(send, 200, name, _clone_lines(self._runtime, name))


async def _refuse_socket(_scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.close", "code": 1000})


async def _not_found_or_allowed(scope: Scope, send: Send, path: str) -> None:
    if path in ("/", "/healthz", "/readyz", "/robots.txt"):
        await send_error(scope, send, 405, "method not allowed", [(b"allow", b"GET, HEAD")])
    else:
        await send_error(scope, send, 404, "not found")


def _front_page(runtime: Runtime) -> str:
    return (
        "<p>This is a server for git repositories.</p>\n"
        f"{_clone_lines(runtime, 'OWNER/NAME')}\n"
        "<p>Programs speak GraphQL with it: <code>POST "
        f"{html.escape(runtime.settings.web_url)}/graphql</code>.</p>"
    )


def _clone_lines(runtime: Runtime, name: str) -> str:
    settings = runtime.settings
    over_https = f"git clone {settings.web_url}/{name}.git"
    over_ssh = (
        f"git clone ssh://git@{settings.ssh_clone_host}:{settings.ssh_public_port}/{name}.git"
    )
    return f"<pre>{html.escape(over_https)}\n{html.escape(over_ssh)}</pre>"
