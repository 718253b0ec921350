"""One SSH connection: admission, who signed, bounds, and the sessions on it.

asyncssh speaks the protocol. This adds what it leaves to its users: the identity comes from the
key that made the signature, never from one that was merely offered, and nothing but sessions is
granted. Some names used here are private to asyncssh; see flow_control.py.
"""

import asyncio
import dataclasses
from typing import cast

import asyncssh
from asyncssh.constants import MSG_IGNORE
from asyncssh.packet import PacketDecodeError, SSHPacket, SSHPacketLogger
from asyncssh.public_key import decode_ssh_public_key

from gitserve.errors import judge, text_for
from services.authentication import authenticate_ssh_key
from services.errors import ErrorCode
from services.runtime import Runtime
from sshd.admission import Admission
from sshd.algorithms import SIGNATURES
from sshd.flow_control import GitChannel
from sshd.sessions import Client, GitSession, new_operation
from sshd.settings import SSHSettings

USER = "git"
# A client that sends requests without reading the answers is cut off beyond this.
MAX_UNSENT_BYTES = 8 * 1024 * 1024
MAX_DEFERRED_PACKETS = 10_000
_SIGNATURES = frozenset(name.encode() for name in SIGNATURES)
SHUTTING_DOWN = "the server is shutting down; try again in a moment"
IDLE = "nothing was sent or received for too long"


@dataclasses.dataclass(slots=True)
class Reception:
    """What all connections of a process share."""

    runtime: Runtime
    settings: SSHSettings
    admission: Admission
    connections: "set[GitConnection]" = dataclasses.field(default_factory=set)
    running: dict[asyncio.Task[None], GitSession] = dataclasses.field(default_factory=dict)
    closing: bool = False


