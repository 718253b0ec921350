"""``och web``: the web server as a process, on uvicorn."""

import asyncio
import contextlib
import gc
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from sqlalchemy import select

from graph.limits import MAX_BODY_BYTES
from models import User
from opencodehub import wiring
from opencodehub.app import WebApplication
from opencodehub.http_protocol import BoundedHTTPProtocol
from opencodehub.processes import CannotListen, listening_socket, shown_address
from opencodehub.settings import Settings
from services.runtime import Runtime


class _Server(uvicorn.Server):
    """Uvicorn's server, with the signals left to us: it would raise them again at its end."""

    def __init__(self, configuration: uvicorn.Config) -> None:
        super().__init__(configuration)
        self.listens = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def run_web(settings: Settings, ready: Callable[..., None]) -> None:
    """Serve until SIGTERM or SIGINT, then let running requests finish for the drain time.

    ``ready`` is called with the address once the server listens. Raises CannotListen,
    ConfigurationError, MigrationsPending, DatabaseUnavailable.
    """
    await wiring.require_migrated(settings)
    listener = listening_socket(settings.host, settings.port, flag="--port")
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(listener.close)
        runtime = await stack.enter_async_context(wiring.open_runtime(settings))
        application = WebApplication(runtime, settings)
        server = _Server(_configuration(settings, application))
        loop = asyncio.get_running_loop()
        draining: list[asyncio.Task[None]] = []

        def stop() -> None:
            # The second signal is impatience.
            server.force_exit = server.should_exit
            server.should_exit = True
            draining.append(asyncio.create_task(application.drain(settings.drain_seconds)))

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
        _calm_garbage_collector()
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        listens = asyncio.create_task(server.listens.wait())
        await asyncio.wait({serving, listens}, return_when=asyncio.FIRST_COMPLETED)
        if server.started:
            scheme = "https" if settings.tls_cert else "http"
            ready(
                address=f"{scheme}://{shown_address(settings.host, settings.port)}",
                has_administrator=await _has_administrator(runtime),
            )
        await serving
        # A push whose client has gone is no request of uvicorn's any more.
        await asyncio.gather(*draining)


def _calm_garbage_collector() -> None:
    """What is loaded by now stays, so it is not looked through again and again.

    Without this a full collection takes 100 ms, and an answer of some thousand fields sets one off.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _configuration(settings: Settings, application: WebApplication) -> uvicorn.Config:
    BoundedHTTPProtocol.max_connections = settings.max_connections
    tls: dict[str, Any] = {}
    if settings.tls_cert is not None and settings.tls_key is not None:
        tls = {"ssl_certfile": settings.tls_cert, "ssl_keyfile": settings.tls_key}
    configuration = uvicorn.Config(
        application,
        http=BoundedHTTPProtocol,
        ws="websockets-sansio",
        # Nothing a client says is larger; answers are not compressed, which costs memory a socket.
        ws_max_size=MAX_BODY_BYTES,
        ws_per_message_deflate=False,
        ws_ping_interval=20,
        ws_ping_timeout=20,
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=1024,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=settings.drain_seconds,
        **tls,
    )
    try:
        configuration.load()
    except (ssl.SSLError, OSError) as error:
        raise CannotListen(f"the TLS certificate or its key cannot be used: {error}") from error
    return configuration


async def _has_administrator(runtime: Runtime) -> bool:
    async with runtime.database.read() as session:
        found = await session.scalar(select(User.id).where(User.is_site_admin).limit(1))
    return found is not None
