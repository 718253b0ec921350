"""Clients that hold on to what they have, and requests that ask for too much: told, and cut off."""

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitserve.pktline import encode
from tests.support.git import GitRepository
from tests.support.hostile import Objects, gzip_bomb
from tests.support.hostile_world import PUBLIC, SECRET, TARGET, World, told
from tests.support.processes import python_peaks
from tests.support.raw_git import (
    DELIMITER,
    FLUSH,
    Door,
    HTTPDoor,
    commands,
    packets,
    read_report,
)

FETCH = f"POST /{PUBLIC}.git/git-upload-pack HTTP/1.1\r\nHost: hub\r\n"
KIND = "Content-Type: application/x-git-upload-pack-request\r\n"
SLOW_BODY = "the request's body came too slowly\n"
SLOW = {
    # door, what is sent at once, what is answered in the end
    "http head": ("http", b"GET / HTTP/1.1\r\nX-Slow: ", b"took longer than 20 seconds"),
    "http nothing": ("http", b"", b"took longer than 20 seconds"),
    "http body": (
        "http",
        f"{FETCH}{KIND}Content-Length: 100\r\n\r\n0".encode(),
        SLOW_BODY.encode()[:-1],
    ),
    "http chunks": (
        "http",
        f"{FETCH}{KIND}Git-Protocol: version=2\r\nTransfer-Encoding: chunked\r\n\r\n"
        "14\r\n0014command=ls-refs\n\r\n".encode(),
        SLOW_BODY.encode()[:-1],
    ),
    "ssh nothing": ("ssh", b"", b"SSH-2.0-OpenCodeHub"),
    "ssh banner": ("ssh", b"SSH-2.0-sl", b"SSH-2.0-OpenCodeHub"),
    "ssh key exchange": ("ssh", b"SSH-2.0-slow\r\n", b"SSH-2.0-OpenCodeHub"),
}
EACH = 5
GROWTH_BYTES = 64 * 1024 * 1024


def test_slow_clients_at_both_doors(world: World) -> None:
    """CVE-2026-52814, and slow-loris: every kind at once, all cut off, while Ann is served."""
    held: list[tuple[str, socket.socket]] = []
    with contextlib.ExitStack() as stack:
        for kind, (door, sent, _) in SLOW.items():
            port = world.hub.port if door == "http" else world.hub.ssh_port
            for _ in range(EACH):
                client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                client.sendall(sent)
                held.append((kind, client))
        world.still_serves_ann()
        began = time.monotonic()
        answers: dict[str, set[bytes]] = {kind: set() for kind in SLOW}
        for kind, client in held:
            answers[kind].add(read_to_end(client))
        # They are given 20 seconds; how much later a busy machine notices does not matter.
        assert time.monotonic() - began > 10
    for kind, (_, _, expected) in SLOW.items():
        assert all(expected in answer for answer in answers[kind]), (kind, answers[kind])


def read_to_end(client: socket.socket) -> bytes:
    answer = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := client.recv(65536):
            answer += piece
    return answer


@pytest.fixture
def calm(world: World) -> Iterator[None]:
    """None of the hub's processes grows by more than 64 MiB, not even for a moment."""
    before = python_peaks(world.hub.process.pid)
    yield
    after = python_peaks(world.hub.process.pid)
    assert after.keys() == before.keys()
    assert {pid for pid in before if after[pid] - before[pid] > GROWTH_BYTES} == set()


def fetch(*lines: bytes) -> bytes:
    head = encode(b"command=fetch\n") + encode(b"object-format=sha1\n") + DELIMITER
    return head + b"".join(encode(line) for line in lines) + FLUSH


WANT = b"want " + b"1" * 40 + b"\n"
TOO_LARGE = "a request may have at most 8388608 bytes"


@pytest.mark.parametrize("kind", ["have", "ref-prefix"])
def test_a_request_beyond_8_mib(world: World, door: Door, calm: None, kind: str) -> None:
    """Many lines: the request is read up to its limit, and no further."""
    if kind == "have":
        data = fetch(*([b"have " + b"2" * 40 + b"\n"] * 180_000))
    else:
        head = encode(b"command=ls-refs\n") + encode(b"object-format=sha1\n") + DELIMITER
        data = head + encode(b"ref-prefix " + b"x" * 60_000 + b"\n") * 150 + FLUSH
    answer = door.exchange("upload-pack", PUBLIC, world.mallory, data, version=2)
    (packet,) = packets(answer.body)
    assert told(packet.decode()) == f"ERR {TOO_LARGE}"


@pytest.mark.parametrize("version", [0, 1])
def test_the_same_in_older_protocols(
    world: World, http: HTTPDoor, calm: None, version: int
) -> None:
    data = encode(WANT) * 180_000 + FLUSH + encode(b"done\n")
    answer = http.exchange("upload-pack", PUBLIC, world.mallory, data, version=version)
    (packet,) = packets(answer.body)
    assert told(packet.decode()) == f"ERR {TOO_LARGE}"


@pytest.mark.parametrize(
    ("piece", "times"),
    [(encode(WANT), 4_000_000), (b"0", 500_000_000)],
    ids=["lines", "zeros"],
)
def test_a_request_that_unfolds(
    world: World, http: HTTPDoor, calm: None, piece: bytes, times: int
) -> None:
    """A gzip bomb: half a gigabyte of request within a few megabytes."""
    bomb = gzip_bomb(piece, times)
    assert len(bomb) < 3_000_000
    answer = http.request(
        "POST",
        f"/{PUBLIC}.git/git-upload-pack",
        world.mallory,
        0,
        body=bomb,
        headers={
            "Content-Type": "application/x-git-upload-pack-request",
            "Content-Encoding": "gzip",
        },
    )
    (packet,) = packets(answer.body)
    assert (answer.status, told(packet.decode())) == (200, f"ERR {TOO_LARGE}")


def test_too_many_refs_in_one_push(world: World, door: Door, calm: None) -> None:
    """100,000 refs; half of that is the limit."""
    before = world.state(TARGET)
    moves = [(f"refs/heads/many/{number}", None, world.base) for number in range(100_000)]
    data = commands(moves) + Objects().pack()
    answer = door.exchange("receive-pack", TARGET, world.mallory, data)
    report = read_report(answer.body)
    assert (told(report.error), report.refs) == ("a push may change at most 50000 refs", {})
    assert world.state(TARGET) == before


def test_too_many_refs_in_the_words_of_git(world: World, clone: GitRepository) -> None:
    packed = "".join(f"{world.base} refs/heads/many/{number:06}\n" for number in range(50_001))
    (clone.path / ".git" / "packed-refs").write_text("# pack-refs with: sorted \n" + packed)
    # Over HTTP git's own client would take minutes to say this.
    clone.environment |= world.hub.ssh_environment(world.mallory.key)
    url = world.hub.ssh_url(TARGET)
    text = clone.failure("push", "--quiet", url, "refs/heads/many/*:refs/heads/many/*")
    assert "remote: a push may change at most 50000 refs (request " in text


def test_a_crowd_of_clones_while_requests_are_refused(world: World, tmp_path: Path) -> None:
    """Ann's own git goes on working beside what is held open."""
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            client = socket.create_connection(("127.0.0.1", world.hub.port))
            stack.enter_context(client)
            client.sendall(b"GET / HTTP/1.1\r\n")
        url = world.hub.clone_url(SECRET, world.ann.token)
        cloned = GitRepository.clone(url, tmp_path / "clone")
    assert cloned.oid("HEAD") == world.secret
