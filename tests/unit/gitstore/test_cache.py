"""The local copy: always made good, never trusted, shared by tasks and processes."""

import asyncio
import errno
import json
import os
import shutil
import threading
from typing import Any

import pytest

from gitstore import cache
from gitstore.directory import HeldDirectory
from gitstore.errors import RepositoryUnreadable
from gitstore.layout import format_packed_refs, parse_packed_refs
from gitstore.manifest import Manifest, RefRow
from gitstore.settings import GitStoreSettings
from gitstore.store import GitStore
from gitstore.transactions import RefUpdate
from models.database import Database
from storage_adapters.base import ObjectStore
from tests.support.git import GitRepository
from tests.unit.gitstore.conftest import PushPack

MAIN = "refs/heads/main"


def second_node(database: Database, store: ObjectStore, settings: GitStoreSettings) -> GitStore:
    """Another machine: the same database and object store, a cache of its own."""
    other = settings.model_copy(update={"cache_dir": settings.cache_dir.with_name("cache-2")})
    return GitStore(database, store, other)


async def test_another_node_sees_each_push_at_once(
    push: PushPack,
    source: GitRepository,
    database: Database,
    object_store: ObjectStore,
    settings: GitStoreSettings,
    repository_id: int,
) -> None:
    node = second_node(database, object_store, settings)
    old = None
    for number in range(3):
        new = source.commit(f"change {number}")
        await push(source.pack("main", *([f"^{old}"] if old else [])), RefUpdate(MAIN, old, new))
        async with node.open(repository_id) as local:
            assert local.generation == number + 1
            assert GitRepository(local.path).git("rev-parse", "HEAD") == new
            assert GitRepository(local.path).git("fsck", "--full", "--strict") == ""
        old = new


async def test_deleting_the_whole_cache_loses_nothing(
    push: PushPack,
    source: GitRepository,
    git_store: GitStore,
    repository_id: int,
    settings: GitStoreSettings,
) -> None:
    first = source.commit("one")
    await push(source.pack("main"), RefUpdate(MAIN, None, first))

    async with git_store.open(repository_id):
        shutil.rmtree(settings.cache_dir)
        async with git_store.open(repository_id) as fresh:
            assert GitRepository(fresh.path).git("rev-parse", "HEAD") == first
    second = source.commit("two")
    await push(source.pack("main", f"^{first}"), RefUpdate(MAIN, first, second))
    shutil.rmtree(settings.cache_dir)
    async with git_store.open(repository_id) as fresh:
        assert GitRepository(fresh.path).git("rev-list", "--count", "HEAD") == "2"


async def test_a_vanished_pack_is_fetched_again(
    push: PushPack, source: GitRepository, git_store: GitStore, repository_id: int
) -> None:
    oid = source.commit("one")
    await push(source.pack("main"), RefUpdate(MAIN, None, oid))
    async with git_store.open(repository_id) as local:
        for path in (local.objects / "pack").iterdir():
            path.unlink()
    async with git_store.open(repository_id) as local:
        assert GitRepository(local.path).git("cat-file", "-t", oid) == "commit"


@pytest.mark.parametrize("part", ["config", "HEAD", "packed-refs", "refs", "objects"])
async def test_a_copy_of_which_a_part_vanished_is_built_anew(
    push: PushPack, source: GitRepository, git_store: GitStore, repository_id: int, part: str
) -> None:
    oid = source.commit("one")
    await push(source.pack("main"), RefUpdate(MAIN, None, oid))
    async with git_store.open(repository_id) as local:
        path = local.path / part
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    async with git_store.open(repository_id) as local:
        assert GitRepository(local.path).git("rev-parse", MAIN) == oid
    tmp = git_store.cache.root / "tmp"
    assert list(tmp.iterdir()) == []


