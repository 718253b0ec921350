"""One real hub, met over its two doors only: bytes in, bytes and exit codes out."""

import base64
import contextlib
import dataclasses
import re
import socket
import uuid
from pathlib import Path

import pytest

from tests.support.git import GitRepository
from tests.support.hub import Hub, hub
from tests.support.ssh import OpenSSH, generate_key

__all__ = ["hub"]

REQUEST = re.compile(r"(?<=\(request )[0-9a-f]+(?=\))|(?<=\"requestId\": \")[0-9a-f]+")
PATIENCE_SECONDS = 60.0


def told(data: bytes | str) -> str:
    """An answer's text with the request's id replaced, the one thing that may differ."""
    text = data if isinstance(data, str) else data.decode("utf-8", "replace")
    return REQUEST.sub("ID", text)


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return told(self.body)


def read_answer(client: socket.socket) -> Answer:
    """Everything up to the end of the connection, as one answer that is not in chunks."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := client.recv(65536):
            data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    if headers.get("transfer-encoding") == "chunked":
        body = _unchunked(body)
    return Answer(int(status.split(" ")[1]), headers, body)


def _unchunked(body: bytes) -> bytes:
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        whole, body = whole + body[:length], body[length + 2 :]
    return whole


def exchange(hub: Hub, request: bytes) -> Answer:
    """Send these very bytes, and read the answer."""
    with socket.create_connection(("127.0.0.1", hub.port), PATIENCE_SECONDS) as client:
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            client.sendall(request)
        return read_answer(client)


def basic(token: str) -> str:
    return "Basic " + base64.b64encode(f"x-access-token:{token}".encode()).decode()


def get(hub: Hub, target: str, *headers: str) -> Answer:
    lines = [f"GET {target} HTTP/1.1", "Host: hub", "Connection: close", *headers]
    return exchange(hub, "\r\n".join([*lines, "", ""]).encode())


def post(hub: Hub, path: str, service: str, body: bytes, *headers: str) -> Answer:
    """One call of a git service; ``path`` as in ``/OWNER/NAME.git``."""
    lines = [
        f"POST {path}/{service} HTTP/1.1",
        "Host: hub",
        "Connection: close",
        f"Content-Type: application/x-{service}-request",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return exchange(hub, "\r\n".join([*lines, "", ""]).encode() + body)


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """An owner with a public and a private repository of one commit, their token and their key."""

    hub: Hub
    owner: str
    token: str
    key: Path
    openssh: OpenSSH
    project: GitRepository
    tip: str
    secret: GitRepository
    secret_tip: str

    @property
    def public(self) -> str:
        return f"{self.owner}/demo"

    @property
    def private(self) -> str:
        return f"{self.owner}/secret"

    def refs(self, name: str) -> dict[str, str]:
        """What the owner sees of a repository: refs and their values."""
        url = self.hub.clone_url(f"{self.owner}/{name}", self.token)
        listed = self.project.git("ls-remote", url).splitlines()
        return {ref: oid for oid, ref in (line.split("\t") for line in listed)}


def add_key(hub: Hub, login: str, key: Path) -> None:
    generate_key(key)
    public = str(key.with_name(key.name + ".pub"))
    hub.och("create-ssh-key", login, "--title", "test", "--key-file", public)


@pytest.fixture(scope="module")
def target(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Target:
    folder = tmp_path_factory.mktemp("target")
    owner = f"o{uuid.uuid4().hex[:12]}"
    token = hub.create_user(owner)
    add_key(hub, owner, folder / "key")
    hub.och("create-repository", f"{owner}/demo")
    hub.och("create-repository", f"{owner}/secret", "--private")
    project = GitRepository.create(folder / "project")
    tip = project.commit("one", files={"a.txt": "a\n"})
    project.git("push", "--quiet", hub.clone_url(f"{owner}/demo", token), "main")
    secret = GitRepository.create(folder / "secret")
    secret_tip = secret.commit("secret", files={"secret.txt": "secret\n"})
    secret.git("push", "--quiet", hub.clone_url(f"{owner}/secret", token), "main")
    openssh = OpenSSH(folder, hub.ssh_port)
    return Target(hub, owner, token, folder / "key", openssh, project, tip, secret, secret_tip)
