"""A GitStore over real git, a real database and an object store, without any rules above it."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gitstore.quarantine import exclusions
from gitstore.settings import GitStoreSettings
from gitstore.store import GitStore
from gitstore.transactions import Applied, RefUpdate
from models import Repository, User, Visibility
from models.database import Database
from storage_adapters.base import ObjectStore
from storage_adapters.local import LocalObjectStore
from storage_adapters.memory import MemoryObjectStore
from tests.support.content import Bytes
from tests.support.git import GitRepository


@pytest.fixture(params=["local", "memory"])
def object_store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "local":
        return LocalObjectStore(tmp_path / "storage")
    return MemoryObjectStore()


@pytest.fixture
def settings(tmp_path: Path) -> GitStoreSettings:
    return GitStoreSettings(cache_dir=tmp_path / "cache")


@pytest.fixture
def git_store(
    database: Database, object_store: ObjectStore, settings: GitStoreSettings
) -> GitStore:
    return GitStore(database, object_store, settings)


@pytest.fixture
async def repository_id(database: Database) -> int:
    return await add_repository(database, "demo")


async def add_repository(database: Database, name: str) -> int:
    async with database.write() as session:
        user = User(login=f"ann-{name}", login_key=f"ann-{name}")
        session.add(user)
        await session.flush()
        repository = Repository(
            owner_id=user.id, name=name, name_key=name, visibility=Visibility.PUBLIC
        )
        session.add(repository)
        await session.flush()
        return repository.id


@pytest.fixture
def source(tmp_path: Path) -> GitRepository:
    return GitRepository.create(tmp_path / "source")


PushPack = Callable[..., Awaitable[Applied]]


@pytest.fixture
def push(git_store: GitStore, database: Database, repository_id: int) -> PushPack:
    async def push(pack: bytes | None, *updates: RefUpdate, atomic: bool = False) -> Applied:
        """The whole order of a write: pack, connectivity, upload, refs."""
        async with git_store.begin(repository_id) as work:
            stored = None
            if pack is not None:
                received = await work.quarantine.receive_pack(
                    Bytes(pack), progress=None, input_ended=lambda: None
                )
                tips = [update.new for update in updates if update.new]
                known = exclusions(work.repository, {update.name: None for update in updates})
                await work.quarantine.check_connected(tips, known)
                stored = await work.upload(received) if received else None
            async with database.write() as session:
                applied = await work.apply(session, updates, stored, atomic=atomic)
            if stored is not None:
                await work.adopt(stored)
            return applied

    return push
