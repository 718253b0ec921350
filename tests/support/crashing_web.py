"""A web server that kills itself at a named point: ``python -m tests.support.crashing_web SPEC``.

SPEC is ``module:Class.method:before:N`` or ``...:after:N``: at the N-th call, SIGKILL before the
method runs or after it returned. ``-`` never crashes. Serves git over HTTP with the real parts;
configured by the environment as ``och web`` is. Prints its port once it listens.
"""

import asyncio
import functools
import importlib
import inspect
import itertools
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

import uvicorn

from gitserve.smart_http import GitHTTP
from models.migrations import runner
from opencodehub import logs, wiring
from opencodehub import settings as settings_module


def install(spec: str) -> None:
    """Wrap the method that SPEC names."""
    module_name, path, moment, number = spec.split(":")
    holder: Any = importlib.import_module(module_name)
    *classes, name = path.split(".")
    for each in classes:
        holder = getattr(holder, each)
    original = getattr(holder, name)
    calls = itertools.count(1)

    def die_if_due(when: str) -> Callable[[], None]:
        due = when == moment and next(calls) == int(number)
        return (lambda: os.kill(os.getpid(), signal.SIGKILL)) if due else (lambda: None)

    if inspect.iscoroutinefunction(original):

        @functools.wraps(original)
        async def crashing_async(*args: Any, **options: Any) -> Any:
            die_if_due("before")()
            result = await original(*args, **options)
            die_if_due("after")()
            return result

        setattr(holder, name, crashing_async)
        return

    @functools.wraps(original)
    def crashing(*args: Any, **options: Any) -> Any:
        die_if_due("before")()
        result = original(*args, **options)
        die_if_due("after")()
        return result

    setattr(holder, name, crashing)


async def serve() -> None:
    settings = settings_module.load()
    # To standard error: nobody reads standard output after the port.
    logs.configure("info", "json", process="web")
    await runner.upgrade(settings.database_url.get_secret_value())
    async with wiring.open_runtime(settings) as runtime:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen(100)  # before the port is told: clients wait here for the server
        print(listener.getsockname()[1], flush=True)
        server = uvicorn.Server(
            uvicorn.Config(GitHTTP(runtime), loop="asyncio", log_config=None, lifespan="off")
        )
        await server.serve(sockets=[listener])


if __name__ == "__main__":
    if sys.argv[1] != "-":
        install(sys.argv[1])
    asyncio.run(serve())
