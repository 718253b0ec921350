"""Plain git to compare with: ``git daemon`` and OpenSSH's server, on free ports of the loopback."""

import getpass
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.processes import ProcessTree
from bench.programs import ENVIRONMENT, BenchFailed, find_sshd, free_port, git, run, wait_for_port
from bench.remotes import DaemonRemote, SSHRemote, ssh_command
from gitstore.quarantine import TOLERATED_FAULTS

# Settings of every repository on the plain side; the report names them.
CONFIG = {
    "receive.fsckObjects": "true",
    **{
        f"receive.fsck.{fault}": severity
        for fault, severity in (each.split("=") for each in TOLERATED_FAULTS.split(","))
    },
    "core.fsync": "all",
    "receive.unpackLimit": "1",
    "gc.auto": "0",
    "receive.autogc": "false",
    "maintenance.auto": "false",
    "pack.threads": "2",
    "pack.writeReverseIndex": "true",
    "core.bigFileThreshold": "16m",
    "uploadpack.allowFilter": "true",
}
_SSHD_CONFIG = """\
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PrintMotd no
UseDNS no
LogLevel ERROR
MaxStartups 200
AcceptEnv GIT_PROTOCOL
SetEnv HOME={folder} PATH={path} GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null LC_ALL=C.UTF-8
"""

COMMIT_GRAPH = "objects/info/commit-graph"


def make_bare(path: Path) -> Path:
    """An empty repository with the plain side's settings."""
    git("init", "--quiet", "--bare", "--initial-branch=main", str(path))
    _configure(path)
    return path


def copy_of_cache(cache: Path, path: Path, *, bitmap: bool, derived: bool = True) -> Path:
    """The same packs as the hub's local copy at ``cache`` and, with ``derived``, what was made of
    them: multi-pack-index, bitmap and commit-graph.

    With ``bitmap`` there is a bitmap afterwards, whether the hub's copy has one or not.
    """
    make_bare(path)
    shutil.rmtree(path / "objects")
    shutil.copytree(cache / "objects", path / "objects")
    for name in ("packed-refs", "HEAD"):
        shutil.copy(cache / name, path / name)
    if not derived:
        for made in (*(path / "objects/pack").glob("multi-pack-index*"), path / COMMIT_GRAPH):
            made.unlink(missing_ok=True)
    if bitmap and not has_bitmap(path):
        git("multi-pack-index", "write", "--bitmap", cwd=path)
    return path


def has_bitmap(path: Path) -> bool:
    """Whether a bare repository has a bitmap, of a pack or of all."""
    return any((path / "objects" / "pack").glob("*.bitmap"))


def _configure(path: Path) -> None:
    for key, value in CONFIG.items():
        git("config", key, value, cwd=path)


class Baseline:
    """A running server of plain git over the repositories in ``folder``."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.folder = folder
        self.tree = ProcessTree(process.pid)


class GitDaemon(Baseline):
    def __init__(self, process: subprocess.Popen[bytes], folder: Path, port: int) -> None:
        super().__init__(process, folder)
        self.port = port

    def remote(self, name: str) -> DaemonRemote:
        return DaemonRemote("git daemon", self.port, f"/{name}")


class OpenSSH(Baseline):
    def __init__(
        self, process: subprocess.Popen[bytes], folder: Path, port: int, command: list[str]
    ) -> None:
        super().__init__(process, folder)
        self.port = port
        self._command = command

    def remote(self, name: str) -> SSHRemote:
        path = str(self.folder / name)
        return SSHRemote("OpenSSH", self._command, getpass.getuser(), self.port, path)


@contextmanager
def git_daemon(folder: Path) -> Iterator[GitDaemon]:
    port = free_port()
    command = ["git", "daemon", "--reuseaddr", "--export-all", "--listen=127.0.0.1"]
    command += [f"--port={port}", f"--base-path={folder}"]
    with _serving(command, port, "git daemon") as process:
        yield GitDaemon(process, folder, port)


@contextmanager
def openssh(folder: Path, key: Path) -> Iterator[OpenSSH]:
    """OpenSSH's server as the current user, open to ``key`` alone. Raises BenchFailed."""
    port, program, home = free_port(), find_sshd(), folder / "sshd"
    home.mkdir(mode=0o700)
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(home / "host_key")])
    shutil.copy(key.with_name(f"{key.name}.pub"), home / "authorized_keys")
    config = home / "sshd_config"
    config.write_text(_SSHD_CONFIG.format(port=port, folder=home, path=os.environ["PATH"]))
    if os.geteuid() == 0:
        # The folder that a server started by root insists on.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with _serving([program, "-D", "-e", "-f", str(config)], port, "sshd") as process:
        yield OpenSSH(process, folder, port, ssh_command(key, home / "known_hosts"))


@contextmanager
def _serving(command: list[str], port: int, name: str) -> Iterator[subprocess.Popen[bytes]]:
    try:
        process = subprocess.Popen(
            command,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise BenchFailed(f"{name} cannot be started: {error}") from error
    try:
        wait_for_port(port, process, name)
        yield process
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
