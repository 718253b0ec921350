"""Children that read objects: what they give, when they are used again, and when they end."""

import asyncio
from pathlib import Path

import pytest

from gitstore import object_reader
from gitstore.errors import GitFailed
from gitstore.objects import Blob, Commit, ObjectKind, Tree
from gitstore.settings import GitStoreSettings
from gitstore.store import GitStore
from gitstore.transactions import RefUpdate
from models.database import Database
from storage_adapters.memory import MemoryObjectStore
from tests.support.git import GitRepository
from tests.unit.gitstore.conftest import PushPack, add_repository

MISSING = "1" * 40
MAIN = "refs/heads/main"


@pytest.fixture
async def tip(source: GitRepository, push: PushPack) -> str:
    tip = source.commit("one", files={"small": "text\n", "large": b"x" * 300_000})
    await push(source.pack("main"), RefUpdate(MAIN, None, tip))
    return tip


async def test_objects_of_all_kinds(
    git_store: GitStore, repository_id: int, source: GitRepository, tip: str
) -> None:
    tree, small, large = (source.oid(f"main{part}") for part in ("^{tree}", ":small", ":large"))
    async with git_store.open(repository_id) as copy, git_store.readers.lend(copy) as reader:
        found = await reader.objects([tip, tree, small, large, MISSING, tip], blob_bytes=1000)
        assert set(found) == {tip, tree, small, large}
        assert isinstance(found[tip], Commit)
        assert isinstance(found[tree], Tree)
        assert found[small] == Blob(small, 5, b"text\n")
        assert found[large] == Blob(large, 300_000, b"")
        headers = await reader.headers([large, MISSING])
        assert {oid: (one.kind, one.size) for oid, one in headers.items()} == {
            large: (ObjectKind.BLOB, 300_000)
        }
        assert await reader.blob_head(large, 10) == b"x" * 10
        # The rest of the blob is in the pipe, so this reader has done its work.
        with pytest.raises(GitFailed):
            await reader.headers([small])
    await git_store.close()


async def test_more_questions_than_a_pipe_holds(
    git_store: GitStore, repository_id: int, tip: str
) -> None:
    oids = [f"{number:040x}" for number in range(5000)]
    async with git_store.open(repository_id) as copy, git_store.readers.lend(copy) as reader:
        assert set(await reader.headers([*oids, tip])) == {tip}
    await git_store.close()


async def test_structures_beyond_the_limit_are_not_read(
    git_store: GitStore, repository_id: int, tip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_reader, "MAX_STRUCTURE_BYTES", 10)
    async with git_store.open(repository_id) as copy, git_store.readers.lend(copy) as reader:
        assert await reader.objects([tip]) == {}
    await git_store.close()


async def test_a_reader_is_used_again_until_it_idles(
    git_store: GitStore, repository_id: int, tip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_reader, "_IDLE_SECONDS", 0.2)
    async with git_store.open(repository_id) as copy:
        async with (
            git_store.readers.lend(copy) as first,
            git_store.readers.lend(copy) as beside,
        ):
            assert beside is not first
        async with git_store.readers.lend(copy) as again:
            assert again in (first, beside)
            assert set(await again.headers([tip])) == {tip}
        await asyncio.sleep(0.5)
        assert not first.is_alive
        assert not beside.is_alive
        async with git_store.readers.lend(copy) as new:
            assert set(await new.headers([tip])) == {tip}
    await git_store.close()
    assert not new.is_alive


async def test_a_reader_sees_what_is_pushed_later(
    git_store: GitStore, repository_id: int, source: GitRepository, push: PushPack, tip: str
) -> None:
    async with git_store.open(repository_id) as copy, git_store.readers.lend(copy) as reader:
        assert set(await reader.headers([tip])) == {tip}
    later = source.commit("two")
    await push(source.pack("main", f"^{tip}"), RefUpdate(MAIN, tip, later))
    async with git_store.open(repository_id) as copy, git_store.readers.lend(copy) as again:
        assert again is reader
        assert set(await again.headers([later])) == {later}
    await git_store.close()


async def test_whoever_leaves_in_the_middle_spoils_the_reader(
    git_store: GitStore, repository_id: int, tip: str, source: GitRepository
) -> None:
    async with git_store.open(repository_id) as copy:
        with pytest.raises(TimeoutError):
            async with git_store.readers.lend(copy) as reader:
                async with asyncio.timeout(0):
                    await reader.objects([source.oid("main:large")], blob_bytes=10**6)
        assert reader.is_broken
        async with git_store.readers.lend(copy) as other:
            assert other is not reader
            assert set(await other.headers([tip])) == {tip}
    await git_store.close()


async def test_a_killed_reader_is_replaced(
    git_store: GitStore, repository_id: int, tip: str
) -> None:
    async with git_store.open(repository_id) as copy:
        with pytest.raises(GitFailed, match="cat-file"):
            async with git_store.readers.lend(copy) as reader:
                reader._child.kill_group()
                await reader.headers([tip])
        async with git_store.readers.lend(copy) as other:
            assert set(await other.headers([tip])) == {tip}
    await git_store.close()


async def test_idle_readers_make_way_for_others(database: Database, tmp_path: Path) -> None:
    settings = GitStoreSettings(cache_dir=tmp_path / "cache", git_readers=1, git_queue_seconds=1)
    store = GitStore(database, MemoryObjectStore(), settings)
    for name in ("one", "two"):
        repository_id = await add_repository(database, name)
        async with store.open(repository_id) as copy, store.readers.lend(copy) as reader:
            assert await reader.headers([MISSING]) == {}
    await store.close()
