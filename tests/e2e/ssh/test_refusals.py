"""What an authenticated client asks for in vain: everything but three git commands."""

import asyncio
import os
from pathlib import Path

import asyncssh
import pytest
from asyncssh.packet import String

from sshd.commands import BAD_PATH, NOT_A_GIT_COMMAND
from sshd.server import SSHDoor
from tests.e2e.ssh.conftest import StartServer, World, add_key, client_of
from tests.support.ssh import OpenSSH, generate_key

NOT_FOUND = "repository not found"


async def refusal(openssh: OpenSSH, command: str, identity: Path) -> str:
    """The one line a refused command is told, without ERROR and the request id."""
    done = await openssh.ssh(command, identity=identity)
    assert (done.returncode, done.stdout) == (1, b"")
    begin, message, end = done.stderr.partition(" (request ")[0], done.stderr, "\n"
    assert message.startswith("ERROR: ")
    assert message.endswith(end)
    assert message.count("\n") == 1
    return begin.removeprefix("ERROR: ")


async def test_a_terminal(openssh: OpenSSH, world: World) -> None:
    """At a terminal ssh asks for another one on the server; without it, it goes on."""
    ours, theirs = os.openpty()
    process = await asyncio.create_subprocess_exec(
        "ssh",
        *openssh.options(world.ann, LogLevel="INFO"),
        "-p",
        str(openssh.port),
        "git@127.0.0.1",
        stdin=theirs,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=openssh.environment | {"TERM": "xterm"},
    )
    stdout, stderr = await process.communicate()
    os.close(ours)
    os.close(theirs)
    assert (process.returncode, stdout) == (1, b"")
    told = stderr.decode().splitlines()
    assert told[-3:-1] == [
        "PTY allocation request failed on channel 0",
        "Hi Ann! You've successfully authenticated, but OpenCodeHub does not provide shell access.",
    ]


@pytest.mark.parametrize(
    "command",
    ["ls", "sh", "git", "git-upload-pack ann/demo.git", "scp -t /tmp", "git-upload-pack 'x'; id"],
)
async def test_other_commands(openssh: OpenSSH, world: World, command: str) -> None:
    assert await refusal(openssh, command, world.ann) == NOT_A_GIT_COMMAND


async def test_paths_with_control_characters_or_dashes(openssh: OpenSSH, world: World) -> None:
    assert await refusal(openssh, "git-upload-pack '\x1b[31m/x'", world.ann) == BAD_PATH
    assert await refusal(openssh, "git-upload-pack '--help'", world.ann) == BAD_PATH


@pytest.mark.parametrize("service", ["upload-pack", "receive-pack", "upload-archive"])
@pytest.mark.parametrize(
    "path",
    ["ann/secret.git", "ann/missing.git", "nobody/demo.git", "demo", "a/b/c", "../ann/demo"],
)
async def test_missing_and_private_repositories_look_alike(
    openssh: OpenSSH, world: World, service: str, path: str
) -> None:
    assert await refusal(openssh, f"git-{service} '{path}'", world.bob) == NOT_FOUND


async def test_git_shows_the_error(openssh: OpenSSH, world: World) -> None:
    done = await openssh.git("ls-remote", openssh.url("ann/secret.git"), identity=world.bob)
    assert done.returncode == 128
    assert done.stderr.startswith("ERROR: repository not found (request ")


async def test_pushing_without_the_right(openssh: OpenSSH, world: World) -> None:
    told = await refusal(openssh, "git-receive-pack 'ann/demo.git'", world.bob)
    assert told != NOT_FOUND


async def test_a_deploy_key_reaches_its_repository_alone(
    openssh: OpenSSH, world: World, tmp_path: Path
) -> None:
    key = generate_key(tmp_path / "key")
    await add_key(world.runtime.database, key, repository_id=world.public_id, read_only=True)
    deploy = tmp_path / "key"
    done = await openssh.git("ls-remote", openssh.url("ann/demo.git"), identity=deploy)
    assert (done.returncode, done.stderr) == (0, "")
    assert await refusal(openssh, "git-upload-pack 'ann/secret.git'", deploy) == NOT_FOUND
    assert await refusal(openssh, "git-receive-pack 'ann/demo.git'", deploy) != NOT_FOUND


@pytest.mark.parametrize("subsystem", ["sftp", "netconf", ""])
async def test_subsystems(openssh: OpenSSH, world: World, subsystem: str) -> None:
    done = await openssh.ssh(subsystem or "x", identity=world.ann, arguments=("-s",))
    assert done.returncode == 255
    assert "subsystem request failed on channel 0" in done.stderr


@pytest.fixture
async def raw(server: SSHDoor, world: World) -> asyncssh.SSHClientConnection:
    connection = await asyncssh.connect(
        "127.0.0.1",
        server.port,
        username="git",
        client_keys=[str(world.ann)],
        known_hosts=None,
        config=None,
        agent_path=None,
    )
    yield connection
    connection.close()
    await connection.wait_closed()


async def test_local_forwarding(raw: asyncssh.SSHClientConnection, server: SSHDoor) -> None:
    with pytest.raises(asyncssh.ChannelOpenError):
        await raw.open_connection("127.0.0.1", server.port)
    with pytest.raises(asyncssh.ChannelOpenError):
        await raw.open_unix_connection("/run/x.sock")


