"""What the tests of compaction share."""

import datetime as dt
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gitstore.fsck import fsck_repository
from gitstore.maintenance import select_repositories_to_prune
from gitstore.manifest import PackRow, read_manifest
from gitstore.settings import GitStoreSettings
from gitstore.store import GitStore
from gitstore.transactions import RefUpdate
from gitstore.workspace import Workspace
from models import Push, RefChange
from models.base import utc_now
from models.database import Database
from storage_adapters.base import ObjectStore
from storage_adapters.local import LocalObjectStore
from tests.support.git import GitRepository
from tests.unit.gitstore.conftest import PushPack

MAIN = "refs/heads/main"


@pytest.fixture
def object_store(tmp_path: Path) -> ObjectStore:
    return LocalObjectStore(tmp_path / "storage")


@pytest.fixture
def settings(tmp_path: Path) -> GitStoreSettings:
    """Everything counts as large, so that small tests see what large repositories get."""
    return GitStoreSettings(cache_dir=tmp_path / "cache", max_packs=6, derived_min_objects=5)


def second_node(
    database: Database, store: ObjectStore, settings: GitStoreSettings, name: str = "other"
) -> GitStore:
    folder = settings.cache_dir.parent / name
    return GitStore(database, store, settings.model_copy(update={"cache_dir": folder}))


async def push_commits(push: PushPack, source: GitRepository, count: int) -> str:
    """As many pushes of one commit each; returns the last commit."""
    old = source.refs().get(MAIN)
    for number in range(count):
        new = source.commit(f"change {number} after {old}")
        await push(source.pack("main", *([f"^{old}"] if old else [])), RefUpdate(MAIN, old, new))
        old = new
    assert old is not None
    return old


async def packs_of(database: Database, repository_id: int) -> list[PackRow]:
    async with database.read() as session:
        return (await read_manifest(session, repository_id)).packs


async def assert_whole(
    database: Database, store: ObjectStore, settings: GitStoreSettings, repository_id: int
) -> None:
    result = await fsck_repository(database, store, settings, repository_id)
    assert result.lines == []
    assert result.healthy


async def objects_of(git_store: GitStore, repository_id: int) -> str:
    """Every object of the local copy, reachable or not."""
    async with git_store.open(repository_id) as local:
        return GitRepository(local.path).git("cat-file", "--batch-all-objects", "--batch-check")


async def has(git_store: GitStore, repository_id: int, oid: str) -> bool:
    async with git_store.open(repository_id) as local:
        return GitRepository(local.path).run("cat-file", "-e", oid).returncode == 0


Interruption = Callable[[Callable[[], Awaitable[None]]], None]


@pytest.fixture
def when_packing(monkeypatch: pytest.MonkeyPatch) -> Interruption:
    """Lets something happen while a compaction computes its new pack, once."""

    def install(happening: Callable[[], Awaitable[None]]) -> None:
        original = Workspace.pack_objects

        async def pack_objects(self: Workspace, *args: object) -> object:
            monkeypatch.setattr(Workspace, "pack_objects", original)
            await happening()
            return await original(self, *args)  # type: ignore[arg-type]

        monkeypatch.setattr(Workspace, "pack_objects", pack_objects)

    return install


async def record_push(
    database: Database, repository_id: int, *, old: str, new: str, age: dt.timedelta
) -> None:
    async with database.write() as session:
        row = Push(
            key="k" * 26,
            repository_id=repository_id,
            door="http",
            generation=1,
            created_at=utc_now() - age,
        )
        session.add(row)
        await session.flush()
        session.add(RefChange(push_id=row.id, ref_name=MAIN, old_oid=old, new_oid=new, forced=True))


async def due_for_prune(database: Database, age: dt.timedelta) -> list[int]:
    async with database.read() as session:
        return await select_repositories_to_prune(session, unreachable_for=age)
