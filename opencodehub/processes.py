"""What the server processes share: how they listen, and how they tell that they are ready."""

import contextlib
import errno
import resource
import socket
from collections.abc import Callable
from typing import Any

from opencodehub.console import say
from opencodehub.lifeline import Lifeline
from opencodehub.settings import ConfigurationError, Settings, unknown_variables


class CannotListen(Exception):
    """The process cannot offer its service at the address; the message says what to do."""


def listening_socket(host: str, port: int, *, flag: str) -> socket.socket:
    """A bound TCP socket. ``flag`` is what an operator uses to choose another port.

    Raises CannotListen.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    # A port whose former connections are still dying down is free for us.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Accepted connections inherit it. Without it the second write of an answer waits for the
    # client's delayed acknowledgement of the first, 40 ms; asyncio sets it only on sockets that
    # were made with TCP's protocol number, which this one is not.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise cannot_listen(error, host, port, flag=flag) from error
    listener.setblocking(False)
    return listener


def shown_address(host: str, port: int) -> str:
    """``host:port`` as in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def cannot_listen(error: OSError, host: str, port: int, *, flag: str) -> CannotListen:
    """The failure to listen in words."""
    match error.errno:
        case errno.EADDRINUSE:
            words = f"address {shown_address(host, port)} is already in use"
        case errno.EACCES | errno.EPERM:
            words = f"port {port} needs more rights than this user has"
        case errno.EADDRNOTAVAIL:
            return CannotListen(
                f"this machine has no address {host}; choose another with {flag[:-4]}host"
            )
        case _:
            words = f"cannot listen at {shown_address(host, port)}: {error.strerror or error}"
    return CannotListen(f"{words}; choose another with {flag}")


def raise_open_files_limit() -> None:
    """Take as many file descriptors as the system grants; each connection needs one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def require_redis(settings: Settings) -> None:
    """A part that runs alone starts no Redis; it uses a configured one or a running hub's.

    Raises ConfigurationError.
    """
    if settings.has_own_redis and not settings.places.redis_socket.exists():
        raise ConfigurationError(
            ["OCH_REDIS_URL: must be set here; only och serve starts a Redis of its own"]
        )


def warn_of_unknown_variables() -> None:
    """Tell on standard error of environment variables that look like settings but are none."""
    for words in unknown_variables():
        say(f"warning: {words}")


def reporter(lifeline: Lifeline | None, name: str) -> Callable[..., None]:
    """A function that tells the supervisor, or else the log, that the process serves."""

    def ready(**facts: Any) -> None:
        if lifeline is not None:
            lifeline.report_ready(**facts)
            return
        import structlog

        structlog.get_logger("opencodehub").info("ready", part=name, **facts)

    return ready
