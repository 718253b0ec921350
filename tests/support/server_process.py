"""A process that runs one throw-away server for as long as the test run lives.

``python server_process.py KIND FOLDER LEASE``: sets the server up in FOLDER, prints ``ready``, and
stops it once nobody holds a shared lock on the file LEASE. The kernel drops such locks with the
processes that hold them, so a killed test run leaves no server behind either. If this process is
killed itself, the kernel ends the server.

It imports nothing of the project: it must start fast and outlive whatever a test breaks.
"""

import contextlib
import ctypes
import dataclasses
import fcntl
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

START_SECONDS = 120
SOCKETS = {"postgresql": ".s.PGSQL.5432", "mariadb": "mariadb.sock", "redis": "redis.sock"}
PROGRAMS = {
    "postgresql": ("initdb", "postgres"),
    "mariadb": ("mariadb-install-db", "mariadbd"),
    "redis": ("redis-server",),
}
SEARCH_PATH = ":".join(
    [
        os.environ.get("PATH", ""),
        *sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True),
        "/usr/sbin",
    ]
)


def find_program(name: str) -> str | None:
    """Where the program is; Debian keeps some of these servers off the usual path."""
    return shutil.which(name, path=SEARCH_PATH)


@dataclasses.dataclass(frozen=True)
class Account:
    """The account a server runs as: PostgreSQL and MariaDB refuse to be root."""

    uid: int
    gid: int

    @classmethod
    def named(cls, name: str) -> "Account | None":
        """``None`` unless this process may choose: then the server runs as its own user."""
        if os.geteuid() != 0:
            return None
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            entry = pwd.getpwnam("nobody")
        return cls(entry.pw_uid, entry.pw_gid)


@dataclasses.dataclass(frozen=True)
class Server:
    """How to set up, start, probe and stop one kind of server."""

    account: Account | None
    setup: list[str] | None
    command: list[str]
    is_ready: Callable[[], bool]
    stop_signal: signal.Signals


def postgresql(folder: Path) -> Server:
    data = folder / "data"

    def is_ready() -> bool:
        with contextlib.suppress(FileNotFoundError):
            return "ready" in (data / "postmaster.pid").read_text()
        return False

    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(folder),
        "max_connections": "200",
        "fsync": "off",
        "full_page_writes": "off",
        # The opposite of what the product needs: it must ask for durable commits itself.
        "synchronous_commit": "off",
    }
    # A language's sorting, so that a column which must sort byte by byte has to say so.
    setup = ["initdb", f"--pgdata={data}", "--username=och", "--auth=trust", "--no-sync"]
    setup += ["--encoding=UTF8", "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en"]
    return Server(
        account=Account.named("postgres"),
        setup=setup,
        command=["postgres", "-D", str(data)]
        + [word for name, value in settings.items() for word in ("-c", f"{name}={value}")],
        is_ready=is_ready,
        stop_signal=signal.SIGQUIT,
    )


def mariadb(folder: Path) -> Server:
    data = folder / "data"
    path = folder / SOCKETS["mariadb"]
    setup = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--skip-test-db"]
    setup += ["--auth-root-authentication-method=normal", "--skip-name-resolve"]
    command = ["mariadbd", "--no-defaults", f"--datadir={data}", f"--socket={path}"]
    command += [f"--pid-file={folder}/mariadb.pid", f"--tmpdir={folder}", "--skip-networking"]
    command += ["--max-connections=200", "--innodb-buffer-pool-size=32M", "--innodb-doublewrite=0"]
    command += ["--innodb-flush-log-at-trx-commit=0", "--innodb-flush-method=nosync"]
    return Server(
        account=Account.named("mysql"),
        setup=setup,
        command=command,
        # The server speaks first, once it accepts connections.
        is_ready=lambda: _answers(path, b""),
        stop_signal=signal.SIGKILL,
    )


def redis(folder: Path) -> Server:
    path = folder / SOCKETS["redis"]
    command = ["redis-server", "--port", "0", "--unixsocket", str(path), "--save", ""]
    command += ["--appendonly", "no", "--dir", str(folder)]
    return Server(
        account=None,
        setup=None,
        command=command,
        is_ready=lambda: _answers(path, b"PING\r\n"),
        stop_signal=signal.SIGKILL,
    )


KINDS = {"postgresql": postgresql, "mariadb": mariadb, "redis": redis}


def _answers(path: Path, question: bytes) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(START_SECONDS)
        try:
            client.connect(str(path))
        except OSError:
            return False
        client.sendall(question)
        return bool(client.recv(1))


def _die_with_parent(stop_signal: signal.Signals) -> None:
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, stop_signal)


def _start(server: Server, folder: Path, command: list[str]) -> subprocess.Popen[bytes]:
    program = find_program(command[0])
    assert program is not None, command[0]
    account = server.account
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [program, *command[1:]],
            cwd=folder,
            env={"PATH": f"{Path(program).parent}:{SEARCH_PATH}", "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            preexec_fn=lambda: _die_with_parent(server.stop_signal),
        )


def _wait_until_ready(server: Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not server.is_ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args!r} did not start")
        time.sleep(0.01)


def _serve(kind: str, folder: Path, lease: int) -> None:
    server = KINDS[kind](folder)
    if server.account:
        os.chown(folder, server.account.uid, server.account.gid)
    if server.setup and _start(server, folder, server.setup).wait() != 0:
        raise RuntimeError(f"{server.setup[0]} failed")
    process = _start(server, folder, server.command)
    try:
        _wait_until_ready(server, process)
        print("ready", flush=True)
        fcntl.flock(lease, fcntl.LOCK_EX)
    finally:
        process.send_signal(server.stop_signal)
        process.wait()


def main(kind: str, folder_name: str, lease_name: str) -> None:
    folder = Path(folder_name)
    # Nothing may open the file anew after the run has removed it, hence before all else.
    lease = os.open(lease_name, os.O_RDWR)
    try:
        _serve(kind, folder, lease)
    except RuntimeError as error:
        log = folder / "log"
        tail = log.read_text(errors="replace")[-4000:] if log.exists() else ""
        print(f"{error}\n{tail}", flush=True)
        sys.exit(1)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        # The last server to stop takes the run's folder along.
        siblings = [entry for entry in Path(lease_name).parent.iterdir() if entry.is_dir()]
        if not siblings:
            shutil.rmtree(Path(lease_name).parent, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
