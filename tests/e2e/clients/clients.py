"""Git clients that are not ours, behind one interface: each does its work in a process of its own.

``dulwich``, ``pygit2`` and ``isomorphic-git`` are libraries; a driver of a few lines reads one
request from standard input and answers ``{"error": null}`` or ``{"error": "Class: message"}``:

    {"action": "clone" | "fetch" | "push", "url": ..., "path": ..., "depth": null | 1 | ...,
     "refspecs": [...], "login": ..., "token": ..., "key": ..., "ssh_command": ...}

``git`` and ``jgit`` are command lines.
"""

import abc
import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.git import CLEAN_ENVIRONMENT
from tests.support.hub import Hub

HERE = Path(__file__).parent
NPM = HERE.parents[1] / "npm"
JGIT_JARS = (
    "org.eclipse.jgit.lfs",
    "org.eclipse.jgit.http.apache",
    "httpclient",
    "httpcore",
    "commons-logging",
    "slf4j-nop",
)


class ClientFailed(AssertionError):
    """A client failed where a test expected success; the text is what it told."""


@dataclasses.dataclass(frozen=True, slots=True)
class Person:
    """Somebody with an account, or who pretends: ``token`` for HTTP, ``key`` for SSH."""

    login: str
    token: str
    key: Path


@dataclasses.dataclass(frozen=True, slots=True)
class Remote:
    """A repository of the hub over one transport, as one person."""

    hub: Hub
    path: str
    transport: str
    person: Person

    @property
    def url(self) -> str:
        """Without credentials: each client hands them over in its own way."""
        return self.hub.ssh_url(self.path) if self.is_ssh else self.hub.clone_url(self.path)

    @property
    def is_ssh(self) -> bool:
        return self.transport == "ssh"

    @property
    def ssh_command(self) -> str:
        return self.hub.ssh_environment(self.person.key)["GIT_SSH_COMMAND"]


class Client(abc.ABC):
    """``attempt`` gives what the client told of its failure, or None if it succeeded."""

    name: str
    transports: Sequence[str] = ("http", "ssh")
    can_be_shallow = True

    def clone(self, remote: Remote, path: Path, *, depth: int | None = None) -> None:
        """Raises ClientFailed, as do the others."""
        self._succeed("clone", remote, path, depth=depth)

    def fetch(self, remote: Remote, path: Path, *, depth: int | None = None) -> None:
        """Fetch from ``origin``, with tags."""
        self._succeed("fetch", remote, path, depth=depth)

    def push(self, remote: Remote, path: Path, *refspecs: str) -> None:
        """Each refspec is ``SOURCE:TARGET`` of full ref names, ``+`` forces, no source deletes."""
        self._succeed("push", remote, path, refspecs=refspecs)

    def refusal(
        self, action: str, remote: Remote, path: Path, *, refspecs: Sequence[str] = ()
    ) -> str:
        """What the client told, without what differs from run to run. It must have failed."""
        told = self.attempt(action, remote, path, refspecs=refspecs)
        if told is None:
            raise AssertionError(f"{self.name}: {action} succeeded")
        address = f"127.0.0.1:{remote.hub.ssh_port if remote.is_ssh else remote.hub.port}"
        return re.sub("request [0-9a-f]{16}", "request ID", told).replace(address, "HUB").strip()

    def _succeed(
        self,
        action: str,
        remote: Remote,
        path: Path,
        *,
        depth: int | None = None,
        refspecs: Sequence[str] = (),
    ) -> None:
        told = self.attempt(action, remote, path, depth=depth, refspecs=refspecs)
        if told is not None:
            raise ClientFailed(f"{self.name}: {action}: {told}")

    @abc.abstractmethod
    def attempt(
        self,
        action: str,
        remote: Remote,
        path: Path,
        *,
        depth: int | None = None,
        refspecs: Sequence[str] = (),
    ) -> str | None: ...


