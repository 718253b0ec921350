"""Request bodies and answers over raw ASGI, message by message."""

import asyncio
import gzip
from collections.abc import Iterable
from typing import Any

import pytest

from gitserve import http_exchange
from gitserve.http_exchange import RequestBody, Response, send_text
from gitserve.pktline import ProtocolError
from gitserve.streams import ClientGone


class Connection:
    """What a server hands to an application; the script runs out into silence."""

    def __init__(self, messages: Iterable[dict[str, Any]] = ()) -> None:
        self.messages = list(messages)
        self.sent: list[Any] = []

    async def receive(self) -> Any:
        if not self.messages:
            await asyncio.get_running_loop().create_future()
        return self.messages.pop(0)

    async def send(self, message: Any) -> None:
        self.sent.append(message)


def pieces(*parts: bytes, complete: bool = True) -> list[dict[str, Any]]:
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    messages[-1]["more_body"] = not complete
    return messages


GONE = {"type": "http.disconnect"}


async def read_all(body: RequestBody, limit: int = 1000) -> bytes:
    data = b""
    while piece := await body.read(limit):
        assert len(piece) <= limit
        data += piece
    return data


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_exchange, "UNWANTED_SECONDS", 0.01)
    monkeypatch.setattr(http_exchange, "BODY_IDLE_SECONDS", 0.01)


async def test_a_body_is_read_to_its_end() -> None:
    connection = Connection(pieces(b"abc", b"", b"defg"))
    assert await read_all(RequestBody(connection.receive), 2) == b"abcdefg"


async def test_what_was_peeked_is_read_again() -> None:
    body = RequestBody(Connection(pieces(b"00", b"00", b"rest")).receive)
    assert await body.peek(5) == b"0000r"
    assert await read_all(body) == b"0000rest"
    assert await body.peek(5) == b""


async def test_a_client_that_leaves_within_its_body_is_gone() -> None:
    body = RequestBody(Connection([*pieces(b"abc", complete=False), GONE]).receive)
    assert await body.read(10) == b"abc"
    with pytest.raises(ClientGone, match=r"^the client went away in the middle of its request$"):
        await body.read(10)


@pytest.mark.usefixtures("impatient")
async def test_a_silent_client_is_gone() -> None:
    with pytest.raises(ClientGone, match=r"^the client sent nothing for too long$"):
        await RequestBody(Connection().receive).read(10)


@pytest.mark.parametrize("size", [1, 7, 100_000])
async def test_a_gzipped_body_is_inflated_however_it_is_cut(size: int) -> None:
    plain = bytes(range(256)) * 4000
    data = gzip.compress(plain)
    parts = [data[start : start + size] for start in range(0, len(data), size)]
    body = RequestBody(Connection(pieces(*parts, b"")).receive, gzipped=True)
    assert await body.peek(3) == plain[:3]
    assert await read_all(body) == plain


async def test_a_gzip_bomb_unfolds_in_pieces_no_larger_than_asked_for() -> None:
    bomb = gzip.compress(bytes(50 * 1024 * 1024))
    body = RequestBody(Connection(pieces(bomb)).receive, gzipped=True)
    assert len(await body.read(1 << 30)) == 64 * 1024


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([b"not gzip at all"], "the request body is not gzip as its header says"),
        ([gzip.compress(b"x" * 100)[:-9]], "the gzipped request body ends too early"),
        ([b""], "the gzipped request body ends too early"),
        ([gzip.compress(b"x") + b"y"], "the request body goes on after its gzip stream"),
        ([gzip.compress(b"x"), b"y"], "the request body goes on after its gzip stream"),
        (
            [gzip.compress(b"x"), gzip.compress(b"x")],
            "the request body goes on after its gzip stream",
        ),
    ],
)
async def test_bad_gzip_is_refused(parts: list[bytes], text: str) -> None:
    body = RequestBody(Connection(pieces(*parts)).receive, gzipped=True)
    with pytest.raises(ProtocolError) as caught:
        await read_all(body)
    assert str(caught.value) == text


async def test_discarding_a_small_rest() -> None:
    connection = Connection(pieces(b"a", b"b", b"c"))
    assert await RequestBody(connection.receive).discard(1, 10)
    assert connection.messages == []


async def test_discarding_gives_up_on_a_large_or_slow_rest() -> None:
    connection = Connection(pieces(*[bytes(1000)] * 10))
    assert not await RequestBody(connection.receive).discard(1, 2000)
    assert len(connection.messages) == 7
    slow = Connection(pieces(b"a", complete=False))
    assert not await RequestBody(slow.receive).discard(0.01)
    gone = Connection([*pieces(b"a", complete=False), GONE])
    assert not await RequestBody(gone.receive).discard(1)


@pytest.mark.usefixtures("impatient")
async def test_asking_for_completeness_loses_nothing() -> None:
    body = RequestBody(Connection(pieces(b"a", b"b", b"", b"c")).receive)
    assert await body.read(1) == b"a"
    assert not await body.is_complete()
    assert await body.is_complete()
    assert await read_all(body) == b"bc"


async def test_completeness_can_be_asked_while_another_task_reads() -> None:
    plain = bytes(range(256)) * 100
    parts = [plain[start : start + 100] for start in range(0, len(plain), 100)]

    class Slow(Connection):
        async def receive(self) -> Any:
            await asyncio.sleep(0)
            return await super().receive()

    body = RequestBody(Slow(pieces(*parts)).receive)
    reading = asyncio.create_task(read_all(body))
    while not await body.is_complete():
        await asyncio.sleep(0)
    assert await reading == plain


async def test_a_gone_client_is_noticed_after_its_body() -> None:
    body = RequestBody(Connection([*pieces(b"a"), GONE]).receive)
    gone = asyncio.create_task(body.disconnected())
    await asyncio.sleep(0)
    assert not gone.done()
    assert await read_all(body) == b"a"
    await gone


async def test_an_answer_begins_with_its_first_byte_and_ends_when_it_is_finished() -> None:
    connection = Connection(pieces(b""))
    response = Response(connection.send, RequestBody(connection.receive), [(b"x", b"y")])
    assert not response.started
    await response.write(b"one")
    await response.finish()
    assert connection.sent == [
        {"type": "http.response.start", "status": 200, "headers": [(b"x", b"y")]},
        {"type": "http.response.body", "body": b"one", "more_body": True},
        {"type": "http.response.body", "body": b"", "more_body": False},
    ]


@pytest.mark.usefixtures("impatient")
async def test_an_answer_before_the_end_of_the_body_closes_the_connection() -> None:
    connection = Connection(pieces(b"a", b"b"))
    response = Response(connection.send, RequestBody(connection.receive), [])
    await response.write(b"no")
    assert connection.sent[0]["headers"] == [(b"connection", b"close")]
    await response.finish()
    assert connection.messages == []
    assert connection.sent[-1]["more_body"] is False


async def test_a_client_that_stops_reading_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_exchange, "WRITE_STALL_SECONDS", 0.01)
    connection = Connection()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await connection.receive()

    response = Response(send, None, [])
    with pytest.raises(ClientGone, match=r"^the client stopped reading$"):
        await response.write(b"x")


async def test_a_text_is_sent_whole() -> None:
    connection = Connection()
    await send_text(connection.send, 404, "no", [(b"x", b"y")])
    assert connection.sent == [
        {
            "type": "http.response.start",
            "status": 404,
            "headers": [
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"content-length", b"3"),
                (b"x", b"y"),
            ],
        },
        {"type": "http.response.body", "body": b"no\n", "more_body": False},
    ]