class GitConnection(asyncssh.SSHServerConnection):
    """``client`` is None until the connection has signed in."""

    def __init__(
        self,
        reception: Reception,
        loop: asyncio.AbstractEventLoop,
        options: asyncssh.SSHServerConnectionOptions,
    ) -> None:
        super().__init__(loop, options)
        self._reception = reception
        self._tcp: asyncio.Transport | None = None
        self._address = ""
        self._admitted = False
        self._attempts = 0
        self._proven_fingerprint: str | None = None
        self._offers_taken: set[str] = set()
        self._tcp_full = False
        self._exchanging_keys = False
        self._writable = asyncio.Event()
        self._writable.set()
        self.client: Client | None = None

    # The connection's life.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._tcp = cast(asyncio.Transport, transport)
        self._address = (transport.get_extra_info("peername") or ("",))[0]
        reception = self._reception
        refusal = SHUTTING_DOWN if reception.closing else reception.admission.refusal(self._address)
        super().connection_made(transport)
        if refusal is not None:
            self.disconnect(asyncssh.DISC_TOO_MANY_CONNECTIONS, refusal)
            return
        reception.admission.enter(self._address)
        reception.connections.add(self)
        self._admitted = True

    def ended(self) -> None:
        """The connection is over, however that came; called once."""
        self._writable.set()  # wakes those who wait; their sessions know that the client left
        if self._admitted:
            self._reception.connections.discard(self)
            self._reception.admission.leave(self._address, signed_in=self.client is not None)

    # Who signs in.

    async def reload_config(self) -> None:
        """There is no configuration file to look into again for each user name."""

    async def validate_public_key(
        self, username: str, key_data: bytes, msg: bytes, signature: bytes
    ) -> bool:
        """Whether the key may sign in (``msg`` empty: an offer) or has signed.

        Remembers the key only once its signature holds. asyncssh goes from here to the end of the
        sign-in without letting any other packet in between.
        """
        self._attempts += 1
        if self._attempts > self._reception.settings.ssh_max_auth_attempts:
            raise asyncssh.DisconnectError(
                asyncssh.DISC_NO_MORE_AUTH_METHODS_AVAILABLE,
                "too many keys were tried; choose one with IdentityFile and IdentitiesOnly",
            )
        if msg and _algorithm_of(signature) not in _SIGNATURES:
            return False
        accepted = await super().validate_public_key(username, key_data, msg, signature)
        if accepted and msg:
            self._proven_fingerprint = decode_ssh_public_key(key_data).get_fingerprint()
        return accepted

    async def is_known(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Whether the key belongs to somebody. Says nothing about who is there: keys are public.

        A suspended account's key is let in, to be told so once it has signed.
        """
        if username != USER:
            return False
        fingerprint = key.get_fingerprint()
        if fingerprint in self._offers_taken:
            return True  # each session looks again at what the key is worth
        op = new_operation(self._reception.runtime, self._address)
        try:
            await authenticate_ssh_key(op, fingerprint, proven=False)
        except Exception as error:
            shown = judge(op, error)
            if shown.code is ErrorCode.UNAUTHENTICATED:
                return False
            if shown.code is not ErrorCode.FORBIDDEN:
                raise asyncssh.DisconnectError(
                    asyncssh.DISC_SERVICE_NOT_AVAILABLE, text_for(op, shown)
                ) from error
        self._offers_taken.add(fingerprint)
        return True

    def sign_in(self) -> None:
        """Authentication is complete; from now on the identity is fixed."""
        if self._proven_fingerprint is None:
            raise asyncssh.DisconnectError(
                asyncssh.DISC_BY_APPLICATION, "no key has signed on this connection"
            )
        self.client = Client(self._proven_fingerprint, self._address, self._writable)
        self._reception.admission.sign_in(self._address)
        new_operation(self._reception.runtime, self._address).log.info(
            "ssh sign-in", fingerprint=self._proven_fingerprint, address=self._address
        )

    # What it may do then.

    def open_session(self) -> tuple[GitChannel, GitSession]:
        """Raises ChannelOpenError when there are too many sessions, or the server is closing."""
        client, reception = self.client, self._reception
        if client is None or reception.closing:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_RESOURCE_SHORTAGE, SHUTTING_DOWN)
        most = reception.settings.ssh_max_sessions_per_connection
        if len(client.sessions) >= most:
            raise asyncssh.ChannelOpenError(
                asyncssh.OPEN_RESOURCE_SHORTAGE,
                f"at most {most} commands may run at once on one connection",
            )
        channel = GitChannel(self, asyncio.get_running_loop())
        return channel, GitSession(
            reception.runtime, reception.settings, client, channel, reception.running
        )

    # Bounds.

    def pause_writing(self) -> None:
        self._tcp_full = True
        self._judge_writable()

    def resume_writing(self) -> None:
        self._tcp_full = False
        self._judge_writable()

    def send_packet(
        self, pkttype: int, *args: bytes, handler: SSHPacketLogger | None = None
    ) -> None:
        """Without the empty packet that asyncssh puts before each other one.

        It hides the last block of a CBC cipher (RFC 4251, 9.3.1). None is offered here, and every
        other packet of a clone would be such a one.
        """
        if pkttype != MSG_IGNORE:
            super().send_packet(pkttype, *args, handler=handler)

    def _send_kexinit(self) -> None:
        """While keys are exchanged anew, asyncssh queues without bound what it may not yet send."""
        self._exchanging_keys = True
        self._judge_writable()
        super()._send_kexinit()

    def _send_deferred_packets(self) -> None:
        super()._send_deferred_packets()
        self._exchanging_keys = False
        self._judge_writable()

    def _judge_writable(self) -> None:
        if self._tcp_full or self._exchanging_keys:
            self._writable.clear()
        else:
            self._writable.set()

    def data_received(self, data: bytes, datatype: int | None = None) -> None:
        super().data_received(data, datatype)
        unsent = self._tcp.get_write_buffer_size() if self._tcp is not None else 0
        if unsent > MAX_UNSENT_BYTES or len(self._deferred_packets) > MAX_DEFERRED_PACKETS:
            self.abort()


class Callbacks(asyncssh.SSHServer):
    """What asyncssh asks of an application. What is not here, it refuses: passwords, forwarding."""

    _connection: GitConnection

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        assert isinstance(conn, GitConnection)
        self._connection = conn

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.ended()

    def begin_auth(self, username: str) -> bool:
        return True  # False would mean that nobody needs to prove anything

    def public_key_auth_supported(self) -> bool:
        return True

    async def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return await self._connection.is_known(username, key)

    def auth_completed(self) -> None:
        self._connection.sign_in()

    def session_requested(self) -> tuple[GitChannel, GitSession]:
        return self._connection.open_session()


def _algorithm_of(signature: bytes) -> bytes:
    try:
        return SSHPacket(signature).get_string()
    except PacketDecodeError:
        return b""
