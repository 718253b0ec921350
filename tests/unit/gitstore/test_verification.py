"""Every way in which the object store can differ from the manifests, and none that is no fault."""

import datetime as dt
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from sqlalchemy import delete

from gitstore import verification
from gitstore.manifest import PackRow, read_manifest
from gitstore.settings import GitStoreSettings
from gitstore.store import GitStore
from gitstore.transactions import RefUpdate
from gitstore.verification import Finding, Severity, Verifier
from models import DerivedKind, GitPack, PackUpload, RetiredObject
from models.database import Database
from storage_adapters.base import ObjectInfo, ObjectStore
from storage_adapters.memory import MemoryObjectStore
from tests.support.git import GitRepository
from tests.unit.gitstore.conftest import PushPack, add_repository

MAIN = "refs/heads/main"
RESTORE = "restore it from a backup of the object store; see docs/operations.md"
pytestmark = pytest.mark.databases


class ClockedStore(MemoryObjectStore):
    """Objects are listed as ``age`` old without anybody waiting."""

    age = dt.timedelta(minutes=2)

    async def list(self, prefix: str) -> AsyncGenerator[ObjectInfo, None]:
        async for info in super().list(prefix):
            yield ObjectInfo(info.key, info.size, info.modified_at - self.age)


@pytest.fixture
def object_store() -> ObjectStore:
    return ClockedStore()


@pytest.fixture
def settings(tmp_path: Path) -> GitStoreSettings:
    return GitStoreSettings(cache_dir=tmp_path / "cache", max_packs=6, derived_min_objects=2)


@pytest.fixture
async def pack(
    push: PushPack, source: GitRepository, database: Database, repository_id: int
) -> PackRow:
    tip = source.commit("first")
    await push(source.pack("main"), RefUpdate(MAIN, None, tip))
    async with database.read() as session:
        (row,) = (await read_manifest(session, repository_id)).packs
    return row


async def look(database: Database, store: ObjectStore) -> list[Finding]:
    verifier = Verifier(database, store, sweep_seconds=0)
    return [finding async for finding in verifier.findings()]


def fault(words: str) -> Finding:
    return Finding(Severity.FAULT, "ann-demo/demo", words, RESTORE)


def orphan(key: str) -> Finding:
    cure = "delete it from the store, unless an older database was restored beside it"
    return Finding(Severity.NOTE, "storage", f"nothing refers to {key}", cure)


async def test_a_whole_hub(
    pack: PackRow,
    git_store: GitStore,
    database: Database,
    object_store: ObjectStore,
    repository_id: int,
) -> None:
    """With packs by index-pack and by pack-objects, both named by their checksum."""
    await git_store.compactor.prune(repository_id)
    verifier = Verifier(database, object_store, sweep_seconds=0)
    assert [finding async for finding in verifier.findings()] == []
    counts = verifier.counts
    assert (counts.repositories, counts.packs, counts.derived) == (1, 1, 2)
    assert [info.key async for info in object_store.list("doctor/")] == []


@pytest.mark.parametrize("suffix", [".pack", ".rev", ".idx"])
async def test_a_file_of_a_pack_is_missing(
    pack: PackRow, database: Database, object_store: ObjectStore, suffix: str
) -> None:
    key = pack.storage_key + suffix
    await object_store.delete(key)
    assert await look(database, object_store) == [fault(f"{key} is missing from the object store")]


async def test_a_pack_was_cut(pack: PackRow, database: Database, object_store: ObjectStore) -> None:
    key, size = f"{pack.storage_key}.pack", pack.sizes[".pack"]
    await object_store.put(key, (await object_store.get(key))[:-1])
    assert await look(database, object_store) == [
        fault(f"{key} has {size - 1} bytes in the object store, not {size}")
    ]


async def test_a_pack_ends_otherwise(
    pack: PackRow, database: Database, object_store: ObjectStore
) -> None:
    key = f"{pack.storage_key}.pack"
    content = await object_store.get(key)
    await object_store.put(key, content[:-1] + bytes([content[-1] ^ 1]))
    assert await look(database, object_store) == [
        fault(f"{key} ends with another checksum than the pack's")
    ]


async def test_a_pack_replaced_meanwhile_is_no_fault(
    pack: PackRow,
    database: Database,
    object_store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def list_and_lose(session: object, repository_id: int) -> list[PackRow]:
        async with database.write() as writing:
            await writing.execute(delete(GitPack).where(GitPack.id == pack.id))
        for suffix in pack.sizes:
            await object_store.delete(pack.storage_key + suffix)
        return [pack]

    monkeypatch.setattr(verification, "list_packs", list_and_lose)
    assert await look(database, object_store) == []


async def test_a_missing_derived_file_is_a_note(
    pack: PackRow,
    git_store: GitStore,
    database: Database,
    object_store: ObjectStore,
    repository_id: int,
) -> None:
    await git_store.compactor.compact(repository_id)
    async with database.read() as session:
        manifest = await read_manifest(session, repository_id)
    key = manifest.derived[DerivedKind.COMMIT_GRAPH].storage_key + ".graph"
    await object_store.delete(key)
    assert await look(database, object_store) == [
        Finding(
            Severity.NOTE,
            "ann-demo/demo",
            f"derived file: {key} is missing from the object store",
            "och repository compact --all ann-demo/demo",
        )
    ]


@pytest.mark.parametrize(
    "key", ["packs/9/A/pack-ab.pack", "packs/9/A/stray", "derived/9/A/commit-graph.graph"]
)
async def test_nothing_refers_to_an_object(
    database: Database, object_store: ObjectStore, key: str
) -> None:
    await object_store.put(key, b"x")
    assert await look(database, object_store) == [orphan(key)]


@pytest.mark.parametrize("table", [PackUpload, RetiredObject])
async def test_rows_account_for_objects(
    database: Database, object_store: ObjectStore, table: type[PackUpload] | type[RetiredObject]
) -> None:
    await object_store.put("packs/9/A/pack-ab.pack", b"x")
    async with database.write() as session:
        session.add(table(storage_key="packs/9/A/pack-ab", repository_id=9))
    assert await look(database, object_store) == []


async def test_a_young_object_is_left_alone(
    database: Database, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ClockedStore, "age", dt.timedelta(seconds=50))
    await object_store.put("packs/9/A/pack-ab.pack", b"x")
    assert await look(database, object_store) == []


async def test_an_object_that_a_sweep_deletes_meanwhile_is_no_orphan(
    database: Database, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await object_store.put("packs/9/A/pack-ab.pack", b"x")

    async def sweep(seconds: float) -> None:
        await object_store.delete("packs/9/A/pack-ab.pack")

    monkeypatch.setattr(verification.asyncio, "sleep", sweep)
    assert await look(database, object_store) == []


async def test_repositories_and_objects_come_in_pages(
    pack: PackRow,
    database: Database,
    object_store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(verification, "_REPOSITORIES_PER_PAGE", 1)
    monkeypatch.setattr(verification, "_OBJECTS_PER_PAGE", 2)
    await add_repository(database, "second")
    await add_repository(database, "third")
    await object_store.put("packs/9/A/pack-ab.pack", b"x")
    verifier = Verifier(database, object_store, sweep_seconds=0)
    assert [f async for f in verifier.findings()] == [orphan("packs/9/A/pack-ab.pack")]
    assert verifier.counts.repositories == 3
    assert verifier.counts.objects == 4
