"""Raw clients that speak protocol 2 (git's gitprotocol-v2) and throw the answer away.

They cost next to nothing themselves, so what is measured is the server. All three read the answer
to its end and check that it ends as a whole answer does.
"""

import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from bench.programs import BenchFailed

_READ_BYTES = 256 * 1024
_TIMEOUT_SECONDS = 600
_FLUSH = b"0000"
_DELIMITER = b"0001"


def packet(text: str) -> bytes:
    """One line of git's protocol."""
    return b"%04x%s\n" % (len(text) + 5, text.encode())


@dataclasses.dataclass(frozen=True)
class Request:
    """One command of protocol 2, as its bytes."""

    body: bytes

    @classmethod
    def fetch(cls, wants: Sequence[str], haves: Sequence[str] = ()) -> "Request":
        """What a clone asks for (without haves), or a fetch by a client that has some commits."""
        lines = ["thin-pack", "no-progress", "include-tag", "ofs-delta"]
        lines += [f"want {oid}" for oid in wants] + [f"have {oid}" for oid in haves] + ["done"]
        return cls._of("fetch", lines)

    @classmethod
    def ls_refs(cls) -> "Request":
        """What a clone asks for first."""
        prefixes = ("HEAD", "refs/heads/", "refs/tags/")
        return cls._of("ls-refs", ["peel", "symrefs", *(f"ref-prefix {one}" for one in prefixes)])

    @classmethod
    def _of(cls, command: str, lines: Sequence[str]) -> "Request":
        head = packet(f"command={command}") + packet("agent=bench") + packet("object-format=sha1")
        return cls(head + _DELIMITER + b"".join(packet(line) for line in lines) + _FLUSH)


@dataclasses.dataclass(frozen=True)
class Answer:
    seconds: float
    size: int


class _Drain:
    """Reads a socket to its end, keeping the first and the last bytes."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = memoryview(bytearray(_READ_BYTES))
        self.head = b""
        self.tail = b""
        self.size = 0

    def read_some(self) -> int:
        count = self._connection.recv_into(self._buffer)
        if count:
            if not self.size:
                self.head = bytes(self._buffer[: min(count, 256)])
            self.tail = (self.tail + bytes(self._buffer[max(0, count - 16) : count]))[-16:]
            self.size += count
        return count

    def to_the_end(self) -> None:
        while self.read_some():
            pass


def _connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), _TIMEOUT_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def http_request(path: str, request: Request, *, close: bool = True) -> bytes:
    """A POST of ``request`` to a repository's upload-pack."""
    head = (
        f"POST {path}/git-upload-pack HTTP/1.1\r\nHost: 127.0.0.1\r\nGit-Protocol: version=2\r\n"
        "Content-Type: application/x-git-upload-pack-request\r\n"
        f"Content-Length: {len(request.body)}\r\n{'Connection: close' if close else 'Accept: */*'}"
        "\r\n\r\n"
    )
    return head.encode() + request.body


def discard_http(port: int, path: str, request: Request) -> Answer:
    """Raises BenchFailed for any other answer than a whole one."""
    start = time.perf_counter()
    with _connect(port) as connection:
        connection.sendall(http_request(path, request))
        drain = _Drain(connection)
        drain.to_the_end()
    took = time.perf_counter() - start
    if not drain.head.startswith(b"HTTP/1.1 200 ") or not drain.tail.endswith(b"\r\n0\r\n\r\n"):
        raise BenchFailed(f"HTTP answered {drain.head[:60]!r} ... {drain.tail!r}")
    return Answer(took, drain.size)


