"""Requests that ask for too much are told so in words, and others are served afterwards.

CVE-2023-30798, CVE-2024-47874, CVE-2026-58421.
"""

from pathlib import Path

import pytest

from gitserve.pktline import encode
from tests.e2e.doors.conftest import Target, basic, exchange, get, post
from tests.support.hostile import gzip_bomb
from tests.support.hub import Hub

GROWTH_KIB = 64 * 1024
V2 = "Git-Protocol: version=2"
TOO_LARGE = "ERR a request may have at most 8388608 bytes (request ID)"
FETCH = encode(b"command=fetch\n") + b"0001"


def peaks(hub: Hub) -> dict[int, int]:
    """The most memory each process of the hub has ever held, in KiB."""
    found = {}
    for process in hub.processes():
        try:
            status = Path(f"/proc/{process}/status").read_text()
        except OSError:
            continue
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                found[process] = int(line.split()[1])
    return found


def served(target: Target) -> None:
    answer = get(target.hub, f"/{target.public}.git/info/refs?service=git-upload-pack")
    assert answer.status == 200
    assert target.tip.encode() in answer.body


@pytest.mark.parametrize(
    ("body", "headers", "text"),
    [
        (FETCH + encode(b"want " + b"1" * 40 + b"\n") * 200_000 + b"0000", (), TOO_LARGE),
        (FETCH + encode(b"x" * 65516) * 140, (), TOO_LARGE),
        (
            FETCH + encode(b"want " + b"1" * 40 + b"\n") * 100_000 + encode(b"done\n") + b"0000",
            (),
            "ERR upload-pack: not our ref " + "1" * 40,
        ),
        (
            gzip_bomb(bytes(1024), 1024 * 1024),
            ("Content-Encoding: gzip",),
            "ERR malformed packet length b'\\x00\\x00\\x00\\x00' (request ID)",
        ),
        (
            gzip_bomb(encode(b"want " + b"1" * 40 + b"\n"), 2_000_000, head=FETCH),
            ("Content-Encoding: gzip",),
            TOO_LARGE,
        ),
        (
            b"\x1f\x8bgarbage",
            ("Content-Encoding: gzip",),
            "ERR the request body is not gzip as its header says (request ID)",
        ),
        (b"0003", (), "ERR malformed packet length b'0003' (request ID)"),
        (b"ffff", (), "ERR malformed packet length b'ffff' (request ID)"),
        (b"zzzz", (), "ERR malformed packet length b'zzzz' (request ID)"),
        (b"-001", (), "ERR malformed packet length b'-001' (request ID)"),
    ],
    ids=[
        "wants-beyond-8-MiB",
        "no-flush",
        "100000-wants",
        "gzip-of-zeros",
        "gzip-of-wants",
        "gzip-garbage",
        "0003",
        "ffff",
        "zzzz",
        "-001",
    ],
)
def test_fetch_requests(target: Target, body: bytes, headers: tuple[str, ...], text: str) -> None:
    before = peaks(target.hub)
    answer = post(target.hub, f"/{target.public}.git", "git-upload-pack", body, V2, *headers)
    assert answer.status == 200
    assert answer.text[4:] == text
    served(target)
    after = peaks(target.hub)
    assert all(after.get(each, 0) - peak < GROWTH_KIB for each, peak in before.items())


def test_push_options(target: Target) -> None:
    command = f"{'0' * 40} {target.tip} refs/heads/flood\0report-status push-options".encode()
    body = encode(command) + b"0000" + encode(b"a=b") * 10_000 + b"0000"
    answer = post(
        target.hub,
        f"/{target.public}.git",
        "git-receive-pack",
        body + target.project.pack("main"),
        f"Authorization: {basic(target.token)}",
    )
    assert "a push may carry at most 64 options of 4096 bytes" in answer.text
    assert "refs/heads/flood" not in target.refs("demo")


def test_a_huge_header(target: Target) -> None:
    answer = exchange(target.hub, b"GET / HTTP/1.1\r\nHost: hub\r\nX: " + b"a" * 70_000)
    assert (answer.status, answer.text) == (431, "the request's head is larger than 65536 bytes\n")
    served(target)
