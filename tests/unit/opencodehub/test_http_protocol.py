"""The bounds on a request's head and on connections, over real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn

from opencodehub import http_protocol
from opencodehub.asgi import Receive, Scope, Send, send_bytes
from opencodehub.http_protocol import HEAD_MAX_BYTES, BoundedHTTPProtocol
from opencodehub.processes import listening_socket

GET = b"GET / HTTP/1.1\r\nHost: hub\r\n"
# Just beyond the limit: what a server leaves unread makes the system throw its answer away.
_LINE = b"x-more: " + b"x" * 1000 + b"\r\n"
TOO_LONG = GET + _LINE * ((HEAD_MAX_BYTES - len(GET)) // len(_LINE) + 1)


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await send_bytes(send, 200, "text/plain", b"hello")


@asynccontextmanager
async def serving() -> AsyncIterator[int]:
    """A server with the protocol; yields its port."""
    configuration = uvicorn.Config(
        hello,
        http=BoundedHTTPProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
    )
    listener = listening_socket("127.0.0.1", 0, flag="--port")
    listener.listen()
    server = uvicorn.Server(configuration)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await task


async def ask(port: int, *pieces: bytes) -> bytes:
    """Send the pieces, then read to the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        return await reader.read()
    finally:
        writer.close()


async def test_a_request_passes() -> None:
    async with serving() as port:
        answer = await ask(port, GET, b"Connection: close\r\n", b"\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"hello")


async def test_a_head_that_never_ends_is_cut_off() -> None:
    async with serving() as port:
        answer = await ask(port, TOO_LONG[:HEAD_MAX_BYTES], TOO_LONG[HEAD_MAX_BYTES:])
    assert answer.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert answer.endswith(b"\r\n\r\nthe request's head is larger than 65536 bytes\n")


async def test_a_header_that_never_ends_is_cut_off() -> None:
    async with serving() as port:
        head = GET + b"x-more: " + b"x" * HEAD_MAX_BYTES
        answer = await ask(port, head[:HEAD_MAX_BYTES], head[HEAD_MAX_BYTES:])
    assert answer.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("begun", [b"", GET])
async def test_a_head_that_does_not_come_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.05)
    async with serving() as port:
        answer = await ask(port, begun)
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")


async def test_the_second_request_of_a_connection_is_bounded_too() -> None:
    async with serving() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET + b"\r\n")
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200 OK\r\n")
        for piece in (TOO_LONG[:HEAD_MAX_BYTES], TOO_LONG[HEAD_MAX_BYTES:]):
            writer.write(piece)
            await writer.drain()
        answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 431 ")


async def test_an_answer_under_way_is_not_answered_over() -> None:
    async with serving() as port:
        answer = await ask(port, GET + b"\r\n" + TOO_LONG)
    assert b"HTTP/1.1 431 " not in answer


async def test_one_connection_too_many_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedHTTPProtocol, "max_connections", 1)
    async with serving() as port:
        _, first = await asyncio.open_connection("127.0.0.1", port)
        answer = await ask(port, b"")
        first.close()
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert answer.endswith(b"\r\n\r\ntoo many connections; try again in a moment\n")
