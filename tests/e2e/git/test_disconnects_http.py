"""Clients that leave or send too much: no process stays, no half answer looks whole."""

import asyncio
import contextlib
import os
import random
import signal
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gitserve import http_exchange, smart_http
from gitserve.pktline import Special, encode
from gitserve.smart_http import GitHTTP
from gitstore.process import GitProcesses
from models import Repository, Visibility
from tests.e2e.git.conftest import Client, Response, World
from tests.support.git import GitRepository
from tests.support.processes import descendants

LARGE_BYTES = 64 * 1024 * 1024
PATIENCE_SECONDS = 20


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


def git_children() -> list[int]:
    """The running git processes of this process, the server's; the clients are not among them."""
    return [pid for pid in descendants(os.getpid()) if b"upload-pack" in _command(pid)]


def _command(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def _state(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


def memory(field: str) -> int:
    """A field of /proc/self/status in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(field)


def fetch_request(oid: str) -> bytes:
    lines = [b"command=fetch\n", b"object-format=sha1\n"]
    arguments = [b"no-progress\n", b"want " + oid.encode() + b"\n", b"done\n"]
    packets = b"".join(map(encode, lines)) + Special.DELIMITER.value
    return packets + b"".join(map(encode, arguments)) + Special.FLUSH.value


@contextlib.asynccontextmanager
async def connection(
    client: Client,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def fetch_head(length: int) -> bytes:
    return (
        "POST /ann/demo/git-upload-pack HTTP/1.1\r\n"
        "host: 127.0.0.1\r\n"
        "git-protocol: version=2\r\n"
        "content-type: application/x-git-upload-pack-request\r\n"
        f"content-length: {length}\r\n\r\n"
    ).encode()


def push_head(client: Client, *more: str) -> bytes:
    lines = [
        "POST /ann/demo/git-receive-pack HTTP/1.1",
        "host: 127.0.0.1",
        "content-type: application/x-git-receive-pack-request",
        f"authorization: {client.basic('ann')}",
        *more,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def push_commands(old: str, new: str, name: str) -> bytes:
    command = f"{old} {new} {name}\0report-status side-band-64k".encode()
    return encode(command) + Special.FLUSH.value


@pytest.fixture
def silent_git(tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real git that stops itself before it answers a fetch: as silent as one that counts."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "git"
    script.write_text(
        '#!/bin/sh\ncase "$*" in *upload-pack*) kill -STOP $$;; esac\nexec /usr/bin/git "$@"\n'
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    git = world.runtime.git
    monkeypatch.setattr(git, "processes", GitProcesses(git.settings))


@pytest.fixture
async def large(client: Client, tmp_path: Path) -> GitRepository:
    """A repository whose pack is too large for the buffers of any connection."""
    source = GitRepository.create(tmp_path / "large")
    rng = random.Random(1)
    files = {f"{number}.bin": rng.randbytes(LARGE_BYTES // 8) for number in range(8)}
    source.commit("large", files=dict(files))
    url = client.url("ann/demo", "ann")
    await client.git("push", "--quiet", url, "main", cwd=source.path)
    return source


@pytest.mark.usefixtures("silent_git")
async def test_a_client_that_leaves_while_git_is_silent_leaves_no_process(
    client: Client, history: GitRepository
) -> None:
    body = fetch_request(history.oid("main"))
    async with connection(client) as (_, writer):
        writer.write(fetch_head(len(body)) + body)
        await until(lambda: [_state(pid) for pid in git_children()] == ["T"])
    await until(lambda: git_children() == [])


@pytest.mark.usefixtures("silent_git")
async def test_a_fetch_ends_when_the_right_to_read_does(
    client: Client,
    history: GitRepository,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(smart_http, "RECHECK_SECONDS", 0.05)
    body = fetch_request(history.oid("main"))
    async with connection(client) as (reader, writer):
        writer.write(fetch_head(len(body)) + body)
        await until(lambda: [_state(pid) for pid in git_children()] == ["T"])
        async with world.runtime.database.write() as session:
            row = await session.get(Repository, world.ids["demo"])
            assert row is not None
            row.visibility = Visibility.PRIVATE
        await until(lambda: git_children() == [])
        assert b"PACK" not in await reader.read()


async def test_a_client_that_leaves_in_the_middle_of_a_pack_leaves_no_process(
    client: Client, large: GitRepository
) -> None:
    body = fetch_request(large.oid("main"))
    async with connection(client) as (reader, writer):
        writer.write(fetch_head(len(body)) + body)
        await reader.readexactly(100_000)
        assert git_children() != []
    await until(lambda: git_children() == [])


async def test_an_answer_that_breaks_off_does_not_look_whole(
    client: Client, large: GitRepository
) -> None:
    body = fetch_request(large.oid("main"))
    async with connection(client) as (reader, writer):
        writer.write(fetch_head(len(body)) + body)
        start = await reader.readexactly(100_000)
        for pid in git_children():
            os.kill(pid, signal.SIGKILL)
        answer = Response.parse(start + await reader.read())
    assert (answer.status, answer.complete) == (200, False)
    assert len(answer.body) < LARGE_BYTES


async def test_a_large_push_and_clone_take_no_memory(
    client: Client, tmp_path: Path, world: World
) -> None:
    source = GitRepository.create(tmp_path / "large")
    rng = random.Random(2)
    for number in range(8):
        (source.path / f"{number}.bin").write_bytes(rng.randbytes(LARGE_BYTES // 8))
    source.commit("large", files={"x": "x"})
    # The first of everything costs what is not given back: modules, pools, caches.
    url = client.url("ann/secret", "ann")
    await client.git("push", "--quiet", url, "main:warm", cwd=source.path)
    await client.git("clone", "--quiet", "--bare", url, str(client.folder / "warm"))
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak
    before = memory("VmRSS")
    url = client.url("ann/demo", "ann")
    await client.git("push", "--progress", url, "main", cwd=source.path)
    await client.git("clone", "--quiet", "--bare", url, str(client.folder / "clone"))
    assert memory("VmHWM") - before < 16 * 1024 * 1024


async def test_a_push_cut_off_changes_nothing(
    client: Client, history: GitRepository, application: GitHTTP, world: World
) -> None:
    new = history.commit("new")
    pack = history.pack("main")
    body = push_commands(history.oid("main~1"), new, "refs/heads/main") + pack
    async with connection(client) as (_, writer):
        head = push_head(client, f"content-length: {len(body)}")
        writer.write(head + body[: len(body) // 2])
        await writer.drain()
        await until(lambda: application.running_pushes == 1)
    await until(lambda: application.running_pushes == 0)
    listed = await client.git("ls-remote", client.url("ann/demo"), "refs/heads/main")
    assert listed == f"{history.oid('main~1')}\trefs/heads/main"
    assert list((world.runtime.git.cache.root / "quarantine").iterdir()) == []


async def test_a_push_whose_body_is_complete_is_finished_without_its_client(
    client: Client, history: GitRepository, application: GitHTTP, world: World
) -> None:
    new = history.commit("new")
    body = push_commands(history.oid("main~1"), new, "refs/heads/main") + history.pack("main")
    async with connection(client) as (_, writer):
        writer.write(push_head(client, f"content-length: {len(body)}") + body)
        await writer.drain()
        await until(lambda: application.running_pushes == 1)
    assert await application.drain(PATIENCE_SECONDS) == 0
    listed = await client.git("ls-remote", client.url("ann/demo"), "refs/heads/main")
    assert listed == f"{new}\trefs/heads/main"


async def test_draining_refuses_new_pushes_and_serves_fetches(
    client: Client, history: GitRepository, application: GitHTTP
) -> None:
    assert await application.drain(0) == 0
    url = client.url("ann/demo", "ann")
    assert await client.git("ls-remote", url, "HEAD") == f"{history.oid('main')}\tHEAD"
    done = await client.run("push", url, "main:new", cwd=history.path)
    assert done.stderr.startswith("remote: the server is about to stop; push again in a moment (")


async def test_a_push_that_is_too_large_is_refused_early(
    client: Client, history: GitRepository, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = world.runtime.git.settings
    monkeypatch.setattr(settings, "push_max_bytes", 2 * 1024 * 1024)
    rng = random.Random(3)
    for number in range(8):
        (history.path / f"{number}.bin").write_bytes(rng.randbytes(LARGE_BYTES // 8))
    history.commit("too large", files={"x": "x"})
    before = await client.git("ls-remote", client.url("ann/demo"))
    done = await client.run("push", client.url("ann/demo", "ann"), "main", cwd=history.path)
    assert done.returncode == 1
    assert "error: remote unpack failed: the pack is larger than the 2097152 bytes" in done.stderr
    assert "! [remote rejected] main -> main (unpacker error)" in done.stderr
    assert await client.git("ls-remote", client.url("ann/demo")) == before


async def test_the_rest_of_a_refused_push_is_not_read_for_ever(
    client: Client, history: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_exchange, "REFUSED_SECONDS", 0.2)
    command = push_commands("0" * 40, history.oid("main"), "refs/pull/1/head")
    async with connection(client) as (reader, writer):
        writer.write(push_head(client, "transfer-encoding: chunked"))
        writer.write(b"%x\r\n" % len(command) + command + b"\r\n")
        writer.write(b"10000000\r\n" + bytes(3 * 1024 * 1024))
        answer = Response.parse(await reader.read())
    assert (answer.status, answer.headers["connection"], answer.complete) == (200, "close", True)
    assert b"ng refs/pull/1/head" in answer.body
