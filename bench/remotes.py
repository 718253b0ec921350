"""Addresses of repositories, with what git and the raw clients need to reach them."""

import dataclasses
import shlex
from pathlib import Path

from bench.clients import Answer, Request, discard_daemon, discard_http, discard_ssh
from bench.programs import ENVIRONMENT

# The same on both sides. The hub offers AES-GCM and leaves chacha20 out; a key exchange that
# only one side knows would be measured otherwise.
SSH_ALGORITHMS = {
    "Ciphers": "aes128-gcm@openssh.com",
    "KexAlgorithms": "curve25519-sha256",
    "HostKeyAlgorithms": "ssh-ed25519",
}


def ssh_command(key: Path, known_hosts: Path) -> list[str]:
    """The OpenSSH client, untouched by anybody's configuration."""
    options = {
        **SSH_ALGORITHMS,
        "IdentitiesOnly": "yes",
        "BatchMode": "yes",
        "StrictHostKeyChecking": "no",
        "UserKnownHostsFile": str(known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "UpdateHostKeys": "no",
        "LogLevel": "ERROR",
        "SendEnv": "GIT_PROTOCOL",
    }
    command = ["ssh", "-F", "/dev/null", "-i", str(key)]
    for name, value in options.items():
        command += ["-o", f"{name}={value}"]
    return command


@dataclasses.dataclass(frozen=True)
class HTTPRemote:
    """A repository of the hub over HTTP. ``token`` is sent by git when it is asked."""

    name: str
    port: int
    path: str
    token: str

    @property
    def url(self) -> str:
        return f"http://bench:{self.token}@127.0.0.1:{self.port}{self.path}"

    @property
    def environment(self) -> dict[str, str]:
        return {}

    def discard(self, request: Request) -> Answer:
        return discard_http(self.port, self.path, request)


@dataclasses.dataclass(frozen=True)
class SSHRemote:
    name: str
    command: list[str]
    user: str
    port: int
    path: str

    @property
    def url(self) -> str:
        return f"ssh://{self.user}@127.0.0.1:{self.port}{self.path}"

    @property
    def environment(self) -> dict[str, str]:
        return {"GIT_SSH_COMMAND": shlex.join(self.command), "GIT_SSH_VARIANT": "ssh"}

    def upload_pack(self) -> tuple[list[str], dict[str, str]]:
        """The client's command line for a raw fetch, and its environment."""
        command = [*self.command, "-p", str(self.port), f"{self.user}@127.0.0.1"]
        command.append(f"git-upload-pack '{self.path}'")
        return command, ENVIRONMENT | {"GIT_PROTOCOL": "version=2"}

    def discard(self, request: Request) -> Answer:
        return discard_ssh(*self.upload_pack(), request)


@dataclasses.dataclass(frozen=True)
class DaemonRemote:
    name: str
    port: int
    path: str

    @property
    def url(self) -> str:
        return f"git://127.0.0.1:{self.port}{self.path}"

    @property
    def environment(self) -> dict[str, str]:
        return {}

    def discard(self, request: Request) -> Answer:
        return discard_daemon(self.port, self.path, request)


Remote = HTTPRemote | SSHRemote | DaemonRemote
