"""What one client, signed in or not, can take from the server: connections, time, memory."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh
import pytest
from asyncssh.packet import Boolean, String, UInt32

from gitserve.streams import ByteReader, ByteWriter
from sshd import commands, connections
from sshd.server import SSHDoor
from tests.e2e.ssh.conftest import StartServer, World, client_of
from tests.support.ssh import OpenSSH

MIB = 1024 * 1024
BANNER = b"SSH-2.0-OpenCodeHub\r\n"


@contextlib.asynccontextmanager
async def plain_connection(
    server: SSHDoor,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def farewell(reader: asyncio.StreamReader) -> str | None:
    """Why the server hangs up, from its disconnect message before any encryption."""
    with contextlib.suppress(ConnectionResetError):
        data = (await reader.read()).removeprefix(BANNER)
        while data:
            length, _, kind = struct.unpack_from(">IBB", data)
            if kind == 1:
                (size,) = struct.unpack_from(">I", data, 10)
                return data[14 : 14 + size].decode()
            data = data[4 + length :]
    return None


async def still_serves(openssh: OpenSSH, world: World) -> bool:
    return (await openssh.ssh(identity=world.ann)).stderr.startswith("Hi Ann!")


# Connections and time.


async def test_a_client_that_never_signs_in_is_cut_off(
    start_server: StartServer,
) -> None:
    server = await start_server(ssh_login_grace_seconds=1)
    async with plain_connection(server) as (reader, _):
        assert await reader.readline() == BANNER
        assert await reader.read() == b""


async def test_a_client_that_stops_during_the_handshake_is_cut_off(
    start_server: StartServer,
) -> None:
    server = await start_server(ssh_login_grace_seconds=1)
    async with plain_connection(server) as (reader, writer):
        writer.write(b"SSH-2.0-slow\r\n")
        assert await reader.readline() == BANNER
        assert (await reader.read())[5:6] == b"\x14"  # its offer of algorithms, then the end


async def test_connections_per_address_before_sign_in(
    start_server: StartServer, world: World, tmp_path: Path
) -> None:
    server = await start_server(ssh_max_unauthenticated_per_address=2)
    openssh = client_of(server, tmp_path)
    async with plain_connection(server) as (first, _), plain_connection(server) as (second, _):
        assert await first.readline() == await second.readline() == BANNER
        async with plain_connection(server) as (third, _):
            assert (
                await farewell(third)
                == "too many connections from your address are signing in; try again in a moment"
            )
    async with plain_connection(server) as (again, _):
        assert await again.readline() == BANNER
        assert await still_serves(openssh, world)


async def test_all_connections_before_sign_in(start_server: StartServer) -> None:
    server = await start_server(ssh_max_unauthenticated=1)
    async with plain_connection(server) as (first, _):
        assert await first.readline() == BANNER
        async with plain_connection(server) as (second, _):
            assert (
                await farewell(second) == "too many clients are signing in; try again in a moment"
            )


async def test_signed_in_connections_do_not_count_as_strangers(
    start_server: StartServer, world: World, tmp_path: Path
) -> None:
    server = await start_server(ssh_max_unauthenticated=1, ssh_max_connections=2)
    openssh = client_of(server, tmp_path)
    async with openssh.start("git-upload-pack 'ann/demo.git'", identity=world.ann) as running:
        assert running.stdout is not None
        assert await running.stdout.read(4)
        assert await still_serves(openssh, world)
        async with (
            plain_connection(server) as (second, _),
            plain_connection(server) as (third, _),
        ):
            assert await second.readline() == BANNER
            assert (
                await farewell(third)
                == "too many connections to this server; try again in a moment"
            )


async def test_an_idle_connection_is_closed(
    start_server: StartServer, world: World, tmp_path: Path
) -> None:
    openssh = client_of(await start_server(ssh_idle_seconds=1), tmp_path)
    async with openssh.start(identity=world.ann, arguments=("-N",)) as idle:
        assert idle.stderr is not None
        assert b"nothing was sent or received for too long" in await idle.stderr.read()
        assert await idle.wait() == 255


async def test_a_client_that_does_not_answer_is_given_up(
    start_server: StartServer, world: World
) -> None:
    server = await start_server(ssh_keepalive_seconds=1, ssh_keepalive_count=1)
    connection = await sign_in(server, world)
    # As a machine that lost its network: the connection stays, nothing comes.
    connection.data_received = lambda *_: None  # type: ignore[method-assign]
    await connection.wait_closed()


# Malformed input.


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\0" * 100,
        b"SSH-1.5-old\r\n",
        b"x" * 100_000,
        b"SSH-2.0-" + b"x" * 300 + b"\r\n",
        b"SSH-2.0-x\r\n" + b"\xff" * 64,
        b"SSH-2.0-x\r\n" + struct.pack(">IBB", 12, 4, 20) + b"\0" * 10,
        b"SSH-2.0-x\r\n" + struct.pack(">IBB", 2**31, 4, 20),
        b"SSH-2.0-x\r\n" + struct.pack(">IBB", 12, 4, 90) + b"\0" * 10,
        b"SSH-2.0-\xff\xfe\r\n",
    ],
    ids=[
        "http",
        "zeros",
        "version 1",
        "endless line",
        "long version",
        "noise",
        "short kexinit",
        "huge packet",
        "channel before keys",
        "version that is not text",
    ],
)
async def test_malformed_input_ends_its_connection_only(
    start_server: StartServer, world: World, tmp_path: Path, sent: bytes
) -> None:
    server = await start_server(ssh_login_grace_seconds=2)
    async with plain_connection(server) as (reader, writer):
        writer.write(sent)
        with contextlib.suppress(ConnectionResetError):
            await reader.read()
    assert await still_serves(client_of(server, tmp_path), world)


async def sign_in(server: SSHDoor, world: World, **options: object) -> asyncssh.SSHClientConnection:
    return await asyncssh.connect(
        "127.0.0.1",
        server.port,
        username="git",
        client_keys=[str(world.ann)],
        known_hosts=None,
        config=None,
        agent_path=None,
        **options,
    )


async def test_a_command_before_the_sign_in_is_never_run(
    server: SSHDoor, openssh: OpenSSH, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    with pytest.raises(
        asyncssh.ProtocolError, match="Invalid request before authentication was complete"
    ):
        await sign_in(server, world)
    monkeypatch.undo()
    assert await still_serves(openssh, world)


@pytest.mark.parametrize("request_name", [b"no-such-request", b"\xff"])
async def test_unknown_global_requests(
    server: SSHDoor, openssh: OpenSSH, world: World, request_name: bytes
) -> None:
    connection = await sign_in(server, world)
    connection.send_packet(
        asyncssh.connection.MSG_GLOBAL_REQUEST, String(request_name), Boolean(False)
    )
    if request_name == b"\xff":
        await connection.wait_closed()
    else:
        done = await connection.run()
        assert str(done.stderr).startswith("Hi Ann!")
        connection.close()
        await connection.wait_closed()
    assert await still_serves(openssh, world)


# Memory.


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


class Work:
    """Stands in for a git command, so that a test decides how fast it reads and writes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.started: asyncio.Future[tuple[ByteReader, ByteWriter]]
        self.started = asyncio.get_running_loop().create_future()
        self.may_end = asyncio.Event()
        monkeypatch.setattr(commands, "run", self._run)

    async def _run(
        self,
        op: object,
        service: object,
        repository: object,
        reader: ByteReader,
        writer: ByteWriter,
        *,
        version: int,
    ) -> bool:
        self.started.set_result((reader, writer))
        await self.may_end.wait()
        return True


