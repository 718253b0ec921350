"""The SSH door: nobody is anybody before the signature is right, and little is done for anybody."""

import asyncio
import contextlib
import shutil
import socket
import subprocess
from pathlib import Path

import asyncssh
import pytest
from asyncssh.packet import String, UInt32

from tests.support.git import CLEAN_ENVIRONMENT
from tests.support.hostile_world import SECRET, World
from tests.support.hub import running_hub
from tests.support.raw_git import SSHDoor

TAIL = "! You've successfully authenticated, but OpenCodeHub does not provide shell access.\n"
DENIED = "git@127.0.0.1: Permission denied (publickey).\n"
# A loopback address of the attacker's own: the honest client comes from 127.0.0.1.
ATTACKER = "127.0.0.2"
SOCKETS = 500
ADMITTED = 20
# A minute of them: patience, not a measure.
DRIPS = 300
FULL = b"too many connections from your address are signing in; try again in a moment"


def ssh_told(world: World, *arguments: str, user: str = "git") -> tuple[int, str]:
    """Exit status and last line of a session that asks for nothing."""
    done = subprocess.run(
        ["ssh", *arguments, "-p", str(world.hub.ssh_port), "-T", f"{user}@127.0.0.1"],
        env=CLEAN_ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, (done.stderr.replace("\r", "").splitlines(keepends=True) or [""])[-1]


def test_a_key_that_is_only_offered(world: World, ssh: SSHDoor, tmp_path: Path) -> None:
    """CVE-2026-24058, CVE-2024-45337: Ann's public key is offered, Mallory's signs."""
    shutil.copy(f"{world.ann.key}.pub", tmp_path / "offered.pub")
    arguments = ["-i", str(tmp_path / "offered"), *ssh.options(world.mallory.key)]
    assert ssh_told(world, *arguments) == (1, f"Hi hostile-mallory{TAIL}")
    answer = ssh.run(
        f"git-upload-pack '{SECRET}.git'", world.mallory, b"", "-i", str(tmp_path / "offered")
    )
    assert (answer.status, answer.body) == (1, b"")
    assert "repository not found" in answer.told


@pytest.mark.parametrize("user", ["root", "hostile-ann", "Git", "gi"])
def test_other_users(world: World, ssh: SSHDoor, user: str) -> None:
    """CVE-2018-15473: no user name but ``git`` exists, and none is told from another."""
    status, line = ssh_told(world, *ssh.options(world.mallory.key), user=user)
    assert (status, line) == (255, DENIED.replace("git@", f"{user}@"))


@pytest.mark.parametrize("method", ["none", "password", "keyboard-interactive", "hostbased"])
def test_other_ways_to_sign_in(world: World, ssh: SSHDoor, method: str) -> None:
    """CVE-2023-43809: keyboard-interactive and the rest are not even offered."""
    arguments = [*ssh.options(world.mallory.key), "-o", f"PreferredAuthentications={method}"]
    assert ssh_told(world, *arguments) == (255, DENIED)


@pytest.mark.parametrize(
    "option",
    [
        "Ciphers=chacha20-poly1305@openssh.com",
        "Ciphers=aes128-cbc",
        "KexAlgorithms=diffie-hellman-group14-sha1",
        "HostKeyAlgorithms=ssh-rsa",
        "MACs=hmac-sha1",
    ],
)
def test_weak_algorithms(world: World, ssh: SSHDoor, option: str) -> None:
    """CVE-2023-48795, GHSA-3m6q-h5gj-7mrw: what is weak is not spoken."""
    options = [each for each in ssh.options(world.mallory.key) if each != "LogLevel=ERROR"]
    options[options.index("BatchMode=yes") + 1 : options.index("BatchMode=yes") + 2] = []
    # A GCM cipher has no MAC to agree on.
    cipher = ["-o", "Ciphers=aes128-ctr"] if option.startswith("MACs") else []
    status, line = ssh_told(world, *options, *cipher, "-o", option)
    assert status == 255
    assert "no matching" in line


def test_strict_key_exchange(world: World, ssh: SSHDoor) -> None:
    """CVE-2023-48795: the server speaks strict key exchange."""
    done = subprocess.run(
        [
            *("ssh", *ssh.options(world.mallory.key), "-vv", "-o", "LogLevel=DEBUG2"),
            *("-p", str(world.hub.ssh_port), "-T", "git@127.0.0.1"),
        ],
        env=CLEAN_ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "kex-strict-s-v00@openssh.com" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["-W", "127.0.0.1:22"],
        ["-N", "-L", "127.0.0.1:0:127.0.0.1:22", "-O", "check"],
        ["-N", "-R", "0:127.0.0.1:1", "-o", "ExitOnForwardFailure=yes"],
        ["-s", "sftp"],
    ],
    ids=["stdio", "master", "remote", "sftp"],
)
def test_tunnels_and_subsystems(world: World, ssh: SSHDoor, arguments: list[str]) -> None:
    """CVE-2026-54591: no forwarding, no sftp, no scp."""
    words = [each for each in arguments if each != "sftp"]
    done = subprocess.run(
        [
            *("ssh", *ssh.options(world.mallory.key), *words),
            *("-p", str(world.hub.ssh_port), "git@127.0.0.1"),
            *(["sftp"] if "sftp" in arguments else []),
        ],
        env=CLEAN_ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (255, b"")


async def test_a_command_before_the_sign_in(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """CVE-2018-7749, CVE-2018-10933, CVE-2025-32433: the connection ends there and then."""
    original = asyncssh.auth._ClientPublicKeyAuth._start

    async def too_early(self: asyncssh.auth.ClientAuth) -> None:
        connection = self._conn
        connection._auth_complete = True  # the client's own check, not the server's
        connection.send_packet(
            asyncssh.connection.MSG_CHANNEL_OPEN,
            String("session"),
            UInt32(0),
            UInt32(65536),
            UInt32(32768),
        )
        connection._auth_complete = False
        await original(self)

    monkeypatch.setattr(asyncssh.auth._ClientPublicKeyAuth, "_start", too_early)
    # The server hangs up while the client still writes, so its words may be lost on the way.
    with pytest.raises((asyncssh.ProtocolError, asyncssh.ConnectionLost, OSError)) as caught:
        await asyncssh.connect(
            "127.0.0.1",
            world.hub.ssh_port,
            username="git",
            client_keys=[str(world.mallory.key)],
            known_hosts=None,
            config=None,
            agent_path=None,
        )
    if isinstance(caught.value, asyncssh.ProtocolError):
        assert caught.value.reason == "Invalid request before authentication was complete"


async def test_many_sockets_that_say_nothing(world: World, ssh: SSHDoor) -> None:
    """CVE-2026-52814, CVE-2025-22869, CVE-2024-6387: 500 of them do not keep Ann out.

    One address has a few connections that have not signed in; the others are told and closed. (Many
    addresses together can fill the places there are, for the 20 seconds each has to sign in.)
    """
    waiting: set[asyncio.Task[bytes]] = set()
    opened = await asyncio.gather(
        *(
            asyncio.open_connection(
                "127.0.0.1", world.hub.ssh_port, local_addr=(ATTACKER, 0), family=socket.AF_INET
            )
            for _ in range(SOCKETS)
        )
    )
    try:
        banners = await asyncio.gather(*(reader.readline() for reader, _ in opened))
        assert set(banners) == {b"SSH-2.0-OpenCodeHub\r\n"}
        answer = await asyncio.to_thread(ssh.advertise, "upload-pack", SECRET, world.ann, version=2)
        assert (answer.status, answer.told) == (0, "")
        assert b"version 2" in answer.body
        # Who was refused reads why; who was admitted is still waited for.
        waiting = {asyncio.create_task(farewell(reader)) for reader, _ in opened}
        told = set()
        while len(waiting) > ADMITTED:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            told |= {task.result() for task in done}
        assert told <= {FULL, b""}
        assert FULL in told
    finally:
        for _, writer in opened:
            writer.close()
        await asyncio.gather(*waiting)


async def farewell(reader: asyncio.StreamReader) -> bytes:
    """Why the server hung up, or nothing if the reset came before the words could be read."""
    with contextlib.suppress(ConnectionResetError):
        return FULL if FULL in await reader.read() else b""
    return b""


def test_a_dripped_banner_is_cut(tmp_path: Path) -> None:
    """Each byte is progress, yet none of it puts the end off."""
    with (
        running_hub(tmp_path / "hub", OCH_SSH_LOGIN_GRACE_SECONDS="2") as hub,
        socket.create_connection(("127.0.0.1", hub.ssh_port)) as client,
    ):
        client.settimeout(0.2)
        received = b""
        for _ in range(DRIPS):
            try:
                client.sendall(b"S")
                if not (piece := client.recv(4096)):
                    break
                received += piece
            except TimeoutError:
                continue
            except (ConnectionResetError, BrokenPipeError):
                break
        else:
            pytest.fail("the connection stayed open")
        assert received.startswith(b"SSH-2.0-")
