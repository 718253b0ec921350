"""Starting and stopping the SSH server."""

import asyncio
import time

import asyncssh

from services.errors import Unavailable
from services.runtime import Runtime
from sshd import algorithms
from sshd.admission import Admission
from sshd.connections import IDLE, SHUTTING_DOWN, Callbacks, GitConnection, Reception
from sshd.host_keys import load_host_keys
from sshd.settings import SSHSettings

SOFTWARE_VERSION = "OpenCodeHub"
# A crowd that connects at once must not keep others from being accepted.
BACKLOG = 1024
# After the last command has ended: how long clients may take to read it and hang up, in seconds.
HANG_UP_SECONDS = 1.0


class SSHDoor:
    """A listening SSH server. ``port`` is the real one where the settings said 0."""

    def __init__(self, listener: asyncio.Server, reception: Reception) -> None:
        self.port: int = listener.sockets[0].getsockname()[1]
        self._listener = listener
        self._reception = reception
        self._idle_watch = asyncio.create_task(_close_idle(reception))

    async def close(self, drain_seconds: float) -> None:
        """Stop accepting, let running commands finish for ``drain_seconds``, end the others.

        A push whose input is complete by then is still carried out.
        """
        reception = self._reception
        reception.closing = True
        self._listener.close()
        self._idle_watch.cancel()
        await asyncio.gather(self._idle_watch, return_exceptions=True)
        for connection in list(reception.connections):
            if connection.client is None or not connection.client.sessions:
                connection.disconnect(asyncssh.DISC_BY_APPLICATION, SHUTTING_DOWN)
        if reception.running and drain_seconds > 0:
            await asyncio.wait(list(reception.running), timeout=drain_seconds)
        for session in list(reception.running.values()):
            session.end(Unavailable(SHUTTING_DOWN))
        await asyncio.gather(*reception.running, return_exceptions=True)
        await self._hang_up()
        await self._listener.wait_closed()

    async def _hang_up(self) -> None:
        closings = [
            asyncio.create_task(connection.wait_closed())
            for connection in self._reception.connections
        ]
        if closings:
            await asyncio.wait(closings, timeout=HANG_UP_SECONDS)
            for connection in list(self._reception.connections):
                connection.disconnect(asyncssh.DISC_BY_APPLICATION, SHUTTING_DOWN)
            await asyncio.gather(*closings)


async def start(runtime: Runtime, settings: SSHSettings) -> SSHDoor:
    """Listen. Raises HostKeysUnusable, StorageUnavailable, and OSError when the port is taken."""
    host_keys = await load_host_keys(
        runtime.object_store,
        runtime.settings.secret_key.get_secret_value(),
        settings.ssh_host_keys.get_secret_value(),
    )
    # asyncssh would log each command and peer; what an operator needs, this package logs.
    asyncssh.set_log_level("WARNING")
    options = await _options(settings, host_keys)
    reception = Reception(runtime, settings, Admission(settings))
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(
        lambda: GitConnection(reception, loop, options),
        settings.ssh_host,
        settings.ssh_port,
        backlog=BACKLOG,
    )
    return SSHDoor(listener, reception)


async def _options(
    settings: SSHSettings, host_keys: list[asyncssh.SSHKey]
) -> asyncssh.SSHServerConnectionOptions:
    options: asyncssh.SSHServerConnectionOptions
    options = await asyncssh.SSHServerConnectionOptions.construct(
        config=None,
        server_factory=Callbacks,
        server_version=SOFTWARE_VERSION,
        # asyncssh wants one here; the pairs to sign with are set below.
        server_host_keys=host_keys[:1],
        kex_algs=algorithms.supported_key_exchanges(),
        encryption_algs=list(algorithms.CIPHERS),
        mac_algs=list(algorithms.MACS),
        compression_algs=list(algorithms.COMPRESSIONS),
        signature_algs=list(algorithms.SIGNATURES),
        login_timeout=settings.ssh_login_grace_seconds,
        keepalive_interval=settings.ssh_keepalive_seconds,
        keepalive_count_max=settings.ssh_keepalive_count,
        tcp_keepalive=True,
        public_key_auth=True,
        password_auth=False,
        kbdint_auth=False,
        host_based_auth=False,
        authorized_client_keys=None,
        gss_host=None,
        gss_kex=False,
        gss_auth=False,
        allow_pty=False,
        agent_forwarding=False,
        x11_forwarding=False,
        allow_scp=False,
        sftp_factory=None,
        line_editor=False,
        encoding=None,
        rdns_lookup=False,
    )
    options.server_host_keys = algorithms.host_key_pairs(host_keys)
    return options


async def _close_idle(reception: Reception) -> None:
    limit = reception.settings.ssh_idle_seconds
    while True:
        await asyncio.sleep(min(limit / 4, 15))
        deadline = time.monotonic() - limit
        for connection in list(reception.connections):
            if connection.client is not None and connection.client.last_active < deadline:
                connection.disconnect(asyncssh.DISC_BY_APPLICATION, IDLE)
