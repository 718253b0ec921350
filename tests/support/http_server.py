"""An ASGI application on a real uvicorn in this process, on a free port."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import uvicorn


@contextlib.asynccontextmanager
async def serving(application: Any) -> AsyncIterator[int]:
    """Serve for the length of the block; yields the port."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(100)
    server = uvicorn.Server(
        uvicorn.Config(
            application,
            http="httptools",
            ws="websockets-sansio",
            ws_max_size=1024 * 1024,
            ws_per_message_deflate=False,
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=5,
        )
    )
    with contextlib.ExitStack() as stack:
        # Signals belong to pytest.
        stack.callback(listener.close)
        task = asyncio.create_task(server._serve(sockets=[listener]))
        while not server.started and not task.done():
            await asyncio.sleep(0.005)
        try:
            yield int(listener.getsockname()[1])
        finally:
            server.should_exit = True
            await task
