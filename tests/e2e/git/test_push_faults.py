"""Pushes that meet other pushes, lost clients, ended rights and broken parts."""

import asyncio
import os
import shutil
from typing import cast

import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from gitserve import receive
from gitserve.smart_http import GitHTTP
from gitstore.quarantine import Quarantine
from gitstore.transactions import GitTransaction
from models import Repository
from tests.e2e.git.conftest import Client, World
from tests.e2e.git.pushes import NULL, commands, is_git, nothing_left, refs
from tests.support.git import GitRepository
from tests.support.http_server import serving
from tests.support.processes import descendants


async def test_two_servers_race_for_one_ref(
    client: Client, world: World, history: GitRepository
) -> None:
    """Each old value has one winner, whichever server it asked; the others are told plainly."""
    url = client.url("ann/demo", "ann")
    async with serving(GitHTTP(world.runtime)) as port:
        urls = [url, url.replace(f":{client.port}/", f":{port}/")]
        for round_number in range(3):
            base = (await refs(world))["refs/heads/main"]
            racers = []
            for number in range(4):
                clone = await client.clone(url=url, name=f"clone-{round_number}-{number}")
                racers.append((clone, clone.commit(f"{round_number}-{number}")))
            results = await asyncio.gather(
                *(
                    client.run("push", urls[number % 2], "main", cwd=clone.path)
                    for number, (clone, _) in enumerate(racers)
                )
            )
            winners = [
                oid
                for (_, oid), result in zip(racers, results, strict=True)
                if result.returncode == 0
            ]
            assert len(winners) == 1
            assert (await refs(world))["refs/heads/main"] == winners[0] != base
            for result in results:
                if result.returncode:
                    assert (
                        "(changed by another push)" in result.stderr
                        or "(fetch first)" in result.stderr
                    ), result.stderr
    await nothing_left(world)


