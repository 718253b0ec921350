"""Bounds what one SSH connection makes us hold in memory, in both directions.

This file, with connections.py, leans on names that asyncssh keeps private, so the project pins
its version exactly; a test fails when one of them vanishes.
"""

import asyncio
import re

import asyncssh
from asyncssh.packet import SSHPacket

from gitserve.streams import ClientGone

# asyncssh's own default: what a client may send ahead of us, per session.
RECEIVE_WINDOW_BYTES = 2 * 1024 * 1024
MAX_PACKET_BYTES = 32 * 1024
# What a reader holds at most, beside the window, before it asks the channel to wait.
READ_AHEAD_BYTES = 256 * 1024
_GIT_PROTOCOL = re.compile(rb"version=[012]")


class GitChannel(asyncssh.SSHServerChannel[bytes]):
    """A session's channel that keeps to its receive window and takes one variable, GIT_PROTOCOL."""

    def __init__(
        self, connection: asyncssh.SSHServerConnection, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(
            connection,
            loop,
            allow_pty=False,
            line_editor=False,
            line_echo=False,
            line_history=0,
            max_line_length=0,
            encoding=None,
            errors="strict",
            window=RECEIVE_WINDOW_BYTES,
            max_pktsize=MAX_PACKET_BYTES,
        )
        self.protocol_version = 0

    def _deliver_data(self, data: bytes, datatype: int | None) -> None:
        """Grant the client no new window while bytes it sent before still wait here.

        asyncssh grants the whole window anew with each piece it delivers, and so queues without
        bound when the reader is slower than the client: 246 MB were measured for a large push.
        """
        if not self._recv_buf:
            super()._deliver_data(data, datatype)
        elif self._session is not None:
            self._session.data_received(data, datatype)

    def process_connection_close(self, exc: Exception | None) -> None:
        """Hand over what has arrived, at most a window, before the session hears of the end.

        A push whose last bytes are here is complete, and is finished though its client vanished.
        """
        waiting, self._recv_buf = self._recv_buf, []
        for data, datatype in waiting:
            if self._session is not None:
                self._session.data_received(data, datatype)
        super().process_connection_close(exc)

    def _process_env_request(self, packet: SSHPacket) -> bool:
        """Refuse every variable but GIT_PROTOCOL with a version of git's protocol (no ``env``)."""
        name, value = packet.get_string(), packet.get_string()
        packet.check_end()
        if name != b"GIT_PROTOCOL" or not _GIT_PROTOCOL.fullmatch(value):
            return False
        self.protocol_version = int(value[-1:])
        return True


class ChannelReader:
    """A session's input as a ``ByteReader``; for one reading task."""

    def __init__(self, channel: asyncssh.SSHServerChannel[bytes]) -> None:
        self._channel = channel
        self._buffer = bytearray()
        self._changed = asyncio.Event()
        self._paused = False
        self._ended = False
        self._gone = False

    async def read(self, limit: int) -> bytes:
        """As ``ByteReader.read``. What arrived before the client left is still handed out."""
        while not self._buffer:
            if self._ended:
                return b""
            if self._gone:
                raise ClientGone("the client left")
            self._changed.clear()
            await self._changed.wait()
        data = bytes(self._buffer[:limit])
        del self._buffer[:limit]
        if self._paused and len(self._buffer) < READ_AHEAD_BYTES // 2:
            self._paused = False
            self._channel.resume_reading()
        return data

    def feed(self, data: bytes) -> None:
        self._buffer += data
        if not self._paused and len(self._buffer) >= READ_AHEAD_BYTES:
            self._paused = True
            self._channel.pause_reading()
        self._changed.set()

    def feed_eof(self) -> None:
        self._ended = True
        self._changed.set()

    def lose(self) -> None:
        self._gone = True
        self._changed.set()


class ChannelWriter:
    """A session's output as a ``ByteWriter``: each write waits until the client has caught up."""

    def __init__(
        self, channel: asyncssh.SSHServerChannel[bytes], connection_writable: asyncio.Event
    ) -> None:
        self._channel = channel
        self._connection_writable = connection_writable
        self._channel_writable = asyncio.Event()
        self._channel_writable.set()
        self._gone = False

    async def write(self, data: bytes) -> None:
        """As ``ByteWriter.write``."""
        if self._gone:
            raise ClientGone("the client left")
        try:
            self._channel.write(data)
        except OSError as error:
            raise ClientGone("the client left") from error
        # Two things can be full: the client's window for this session, and the connection below,
        # whose buffer a client with a huge window would otherwise make as large as a clone.
        while not self._gone:
            if not self._channel_writable.is_set():
                await self._channel_writable.wait()
            elif not self._connection_writable.is_set():
                await self._connection_writable.wait()
            else:
                return
        raise ClientGone("the client left")

    def pause(self) -> None:
        self._channel_writable.clear()

    def resume(self) -> None:
        self._channel_writable.set()

    def lose(self) -> None:
        self._gone = True
        self._channel_writable.set()
