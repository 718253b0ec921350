"""Git and other programs as the bench runs them: nobody's configuration, failures told."""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

START_SECONDS = 60
_MOST_WORDS = 300
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "LC_ALL": "C.UTF-8",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": "Bench",
    "GIT_AUTHOR_EMAIL": "bench@example.com",
    "GIT_COMMITTER_NAME": "Bench",
    "GIT_COMMITTER_EMAIL": "bench@example.com",
}


class BenchFailed(Exception):
    """Something could not be measured; the text says why, for the report."""


def run(
    command: list[str],
    *,
    cwd: Path | None = None,
    extra: Mapping[str, str] | None = None,
    stdin: bytes = b"",
) -> bytes:
    """Run a program to its end; returns standard output. Raises BenchFailed."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=ENVIRONMENT | dict(extra or {}),
        input=stdin,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise BenchFailed(
            f"{_shown(command)} ended with {done.returncode}: {last_words(done.stderr)}"
        )
    return done.stdout


def _shown(command: list[str]) -> str:
    """A command for the report, which shows no path of this machine and no token."""
    program, *arguments = command
    if arguments[:2] == ["-m", "opencodehub"]:
        program, arguments = "och", arguments[2:]
    return " ".join([os.path.basename(program), *map(without_credentials, arguments[:4])])


def last_words(output: bytes) -> str:
    """The end of what a program wrote to standard error, short and in one line."""
    words = " ".join(output.decode("utf-8", "replace").split())
    return without_credentials(
        words if len(words) <= _MOST_WORDS else f"... {words[-_MOST_WORDS:]}"
    )


def without_credentials(text: str) -> str:
    """URLs in the text lose user and password."""
    return re.sub(r"://[^/@\s]+@", "://", text)


def git(
    *arguments: str,
    cwd: Path | None = None,
    extra: Mapping[str, str] | None = None,
    stdin: bytes = b"",
) -> bytes:
    return run(["git", *arguments], cwd=cwd, extra=extra, stdin=stdin)


def seconds(work: Callable[[], object]) -> float:
    """Wall clock of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def free_port() -> int:
    """A port of the loopback that nobody listens at just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int, process: subprocess.Popen[bytes], name: str) -> None:
    """Return once something listens. Raises BenchFailed."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise BenchFailed(f"{name} ended with {process.returncode} before it listened")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise BenchFailed(f"{name} does not listen after {START_SECONDS} s")


def find_sshd() -> str:
    """OpenSSH's server, which Debian keeps off the usual path. Raises BenchFailed."""
    found = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin:/usr/local/sbin")
    if found is None:
        raise BenchFailed(
            "no sshd; install OpenSSH's server (Debian: apt-get install openssh-server)"
        )
    return found


def missing_programs() -> list[str]:
    """Debian packages that the bench needs and this machine lacks."""
    needs = {"git": "git", "ssh": "openssh-client", "ssh-keygen": "openssh-client"}
    missing = {package for program, package in needs.items() if shutil.which(program) is None}
    try:
        find_sshd()
    except BenchFailed:
        missing.add("openssh-server")
    return sorted(missing)
