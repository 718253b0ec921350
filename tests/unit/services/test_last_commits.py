"""Last commits are found after a push, kept for all processes, found anew when they are lost."""

import json
from pathlib import Path
from typing import Any

import pytest

from gitstore.transactions import RefUpdate
from models import Event, Repository
from services import last_commits
from services.dispatch import FOLLOWERS
from services.events import PushReceived
from services.git_reading import open_for_reading, state_of
from services.runtime import Runtime
from tests.support.content import Bytes, store_content
from tests.support.factories import make_repository, make_user
from tests.support.git import GitRepository
from tests.support.runtime import operator


@pytest.fixture
async def demo(runtime: Runtime) -> Repository:
    return await make_repository(runtime, await make_user(runtime, "ann"), "demo")


@pytest.fixture
async def source(runtime: Runtime, demo: Repository, tmp_path: Path) -> GitRepository:
    source = GitRepository.create(tmp_path / "source")
    source.commit("one", files={"a": "1", "b": "1"})
    source.commit("two", files={"b": "2"})
    await store_content(runtime, demo, source)
    return source


async def ask(runtime: Runtime, repository: Repository, tip: str) -> dict[bytes, str]:
    op = operator(runtime)
    async with op.read() as tx:
        current = await tx.session.get_one(Repository, repository.id)
    async with open_for_reading(op, state_of(current)) as reading:
        tree = await reading.tree_at(tip, b"")
        assert tree is not None
        entries = {entry.raw_name: entry.oid for entry in tree.entries}
        return await last_commits.find_last_commits(reading, tip, b"", entries)


async def run_job(runtime: Runtime, repository: Repository) -> None:
    op = operator(runtime)
    async with op.transaction() as tx:
        tx.emit(PushReceived(repository.id, 1, 1))
        await tx.session.flush()
        (event,) = tx.events
    assert isinstance(event, Event)
    await last_commits.find_last_commits_after_event(op, event.id)


def kept(runtime: Runtime) -> list[str]:
    return list(runtime.cache._memory._found)  # type: ignore[attr-defined]


def test_it_follows_a_push() -> None:
    assert "git.find_last_commits" in FOLLOWERS["PushReceived"]
    assert "git.find_last_commits" in FOLLOWERS["RepositoryForked"]


async def test_the_job_finds_what_the_page_asks_for(
    runtime: Runtime,
    demo: Repository,
    source: GitRepository,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await run_job(runtime, demo)
    (key,) = kept(runtime)
    assert key.startswith(f"last-commits:{demo.id}:{demo.prune_epoch}:")

    async def fail(*_: Any) -> Any:
        raise AssertionError("it was found already")

    monkeypatch.setattr(last_commits, "last_commits", fail)
    tip = source.oid("main")
    assert await ask(runtime, demo, tip) == {b"a": source.oid("main~1"), b"b": tip}


async def test_the_job_where_there_is_nothing(runtime: Runtime, demo: Repository) -> None:
    await run_job(runtime, demo)
    await last_commits.find_last_commits_after_event(operator(runtime), 10**6)
    assert kept(runtime) == []


@pytest.mark.parametrize(
    "value",
    [b"", b"no json", b"[]", b"{}", b'{"tip": 1, "entries": {"!": []}}', b'{"entries": []}'],
)
async def test_a_kept_value_that_is_none(
    runtime: Runtime, demo: Repository, source: GitRepository, value: bytes
) -> None:
    tip = source.oid("main")
    await ask(runtime, demo, tip)
    (key,) = kept(runtime)
    await runtime.cache.put(key, value, seconds=60)
    assert await ask(runtime, demo, tip) == {b"a": source.oid("main~1"), b"b": tip}
    found = await runtime.cache.get(key)
    assert found is not None
    assert json.loads(found)["tip"] == tip


async def test_what_comes_later_starts_from_what_is_kept(
    runtime: Runtime,
    demo: Repository,
    source: GitRepository,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old = source.oid("main")
    await ask(runtime, demo, old)
    new = source.commit("three", files={"a": "3", "c": "3"})
    async with runtime.git.begin(demo.id) as work:
        received = await work.quarantine.receive_pack(
            Bytes(source.pack("main", f"^{old}")), progress=None, input_ended=lambda: None
        )
        assert received is not None
        stored = await work.upload(received)
        async with runtime.database.write() as session:
            update = RefUpdate("refs/heads/main", old, new)
            await work.apply(session, [update], stored, atomic=True)
    started_from = []
    find = last_commits.last_commits

    async def note(*args: Any) -> Any:
        started_from.append(args[-1].tip)
        return await find(*args)

    monkeypatch.setattr(last_commits, "last_commits", note)
    assert await ask(runtime, demo, new) == {b"a": new, b"b": old, b"c": new}
    assert started_from == [old]
