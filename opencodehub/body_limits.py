"""Bounds the body of requests that are not git's: its size and the time it may take (K13)."""

import asyncio

from opencodehub.asgi import ASGIApp, Message, Receive, Scope, Send, header, send_error

BODY_SECONDS = 30.0


class _TooLarge(Exception):
    pass


class _TooSlow(Exception):
    pass


class BodyLimit:
    """Answers 413 or 408 in the application's place; it sees no byte beyond ``max_bytes``."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = header(scope, b"content-length")
        started = False

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        async def refuse(status: int, message: str) -> None:
            if not started:
                # The rest of the body is not read, so the connection cannot be used again.
                await send_error(scope, send, status, message, [(b"connection", b"close")])

        try:
            if length is not None and length.isdecimal() and int(length) > self._max_bytes:
                raise _TooLarge
            await self._app(scope, _Bounded(receive, self._max_bytes).receive, watched_send)
        except _TooLarge:
            await refuse(413, f"the request body is larger than {self._max_bytes} bytes")
        except _TooSlow:
            await refuse(408, f"the request body took longer than {BODY_SECONDS:.0f} seconds")


class _Bounded:
    def __init__(self, receive: Receive, max_bytes: int) -> None:
        self._receive = receive
        self._left = max_bytes
        self._deadline = asyncio.get_running_loop().time() + BODY_SECONDS
        self._complete = False

    async def receive(self) -> Message:
        if self._complete:  # what still comes is the end of the connection, whenever that is
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise _TooSlow from None
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                raise _TooLarge
            self._complete = not message.get("more_body", False)
        return message
