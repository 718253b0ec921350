"""Git's protocols byte by byte, over the real HTTP and SSH doors of a hub, without a git client."""

import base64
import contextlib
import dataclasses
import http.client
import subprocess
from collections.abc import Iterable
from pathlib import Path

from gitserve.pktline import encode
from tests.support.git import CLEAN_ENVIRONMENT
from tests.support.hub import Hub

NULL = "0" * 40
FLUSH, DELIMITER = b"0000", b"0001"
CAPABILITIES = "report-status side-band-64k quiet object-format=sha1 agent=test"


@dataclasses.dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a token (empty: nobody) and a private key."""

    login: str
    token: str
    key: Path


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """What a push was told. ``error`` is an ERR packet's or the error band's text."""

    unpack: str
    refs: dict[str, str]
    said: str
    error: str


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """``status`` is HTTP's, or the exit status of ssh; ``told`` is what came on standard error.

    ``headers`` are HTTP's, by name in lower case.
    """

    status: int
    body: bytes
    told: str = ""
    headers: dict[str, str] = dataclasses.field(default_factory=dict)


class HTTPDoor:
    """Smart HTTP."""

    name = "http"

    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    def advertise(self, service: str, path: str, who: Person, *, version: int = 0) -> Answer:
        return self.request("GET", f"/{path}.git/info/refs?service=git-{service}", who, version)

    def exchange(
        self, service: str, path: str, who: Person, data: bytes, *, version: int = 0
    ) -> Answer:
        """POST ``data``; what comes back has no advertisement before it."""
        return self.request(
            "POST",
            f"/{path}.git/git-{service}",
            who,
            version,
            body=data,
            headers={"Content-Type": f"application/x-git-{service}-request"},
        )

    def request(
        self,
        method: str,
        target: str,
        who: Person,
        version: int = 0,
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        sent = {"Connection": "close"} | (headers or {})
        if version:
            sent["Git-Protocol"] = f"version={version}"
        if who.token:
            pair = base64.b64encode(f"{who.login}:{who.token}".encode()).decode()
            sent["Authorization"] = f"Basic {pair}"
        connection = http.client.HTTPConnection("127.0.0.1", self.hub.port)
        with contextlib.closing(connection):
            # A server that refuses early may close before it has read everything.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, target, body=body, headers=sent)
            response = connection.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, response.read(), headers=headers)


class SSHDoor:
    """The real ssh client, with its own standard input and output."""

    name = "ssh"

    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    def advertise(self, service: str, path: str, who: Person, *, version: int = 0) -> Answer:
        """Reads what comes first, then leaves."""
        return self.run(f"git-{service} '{path}.git'", who, FLUSH, version=version)

    def exchange(
        self, service: str, path: str, who: Person, data: bytes, *, version: int = 0
    ) -> Answer:
        answer = self.run(f"git-{service} '{path}.git'", who, data, version=version)
        _, rest = split_at_flush(answer.body)
        return dataclasses.replace(answer, body=rest)

    def run(
        self, command: str, who: Person, data: bytes = b"", *options: str, version: int = 0
    ) -> Answer:
        done = subprocess.run(
            [
                "ssh",
                *self.options(who.key),
                *(["-o", f"SetEnv=GIT_PROTOCOL=version={version}"] if version else []),
                *options,
                *("-p", str(self.hub.ssh_port), "git@127.0.0.1", command),
            ],
            env=CLEAN_ENVIRONMENT,
            input=data,
            capture_output=True,
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr.decode("utf-8", "replace"))

    def options(self, key: Path) -> list[str]:
        return [
            *("-F", "/dev/null", "-i", str(key), "-o", "IdentitiesOnly=yes"),
            *("-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-o", "StrictHostKeyChecking=no"),
            *("-o", f"UserKnownHostsFile={self.hub.folder / 'known_hosts'}"),
        ]


Door = HTTPDoor | SSHDoor


def packets(data: bytes) -> list[bytes]:
    """Payloads in order; a flush packet is empty. What is cut off at the end is left out."""
    found = []
    position = 0
    while position + 4 <= len(data):
        length = int(data[position : position + 4], 16)
        found.append(data[position + 4 : position + length] if length > 3 else b"")
        position += max(length, 4)
    return found


def split_at_flush(data: bytes) -> tuple[bytes, bytes]:
    """What comes before the first flush packet, and what comes after it."""
    position = 0
    while position + 4 <= len(data):
        length = int(data[position : position + 4], 16)
        if length == 0:
            return data[:position], data[position + 4 :]
        position += max(length, 4)
    return data, b""


def commands(
    moves: Iterable[tuple[str, str | None, str | None]], *, capabilities: str = CAPABILITIES
) -> bytes:
    """The list of commands of a push, with its flush: ref, old value, new value."""
    lines = [f"{old or NULL} {new or NULL} {name}".encode() for name, old, new in moves]
    lines[0] += b"\0" + capabilities.encode()
    return b"".join(encode(line) for line in lines) + FLUSH


def read_report(data: bytes) -> Report:
    """An answer to a push whose client asked for side bands and a report."""
    bands = {1: b"", 2: b"", 3: b""}
    error = b""
    for payload in packets(data):
        if payload.startswith(b"ERR "):
            error += payload[4:]
        elif payload:
            bands[payload[0]] += payload[1:]
    lines = [line.decode().rstrip("\n") for line in packets(bands[1]) if line]
    unpack, refs = "", {}
    for line in lines:
        kind, _, rest = line.partition(" ")
        if kind == "unpack":
            unpack = rest
        elif kind == "ok":
            refs[rest] = "ok"
        else:
            name, _, reason = rest.partition(" ")
            refs[name] = reason
    return Report(unpack, refs, bands[2].decode(), (error + bands[3]).decode().rstrip("\n"))


def push(
    door: Door,
    path: str,
    who: Person,
    moves: Iterable[tuple[str, str | None, str | None]],
    data: bytes,
    **more: str,
) -> Report:
    """Send a push and read what it is told."""
    answer = door.exchange("receive-pack", path, who, commands(moves, **more) + data)
    return read_report(answer.body)
