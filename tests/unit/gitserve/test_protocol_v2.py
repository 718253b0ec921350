"""Version 2 requests: what is offered, what is read, what is refused."""

import pytest

from gitserve import protocol_v2
from gitserve.answers import BytesReader
from gitserve.pktline import PacketReader, ProtocolError, Special, encode
from gitserve.protocol_v2 import MAX_REQUEST_BYTES, Request, read_request

FLUSH, DELIMITER = Special.FLUSH.value, Special.DELIMITER.value


def lines(*texts: str) -> bytes:
    return b"".join(encode(f"{text}\n".encode()) for text in texts)


async def read(data: bytes, object_format: str = "sha1") -> Request | None:
    return await read_request(PacketReader(BytesReader(data)), object_format)


def test_the_capability_list() -> None:
    assert protocol_v2.advertise("sha1") == (
        lines(
            "version 2",
            "agent=opencodehub",
            "ls-refs=unborn",
            "fetch=shallow wait-for-done filter",
            "server-option",
            "object-format=sha1",
        )
        + FLUSH
    )


async def test_a_request_is_taken_apart_and_kept_as_it_came() -> None:
    data = lines("command=fetch", "agent=git/2.39.5", "object-format=sha1", "server-option=x")
    data += DELIMITER + lines("thin-pack", "want 1234") + encode(b"done") + FLUSH
    assert await read(data) == Request("fetch", (b"thin-pack", b"want 1234", b"done"), data)


async def test_arguments_may_be_missing() -> None:
    data = lines("command=ls-refs") + FLUSH
    assert await read(data) == Request("ls-refs", (), data)


@pytest.mark.parametrize("data", [b"", FLUSH])
async def test_a_lone_flush_and_the_end_are_no_request(data: bytes) -> None:
    assert await read(data) is None


async def test_what_follows_the_request_is_left_to_the_next() -> None:
    packets = PacketReader(BytesReader(lines("command=ls-refs") + FLUSH + FLUSH))
    assert await read_request(packets, "sha1") is not None
    assert await read_request(packets, "sha1") is None
    assert await packets.at_end()


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (lines("agent=x") + FLUSH, "a request names exactly one command"),
        (
            lines("command=fetch", "command=ls-refs") + FLUSH,
            "a request names exactly one command",
        ),
        (lines("command=object-info") + FLUSH, "unknown command 'object-info'"),
        (
            lines("command=\x1b[2J" + "x" * 100) + FLUSH,
            r"unknown command '\x1b[2J" + "x" * 60 + "'",
        ),
        (lines("command=fetch", "session-id=1") + FLUSH, "unknown capability 'session-id'"),
        (
            lines("command=fetch", "object-format=sha256") + FLUSH,
            "mismatched object format: server sha1; client 'sha256'",
        ),
        (lines("command=fetch"), "the request does not end with a flush packet"),
        (lines("command=fetch") + DELIMITER, "the request does not end with a flush packet"),
        (
            lines("command=fetch") + DELIMITER + DELIMITER + FLUSH,
            "unexpected special packet in a request",
        ),
        (lines("command=fetch") + b"0002", "unexpected special packet in a request"),
    ],
)
async def test_malformed_requests_are_refused(data: bytes, text: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        await read(data)
    assert str(caught.value) == text


async def test_a_client_that_names_no_format_means_sha1() -> None:
    with pytest.raises(ProtocolError) as caught:
        await read(lines("command=fetch") + FLUSH, "sha256")
    assert str(caught.value) == "mismatched object format: server sha256; client 'sha1'"


async def test_a_request_has_a_largest_size() -> None:
    line = encode(b"want " + b"1" * 40 + b"\n")
    count = MAX_REQUEST_BYTES // len(line)
    with pytest.raises(ProtocolError, match=r"^a request may have at most 8388608 bytes$"):
        await read(lines("command=fetch") + DELIMITER + line * count + FLUSH)
