"""The real OpenSSH client for tests, untouched by the configuration of whoever runs them."""

import asyncio
import contextlib
import dataclasses
import os
import shlex
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh

from tests.support.git import CLEAN_ENVIRONMENT


@dataclasses.dataclass(frozen=True, slots=True)
class Completed:
    returncode: int
    stdout: bytes
    stderr: str


def generate_key(path: Path, *, kind: str = "ed25519", bits: int | None = None) -> asyncssh.SSHKey:
    """A key pair without passphrase at ``path`` and ``path``.pub; returns its public half."""
    size = [] if bits is None else ["-b", str(bits)]
    command = ["ssh-keygen", "-q", "-t", kind, *size, "-N", "", "-C", "", "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return asyncssh.read_public_key(path.with_name(path.name + ".pub"))


class OpenSSH:
    """Runs ssh and git over ssh against one server on this machine."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.environment = dict(CLEAN_ENVIRONMENT)

    def options(self, *identities: Path, **more: str) -> list[str]:
        """Command line options; ``more`` are options of ssh_config(5)."""
        options = {
            "UserKnownHostsFile": str(self.folder / "known_hosts"),
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "accept-new",
            "UpdateHostKeys": "no",
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "LogLevel": "ERROR",
        } | more
        arguments = ["-F", "/dev/null"]
        for name, value in options.items():
            arguments += ["-o", f"{name}={value}"]
        for identity in identities:
            arguments += ["-i", str(identity)]
        return arguments

    async def ssh(
        self,
        *command: str,
        identity: Path,
        user: str = "git",
        arguments: tuple[str, ...] = (),
        stdin: bytes = b"",
        **options: str,
    ) -> Completed:
        """Run one command on the server, whatever its outcome."""
        return await self._run(
            "ssh",
            *self.options(identity, **options),
            *arguments,
            "-p",
            str(self.port),
            f"{user}@127.0.0.1",
            *command,
            stdin=stdin,
        )

    @contextlib.asynccontextmanager
    async def start(
        self, *command: str, identity: Path, arguments: tuple[str, ...] = (), **options: str
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """A running client with pipes, killed when the block is left."""
        process = await asyncio.create_subprocess_exec(
            "ssh",
            *self.options(identity, **options),
            *arguments,
            "-p",
            str(self.port),
            "git@127.0.0.1",
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self.environment,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.communicate()

    def git_environment(self, identity: Path, **options: str) -> dict[str, str]:
        """What makes git use this client with this key."""
        command = shlex.join(["ssh", *self.options(identity, **options)])
        return self.environment | {"GIT_SSH_COMMAND": command, "GIT_SSH_VARIANT": "ssh"}

    def url(self, path: str) -> str:
        return f"ssh://git@127.0.0.1:{self.port}/{path}"

    async def git(
        self, *args: str, identity: Path, cwd: Path | None = None, stdin: bytes = b""
    ) -> Completed:
        """Run git, whatever its outcome."""
        return await self._run(
            "git", *args, stdin=stdin, environment=self.git_environment(identity), cwd=cwd
        )

    async def _run(
        self,
        *command: str,
        stdin: bytes,
        environment: dict[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Completed:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment or self.environment,
            cwd=cwd or self.folder,
            start_new_session=True,
        )
        try:
            stdout, stderr = await process.communicate(stdin)
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.communicate()
            raise
        assert process.returncode is not None
        return Completed(process.returncode, stdout, stderr.decode("utf-8", "replace"))