async def test_a_client_that_goes_in_the_middle_leaves_nothing(
    client: Client, world: World, history: GitRepository
) -> None:
    before = await refs(world)
    oid = history.commit("big", files={"big.bin": os.urandom(3_000_000)})
    body = commands(f"{NULL} {oid} refs/heads/gone") + history.pack(oid, "^HEAD~1")
    _reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(
        b"POST /ann/demo.git/git-receive-pack HTTP/1.1\r\nhost: x\r\n"
        b"content-type: application/x-git-receive-pack-request\r\n"
        + f"authorization: {client.basic('ann')}\r\n".encode()
        + f"content-length: {len(body)}\r\n\r\n".encode()
        + body[: len(body) // 2]
    )
    await writer.drain()
    while not [pid for pid in descendants(os.getpid()) if is_git(pid)]:
        await asyncio.sleep(0.01)
    writer.transport.abort()
    for _ in range(200):
        if not [pid for pid in descendants(os.getpid()) if is_git(pid)]:
            break
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    assert await refs(world) == before
    await nothing_left(world)


async def test_a_client_that_goes_after_its_pack_is_done_is_served_all_the_same(
    client: Client, world: World, history: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    oid = history.commit("next")
    body = commands(f"{history.oid('main~1')} {oid} refs/heads/main") + history.pack(oid, "^main~1")
    received, go_on = asyncio.Event(), asyncio.Event()
    original = Quarantine.receive_pack

    async def slow(self: Quarantine, *args: object, **options: object) -> object:
        result = await original(self, *args, **options)  # type: ignore[arg-type]
        received.set()
        await go_on.wait()
        return result

    monkeypatch.setattr(Quarantine, "receive_pack", slow)
    _reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(
        b"POST /ann/demo.git/git-receive-pack HTTP/1.1\r\nhost: x\r\n"
        b"content-type: application/x-git-receive-pack-request\r\n"
        + f"authorization: {client.basic('ann')}\r\n".encode()
        + f"content-length: {len(body)}\r\n\r\n".encode()
        + body
    )
    await received.wait()
    writer.transport.abort()
    await asyncio.sleep(0.05)
    go_on.set()
    for _ in range(500):
        if (await refs(world))["refs/heads/main"] == oid:
            break
        await asyncio.sleep(0.01)
    assert (await refs(world))["refs/heads/main"] == oid
    again = await client.run("push", client.url("ann/demo", "ann"), "main", cwd=history.path)
    assert again.stderr.strip() == "Everything up-to-date"


async def test_a_right_that_ends_during_the_push_ends_the_push(
    client: Client, world: World, history: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K10: the right is judged in the transaction that moves the refs."""
    before = await refs(world)
    history.commit("next")
    original = Quarantine.receive_pack

    async def archived_meanwhile(self: Quarantine, *args: object, **options: object) -> object:
        async with world.runtime.database.write() as session:
            row = await session.get(Repository, world.ids["demo"])
            assert row is not None
            row.archived_at = row.created_at
        return await original(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Quarantine, "receive_pack", archived_meanwhile)
    done = await client.run("push", client.url("ann/demo", "ann"), "main", cwd=history.path)

    assert done.returncode == 1
    assert "(repository is archived so it is read-only)" in done.stderr
    assert await refs(world) == before
    await nothing_left(world)


async def test_a_store_that_does_not_answer(
    client: Client, world: World, history: GitRepository
) -> None:
    before = await refs(world)
    history.commit("next")
    storage = world.runtime.object_store.root  # type: ignore[attr-defined]
    storage.rename(storage.with_name("away"))

    done = await client.run("push", client.url("ann/demo", "ann"), "main", cwd=history.path)
    assert done.returncode == 1
    assert "(the object store does not answer; try again in a moment)" in done.stderr
    assert str(storage) not in done.stderr
    assert await refs(world) == before

    shutil.rmtree(world.runtime.git.cache.root)
    fetch = await client.run("clone", client.url("ann/demo"), str(client.folder / "failed"))
    assert fetch.returncode == 128
    assert str(storage) not in fetch.stderr

    storage.with_name("away").rename(storage)
    await client.git("push", "--quiet", client.url("ann/demo", "ann"), "main", cwd=history.path)
    assert (await refs(world))["refs/heads/main"] == history.oid("main")


async def test_a_branch_that_becomes_the_default_meanwhile_is_not_deleted(
    client: Client, world: World, history: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await refs(world)
    original = GitTransaction.apply

    async def after_a_change(self: GitTransaction, *args: object, **options: object) -> object:
        applied = await original(self, *args, **options)  # type: ignore[arg-type]
        session = cast("AsyncSession", args[0])
        await session.execute(update(Repository).values(default_branch="topic"))
        return applied

    monkeypatch.setattr(GitTransaction, "apply", after_a_change)
    done = await client.run(
        "push", "--delete", client.url("ann/demo", "ann"), "topic", cwd=history.path
    )

    assert done.returncode == 1
    assert "(the default branch changed meanwhile; push again)" in done.stderr
    assert await refs(world) == before
    await nothing_left(world)


async def test_a_cache_deleted_during_a_push_is_not_blamed_on_the_pack(
    client: Client, world: World, history: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.commit("next")
    original = Quarantine.receive_pack

    async def then_deleted(self: Quarantine, *args: object, **options: object) -> object:
        result = await original(self, *args, **options)  # type: ignore[arg-type]
        shutil.rmtree(self.repository.path)
        return result

    monkeypatch.setattr(Quarantine, "receive_pack", then_deleted)
    done = await client.run("push", client.url("ann/demo", "ann"), "main", cwd=history.path)
    monkeypatch.undo()

    assert done.returncode == 1
    assert "missing necessary objects" not in done.stderr
    await client.git("push", "--quiet", client.url("ann/demo", "ann"), "main", cwd=history.path)
    assert (await refs(world))["refs/heads/main"] == history.oid("main")
    await nothing_left(world)


async def test_objects_dropped_between_check_and_commit_make_the_push_check_again(
    client: Client, world: World, history: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    oid = history.commit("next")
    upload, check = GitTransaction.upload, Quarantine._rev_list
    epochs: list[int] = []

    async def then_pruned(self: GitTransaction, *args: object, **options: object) -> object:
        stored = await upload(self, *args, **options)  # type: ignore[arg-type]
        async with world.runtime.database.write() as session:
            await session.execute(
                update(Repository)
                .where(Repository.id == world.ids["demo"])
                .values(
                    prune_epoch=Repository.prune_epoch + 1, generation=Repository.generation + 1
                )
            )
        return stored

    async def counted(self: Quarantine, *args: object, **options: object) -> object:
        epochs.append(self.repository.prune_epoch)
        return await check(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(GitTransaction, "upload", then_pruned)
    monkeypatch.setattr(Quarantine, "_rev_list", counted)
    await client.git("push", "--quiet", client.url("ann/demo", "ann"), "main", cwd=history.path)

    assert epochs == [0, 1]
    assert (await refs(world))["refs/heads/main"] == oid
    await nothing_left(world)


async def test_while_a_prune_goes_on_nothing_may_be_built_on_garbage(
    client: Client, world: World, history: GitRepository
) -> None:
    """What no ref reaches is about to go; at other times it may come back."""
    url, old = client.url("ann/demo", "ann"), history.oid("main")
    garbage = history.commit("garbage")
    await client.git("push", "--quiet", url, f"{garbage}:refs/heads/lost", cwd=history.path)
    await client.git("push", "--quiet", "--delete", url, "lost", cwd=history.path)
    child = history.commit("child")
    empty = history.pack(garbage, f"^{garbage}")

    async def push(name: str, oid: str, pack: bytes) -> bytes:
        body = commands(f"{'0' * 40} {oid} refs/heads/{name}") + pack
        return (await client.post("ann/demo", "git-receive-pack", body, login="ann")).body

    assert b"ok refs/heads/again" in await push("again", garbage, empty)
    await client.git("push", "--quiet", "--delete", url, "again", cwd=history.path)
    async with world.runtime.database.write() as session:
        await session.execute(
            update(Repository)
            .where(Repository.id == world.ids["demo"])
            .values(prune_epoch=1, generation=Repository.generation + 1)
        )
    before = await refs(world)
    for name, oid, pack in (
        ("again", garbage, empty),
        ("child", child, history.pack(child, f"^{garbage}")),
    ):
        refusal = f"ng refs/heads/{name} it needs objects that are being pruned; fetch, then push"
        assert refusal.encode() in await push(name, oid, pack)
    assert await refs(world) == before
    await nothing_left(world)
    whole = history.pack(child, f"^{old}")
    assert b"ok refs/heads/child" in await push("child", child, whole)
    assert (await refs(world))["refs/heads/child"] == child


async def test_a_silent_check_keeps_the_connection_alive(
    client: Client, world: World, history: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Empty data packets, which git takes and proxies count as life."""
    monkeypatch.setattr(receive, "KEEP_ALIVE_SECONDS", 0.02)
    check = Quarantine._rev_list

    async def slow(self: Quarantine, *args: object, **options: object) -> object:
        await asyncio.sleep(0.3)
        return await check(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Quarantine, "_rev_list", slow)
    old, oid = history.oid("main"), history.commit("next")
    body = commands(f"{old} {oid} refs/heads/main") + history.pack(oid, f"^{old}")
    answer = await client.post("ann/demo", "git-receive-pack", body, login="ann")
    before, _, _ = answer.body.partition(b"unpack ok")
    assert before.count(b"0005\x01") >= 3
    assert b"ok refs/heads/main" in answer.body

    history.commit("again")
    await client.git("push", "--quiet", client.url("ann/demo", "ann"), "main", cwd=history.path)
