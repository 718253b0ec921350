"""Stock clients of the API, unmodified: GitHub's octokit, and graphql-ws for subscriptions."""

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.clients.clients import NPM
from tests.e2e.clients.conftest import need
from tests.support.git import GitRepository
from tests.support.hub import Hub

ID = """query($owner: String!) { repository(owner: $owner, name: "demo") {
  id } }"""


@pytest.fixture(autouse=True)
def node() -> None:
    need(shutil.which("node") is not None, "node is not installed (Debian: nodejs)")
    for package in ("@octokit/core", "@octokit/graphql", "graphql-ws", "ws"):
        ready = (NPM / "node_modules" / package).is_dir()
        need(ready, f"{package} is not installed: run make test, or npm ci in its folder")


def command(script: str, *arguments: str) -> list[str]:
    return ["node", str(NPM / script), *arguments]


def test_octokit(hub: Hub) -> None:
    token = hub.create_user("octokit")
    hub.och("create-repository", "octokit/demo", "--private")
    done = subprocess.run(
        command("with_octokit.mjs", hub.url, token, "octokit"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "viewer": {"viewer": {"login": "octokit"}},
        "repository": {"repository": {"nameWithOwner": "octokit/demo"}},
        "missing": {
            "type": "NOT_FOUND",
            "message": "Could not resolve to a Repository with the name 'nobody/nothing'.",
        },
        "user": "octokit",
        "named": "octokit/demo",
        "graphql": {"viewer": {"login": "octokit"}},
        "status": 404,
        "refused": [401, "Bad credentials"],
    }


async def test_graphql_ws_hears_events_and_resumes(hub: Hub, tmp_path: Path) -> None:
    token = hub.create_user("listens")
    hub.och("create-repository", "listens/demo", "--private")
    project = GitRepository.create(tmp_path / "project")
    project.commit("one", files={"a": "a"})
    found = hub.graphql(ID, {"owner": "listens"}, token=token)["data"]["repository"]
    url = f"ws://127.0.0.1:{hub.port}/graphql"

    async def heard(after: str, count: int) -> list[dict[str, Any]]:
        process = await asyncio.create_subprocess_exec(
            *command("with_graphql_ws.mjs", url, token, found["id"], after),
            stdout=asyncio.subprocess.PIPE,
            stderr=sys.stderr,
        )
        assert process.stdout is not None
        events: list[dict[str, Any]] = []
        async with asyncio.timeout(60):
            while len(events) < count:
                line = json.loads(await process.stdout.readline())
                events.append(line["data"]["repositoryEvents"])
        process.kill()
        await process.wait()
        return events

    for branch in ("one", "two"):
        address = hub.clone_url("listens/demo", token)
        await asyncio.to_thread(project.git, "push", "--quiet", address, f"main:{branch}")
    # The worker gave the repository's making its number, or the first who listens does.
    events = await heard("0", 3)
    kinds = [each["__typename"] for each in events]
    assert kinds == ["RepositoryCreatedEvent", "PushEvent", "PushEvent"]
    assert await heard(events[0]["number"], 2) == events[1:]


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("", "Could not resolve to a node with the global id of 'R_x'"),
        ("wrong", "4401 Bad credentials"),
    ],
)
def test_graphql_ws_tells_of_refusals(hub: Hub, token: str, expected: str) -> None:
    url = f"ws://127.0.0.1:{hub.port}/graphql"
    done = subprocess.run(
        command("with_graphql_ws.mjs", url, token, "R_x"),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout == json.dumps({"error": expected}, separators=(",", ":")) + "\n", done.stderr
