"""How commands end: clients that vanish, servers that stop, parts that fail."""

import asyncio
import os
import re
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from models import GitRef, PackUpload, RepositoryRedirect
from services.runtime import Runtime
from sshd.server import SSHDoor
from storage_adapters.base import ObjectData
from storage_adapters.memory import MemoryObjectStore
from tests.e2e.ssh.conftest import StartServer, World, client_of
from tests.support.git import GitRepository
from tests.support.processes import descendants
from tests.support.ssh import OpenSSH


class SlowStore(MemoryObjectStore):
    """Keeps uploads waiting until a test lets them through, when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = asyncio.Event()
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    async def put(self, key: str, data: ObjectData) -> int:
        await self._gate(key)
        return await super().put(key, data)

    async def put_if_absent(self, key: str, data: ObjectData) -> int:
        await self._gate(key)
        return await super().put_if_absent(key, data)

    async def _gate(self, key: str) -> None:
        if key.startswith("packs/"):
            self.reached.set()
            await self.may_go_on.wait()


@pytest.fixture
def object_store() -> SlowStore:
    return SlowStore()


@pytest.fixture
def project(tmp_path: Path) -> GitRepository:
    repository = GitRepository.create(tmp_path / "project")
    repository.commit("first", files={"big": os.urandom(3_000_000)})
    return repository


async def refs(runtime: Runtime) -> dict[str, str | None]:
    async with runtime.database.read() as session:
        rows = await session.execute(select(GitRef.name, GitRef.oid))
        return {row.name: row.oid for row in rows}


def git_children() -> list[int]:
    """Running git processes below this one; the ssh clients of a test do not count."""
    found = []
    for pid in descendants(os.getpid()):
        try:
            name = Path(f"/proc/{pid}/comm").read_text().strip()
        except OSError:
            continue
        if name.startswith(("git", "prlimit")):
            found.append(pid)
    return found


async def until_no_git_runs() -> None:
    async with asyncio.timeout(30):
        while git_children():
            await asyncio.sleep(0.01)


async def read_refs(process: asyncio.subprocess.Process) -> bytes:
    """The ref advertisement, up to its flush packet."""
    assert process.stdout is not None
    data = b""
    while (head := await process.stdout.readexactly(4)) != b"0000":
        data += head + await process.stdout.readexactly(int(head, 16) - 4)
    return data


async def test_a_client_killed_while_git_is_silent_leaves_no_process(
    openssh: OpenSSH, world: World, project: GitRepository
) -> None:
    url = openssh.url("ann/demo.git")
    await openssh.git("push", "--quiet", url, "main", identity=world.ann, cwd=project.path)
    async with openssh.start("git-upload-pack 'ann/demo.git'", identity=world.ann) as client:
        await read_refs(client)
        assert git_children()  # waits for the client's wishes
        os.kill(client.pid, signal.SIGKILL)
        await until_no_git_runs()


async def test_a_session_closed_on_an_open_connection_leaves_no_process(
    openssh: OpenSSH, world: World, project: GitRepository, tmp_path: Path
) -> None:
    url = openssh.url("ann/demo.git")
    await openssh.git("push", "--quiet", url, "main", identity=world.ann, cwd=project.path)
    control = tmp_path / "control"
    arguments = ("-M", "-N")
    async with openssh.start(
        identity=world.ann, arguments=arguments, ControlPath=str(control)
    ) as master:
        while not control.exists():
            await asyncio.sleep(0.01)
        async with openssh.start(
            "git-upload-pack 'ann/demo.git'", identity=world.ann, ControlPath=str(control)
        ) as client:
            await read_refs(client)
            assert git_children()
            os.kill(client.pid, signal.SIGKILL)
            await until_no_git_runs()
        assert master.returncode is None


def push_request(project: GitRepository) -> tuple[bytes, bytes]:
    """What git sends for a new branch: the command, and the pack."""
    line = f"{'0' * 40} {project.oid('main')} refs/heads/main\0report-status".encode()
    return b"%04x" % (len(line) + 4) + line + b"0000", project.pack("main")


async def test_a_push_cut_off_changes_nothing(
    openssh: OpenSSH, world: World, project: GitRepository
) -> None:
    command, pack = push_request(project)
    async with openssh.start("git-receive-pack 'ann/demo.git'", identity=world.ann) as client:
        await read_refs(client)
        assert client.stdin is not None
        client.stdin.write(command + pack[: len(pack) // 2])
        await client.stdin.drain()
        async with asyncio.timeout(30):
            while not git_children():
                await asyncio.sleep(0.01)
        os.kill(client.pid, signal.SIGKILL)
        await until_no_git_runs()
    assert await refs(world.runtime) == {}
    async with world.runtime.database.read() as session:
        assert await session.scalar(select(func.count()).select_from(PackUpload)) == 0
    done = await openssh.git(
        "push",
        "--quiet",
        openssh.url("ann/demo.git"),
        "main",
        identity=world.ann,
        cwd=project.path,
    )
    assert (done.returncode, done.stderr) == (0, "")


async def test_a_complete_push_is_finished_though_its_client_vanished(
    openssh: OpenSSH, world: World, project: GitRepository, object_store: SlowStore
) -> None:
    object_store.may_go_on.clear()
    command, pack = push_request(project)
    async with openssh.start("git-receive-pack 'ann/demo.git'", identity=world.ann) as client:
        await read_refs(client)
        assert client.stdin is not None
        client.stdin.write(command + pack)
        await client.stdin.drain()
        await object_store.reached.wait()
    # The client is dead by now.
    assert await refs(world.runtime) == {}
    object_store.may_go_on.set()
    async with asyncio.timeout(30):
        while not (now := await refs(world.runtime)):
            await asyncio.sleep(0.01)
    assert now == {"refs/heads/main": project.oid("main")}
    await until_no_git_runs()


@pytest.fixture
async def pushing(
    openssh: OpenSSH, world: World, project: GitRepository, object_store: SlowStore
) -> AsyncIterator[asyncio.Task[tuple[int, str]]]:
    """A push that has arrived and now waits for the object store."""
    object_store.may_go_on.clear()

    async def push() -> tuple[int, str]:
        done = await openssh.git(
            "push", openssh.url("ann/demo.git"), "main", identity=world.ann, cwd=project.path
        )
        return done.returncode, done.stderr

    task = asyncio.create_task(push())
    await object_store.reached.wait()
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_stopping_server_lets_a_push_finish(
    pushing: asyncio.Task[tuple[int, str]],
    server: SSHDoor,
    openssh: OpenSSH,
    world: World,
    object_store: SlowStore,
) -> None:
    closing = asyncio.create_task(server.close(60))
    while True:  # until the listener is closed
        try:
            socket.create_connection(("127.0.0.1", server.port), timeout=10).close()
        except ConnectionRefusedError:
            break
        await asyncio.sleep(0.01)
    assert not closing.done()
    object_store.may_go_on.set()
    returncode, told = await pushing
    await closing
    assert returncode == 0, told
    assert list(await refs(world.runtime)) == ["refs/heads/main"]
    assert git_children() == []


async def test_a_stopping_server_finishes_complete_pushes_even_after_the_drain_time(
    pushing: asyncio.Task[tuple[int, str]],
    server: SSHDoor,
    world: World,
    object_store: SlowStore,
) -> None:
    closing = asyncio.create_task(server.close(0))
    await asyncio.sleep(0.1)
    object_store.may_go_on.set()
    await closing
    returncode, told = await pushing
    assert returncode == 0, told
    assert "ERROR" not in told
    assert list(await refs(world.runtime)) == ["refs/heads/main"]


async def test_a_stopping_server_ends_what_does_not_finish(
    server: SSHDoor, openssh: OpenSSH, world: World
) -> None:
    async with (
        openssh.start("git-upload-pack 'ann/demo.git'", identity=world.ann) as client,
        openssh.start(identity=world.ann, arguments=("-N",)) as idle,
    ):
        await read_refs(client)
        async with asyncio.timeout(30):
            await server.close(0.2)
        assert client.stderr is not None
        told = (await client.stderr.read()).decode()
        assert told.startswith(
            "ERROR: the server is shutting down; try again in a moment (request "
        )
        assert await client.wait() == 1
        assert await idle.wait() == 255
    assert git_children() == []


async def test_malformed_packets_are_named(openssh: OpenSSH, world: World) -> None:
    done = await openssh.ssh("git-receive-pack 'ann/demo.git'", identity=world.ann, stdin=b"zzzz")
    assert re.search(
        rb"ERR malformed packet length b'zzzz' \(request [0-9a-f]+\)\n0000$", done.stdout
    )


async def test_a_repository_that_moved(
    openssh: OpenSSH, world: World, project: GitRepository
) -> None:
    await openssh.git(
        "push",
        "--quiet",
        openssh.url("ann/demo.git"),
        "main",
        identity=world.ann,
        cwd=project.path,
    )
    async with world.runtime.database.write() as session:
        session.add(
            RepositoryRedirect(owner_id=world.ann_id, name_key="old", repository_id=world.public_id)
        )
    done = await openssh.git("ls-remote", openssh.url("ann/old.git"), identity=world.bob)
    assert done.returncode == 0
    assert done.stderr == "this repository moved; use Ann/demo instead\n"


async def test_a_database_that_is_away(
    start_server: StartServer, world: World, tmp_path: Path
) -> None:
    openssh = client_of(await start_server(), tmp_path)
    control = tmp_path / "control"
    async with openssh.start(identity=world.ann, arguments=("-M", "-N"), ControlPath=str(control)):
        while not control.exists():
            await asyncio.sleep(0.01)
        path = Path(world.runtime.database.url.database or "")
        await world.runtime.database.read_engine.dispose()
        path.rename(path.with_suffix(".away"))
        path.mkdir()
        try:
            running = await openssh.ssh(
                "git-upload-pack 'ann/demo.git'", identity=world.ann, ControlPath=str(control)
            )
            signing_in = await openssh.ssh(identity=world.ann)
        finally:
            path.rmdir()
            path.with_suffix(".away").rename(path)
    message = "the database does not answer; try again in a moment (request "
    assert running.returncode == 1
    assert running.stderr.startswith(f"ERROR: {message}")
    assert signing_in.returncode == 255
    assert message in signing_in.stderr
    assert (await openssh.ssh(identity=world.ann)).stderr.startswith("Hi Ann!")
