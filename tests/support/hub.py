"""A whole hub for tests: real ``och serve`` on free ports of the loopback, in a folder of its own.

``hub`` is one per pytest process; a suite's ``conftest.py`` imports it. Tests that harm the hub
they use start their own with ``Hub.start``.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.git import CLEAN_ENVIRONMENT
from tests.support.processes import descendants

ROOT = Path(__file__).parents[2]
LAST_LINE = "Ctrl-C stops it."
_ATTEMPTS = 5


def free_port() -> int:
    """A port of the loopback that nobody listens at just now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def environment(folder: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """What ``och`` sees: this checkout, a data directory in ``folder``, no other settings."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "error",
        "OCH_DATA_DIR": str(folder / "data"),
        **(more or {}),
    }


def run_och(
    folder: Path,
    *arguments: str,
    stdin: str | None = None,
    more: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run ``och`` to its end, whatever its outcome."""
    return subprocess.run(
        [sys.executable, "-m", "opencodehub", *arguments],
        cwd=folder,
        env=environment(folder, more),
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        check=False,
    )


class HubFailed(AssertionError):
    """``och serve`` ended before it was ready; the text is what it wrote."""


class Hub:
    """A running ``och serve``. ``folder`` holds its data (``data/``) and its log (``log``)."""

    def __init__(
        self, folder: Path, process: subprocess.Popen[str], port: int, ssh_port: int
    ) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.process = process
        self.port = port
        self.ssh_port = ssh_port
        self.url = f"http://127.0.0.1:{port}"
        self.output = ""
        self.settings: dict[str, str] = {}

    @classmethod
    def start(cls, folder: Path, *arguments: str, **settings: str) -> "Hub":
        """Start a hub and wait until it listens. ``settings`` are environment variables.

        Raises HubFailed.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for attempt in range(_ATTEMPTS):
            hub = cls.spawn(folder, *arguments, **settings)
            try:
                hub.wait_until_ready()
                return hub
            except HubFailed as error:
                # Somebody else was given the port between our looking and the hub's.
                if "is already in use" not in str(error) or attempt == _ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    @classmethod
    def spawn(cls, folder: Path, *arguments: str, **settings: str) -> "Hub":
        """Start a hub without waiting."""
        port, ssh_port = free_port(), free_port()
        ports = ["--port", str(port), "--ssh-port", str(ssh_port)]
        with (folder / "log").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "opencodehub", "serve", *ports, *arguments],
                cwd=folder,
                env=environment(folder, settings),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        hub = cls(folder, process, port, ssh_port)
        hub.settings = settings
        return hub

    def wait_until_ready(self) -> None:
        """Read what it prints up to the last line. Raises HubFailed."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line
            if line == f"{LAST_LINE}\n":
                return
        self.process.wait()
        self.process.stdout.close()
        raise HubFailed(f"och serve ended with {self.process.returncode}:\n{self.log()}")

    def log(self) -> str:
        """Everything all its processes wrote to standard error."""
        return (self.folder / "log").read_text(errors="replace")

    def processes(self) -> list[int]:
        """The supervisor and everything it started, directly or not."""
        return [self.process.pid, *descendants(self.process.pid)]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Stop it and return its exit code. Harmless when it has ended already."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        return self.process.returncode

    def och(self, *arguments: str, stdin: str | None = None) -> str:
        """Run ``och`` on this hub's data; returns standard output. Fails the test if it fails."""
        done = self.och_result(*arguments, stdin=stdin)
        assert done.returncode == 0, f"och {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def och_result(
        self, *arguments: str, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        return run_och(self.folder, *arguments, stdin=stdin, more=self.settings)

    def create_user(self, login: str, *, scopes: str = "repo,user,admin:public_key") -> str:
        """Make an account; returns an access token of it."""
        self.och("create-user", login, "--email", f"{login}@example.com")
        return self.create_token(login, scopes)

    def create_token(self, login: str, scopes: str) -> str:
        return self.och("create-token", login, "--name", "test", "--scopes", scopes).strip()

    def clone_url(self, path: str, token: str | None = None) -> str:
        """The HTTP address of ``OWNER/NAME``, with a token as its password."""
        user = f"x-access-token:{token}@" if token else ""
        return f"http://{user}127.0.0.1:{self.port}/{path}.git"

    def ssh_url(self, path: str) -> str:
        return f"ssh://git@127.0.0.1:{self.ssh_port}/{path}.git"

    def ssh_environment(self, identity: Path) -> dict[str, str]:
        """The environment in which git uses this private key and trusts this hub."""
        options = (
            f"-F /dev/null -i {identity} -o IdentitiesOnly=yes -o BatchMode=yes -o LogLevel=ERROR"
            f" -o UserKnownHostsFile={self.folder / 'known_hosts'} -o StrictHostKeyChecking=no"
        )
        return CLEAN_ENVIRONMENT | {"GIT_SSH_COMMAND": f"ssh {options}"}

    def graphql(
        self, query: str, variables: Mapping[str, Any] | None = None, *, token: str | None = None
    ) -> dict[str, Any]:
        """POST one operation; returns the whole answer."""
        request = urllib.request.Request(
            f"{self.url}/graphql",
            data=json.dumps({"query": query, "variables": variables or {}}).encode(),
            headers={"Content-Type": "application/json"},
        )
        if token is not None:
            request.add_header("Authorization", f"Bearer {token}")
        with urllib.request.urlopen(request) as response:
            answer: dict[str, Any] = json.load(response)
            return answer


@contextlib.contextmanager
def running_hub(folder: Path, *arguments: str, **settings: str) -> Iterator[Hub]:
    """A hub for the length of the block, and nothing of it afterwards."""
    hub = Hub.start(folder, *arguments, **settings)
    try:
        yield hub
    finally:
        hub.stop()


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """The hub of this pytest process. Tests use logins and repositories of their own in it."""
    with running_hub(tmp_path_factory.mktemp("hub")) as running:
        yield running