async def test_remote_forwarding(raw: asyncssh.SSHClientConnection) -> None:
    with pytest.raises(asyncssh.ChannelListenError):
        await raw.start_server(lambda *_: None, "127.0.0.1", 0)
    with pytest.raises(asyncssh.ChannelListenError):
        await raw.start_unix_server(lambda *_: None, "/tmp/och-x.sock")


async def test_tunnels(raw: asyncssh.SSHClientConnection) -> None:
    with pytest.raises(asyncssh.ChannelOpenError):
        await raw.open_tun()


async def test_forwarding_with_openssh(openssh: OpenSSH, server: SSHDoor, world: World) -> None:
    done = await openssh.ssh(identity=world.ann, arguments=("-W", f"127.0.0.1:{server.port}"))
    assert done.returncode == 255
    assert "stdio forwarding failed" in done.stderr
    done = await openssh.ssh(
        identity=world.ann,
        arguments=("-N", "-R", "0:127.0.0.1:1"),
        ExitOnForwardFailure="yes",
    )
    assert done.returncode == 255
    assert "remote port forwarding failed for listen port 0" in done.stderr


def open_channel(raw: asyncssh.SSHClientConnection) -> asyncssh.channel.SSHChannel[bytes]:
    """A channel on which a test makes its own requests."""
    loop = asyncio.get_running_loop()
    return asyncssh.channel.SSHChannel(raw, loop, None, "strict", 65536, 32768)


async def ask(raw: asyncssh.SSHClientConnection, request: bytes, *arguments: bytes) -> bool:
    """Whether the server grants a session request."""
    channel = open_channel(raw)
    await channel._open(b"session")
    try:
        return bool(await channel._make_request(request, *arguments))
    finally:
        channel.abort()


@pytest.mark.parametrize(
    ("name", "value", "granted"),
    [
        (b"GIT_PROTOCOL", b"version=0", True),
        (b"GIT_PROTOCOL", b"version=1", True),
        (b"GIT_PROTOCOL", b"version=2", True),
        (b"GIT_PROTOCOL", b"version=3", False),
        (b"GIT_PROTOCOL", b"version=2\n", False),
        (b"GIT_PROTOCOL", b"version=2:x=1", False),
        (b"GIT_PROTOCOL", b"version=10", False),
        (b"GIT_PROTOCOL", b"", False),
        (b"git_protocol", b"version=2", False),
        (b"GIT_SSH_COMMAND", b"id", False),
        (b"GIT_CONFIG_COUNT", b"1", False),
        (b"LD_PRELOAD", b"/tmp/x.so", False),
        (b"PATH", b"/tmp", False),
        (b"LANG", b"C", False),
        (b"--help", b"", False),
    ],
)
async def test_environment(
    raw: asyncssh.SSHClientConnection, name: bytes, value: bytes, granted: bool
) -> None:
    assert await ask(raw, b"env", String(name), String(value)) is granted


@pytest.mark.parametrize(
    ("request_name", "arguments"),
    [
        (b"auth-agent-req@openssh.com", []),
        (
            b"x11-req",
            [b"\0", String(b"MIT-MAGIC-COOKIE-1"), String(b"00"), b"\0\0\0\0"],
        ),
        (
            b"pty-req",
            [String(b"xterm"), b"\0\0\0\x50\0\0\0\x18\0\0\0\0\0\0\0\0", String(b"\0")],
        ),
        (b"break", [b"\0\0\0\0"]),
        (b"no-such-request@example.com", []),
    ],
    ids=lambda value: value.decode() if isinstance(value, bytes) else "",
)
async def test_other_requests(
    raw: asyncssh.SSHClientConnection, request_name: bytes, arguments: list[bytes]
) -> None:
    assert await ask(raw, request_name, *arguments) is False


async def test_a_variable_does_reach_git(openssh: OpenSSH, world: World) -> None:
    """The wrong ones are ignored, so that the oldest protocol is spoken."""
    for value, begins in {
        "version=2": b"000eversion 2\n",
        "version=1": b"000eversion 1\n",
        "version=3": b"00",
    }.items():
        done = await openssh.ssh(
            "git-upload-pack 'ann/demo.git'",
            identity=world.ann,
            stdin=b"0000",
            SetEnv=f"GIT_PROTOCOL={value}",
        )
        assert done.returncode == 0
        assert done.stdout.startswith(begins)
        assert (b"version" in done.stdout[:20]) is (value != "version=3")


async def test_one_command_per_session(raw: asyncssh.SSHClientConnection) -> None:
    channel = open_channel(raw)
    await channel._open(b"session")
    command = String(b"git-upload-pack 'ann/demo.git'")
    assert await channel._make_request(b"exec", command) is True
    assert await channel._make_request(b"exec", command) is False
    assert await channel._make_request(b"shell") is False
    channel.abort()


async def test_sessions_per_connection(
    start_server: StartServer, world: World, tmp_path: Path
) -> None:
    openssh = client_of(await start_server(ssh_max_sessions_per_connection=1), tmp_path)
    control = tmp_path / "control"
    async with openssh.start(
        "git-upload-pack 'ann/demo.git'",
        identity=world.ann,
        arguments=("-M",),
        ControlPath=str(control),
    ) as master:
        assert master.stdout is not None
        assert await master.stdout.read(4)
        second = await openssh.ssh(identity=world.ann, ControlPath=str(control))
        # OpenSSH then falls back to a connection of its own.
        assert "session request failed: Session open refused by peer" in second.stderr
