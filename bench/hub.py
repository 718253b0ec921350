"""The hub to measure: real ``och serve`` of this checkout, on free ports, in its own folder."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from bench.processes import ProcessTree
from bench.programs import BenchFailed, free_port, git, run
from bench.remotes import HTTPRemote, SSHRemote, ssh_command

_ROOT = Path(__file__).parents[1]
_LAST_LINE = b"Ctrl-C stops it.\n"
_FORK_SECONDS = 600
USER = "bench"
FORKER = "forker"


class Hub:
    """A running hub with a user ``bench``, who has a token and a key."""

    def __init__(
        self, folder: Path, process: subprocess.Popen[bytes], ports: tuple[int, int], key: Path
    ) -> None:
        self.folder = folder
        self.port, self.ssh_port = ports
        self.tree = ProcessTree(process.pid)
        self.tokens: dict[str, str] = {}
        self._command = ssh_command(key, folder / "known_hosts")
        self._repositories = 0

    def knows(self, setting: str) -> bool:
        """Whether a variable that was set is a setting; the hub warns of those that are none."""
        return setting not in (self.folder / "log").read_text(errors="replace")

    def och(self, *arguments: str) -> str:
        """Run a command on this hub's data. Raises BenchFailed."""
        return run(
            [sys.executable, "-m", "opencodehub", *arguments],
            cwd=self.folder,
            extra=_environment(self.folder),
        ).decode()

    def add_user(self, login: str) -> None:
        self.och("create-user", login, f"--email={login}@example.com")
        token = self.och("create-token", login, "--name=bench", "--scopes=repo,user")
        self.tokens[login] = token.strip()

    def create_repository(self, purpose: str) -> str:
        """An empty public repository; returns OWNER/NAME."""
        self._repositories += 1
        name = f"{USER}/{purpose}-{self._repositories}"
        self.och("create-repository", name)
        return name

    def http(self, name: str) -> HTTPRemote:
        return HTTPRemote("hub, HTTP", self.port, f"/{name}.git", self.tokens[USER])

    def ssh(self, name: str) -> SSHRemote:
        return SSHRemote("hub, SSH", self._command, "git", self.ssh_port, f"/{name}.git")

    def cache_of(self, name: str) -> Path:
        """The local copy of a repository, a bare one, up to date. Raises BenchFailed."""
        # Only what needs a git process has the copy brought up to date, so not protocol 2.
        git("-c", "protocol.version=0", "ls-remote", "--quiet", self.http(name).url)
        database = self.folder / "data" / "opencodehub.db"
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            row = connection.execute(
                "SELECT id FROM repositories WHERE name = ?", (name.split("/")[1],)
            ).fetchone()
        path = self.folder / "data" / "cache" / "repositories" / str(row[0] if row else "-")
        if b" refs/" not in (path / "packed-refs").read_bytes():
            raise BenchFailed(f"the hub's local copy of {name} shows no refs")
        return path

    def compact(self, name: str) -> None:
        """Roll packs up and derive what there is to derive, now. Raises BenchFailed."""
        self.och("repository", "compact", name)
        self.tree.settle()

    def stats(self, name: str) -> str:
        """What the hub says of a repository's packs. Raises BenchFailed."""
        return self.och("repository", "stats", name).strip()

    def graphql(
        self, query: str, variables: Mapping[str, Any] | None = None, *, login: str = USER
    ) -> dict[str, Any]:
        """The data of one operation. Raises BenchFailed for an answer with errors."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql",
            data=json.dumps({"query": query, "variables": variables or {}}).encode(),
            headers={
                "Content-Type": "application/json",
                "Authorization": f"Bearer {self.tokens[login]}",
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=_FORK_SECONDS) as response:
                answer: dict[str, Any] = json.load(response)
        except (urllib.error.URLError, OSError) as error:
            raise BenchFailed(f"GraphQL: {error}") from error
        if answer.get("errors"):
            raise BenchFailed(f"GraphQL: {answer['errors'][0]['message']}")
        data: dict[str, Any] = answer["data"]
        return data


def _environment(folder: Path, settings: Mapping[str, str] | None = None) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": str(_ROOT),
        "OCH_DATA_DIR": str(folder / "data"),
        **(settings or {}),
    }


@contextmanager
def serving(folder: Path, key: Path, **settings: str) -> Iterator[Hub]:
    """A hub for the length of the block. ``settings`` are environment variables."""
    folder.mkdir(parents=True)
    ports = free_port(), free_port()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "opencodehub", "serve"),
                *(f"--port={ports[0]}", f"--ssh-port={ports[1]}"),
            ],
            cwd=folder,
            env=_environment(folder, settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    assert process.stdout is not None
    try:
        while (line := process.stdout.readline()) != _LAST_LINE:
            if not line:
                words = (folder / "log").read_text(errors="replace")[-500:]
                raise BenchFailed(f"och serve ended before it listened: {words}")
        hub = Hub(folder, process, ports, key)
        hub.add_user(USER)
        hub.och("create-ssh-key", USER, "--title=bench", f"--key-file={key}.pub")
        yield hub
    finally:
        process.send_signal(signal.SIGTERM)
        process.stdout.close()
        process.wait()


def wait_until(done: Any, at_most: float = _FORK_SECONDS) -> None:
    """Ask every 20 ms. Raises BenchFailed when the time is over."""
    deadline = time.monotonic() + at_most
    while not done():
        if time.monotonic() > deadline:
            raise BenchFailed(f"it did not happen within {at_most:.0f} s")
        time.sleep(0.02)
