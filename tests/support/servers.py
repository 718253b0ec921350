"""Real servers for a test run: started when first asked for, gone when the run is, however it ends.

All processes of a run (pytest-xdist's too) share one folder. In it lies a file, the lease, on which
each holds a shared lock for its life; ``server_process`` stops a server when the lease is free.
PostgreSQL and MariaDB are shared by the run. Redis is not: its messages cross its databases, so
tests running at the same time would hear each other; each process has its own.
"""

import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support import server_process

FOLDER_PREFIX = "och-run-"
ABANDONED_SECONDS = 3600


class MissingServer(Exception):
    """This machine has no such server; the text says which program was looked for."""


class ServerFailed(Exception):
    """The server is installed but did not start; the text ends with its log."""


class TestRun:
    """The folder of one test run, and this process's share in its lease."""

    __test__ = False

    def __init__(self, folder: Path, process_name: str) -> None:
        self.folder = folder
        self.process_name = process_name
        self._lease = os.open(folder / "lease", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lease, fcntl.LOCK_SH)

    @classmethod
    def begin(cls) -> "TestRun":
        """For the first process of a run. The folder's name is short: socket paths must be."""
        _remove_abandoned()
        folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir="/tmp"))
        folder.chmod(0o711)  # servers run as other users and must reach their own folders
        return cls(folder, "main")

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Exclusive among the processes of the run."""
        with (self.folder / f"{name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def end(self) -> None:
        """Give the lease back. In the first process: wait until every server has stopped."""
        os.close(self._lease)
        if self.process_name != "main":
            return
        for folder in [entry for entry in self.folder.iterdir() if entry.is_dir()]:
            with (
                contextlib.suppress(FileNotFoundError),
                (self.folder / f"{folder.name}.running").open() as file,
            ):
                fcntl.flock(file, fcntl.LOCK_EX)
        shutil.rmtree(self.folder, ignore_errors=True)

    def postgresql_socket_folder(self) -> Path:
        """The folder with the socket of the run's PostgreSQL; its superuser is ``och``.

        This and the next two raise MissingServer and ServerFailed.
        """
        return self._start("postgresql", "postgresql")

    def mariadb_socket(self) -> Path:
        """The socket of the run's MariaDB; ``root`` needs no password."""
        return self._start("mariadb", "mariadb") / server_process.SOCKETS["mariadb"]

    def redis_socket(self) -> Path:
        """The socket of this process's Redis, emptied."""
        path = self._start("redis", f"redis-{self.process_name}") / server_process.SOCKETS["redis"]
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"FLUSHALL\r\n")
            answer = client.recv(64)
        assert answer == b"+OK\r\n", answer
        return path

    def _start(self, kind: str, name: str) -> Path:
        """The folder of the server of that name, which is started unless it runs already."""
        for program in server_process.PROGRAMS[kind]:
            if server_process.find_program(program) is None:
                raise MissingServer(f"{kind} is not installed: no {program} found")
        folder = self.folder / name
        with self.lock(name):
            if not folder.exists():
                folder.mkdir(mode=0o700)
                try:
                    self._spawn(kind, folder)
                except ServerFailed:
                    shutil.rmtree(folder, ignore_errors=True)
                    raise
        return folder

    def _spawn(self, kind: str, folder: Path) -> None:
        # The server's process inherits this lock, and no other does: ``end`` waits for it.
        with (self.folder / f"{folder.name}.running").open("w") as running:
            fcntl.flock(running, fcntl.LOCK_EX)
            process = subprocess.Popen(
                [sys.executable, server_process.__file__, kind, folder, self.folder / "lease"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,  # Ctrl-C is for the tests; the lease is for the server
                pass_fds=[running.fileno()],
            )
        assert process.stdout is not None
        with process.stdout:
            first = process.stdout.readline()
            if first != "ready\n":
                raise ServerFailed(first + process.stdout.read())
        # It is waited for through its lock; Python shall not warn that it is still running.
        process.returncode = 0


def _remove_abandoned() -> None:
    """Remove the folders of runs that were killed before they had started a server."""
    for folder in Path("/tmp").glob(f"{FOLDER_PREFIX}*"):
        with contextlib.suppress(OSError), (folder / "lease").open() as lease:
            if time.time() - os.fstat(lease.fileno()).st_mtime > ABANDONED_SECONDS:
                fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
