"""A proxy before a database server that cuts the connection around a chosen word of the client."""

import asyncio
import contextlib
import enum
from collections.abc import AsyncIterator
from pathlib import Path


class Cut(enum.Enum):
    """Where the connection breaks: the server hears the word, or it does not."""

    BEFORE = "before the server hears it"
    AFTER = "after the server has answered it"


class CuttingProxy:
    """``port`` on 127.0.0.1 leads to the server. Idle until ``word`` is set, then cuts once."""

    def __init__(self, server: Path) -> None:
        self._server = server
        self._listener: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.port = 0
        self.word: bytes | None = None
        self.cut = Cut.BEFORE

    @classmethod
    @contextlib.asynccontextmanager
    async def before(cls, server: Path) -> AsyncIterator["CuttingProxy"]:
        """A proxy before the server that listens on that unix socket."""
        proxy = cls(server)
        proxy._listener = await asyncio.start_server(proxy._accept, "127.0.0.1", 0)
        proxy.port = proxy._listener.sockets[0].getsockname()[1]
        yield proxy
        proxy.stop()
        await proxy.cut_all()

    def stop(self) -> None:
        """Refuse further connections."""
        assert self._listener is not None
        self._listener.close()

    async def cut_all(self) -> None:
        """Cut every connection; new ones are welcome unless stopped."""
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self._connections.clear()

    def _accept(self, client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        self._connections.add(asyncio.ensure_future(self._serve(client, answers)))

    async def _serve(self, client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        async with _aborted_at_the_end(answers):
            upstream, requests = await asyncio.open_unix_connection(self._server)
            async with _aborted_at_the_end(requests):
                await self._relay(client, requests, upstream, answers)

    async def _relay(
        self,
        client: asyncio.StreamReader,
        requests: asyncio.StreamWriter,
        upstream: asyncio.StreamReader,
        answers: asyncio.StreamWriter,
    ) -> None:
        silenced = asyncio.Event()
        back = asyncio.ensure_future(_copy(upstream, answers, silenced))
        try:
            while data := await client.read(65536):
                if self.word is not None and self.word in data:
                    self.word = None
                    if self.cut is Cut.AFTER:
                        silenced.set()
                        requests.write(data)
                        await back
                    return
                requests.write(data)
        finally:
            back.cancel()
            await asyncio.gather(back, return_exceptions=True)


async def _copy(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, silenced: asyncio.Event
) -> None:
    """Pass answers on; once silenced, swallow the next one and end."""
    while data := await source.read(65536):
        if silenced.is_set():
            return
        target.write(data)


@contextlib.asynccontextmanager
async def _aborted_at_the_end(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    """The other side sees a broken connection, not a farewell."""
    try:
        yield
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