class StockGit(Client):
    def __init__(self, version: str) -> None:
        self.name = f"git-v{version}"
        self.version = version

    def attempt(
        self,
        action: str,
        remote: Remote,
        path: Path,
        *,
        depth: int | None = None,
        refspecs: Sequence[str] = (),
        more: Mapping[str, str] | None = None,
    ) -> str | None:
        """``more`` are variables for git's environment."""
        cut = [] if depth is None else [f"--depth={depth}", "--no-single-branch"]
        arguments = {
            "clone": ["clone", "--quiet", *cut, remote.url, str(path)],
            "fetch": ["fetch", "--quiet", *cut[:1], "origin"],
            "push": ["push", "--quiet", remote.url, *refspecs],
        }[action]
        # A helper, unlike a name in the address, answers only once the server has asked.
        helper = '!f() { echo "username=$OCH_LOGIN"; echo "password=$OCH_TOKEN"; }; f'
        settings = [f"protocol.version={self.version}", f"credential.helper={helper}"]
        environment = remote.hub.ssh_environment(remote.person.key) | {
            "OCH_LOGIN": remote.person.login,
            "OCH_TOKEN": remote.person.token,
        }
        done = _run(
            ["git", *(word for setting in settings for word in ("-c", setting)), *arguments],
            cwd=path if action != "clone" else path.parent,
            environment=environment | dict(more or {}),
        )
        return done.stdout if done.returncode else None


class Driven(Client):
    """A library, called by a driver."""

    def __init__(self, name: str, command: Sequence[str | Path], transports: Sequence[str]) -> None:
        self.name = name
        self.command = command
        self.transports = transports

    def attempt(
        self,
        action: str,
        remote: Remote,
        path: Path,
        *,
        depth: int | None = None,
        refspecs: Sequence[str] = (),
    ) -> str | None:
        request = {
            "action": action,
            "url": remote.url,
            "path": str(path),
            "depth": depth,
            "refspecs": list(refspecs),
            "login": remote.person.login,
            "token": remote.person.token,
            "key": str(remote.person.key) if remote.is_ssh else None,
            "ssh_command": remote.ssh_command if remote.is_ssh else None,
        }
        done = subprocess.run(
            self.command,
            env=CLEAN_ENVIRONMENT | {"HOME": str(path.parent)},
            input=json.dumps(request),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise AssertionError(f"the driver of {self.name} failed: {done.stderr}")
        answer: dict[str, str | None] = json.loads(done.stdout)
        return answer["error"]


class JGit(Client):
    """Its command line knows neither ``--depth`` nor how to deepen.

    Over SSH it cannot talk to the hub at all: see ``test_refusals.py``.
    """

    name = "jgit"
    transports = ("http",)
    can_be_shallow = False

    def attempt(
        self,
        action: str,
        remote: Remote,
        path: Path,
        *,
        depth: int | None = None,
        refspecs: Sequence[str] = (),
    ) -> str | None:
        assert depth is None
        home = path.parent / "jgit-home"
        home.mkdir(exist_ok=True)
        netrc = f"machine 127.0.0.1 login {remote.person.login} password {remote.person.token}\n"
        (home / ".netrc").write_text(netrc)
        folder = home / ".ssh"
        folder.mkdir(exist_ok=True)
        (folder / "config").write_text(
            f"Host 127.0.0.1\n  IdentityFile {remote.person.key}\n  StrictHostKeyChecking no\n"
        )
        arguments = {
            "clone": ["clone", remote.url, str(path)],
            "fetch": ["fetch", "--tags", "origin"],
            "push": ["push", remote.url, *refspecs],
        }[action]
        # Debian's script leaves out jars that the program wants, and without a screen it must not
        # try to open a window.
        jars = ":".join(f"/usr/share/java/{name}.jar" for name in JGIT_JARS)
        options = f"-Duser.home={home} -Djava.awt.headless=true -XX:TieredStopAtLevel=1"
        done = _run(
            ["jgit", *arguments],
            cwd=path if action != "clone" else path.parent,
            environment=CLEAN_ENVIRONMENT
            | {"HOME": str(home), "JGIT_CLASSPATH": jars, "JAVA_TOOL_OPTIONS": options},
        )
        # It exits with 0 although the server refused a ref, and only prints so.
        if done.returncode == 0 and "! [" not in done.stdout:
            return None
        noise = ("Picked up ", "Cloning into ", "\t", "Caused by: ")
        return "\n".join(line for line in done.stdout.splitlines() if not line.startswith(noise))


def _run(
    command: Sequence[str], *, cwd: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


DRIVERS = HERE / "drivers"
GIT = [StockGit(version) for version in ("0", "1", "2")]
DULWICH = Driven("dulwich", [sys.executable, DRIVERS / "with_dulwich.py"], ["http", "ssh"])
PYGIT2 = Driven("pygit2", [sys.executable, DRIVERS / "with_pygit2.py"], ["http", "ssh"])
ISOMORPHIC_GIT = Driven("isomorphic", ["node", NPM / "with_isomorphic_git.mjs"], ["http"])
JGIT = JGit()
CLIENTS = [*GIT, DULWICH, PYGIT2, ISOMORPHIC_GIT, JGIT]
