"""pkt-line framing (git's Documentation/gitprotocol-common.txt) and side-band-64k."""

import enum
import re

from gitserve.streams import ByteReader

MAX_PAYLOAD = 65516
# One byte of a side-band packet names the band.
MAX_BAND_PAYLOAD = MAX_PAYLOAD - 1


class Special(enum.Enum):
    """Packets without payload, by their length field."""

    FLUSH = b"0000"
    DELIMITER = b"0001"
    RESPONSE_END = b"0002"


_LENGTH = re.compile(rb"[0-9a-fA-F]{4}")
_SPECIAL = {special.value: special for special in Special}


class ProtocolError(Exception):
    """The client sent something that is not the git protocol."""


class Band(enum.IntEnum):
    DATA = 1
    PROGRESS = 2
    ERROR = 3


def encode(payload: bytes) -> bytes:
    """One packet. ``payload`` is at most MAX_PAYLOAD bytes."""
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"a packet holds at most {MAX_PAYLOAD} bytes, not {len(payload)}")
    return b"%04x" % (len(payload) + 4) + payload


def encode_band(band: Band, data: bytes) -> bytes:
    """As many side-band packets as the data needs; one empty packet for no data (keep-alive)."""
    pieces = [
        encode(bytes([band]) + data[start : start + MAX_BAND_PAYLOAD])
        for start in range(0, max(len(data), 1), MAX_BAND_PAYLOAD)
    ]
    return b"".join(pieces)


class PacketReader:
    """Reads packets, then hands the rest of the input on as plain bytes (``read``).

    Never holds more than one packet and one read of the transport.
    """

    def __init__(self, reader: ByteReader) -> None:
        self._reader = reader
        self._buffer = b""

    async def _exactly(self, count: int, *, what: str) -> bytes:
        parts = [self._buffer]
        size = len(self._buffer)
        while size < count:
            piece = await self._reader.read(MAX_PAYLOAD)
            if not piece:
                raise ProtocolError(f"the connection ended in the middle of {what}")
            parts.append(piece)
            size += len(piece)
        data = b"".join(parts)
        self._buffer = data[count:]
        return data[:count]

    async def at_end(self) -> bool:
        """Whether the input has ended; waits for the next bytes to tell."""
        if not self._buffer:
            self._buffer = await self._reader.read(MAX_PAYLOAD)
        return not self._buffer

    async def next(self) -> bytes | Special | None:
        """The next packet's payload, a special packet, or None at the end of the input.

        Raises ProtocolError for a malformed length or an input that ends within a packet.
        """
        if await self.at_end():
            return None
        head = await self._exactly(4, what="a packet's length")
        if head in _SPECIAL:
            return _SPECIAL[head]
        # Not int() alone, which also takes "0x0a" and "1_00".
        length = int(head, 16) if _LENGTH.fullmatch(head) else -1
        if not 4 <= length <= MAX_PAYLOAD + 4:
            raise ProtocolError(f"malformed packet length {head!r}")
        return await self._exactly(length - 4, what="a packet")

    async def read(self, limit: int) -> bytes:
        """The input after the packets read so far, as ``ByteReader.read``."""
        if self._buffer:
            data, self._buffer = self._buffer[:limit], self._buffer[limit:]
            return data
        return await self._reader.read(limit)
