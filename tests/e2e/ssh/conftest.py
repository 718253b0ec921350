"""The SSH server in this process, over a real database and real git, and the OpenSSH client."""

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import asyncssh
import pytest
from pydantic import SecretStr

from gitstore.settings import GitStoreSettings
from gitstore.store import GitStore
from models import Repository, SSHKey, User, Visibility
from models.database import Database
from services.bus import MemoryEventBus
from services.event_feed import EventFeed
from services.jobs import MemoryJobQueue
from services.runtime import Runtime
from services.settings import ServiceSettings
from sshd.server import SSHDoor, start
from sshd.settings import SSHSettings
from storage_adapters.memory import MemoryObjectStore
from tests.support.ssh import OpenSSH, generate_key


@pytest.fixture
def object_store() -> MemoryObjectStore:
    return MemoryObjectStore()


@pytest.fixture
def runtime(database: Database, object_store: MemoryObjectStore, tmp_path: Path) -> Runtime:
    return Runtime(
        settings=ServiceSettings(secret_key=SecretStr("s" * 32)),
        database=database,
        object_store=object_store,
        git=GitStore(database, object_store, GitStoreSettings(cache_dir=tmp_path / "cache")),
        bus=MemoryEventBus(),
        feed=EventFeed(database, MemoryEventBus()),
        jobs=MemoryJobQueue(),
        # Passwords, tokens and GraphQL's rate limits have no part in SSH.
        rate_limiter=cast(Any, None),
        passwords=cast(Any, None),
        signer=cast(Any, None),
    )


@dataclasses.dataclass(frozen=True, slots=True)
class World:
    """Two people with a key each, and their repositories: one public, one private.

    ``stranger`` is a key that nobody registered.
    """

    runtime: Runtime
    ann: Path
    bob: Path
    stranger: Path
    ann_id: int
    bob_id: int
    public_id: int
    private_id: int
    keys: dict[str, int]


async def add_key(
    database: Database, key: asyncssh.SSHKey, *, user_id: int | None = None, **more: Any
) -> int:
    algorithm, data = key.export_public_key("openssh").decode().split()[:2]
    async with database.write() as session:
        row = SSHKey(
            user_id=user_id,
            title="a key",
            public_key=f"{algorithm} {data}",
            fingerprint=key.get_fingerprint(),
            **more,
        )
        session.add(row)
        await session.flush()
        return row.id


async def add_repository(
    database: Database, owner_id: int, name: str, visibility: Visibility
) -> int:
    async with database.write() as session:
        row = Repository(owner_id=owner_id, name=name, name_key=name, visibility=visibility)
        session.add(row)
        await session.flush()
        return row.id


@pytest.fixture
async def world(runtime: Runtime, tmp_path: Path) -> World:
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o700)
    database = runtime.database
    ids, keys = {}, {}
    for login in ("ann", "bob"):
        async with database.write() as session:
            user = User(login=login.title(), login_key=login)
            session.add(user)
            await session.flush()
            ids[login] = user.id
        public = generate_key(folder / login)
        keys[login] = await add_key(database, public, user_id=ids[login])
    generate_key(folder / "stranger")
    return World(
        runtime=runtime,
        ann=folder / "ann",
        bob=folder / "bob",
        stranger=folder / "stranger",
        ann_id=ids["ann"],
        bob_id=ids["bob"],
        public_id=await add_repository(database, ids["ann"], "demo", Visibility.PUBLIC),
        private_id=await add_repository(database, ids["ann"], "secret", Visibility.PRIVATE),
        keys=keys,
    )


StartServer = Callable[..., Awaitable[SSHDoor]]


@pytest.fixture
async def start_server(world: World) -> AsyncIterator[StartServer]:
    """Starts servers with the given settings and stops them when the test ends."""
    doors = []

    async def start_one(**settings: Any) -> SSHDoor:
        door = await start(world.runtime, SSHSettings(ssh_port=0, **settings))
        doors.append(door)
        return door

    yield start_one
    for door in doors:
        await door.close(0)


@pytest.fixture
async def server(start_server: StartServer) -> SSHDoor:
    return await start_server()


@pytest.fixture
def openssh(server: SSHDoor, tmp_path: Path) -> OpenSSH:
    return client_of(server, tmp_path)


def client_of(server: SSHDoor, folder: Path) -> OpenSSH:
    return OpenSSH(folder, server.port)
