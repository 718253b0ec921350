"""Subscriptions on the whole hub: through kills and restarts, and through two web processes."""

import asyncio
import contextlib
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from tests.support.git import GitRepository
from tests.support.hub import Hub, environment, free_port, running_hub
from tests.support.subscriptions import SocketClient, acknowledged

EVENTS = """subscription($id: ID!, $after: BigInt) {
  repositoryEvents(repositoryId: $id, after: $after) {
    __typename number
    ... on PushEvent { refChanges(first: 10) { nodes { name } } }
  }
}"""
CREATE = """mutation($id: ID!, $name: String!, $oid: GitObjectID!) {
  createRef(input: {repositoryId: $id, name: $name, oid: $oid}) { ref { name } } }"""


@pytest.fixture
def project(tmp_path: Path) -> GitRepository:
    repository = GitRepository.create(tmp_path / "project")
    repository.commit("one", files={"a.txt": "a\n"})
    return repository


def repository_of(hub: Hub, token: str, path: str) -> dict[str, Any]:
    owner, name = path.split("/")
    query = (
        "query($owner: String!, $name: String!)"
        " { repository(owner: $owner, name: $name) { id lastEventNumber } }"
    )
    found: dict[str, Any] = hub.graphql(query, {"owner": owner, "name": name}, token=token)
    return dict(found["data"]["repository"])


async def heard(client: SocketClient, subscription: str, count: int) -> list[tuple[int, str]]:
    """The numbers and the one ref of so many pushes."""
    events = []
    while len(events) < count:
        event = (await client.data(subscription))["repositoryEvents"]
        if event["__typename"] == "PushEvent":
            (change,) = event["refChanges"]["nodes"]
            events.append((int(event["number"]), change["name"]))
    return events


async def test_nothing_is_lost_or_told_twice_when_the_whole_hub_is_killed(
    tmp_path: Path, project: GitRepository
) -> None:
    with running_hub(tmp_path / "hub") as hub:
        token = hub.create_user("ann")
        hub.och("create-repository", "ann/demo", "--private")
        demo = repository_of(hub, token, "ann/demo")

        def push(branch: str) -> None:
            project.git("push", "--quiet", hub.clone_url("ann/demo", token), f"main:{branch}")

        async with acknowledged(hub.port, token) as client:
            subscription = await client.subscribe(EVENTS, {"id": demo["id"]})
            await asyncio.sleep(1)
            await asyncio.to_thread(push, "one")
            await asyncio.to_thread(push, "two")
            first = await heard(client, subscription, 2)
            assert [name for _, name in first] == ["refs/heads/one", "refs/heads/two"]
        await asyncio.to_thread(push, "three")
        async with acknowledged(hub.port, token) as client:
            variables = {"id": demo["id"], "after": str(first[-1][0])}
            subscription = await client.subscribe(EVENTS, variables)
            third = await heard(client, subscription, 1)
            hub.stop(signal.SIGKILL)
            with pytest.raises(ConnectionClosed):
                await client.receive()
    with running_hub(tmp_path / "hub") as hub:
        await asyncio.to_thread(push, "four")
        async with acknowledged(hub.port, token) as client:
            variables = {"id": demo["id"], "after": str(first[0][0])}
            subscription = await client.subscribe(EVENTS, variables)
            await asyncio.to_thread(push, "five")
            again = await heard(client, subscription, 4)
    assert again[:2] == [first[1], *third]
    assert [name for _, name in again[2:]] == ["refs/heads/four", "refs/heads/five"]
    assert [number for number, _ in again] == sorted({number for number, _ in again})


@contextlib.contextmanager
def second_web_process(hub: Hub) -> Iterator[int]:
    """Another ``och web`` on the same database, Redis and storage; yields its port."""
    port = free_port()
    with (hub.folder / "log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "opencodehub", "web", "--port", str(port)],
            cwd=hub.folder,
            env=environment(hub.folder, hub.settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
    try:
        yield port
    finally:
        process.terminate()
        process.wait()


async def until_ready(port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(OSError):
                await asyncio.to_thread(urllib.request.urlopen, f"http://127.0.0.1:{port}/readyz")
                return
            await asyncio.sleep(0.1)


@pytest.mark.databases("sqlite", "postgresql")
async def test_two_web_processes_tell_the_same_in_the_same_order(
    tmp_path: Path, project: GitRepository, empty_database_url: str
) -> None:
    count = 24
    with running_hub(tmp_path / "hub", OCH_DATABASE_URL=empty_database_url) as hub:
        token = hub.create_user("ann")
        hub.och("create-repository", "ann/demo")
        oid = project.git("rev-parse", "main").strip()
        project.git("push", "--quiet", hub.clone_url("ann/demo", token), "main")
        demo = repository_of(hub, token, "ann/demo")
        with second_web_process(hub) as port:
            await until_ready(port)
            async with acknowledged(hub.port) as one, acknowledged(port) as other:
                listening = [
                    (client, await client.subscribe(EVENTS, {"id": demo["id"]}))
                    for client in (one, other)
                ]
                await asyncio.sleep(1)
                await asyncio.gather(
                    *(
                        asyncio.to_thread(
                            hub.graphql,
                            CREATE,
                            {"id": demo["id"], "name": f"refs/heads/b{place}", "oid": oid},
                            token=token,
                        )
                        for place in range(count)
                    )
                )
                first, second = [await heard(*each, count) for each in listening]
    assert first == second
    assert {name for _, name in first} == {f"refs/heads/b{place}" for place in range(count)}
    assert [number for number, _ in first] == sorted({number for number, _ in first})


async def test_delivery_goes_on_without_redis(tmp_path: Path, project: GitRepository) -> None:
    """The database is the record: a bus that is away only makes the news a second later."""
    nowhere = f"unix://{tmp_path}/no-redis.sock"
    with running_hub(tmp_path / "hub") as hub:
        token = hub.create_user("ann")
        hub.och("create-repository", "ann/demo")
        demo = repository_of(hub, token, "ann/demo")
        hub.settings = {"OCH_REDIS_URL": nowhere}
        with second_web_process(hub) as port:
            async with asyncio.timeout(60):
                while True:
                    with contextlib.suppress(OSError):
                        async with acknowledged(port) as client:
                            subscription = await client.subscribe(EVENTS, {"id": demo["id"]})
                            await asyncio.sleep(1)
                            url = hub.clone_url("ann/demo", token)
                            await asyncio.to_thread(project.git, "push", "--quiet", url, "main")
                            assert (await heard(client, subscription, 1))[0][1] == "refs/heads/main"
                            break
                    await asyncio.sleep(0.1)