async def test_a_slow_reader_does_not_fill_memory(
    openssh: OpenSSH, world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """200 MB against a reader that stalls, then reads slowly, then fast; every byte arrives."""
    work = Work(monkeypatch)
    source = tmp_path / "200MB"
    with source.open("wb") as file:
        file.truncate(200 * MIB)
    with source.open("rb") as file:
        process = await asyncio.create_subprocess_exec(
            "ssh",
            *openssh.options(world.ann),
            "-p",
            str(openssh.port),
            "git@127.0.0.1",
            "git-receive-pack 'ann/demo.git'",
            stdin=file,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=openssh.environment,
        )
    reader, _ = await work.started
    before = most = resident_bytes()
    for _ in range(20):
        await asyncio.sleep(0.05)
        most = max(most, resident_bytes())
    total = 0
    for count in range(1000):
        piece = await reader.read(32 * 1024)
        total += len(piece)
        if count % 10 == 0:
            await asyncio.sleep(0.01)
            most = max(most, resident_bytes())
    while piece := await reader.read(256 * 1024):
        total += len(piece)
    most = max(most, resident_bytes())
    work.may_end.set()
    await process.communicate()
    assert process.returncode == 0
    assert total == 200 * MIB
    assert most - before < 16 * MIB


async def written_until_stuck(writer: ByteWriter) -> int:
    """How much a command can write to a client that does not take it."""
    written = 0

    async def write() -> None:
        nonlocal written
        while written < 200 * MIB:
            await writer.write(b"\0" * (256 * 1024))
            written += 256 * 1024

    task = asyncio.create_task(write())
    last = -1
    while written != last:
        last = written
        await asyncio.sleep(0.5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return written


@pytest.mark.parametrize("fault", ["small window", "does not read", "never finishes its rekey"])
async def test_a_client_that_takes_nothing_does_not_fill_memory(
    server: SSHDoor, world: World, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    work = Work(monkeypatch)
    window = 64 * 1024 if fault == "small window" else 2**31
    connection = await sign_in(server, world)
    process = await connection.create_process(
        "git-upload-pack 'ann/demo.git'", encoding=None, window=window
    )
    _, writer = await work.started
    match fault:
        case "does not read":
            connection._transport.pause_reading()
        case "never finishes its rekey":
            connection._send_kexinit()
            connection.data_received = lambda *_: None  # type: ignore[method-assign]
    before = resident_bytes()
    written = await written_until_stuck(writer)
    grown = resident_bytes() - before
    work.may_end.set()
    connection.abort()
    await connection.wait_closed()
    del process
    # What lies in the sockets of this machine counts as taken.
    assert written < 32 * MIB
    assert grown < 32 * MIB


async def test_answers_nobody_reads_do_not_fill_memory(
    server: SSHDoor, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MAX_UNSENT_BYTES", 256 * 1024)
    connection = await sign_in(server, world)
    transport = connection._transport
    transport.pause_reading()
    before = resident_bytes()
    request = (String("no-such-request"), Boolean(True))
    for _ in range(400):
        for _ in range(1000):
            connection.send_packet(asyncssh.connection.MSG_GLOBAL_REQUEST, *request)
        await asyncio.sleep(0)
        if transport.is_closing():
            break
        while transport.get_write_buffer_size() > MIB and not transport.is_closing():
            await asyncio.sleep(0.01)
    assert transport.is_closing()
    assert resident_bytes() - before < 64 * MIB
