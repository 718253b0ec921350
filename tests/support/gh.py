"""Debian's unmodified ``gh`` on a hub of the test's own, as on a GitHub Enterprise server.

gh speaks https to port 443 of a host name. So the hub has a certificate for ``HOST``, and a proxy
that gh and git are told of leads every CONNECT to the hub's port.
"""

import contextlib
import os
import shutil
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hub import Hub, running_hub
from tests.support.tls import self_signed

HOST = "forge.test"


class _Tunnels(socketserver.ThreadingTCPServer):
    """Leads whoever sends CONNECT to one port of the loopback."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int) -> None:
        self.leads_to = port
        super().__init__(("127.0.0.1", 0), _Tunnel)


class _Tunnel(socketserver.StreamRequestHandler):
    server: _Tunnels

    def handle(self) -> None:
        while self.rfile.readline().strip():
            pass
        with socket.create_connection(("127.0.0.1", self.server.leads_to)) as hub:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=_copy, args=(hub, self.connection), daemon=True)
            back.start()
            _copy(self.connection, hub)
            back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


class GitHubCLI:
    """``gh`` with one person's token; ``folder`` is its home and where it runs."""

    def __init__(self, hub: Hub, certificate: Path, proxy: int, folder: Path, token: str) -> None:
        self.hub = hub
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LC_ALL": "C.UTF-8",
            "GH_HOST": HOST,
            "GH_ENTERPRISE_TOKEN": token,
            "GH_CONFIG_DIR": str(folder / "config"),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "TMPDIR": str(folder),
            "GH_NO_UPDATE_NOTIFIER": "1",
            "GH_PROMPT_DISABLED": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_NOSYSTEM": "1",
            "SSL_CERT_FILE": str(certificate),
            "GIT_SSL_CAINFO": str(certificate),
            "https_proxy": f"http://127.0.0.1:{proxy}",
            "GIT_AUTHOR_NAME": "Ann",
            "GIT_AUTHOR_EMAIL": "ann@example.com",
            "GIT_COMMITTER_NAME": "Ann",
            "GIT_COMMITTER_EMAIL": "ann@example.com",
        }
        self("auth", "setup-git", "--hostname", HOST)

    def run(
        self, *arguments: str, program: str = "gh", cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run gh, or git as gh set it up, whatever the outcome."""
        return subprocess.run(
            [program, *arguments],
            cwd=cwd or self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def __call__(self, *arguments: str, program: str = "gh", cwd: Path | None = None) -> str:
        """Standard output without the final newline; fails the test if the program fails."""
        done = self.run(*arguments, program=program, cwd=cwd)
        assert done.returncode == 0, f"{program} {' '.join(arguments)}: {done.stderr}"
        return done.stdout.rstrip("\n")

    def failure(self, *arguments: str) -> str:
        """What gh printed on standard error; fails the test if it succeeded."""
        done = self.run(*arguments)
        assert done.returncode != 0, done.stdout
        return done.stderr.rstrip("\n")


class Enterprise:
    """A hub that gh takes for a GitHub Enterprise server."""

    def __init__(self, hub: Hub, certificate: Path, proxy: int) -> None:
        self.hub = hub
        self._certificate = certificate
        self._proxy = proxy

    def gh(self, folder: Path, token: str) -> GitHubCLI:
        return GitHubCLI(self.hub, self._certificate, self._proxy, folder, token)


@contextlib.contextmanager
def running_enterprise(folder: Path) -> Iterator[Enterprise]:
    """Skips the test without gh; under ``CI=true`` that is a failure."""
    if shutil.which("gh") is None:
        text = "gh is not installed (Debian: gh)"
        if os.environ.get("CI") == "true":
            pytest.fail(text)
        pytest.skip(text)
    folder.mkdir(parents=True, exist_ok=True)
    certificate, key = self_signed(folder, HOST)
    flags = ["--tls-cert", str(certificate), "--tls-key", str(key)]
    with (
        running_hub(folder / "hub", *flags, OCH_BASE_URL=f"https://{HOST}") as hub,
        _Tunnels(hub.port) as tunnels,
    ):
        thread = threading.Thread(target=tunnels.serve_forever, daemon=True)
        thread.start()
        try:
            yield Enterprise(hub, certificate, tunnels.server_address[1])
        finally:
            tunnels.shutdown()
            thread.join()
