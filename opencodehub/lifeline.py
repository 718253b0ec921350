"""A supervised process's end of the connection to its supervisor.

It is a socket pair: its end of file tells the process that the supervisor is dead, however it
died, and over it the two agree on when the process may start and when it is ready.
"""

import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ENVIRONMENT_VARIABLE = "OCH_INTERNAL_LIFELINE_FD"
GO = b"g"
# Orphans must be gone within 2 s. The first part of that is for an orderly end.
ORPHAN_GRACE_SECONDS = 1.0

# The process must not be started again: an operator has to change something first.
EXIT_HOPELESS = 78


class Lifeline:
    """Watches the supervisor from a thread, so that a busy event loop cannot delay the end."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._may_start = threading.Event()
        threading.Thread(target=self._watch, name="lifeline", daemon=True).start()

    @classmethod
    def from_environment(cls) -> "Lifeline | None":
        """The connection a supervisor left for us; None in a process started by hand."""
        descriptor = os.environ.pop(ENVIRONMENT_VARIABLE, None)
        if descriptor is None:
            return None
        connection = socket.socket(fileno=int(descriptor))
        connection.set_inheritable(False)
        return cls(connection)

    def wait_until_allowed(self) -> None:
        """Block until the supervisor has made ready what this process needs."""
        self._may_start.wait()

    def report_ready(self, **facts: Any) -> None:
        """Tell the supervisor that this process serves. ``facts`` are plain JSON values."""
        # A supervisor that has just died is dealt with by the watching thread.
        with contextlib.suppress(OSError):
            self._connection.sendall(json.dumps(facts).encode() + b"\n")

    def _watch(self) -> None:
        while True:
            try:
                received = self._connection.recv(1)
            except OSError:
                received = b""
            if not received:
                break
            self._may_start.set()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(ORPHAN_GRACE_SECONDS)
        kill_descendants(os.getpid())
        os._exit(1)


def children_of(pid: int) -> Iterator[int]:
    """The direct children, by what the kernel says now; those of all threads."""
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            yield from map(int, task.read_text().split())


def kill_descendants(pid: int) -> None:
    """Kill the children of a process and theirs, which may lead sessions of their own."""
    for child in list(children_of(pid)):
        kill_descendants(child)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
