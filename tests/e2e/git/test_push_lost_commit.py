"""The connection to the database breaks during the COMMIT of a push: the truth is told (K1, K2)."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from gitstore.transactions import GitTransaction
from models.database import Database
from tests.e2e.git.conftest import Client, World
from tests.e2e.git.pushes import nothing_left, refs
from tests.support.cutting_proxy import Cut, CuttingProxy
from tests.support.git import GitRepository

pytestmark = pytest.mark.databases("postgresql", "mariadb")


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[CuttingProxy]:
    url = make_url(database_url)
    server = url.query.get("host") or url.query["unix_socket"]
    path = Path(str(server))
    socket = path / ".s.PGSQL.5432" if path.is_dir() else path
    async with CuttingProxy.before(socket) as proxy:
        yield proxy


@pytest.fixture
async def database(database_url: str, proxy: CuttingProxy) -> AsyncIterator[Database]:
    url = make_url(database_url).set(host="127.0.0.1", port=proxy.port, query={})
    database = Database(url.render_as_string(hide_password=False))
    yield database
    await database.close()


@pytest.mark.parametrize("cut", list(Cut))
async def test_a_connection_lost_in_the_commit(
    client: Client,
    world: World,
    history: GitRepository,
    proxy: CuttingProxy,
    cut: Cut,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = (await refs(world))["refs/heads/main"]
    oid = history.commit("next")
    original = GitTransaction.apply

    async def then_cut(self: GitTransaction, *args: object, **options: object) -> object:
        applied = await original(self, *args, **options)  # type: ignore[arg-type]
        proxy.cut, proxy.word = cut, b"COMMIT"
        return applied

    monkeypatch.setattr(GitTransaction, "apply", then_cut)
    done = await client.run("push", client.url("ann/demo", "ann"), "main", cwd=history.path)
    monkeypatch.undo()

    if cut is Cut.AFTER:
        assert done.returncode == 0, done.stderr
        assert (await refs(world))["refs/heads/main"] == oid
    else:
        assert done.returncode == 1
        assert "(the database went away; push again)" in done.stderr
        assert (await refs(world))["refs/heads/main"] == before
        await client.git("push", "--quiet", client.url("ann/demo", "ann"), "main", cwd=history.path)
        assert (await refs(world))["refs/heads/main"] == oid
    await nothing_left(world)


async def test_a_database_that_is_down_during_a_push(
    client: Client,
    world: World,
    history: GitRepository,
    proxy: CuttingProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    history.commit("next")
    original = GitTransaction.upload

    async def then_stop(self: GitTransaction, *args: object, **options: object) -> object:
        stored = await original(self, *args, **options)  # type: ignore[arg-type]
        proxy.stop()
        await proxy.cut_all()
        return stored

    monkeypatch.setattr(GitTransaction, "upload", then_stop)
    done = await client.run("push", client.url("ann/demo", "ann"), "main", cwd=history.path)

    assert done.returncode == 1
    assert "(the database does not answer; try again in a moment)" in done.stderr
