"""Who gets in, as whom, and what they are told: with the real OpenSSH client."""

from tests.e2e.ssh.conftest import World
from tests.support.ssh import OpenSSH

GREETING = (
    "Hi Ann! You've successfully authenticated, but OpenCodeHub does not provide shell access.\n"
)


async def test_a_known_key_is_greeted_by_login(openssh: OpenSSH, world: World) -> None:
    done = await openssh.ssh("-T", identity=world.ann)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", GREETING)
