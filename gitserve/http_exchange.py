"""One HTTP request and its answer as byte streams, over raw ASGI.

Raw, because only ``receive`` tells that a client has gone (``send`` then silently does nothing),
and because a body of hundreds of megabytes must pass without being gathered.
"""

import asyncio
import contextlib
import time
import zlib
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from gitserve.pktline import ProtocolError
from gitserve.streams import ClientGone

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

# A client may compress for long before it sends the first byte of a pack.
BODY_IDLE_SECONDS = 1800
# The request of a fetch is there when its client connects.
FETCH_BODY_IDLE_SECONDS = 20
FETCH_BODY_SECONDS = 300
WRITE_STALL_SECONDS = 300
# What is read of a body that nobody wants, before the connection is closed over it. Git sends up
# to 1 MiB (http.postBuffer) in one piece, and may not read the answer before.
UNWANTED_BYTES = 2 * 1024 * 1024
UNWANTED_SECONDS = 1.0
# How long a client may go on sending a push that was refused already. Git shows the refusal best
# when it can send its pack to the end; but nobody should upload gigabytes for it.
REFUSED_SECONDS = 10.0
_INFLATE_BYTES = 64 * 1024


class ClientTooSlow(ClientGone):
    """Gone, as far as we are concerned; but it can still be told."""


class RequestBody:
    """A ByteReader over the body, inflated if it is gzipped.

    The methods that read may be called by several tasks; each piece goes to one of them.
    """

    def __init__(
        self,
        receive: Receive,
        *,
        gzipped: bool = False,
        idle_seconds: float | None = None,
        seconds: float | None = None,
    ) -> None:
        self._receive = receive
        self._idle_seconds = BODY_IDLE_SECONDS if idle_seconds is None else idle_seconds
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._inflate = zlib.decompressobj(wbits=31) if gzipped else None
        self._compressed = b""
        self._buffer = b""
        self._complete = asyncio.Event()
        self._reading = asyncio.Lock()

    async def read(self, limit: int) -> bytes:
        """Raises ClientGone also when nothing comes for ``idle_seconds`` or all of it takes longer
        than ``seconds``, and ProtocolError for a body that is not the gzip its header says."""
        async with self._reading:
            if not self._buffer:
                self._buffer = await self._next()
            data, self._buffer = self._buffer[:limit], self._buffer[limit:]
            return data

    async def peek(self, count: int) -> bytes:
        """The next bytes, which stay to be read; fewer than ``count`` only at the end."""
        async with self._reading:
            while len(self._buffer) < count and (more := await self._next()):
                self._buffer += more
            return self._buffer[:count]

    async def discard(self, seconds: float, most: int | None = None) -> bool:
        """Whether the rest of the body arrived in this time and is no more than ``most`` bytes."""
        size = 0
        with contextlib.suppress(TimeoutError, ClientGone):
            async with asyncio.timeout(seconds), self._reading:
                while not self._complete.is_set() and (most is None or size <= most):
                    size += len(await self._receive_piece())
        return self._complete.is_set()

    async def is_complete(self) -> bool:
        """Whether the whole body has arrived, without losing any of it; waits a moment to tell."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(UNWANTED_SECONDS), self._reading:
                while not self._complete.is_set():
                    if piece := await self._receive_piece():
                        self._keep(piece)
                        break
        return self._complete.is_set()

    async def disconnected(self) -> None:
        """Returns when the client has gone, after its whole body was read."""
        await self._complete.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def _keep(self, piece: bytes) -> None:
        if self._inflate is None:
            self._buffer += piece
        else:
            self._compressed += piece

    async def _next(self) -> bytes:
        """More of the body, inflated; empty at its end."""
        if self._inflate is None:
            while not self._complete.is_set():
                if piece := await self._receive_piece():
                    return piece
            return b""
        return await self._next_inflated(self._inflate)

    async def _next_inflated(self, inflate: "zlib._Decompress") -> bytes:
        while not inflate.eof:
            if not self._compressed:
                if self._complete.is_set():
                    raise ProtocolError("the gzipped request body ends too early")
                self._compressed = await self._receive_piece()
                continue
            try:
                # Bounded, so that a small body cannot unfold in memory.
                data = inflate.decompress(self._compressed, _INFLATE_BYTES)
            except zlib.error as error:
                raise ProtocolError("the request body is not gzip as its header says") from error
            self._compressed = inflate.unconsumed_tail
            if data:
                return data
        while not self._complete.is_set():
            self._compressed += await self._receive_piece()
            if self._compressed:
                break
        if self._compressed or inflate.unused_data:
            raise ProtocolError("the request body goes on after its gzip stream")
        return b""

    def _patience(self) -> float:
        if self._deadline is None:
            return self._idle_seconds
        return min(self._idle_seconds, self._deadline - time.monotonic())

    async def _receive_piece(self) -> bytes:
        try:
            async with asyncio.timeout(self._patience()):
                message = await self._receive()
        except TimeoutError as error:
            raise ClientTooSlow("the client sent nothing for too long") from error
        if message["type"] == "http.disconnect":
            raise ClientGone("the client went away in the middle of its request")
        if not message.get("more_body", False):
            self._complete.set()
        piece = message.get("body", b"")
        assert isinstance(piece, bytes)
        return piece


class Response:
    """A ByteWriter for a streamed answer; its head is sent with the first byte.

    An answer that is not ``finish``ed is cut off by the server, so that no client takes it for
    complete.
    """

    def __init__(self, send: Send, body: RequestBody | None, headers: Headers) -> None:
        self._send = send
        self._body = body
        self._headers = list(headers)
        self._closes = False
        self.started = False

    async def write(self, data: bytes) -> None:
        """Raises ClientGone when the client does not take the data for WRITE_STALL_SECONDS."""
        if not self.started:
            await self._start()
        await self._send_body(data, more=True)

    async def finish(self) -> None:
        """End the answer properly."""
        if not self.started:
            await self._start()
        if self._closes and self._body is not None:
            # Closing over unread bytes resets the connection, which can outrun the answer.
            await self._body.discard(REFUSED_SECONDS)
        await self._send_body(b"", more=False)

    async def _start(self) -> None:
        self.started = True
        # A client that is still sending would otherwise go on to the end of its pack before it
        # reads that the push was refused long ago.
        self._closes = self._body is not None and not await self._body.is_complete()
        close = [(b"connection", b"close")] if self._closes else []
        await self._send(
            {"type": "http.response.start", "status": 200, "headers": self._headers + close}
        )

    async def _send_body(self, data: bytes, *, more: bool) -> None:
        try:
            async with asyncio.timeout(WRITE_STALL_SECONDS):
                await self._send({"type": "http.response.body", "body": data, "more_body": more})
        except TimeoutError as error:
            raise ClientGone("the client stopped reading") from error


async def send_text(
    send: Send, status: int, text: str, headers: Headers = (), *, body: RequestBody | None = None
) -> None:
    """A short plain answer, which git shows to its user. Reads or gives up the rest of ``body``."""
    content = f"{text}\n".encode()
    settled = body is None or await body.discard(UNWANTED_SECONDS, UNWANTED_BYTES)
    close = [] if settled else [(b"connection", b"close")]
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"content-length", str(len(content)).encode()),
                *headers,
                *close,
            ],
        }
    )
    await send({"type": "http.response.body", "body": content, "more_body": False})
