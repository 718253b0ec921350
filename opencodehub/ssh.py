"""``och sshd``: the SSH server as a process."""

import asyncio
import signal
from collections.abc import Callable

from opencodehub import wiring
from opencodehub.processes import cannot_listen, shown_address
from opencodehub.settings import ConfigurationError, Settings
from sshd import server
from sshd.host_keys import HostKeysUnusable


async def run_sshd(settings: Settings, ready: Callable[..., None]) -> None:
    """Serve until SIGTERM or SIGINT, then let running commands finish for the drain time.

    ``ready`` is called with the address once the server listens. Raises CannotListen,
    ConfigurationError, MigrationsPending, DatabaseUnavailable, StorageUnavailable.
    """
    await wiring.require_migrated(settings)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with wiring.open_runtime(settings) as runtime:
        try:
            door = await server.start(runtime, settings)
        except HostKeysUnusable as error:
            raise ConfigurationError([f"SSH host keys: {error}"]) from error
        except OSError as error:
            raise cannot_listen(
                error, settings.ssh_host, settings.ssh_port, flag="--ssh-port"
            ) from error
        ready(address=f"ssh://git@{shown_address(settings.ssh_host, door.port)}")
        await stop.wait()
        await door.close(settings.drain_seconds)