async def test_a_cancelled_fill_keeps_its_folder_until_it_has_written(
    push: PushPack,
    source: GitRepository,
    git_store: GitStore,
    repository_id: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    oid = source.commit("one")
    await push(source.pack("main"), RefUpdate(MAIN, None, oid))
    started, go_on = threading.Event(), threading.Event()
    faults: list[OSError] = []

    def slow_publish(directory: HeldDirectory, manifest: Manifest, derived: Any) -> object:
        started.set()
        go_on.wait()
        try:
            return publish(directory, manifest, derived)
        except OSError as error:
            faults.append(error)
            raise

    publish = cache._publish
    monkeypatch.setattr(cache, "_publish", slow_publish)

    async def open_once() -> None:
        async with git_store.open(repository_id):
            pass

    opening = asyncio.create_task(open_once())
    await asyncio.to_thread(started.wait)
    opening.cancel()
    await asyncio.wait({opening}, timeout=0.05)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert faults == []
    held = json.loads((git_store.cache.path_of(repository_id) / "generation").read_bytes())
    assert held["generation"] == 1


async def test_a_damaged_object_store_is_reported_not_served(
    push: PushPack,
    source: GitRepository,
    database: Database,
    object_store: ObjectStore,
    settings: GitStoreSettings,
    repository_id: int,
) -> None:
    oid = source.commit("one")
    await push(source.pack("main"), RefUpdate(MAIN, None, oid))
    keys = [info.key async for info in object_store.list("packs/")]
    pack = next(key for key in keys if key.endswith(".pack"))
    whole = await object_store.get(pack)

    await object_store.put(pack, whole[:-1])
    with pytest.raises(RepositoryUnreadable, match="bytes of packs/"):
        async with second_node(database, object_store, settings).open(repository_id):
            pass
    await object_store.delete(pack)
    with pytest.raises(RepositoryUnreadable, match="missing from the object store"):
        async with second_node(database, object_store, settings).open(repository_id):
            pass
    await object_store.put(pack, whole)
    async with second_node(database, object_store, settings).open(repository_id) as local:
        assert GitRepository(local.path).git("fsck", "--full") == ""


async def test_two_processes_of_one_machine_fill_one_cache_while_pushes_go_on(
    push: PushPack,
    source: GitRepository,
    git_store: GitStore,
    database: Database,
    object_store: ObjectStore,
    settings: GitStoreSettings,
    repository_id: int,
) -> None:
    # Another GitStore has locks of its own, as another process would.
    neighbour = GitStore(database, object_store, settings)
    first = source.commit("0")
    await push(source.pack("main"), RefUpdate(MAIN, None, first))
    stop = asyncio.Event()
    seen: list[int] = []

    async def read(store: GitStore) -> None:
        while not stop.is_set():
            async with store.open(repository_id) as local:
                refs = {ref.name: ref.oid for ref in local.packed_refs()}
                GitRepository(local.path).git("cat-file", "-e", refs[MAIN])
                seen.append(local.generation)
            await asyncio.sleep(0)

    readers = [asyncio.create_task(read(store)) for store in (git_store, neighbour, neighbour)]
    old = first
    for number in range(1, 8):
        new = source.commit(str(number))
        await push(source.pack("main", f"^{old}"), RefUpdate(MAIN, old, new))
        old = new
    stop.set()
    await asyncio.gather(*readers)

    assert max(seen) >= 2
    async with neighbour.open(repository_id) as local:
        assert local.generation == 8
        assert GitRepository(local.path).git("rev-parse", MAIN) == old


async def test_a_copy_in_use_is_not_evicted(
    push: PushPack, source: GitRepository, git_store: GitStore, repository_id: int
) -> None:
    oid = source.commit("one")
    await push(source.pack("main"), RefUpdate(MAIN, None, oid))

    async with git_store.open(repository_id) as local:
        assert not await git_store.cache.evict(repository_id)
        assert local.path.exists()
    assert await git_store.cache.evict(repository_id)
    assert not local.path.exists()
    async with git_store.open(repository_id) as again:
        assert GitRepository(again.path).git("rev-parse", MAIN) == oid


async def test_no_lock_file_blocks_after_a_crash(
    push: PushPack, source: GitRepository, git_store: GitStore, repository_id: int
) -> None:
    oid = source.commit("one")
    await push(source.pack("main"), RefUpdate(MAIN, None, oid))
    async with git_store.open(repository_id) as local:
        # What a process leaves that was killed while it filled the copy.
        (local.path / "fill.lock").touch()
        (local.path / "packed-refs.123.tmp").write_text("half a fi")
        (local.path / "generation").unlink()
        (local.objects / "pack" / ".pack-1234.pack.tmp").write_bytes(b"half a pack")
    async with git_store.open(repository_id) as local:
        assert GitRepository(local.path).git("rev-parse", MAIN) == oid
        assert not list((local.objects / "pack").glob(".*"))


def test_packed_refs_round_trip() -> None:
    refs = [
        RefRow("refs/heads/main", "1" * 40, None),
        RefRow("refs/heads/ä b".replace(" ", "-"), "2" * 40, None),
        RefRow("refs/tags/v1", "3" * 40, "4" * 40),
    ]
    assert parse_packed_refs(format_packed_refs(refs)) == refs
    assert parse_packed_refs(format_packed_refs([])) == []


async def test_a_full_cache_folder_is_reported_in_words(
    push: PushPack,
    source: GitRepository,
    git_store: GitStore,
    repository_id: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    oid = source.commit("one")
    await push(source.pack("main"), RefUpdate(MAIN, None, oid))

    def full(directory: HeldDirectory, manifest: Manifest, derived: Any) -> object:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cache, "_publish", full)
    with pytest.raises(
        RepositoryUnreadable, match=r"^the cache folder cannot be written: No space left on device$"
    ):
        async with git_store.open(repository_id):
            pass
    monkeypatch.undo()
    async with git_store.open(repository_id) as local:
        assert GitRepository(local.path).git("rev-parse", MAIN) == oid