def discard_daemon(port: int, path: str, request: Request) -> Answer:
    start = time.perf_counter()
    with _connect(port) as connection:
        hello = f"git-upload-pack {path}\0host=127.0.0.1\0\0version=2\0".encode()
        # The lone flush ends the session after the one answer.
        connection.sendall(b"%04x%s" % (len(hello) + 4, hello) + request.body + _FLUSH)
        drain = _Drain(connection)
        drain.to_the_end()
    took = time.perf_counter() - start
    if not drain.tail.endswith(_FLUSH) or b"ERR " in drain.head:
        raise BenchFailed(f"git daemon answered {drain.head[:60]!r} ... {drain.tail!r}")
    return Answer(took, drain.size)


def discard_ssh(command: list[str], environment: Mapping[str, str], request: Request) -> Answer:
    """The ssh client's output goes from pipe to /dev/null within the kernel, counted."""
    start = time.perf_counter()
    with ssh_client(command, environment, request) as client:
        assert client.stdout is not None
        size = 0
        with open(os.devnull, "wb") as nowhere:
            while count := os.splice(client.stdout.fileno(), nowhere.fileno(), _READ_BYTES):
                size += count
        code = client.wait()
    took = time.perf_counter() - start
    if code:
        raise BenchFailed(f"ssh ended with {code} after {size} bytes")
    return Answer(took, size)


@contextmanager
def ssh_client(
    command: list[str], environment: Mapping[str, str], request: Request
) -> Iterator[subprocess.Popen[bytes]]:
    """A running client that has sent the request; killed at the end of the block."""
    client = subprocess.Popen(
        command,
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert client.stdin is not None
    try:
        with contextlib.suppress(BrokenPipeError):
            # A request may be larger than the pipe, and the answer's start must not wait for it.
            client.stdin.write(request.body + _FLUSH)
            client.stdin.flush()
        yield client
    finally:
        with contextlib.suppress(ProcessLookupError, BrokenPipeError):
            os.killpg(client.pid, signal.SIGKILL)
        with contextlib.suppress(BrokenPipeError):
            client.communicate()


@contextmanager
def stalled_http(port: int, path: str, request: Request, after: int) -> Iterator[None]:
    """A client that reads ``after`` bytes of its answer and then no more, for the whole block."""
    with _connect(port) as connection:
        connection.sendall(http_request(path, request))
        drain = _Drain(connection)
        while drain.size < after:
            if not drain.read_some():
                raise BenchFailed("the answer ended before the client could stall")
        yield


@contextmanager
def stalled_ssh(
    command: list[str], environment: Mapping[str, str], request: Request, after: int
) -> Iterator[None]:
    with ssh_client(command, environment, request) as client:
        assert client.stdout is not None
        size = 0
        while size < after:
            data = os.read(client.stdout.fileno(), _READ_BYTES)
            if not data:
                raise BenchFailed("the answer ended before the client could stall")
            size += len(data)
        # The client itself would still read ahead as far as its window allows.
        os.killpg(client.pid, signal.SIGSTOP)
        yield


class KeepAlive:
    """One HTTP connection for many small requests, so that connecting is not measured."""

    def __init__(self, port: int) -> None:
        self._connection = _connect(port)
        self._file = self._connection.makefile("rb")

    def __enter__(self) -> "KeepAlive":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
        self._connection.close()

    def get(self, path: str, *headers: str) -> bytes:
        lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", *headers, "", ""]
        return self._exchange("\r\n".join(lines).encode())

    def post(self, path: str, request: Request) -> bytes:
        return self._exchange(http_request(path, request, close=False))

    def _exchange(self, message: bytes) -> bytes:
        self._connection.sendall(message)
        status = self._file.readline()
        length, chunked = 0, False
        while (line := self._file.readline().strip().lower()) != b"":
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
            chunked = chunked or line == b"transfer-encoding: chunked"
        body = b"".join(self._chunks()) if chunked else self._file.read(length)
        if not status.startswith(b"HTTP/1.1 200 "):
            raise BenchFailed(f"HTTP answered {status!r} {body[:80]!r}")
        return body

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self._file.readline(), 16):
            yield self._file.read(size)
            self._file.readline()
        self._file.readline()
