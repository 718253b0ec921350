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
        self.port = 0
        self.word: bytes | None = None
        self.cut = Cut.BEFORE

    async def _serve(self, client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        upstream, requests = await asyncio.open_unix_connection(self._server)
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
            for writer in (requests, answers):
                writer.transport.abort()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    async def stop(self) -> None:
        """Refuse further connections."""
        assert self._listener is not None
        self._listener.close()

    @classmethod
    @contextlib.asynccontextmanager
    async def before(cls, server: Path) -> AsyncIterator["CuttingProxy"]:
        """A proxy before the server listening on that unix socket."""
        proxy = cls(server)
        proxy._listener = await asyncio.start_server(proxy._serve, "127.0.0.1", 0)
        proxy.port = proxy._listener.sockets[0].getsockname()[1]
        yield proxy
        await proxy.stop()


async def _copy(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, silenced: asyncio.Event
) -> None:
    """Pass answers on; once silenced, swallow the next one and end."""
    with contextlib.suppress(OSError):
        while data := await source.read(65536):
            if silenced.is_set():
                return
            target.write(data)
