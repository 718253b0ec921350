"""The output of a git child on its way to a client: passed on as it comes, and understood enough
to add an error at the right place when the child fails."""

import asyncio
from collections.abc import Awaitable, Callable

from gitserve.errors import AnswerCut, judge, text_for
from gitserve.pktline import Band, encode, encode_band
from gitserve.streams import ByteReader, ByteWriter, ClientGone
from gitstore.process import PIPE_READ_BYTES, GitChild
from gitstore.queues import SMALL_BYTES
from services.context import OpContext

# Of a large answer, less than this at once is not worth the turn.
GATHER_BYTES = 16 * 1024
_PACK_BEGINS = b"packfile\n"
_ERROR = b"ERR "


class PacketFollower:
    """Follows packet boundaries in an answer without copying it."""

    def __init__(self) -> None:
        self.begun = False
        # In version 2 all packets after "packfile" are side-band packets.
        self.in_pack = False
        # Git itself told the client an error.
        self.refused = False
        self._lost = False
        self._length = b""
        self._start = b""
        self._left = 0

    @property
    def between_packets(self) -> bool:
        return not self._lost and not self._length and not self._left

    def feed(self, data: bytes) -> None:
        self.begun = self.begun or bool(data)
        position = 0
        while position < len(data) and not self._lost:
            if self._left:
                size = min(self._left, len(data) - position)
                if wanted := min(size, len(_PACK_BEGINS) - len(self._start)):
                    self._start += data[position : position + wanted]
                self._left -= size
                if not self._left:
                    self._end_packet()
            else:
                size = min(4 - len(self._length), len(data) - position)
                self._length += data[position : position + size]
                if len(self._length) == 4:
                    self._begin_packet()
            position += size

    def _begin_packet(self) -> None:
        try:
            self._left = max(int(self._length, 16) - 4, 0)
        except ValueError:
            # Without side-band (old clients, version 0) the pack follows bare.
            self._lost = True
        self._length = self._start = b""

    def _end_packet(self) -> None:
        self.refused = self._start.startswith(_ERROR) or (
            self.in_pack and self._start[:1] == bytes([Band.ERROR])
        )
        self.in_pack = self.in_pack or self._start == _PACK_BEGINS


async def relay(
    op: OpContext, child: GitChild, source: ByteReader, writer: ByteWriter, *, banded: bool = False
) -> bool:
    """Feed the child from ``source`` and stream its output to the client, to the end.

    Returns whether the child succeeded; if not, the client was told. ``banded``: errors may be sent
    as side-band packets from the start. Raises AnswerCut when the output broke off, ClientGone.
    """
    follower = PacketFollower()
    follower.in_pack = banded
    pump = asyncio.create_task(_pump(source, child))
    stream = asyncio.create_task(_stream(child, writer, follower))
    try:
        # The end of the output is the end of all, even where the client keeps its side open; a
        # client that is gone ends the pump with an exception.
        await asyncio.wait({pump, stream}, return_when=asyncio.FIRST_COMPLETED)
        if not stream.done():
            await pump
        await stream
        if await child.wait() == 0:
            return True
    finally:
        for task in (pump, stream):
            task.cancel()
        await asyncio.gather(pump, stream, return_exceptions=True)
    return await _explain_failure(op, child, follower, writer)


async def _explain_failure(
    op: OpContext, child: GitChild, follower: PacketFollower, writer: ByteWriter
) -> bool:
    if follower.refused:
        op.log.warning("git refused a request", stderr=child.stderr_tail)
        return False
    failure = child.failure()
    text = text_for(op, judge(op, failure))
    if follower.between_packets:
        await writer.write(
            encode_band(Band.ERROR, text.encode())
            if follower.in_pack and follower.begun
            else encode(_ERROR + text.encode())
        )
    if not follower.begun:
        return False
    raise AnswerCut(str(failure)) from failure


async def _pump(source: ByteReader, child: GitChild) -> None:
    while data := await source.read(PIPE_READ_BYTES):
        # A child that has read enough closes its end; only the source's own faults matter.
        try:
            child.stdin.write(data)
            await child.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            return
    child.stdin.close()


async def _stream(child: GitChild, writer: ByteWriter, follower: PacketFollower) -> None:
    size = 0
    while data := await child.stdout.read(PIPE_READ_BYTES):
        if size > SMALL_BYTES and len(data) < GATHER_BYTES:
            await child.let_output_gather()
        follower.feed(data)
        await writer.write(data)
        size += len(data)
        if size > SMALL_BYTES:
            await child.grow()


class BytesReader:
    """A ByteReader over bytes that are here already."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)

    async def read(self, limit: int) -> bytes:
        piece, self._data = bytes(self._data[:limit]), self._data[limit:]
        return piece


class _CountingWriter:
    """Knows whether anything was written."""

    def __init__(self, writer: ByteWriter) -> None:
        self._writer = writer
        self.begun = False

    async def write(self, data: bytes) -> None:
        self.begun = True
        await self._writer.write(data)


async def answer(
    op: OpContext, writer: ByteWriter, work: Callable[[ByteWriter], Awaitable[bool]]
) -> bool:
    """Run ``work`` and turn what it raises into git's own error packet, if nothing was written yet.

    Returns what ``work`` returns, or False when the client was told an error. Raises AnswerCut
    when the answer had begun, ClientGone.
    """
    counting = _CountingWriter(writer)
    try:
        return await work(counting)
    except (AnswerCut, ClientGone):
        raise
    except Exception as error:
        text = text_for(op, judge(op, error))
        if counting.begun:
            raise AnswerCut(text) from error
        await writer.write(encode(_ERROR + text.encode()))
        return False
