"""Fetches while a part of the hub is away or too slow: a clear error, nothing left behind."""

import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gitstore.process import GitProcesses
from tests.e2e.git.conftest import Client, World
from tests.e2e.git.test_refusals_http import told
from tests.support.git import GitRepository
from tests.support.processes import descendants, wait_until_gone

REFUSED = (
    "fatal: unable to access 'http://127.0.0.1:PORT/PATH/': The requested URL returned error: 503\n"
)


async def refusal(client: Client, version: str, *args: str) -> str:
    done = await client.run("-c", f"protocol.version={version}", *args)
    assert done.returncode == 128
    return told(done.stderr, client, "ann/demo")


@contextlib.asynccontextmanager
async def database_away(world: World) -> AsyncIterator[None]:
    path = Path(world.runtime.database.url.database or "")
    await world.runtime.database.read_engine.dispose()
    path.rename(path.with_suffix(".away"))
    path.mkdir()
    try:
        yield
    finally:
        path.rmdir()
        path.with_suffix(".away").rename(path)


async def test_packs_missing_from_the_store(
    client: Client, history: GitRepository, world: World, tmp_path: Path
) -> None:
    shutil.rmtree(world.runtime.git.cache.root)
    (tmp_path / "storage" / "packs").rename(tmp_path / "away")
    url, text = client.url("ann/demo"), "the repository cannot be read from storage at the moment"
    assert await refusal(client, "0", "ls-remote", url) == f"remote: {text} (request ID)\n{REFUSED}"
    listed = await client.git("ls-remote", url, "HEAD")
    assert listed == f"{history.oid('main')}\tHEAD"
    clone = await refusal(client, "2", "clone", "--quiet", url, str(client.folder / "clone"))
    assert clone == f"fatal: remote error: {text} (request ID)\n"
    (tmp_path / "away").rename(tmp_path / "storage" / "packs")
    assert (await client.clone(url=url)).oid("HEAD") == history.oid("main")


@pytest.mark.parametrize("version", ["0", "2"])
async def test_a_database_that_is_away(
    client: Client, history: GitRepository, world: World, version: str
) -> None:
    async with database_away(world):
        answer = await client.request("GET /ann/demo/info/refs?service=git-upload-pack HTTP/1.1")
        assert answer.headers["retry-after"] == "5"
        assert await refusal(client, version, "ls-remote", client.url("ann/demo")) == (
            "remote: the database does not answer; try again in a moment (request ID)\n" + REFUSED
        )
    assert await client.git("ls-remote", client.url("ann/demo"), "HEAD")


async def test_a_git_that_takes_too_long(
    client: Client,
    history: GitRepository,
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = set(descendants(os.getpid()))  # the run's servers
    script = tmp_path / "bin" / "git"
    script.parent.mkdir()
    script.write_text('#!/bin/sh\nkill -STOP $$\nexec git "$@"\n')
    script.chmod(0o700)
    git = world.runtime.git
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(script.parent), prepend=os.pathsep)
        slow = GitProcesses(git.settings.model_copy(update={"git_wall_seconds": 0.3}))
    monkeypatch.setattr(git, "processes", slow)
    url, text = client.url("ann/demo"), "the request took longer than this server allows"
    clone = await refusal(client, "2", "clone", "--quiet", url, str(client.folder / "clone"))
    assert clone == f"fatal: remote error: {text} (request ID)\n"
    wait_until_gone(lambda: [pid for pid in descendants(os.getpid()) if pid not in before])
