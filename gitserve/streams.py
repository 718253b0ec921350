"""The two ends of a connection, whatever carries it."""

from typing import Protocol


class ClientGone(ConnectionError):
    """The client went away; whatever was running for it is to be ended."""


class ByteReader(Protocol):
    async def read(self, limit: int) -> bytes:
        """Up to ``limit`` bytes as soon as there are any; empty at the end of the input.

        Raises ClientGone when the connection broke before its proper end.
        """
        ...


class ByteWriter(Protocol):
    async def write(self, data: bytes) -> None:
        """Send all of it; returns when the transport has room for more. Raises ClientGone."""
        ...
