"""K1-K3: kill -9 at named points of a push and of a fill, then look at what is left.

After each crash: the ref has its old or its new value and never a third; the same push succeeds or
says that it is up to date; nothing blocks it; a clone from a fresh cache passes ``git fsck``; and
after the sweep the object store holds exactly what the manifest names.
"""

import asyncio
import contextlib
import dataclasses
import datetime as dt
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from gitstore.cache import SUFFIXES_IN_ORDER
from gitstore.maintenance import sweep_uploads, tend_cache
from gitstore.settings import GitStoreSettings
from gitstore.store import GitStore
from models import Event, GitPack, PackUpload, Push, RefChange
from models.database import Database
from storage_adapters.local import LocalObjectStore
from tests.support.git import GitRepository

ROOT = Path(__file__).parents[3]

# Where, and whether the push must already be there after the restart.
PUSH_POINTS = {
    "gitstore.quarantine:Quarantine.receive_pack:before:1": "old",
    "gitstore.quarantine:Quarantine.receive_pack:after:1": "old",
    "gitstore.quarantine:Quarantine.check_connected:after:1": "old",
    "gitstore.transactions:GitTransaction.upload:before:1": "old",
    "storage_adapters.local:LocalObjectStore.put:before:1": "old",
    "storage_adapters.local:LocalObjectStore.put:after:1": "old",
    "storage_adapters.local:LocalObjectStore.put:after:2": "old",
    "gitstore.transactions:GitTransaction.upload:after:1": "old",
    "gitstore.transactions:GitTransaction.apply:before:1": "old",
    "gitstore.transactions:_publish_pack:before:1": "old",
    "gitstore.transactions:GitTransaction.apply:after:1": "old",
    "services.pushes:_PushInProgress._record:after:1": "old",
    "services.context:OpContext._publish:before:1": "new",
    "gitstore.transactions:GitTransaction.adopt:before:1": "new",
    "gitstore.transactions:GitTransaction.adopt:after:1": "new",
    "gitserve.receive:_Session._report:before:1": "new",
}
FILL_POINTS = [
    "gitstore.cache:RepositoryCache._fill:before:1",
    "gitstore.cache:_link:before:1",
    "gitstore.cache:_link:after:1",
    "gitstore.cache:_link:after:2",
    "gitstore.cache:_link:after:3",
    "gitstore.cache:_publish:before:1",
    "gitstore.directory:HeldDirectory.replace:after:1",
    "gitstore.directory:HeldDirectory.replace:after:2",
    "gitstore.directory:HeldDirectory.replace:after:3",
    "gitstore.cache:_publish:after:1",
]


@dataclasses.dataclass
class Server:
    process: subprocess.Popen[str]
    port: int


class Hub:
    """One data folder, and servers on it that may crash."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "OCH_DATA_DIR": str(self.data),
            # Nothing listens there: pushes must not need Redis.
            "OCH_REDIS_URL": f"unix://{folder}/no-redis.sock",
        }
        self.servers: list[Server] = []
        self.token = ""

    def start(self, spec: str = "-") -> Server:
        with (self.folder / "server.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.crashing_web", spec],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (self.folder / "server.log").read_text()[-3000:]
        server = Server(process, int(line))
        self.servers.append(server)
        return server

    def stop(self, server: Server) -> None:
        server.process.terminate()
        server.process.wait()
        assert server.process.stdout is not None
        server.process.stdout.close()
        self.servers.remove(server)

    def died(self, server: Server) -> bool:
        """Whether the server was killed by its crash point; waits for its end."""
        code = server.process.wait(timeout=60)
        assert server.process.stdout is not None
        server.process.stdout.close()
        self.servers.remove(server)
        return code == -9

    def admin(self, *args: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "opencodehub", *args],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    def url(self, server: Server) -> str:
        return f"http://ann:{self.token}@127.0.0.1:{server.port}/ann/demo.git"

    def inspect(self) -> "Leftovers":
        return asyncio.run(self._inspect())

    async def _inspect(self) -> "Leftovers":
        database = Database(f"sqlite:///{self.data}/opencodehub.db")
        store = LocalObjectStore(self.data / "storage")
        cache = GitStoreSettings(cache_dir=self.data / "cache")
        try:
            await sweep_uploads(database, store, older_than=dt.timedelta(seconds=-60))
            git = GitStore(database, store, cache)
            for folder in (git.cache.root / "quarantine").glob("*"):
                os.utime(folder, (0, 0))
            await tend_cache(git.cache, database, max_bytes=1 << 40)
            async with database.read() as session:
                packs = (await session.scalars(select(GitPack.storage_key))).all()
                intents = (await session.scalars(select(PackUpload.storage_key))).all()
                pushes = (await session.scalars(select(Push.id))).all()
                changes = (await session.scalars(select(RefChange.new_oid))).all()
                events = await session.scalars(
                    select(Event.payload).where(Event.name == "PushReceived")
                )
                told = [payload["push_id"] for payload in events]
            stored = [info.key async for info in store.list("packs/")]
        finally:
            await store.close()
            await database.close()
        return Leftovers(
            named=sorted(key + suffix for key in packs for suffix in SUFFIXES_IN_ORDER),
            stored=stored,
            intents=list(intents),
            quarantines=[path.name for path in (self.data / "cache" / "quarantine").glob("*")],
            pushes=list(pushes),
            events=told,
            changes=list(changes),
        )


@dataclasses.dataclass
class Leftovers:
    named: list[str]
    stored: list[str]
    intents: list[str]
    quarantines: list[str]
    pushes: list[int]
    events: list[int]
    changes: list[str | None]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with ann/demo and one pushed commit, to be copied by each test."""
    folder = tmp_path_factory.mktemp("prepared")
    hub = Hub(folder)
    hub.admin("migrate")
    hub.admin("create-user", "ann", "--email=ann@example.com")
    hub.token = hub.admin("create-token", "ann", "--name=t", "--scopes=repo")
    hub.admin("create-repository", "ann/demo")
    (folder / "token").write_text(hub.token)
    source = GitRepository.create(folder / "source")
    source.commit("base")
    server = hub.start()
    try:
        source.git("push", "--quiet", hub.url(server), "main")
    finally:
        hub.stop(server)
    return folder


@pytest.fixture
def hub(prepared: Path, tmp_path: Path) -> Iterator[Hub]:
    shutil.copytree(prepared / "data", tmp_path / "data")
    shutil.copytree(prepared / "source", tmp_path / "source")
    hub = Hub(tmp_path)
    hub.token = (prepared / "token").read_text()
    yield hub
    for server in list(hub.servers):
        server.process.kill()
        hub.died(server)


@pytest.mark.parametrize(("spec", "expected"), PUSH_POINTS.items())
def test_a_server_killed_in_a_push(hub: Hub, tmp_path: Path, spec: str, expected: str) -> None:
    source = GitRepository(tmp_path / "source")
    old = source.oid("main")
    new = source.commit("next")

    server = hub.start(spec)
    source.failure("push", hub.url(server), "main", "main:refs/heads/topic")
    assert hub.died(server), "the crash point was not reached"

    server = hub.start()
    refs = dict(
        reversed(line.split("\t"))
        for line in source.git("ls-remote", hub.url(server), "refs/heads/*").splitlines()
    )
    before, after = {"refs/heads/main": old}, {"refs/heads/main": new, "refs/heads/topic": new}
    assert refs == (after if expected == "new" else before)

    retry = source.run("push", hub.url(server), "main", "main:refs/heads/topic")
    assert retry.returncode == 0, retry.stderr.decode()
    assert (b"Everything up-to-date" in retry.stderr) == (expected == "new")

    shutil.rmtree(hub.data / "cache")
    clone = GitRepository.clone(hub.url(server), tmp_path / "clone")
    assert clone.oid("HEAD") == new
    assert clone.git("fsck", "--full", "--strict") == ""
    hub.stop(server)
    left = hub.inspect()
    assert left.stored == sorted(left.named)
    assert (left.intents, left.quarantines) == ([], [])
    assert left.pushes == left.events
    assert left.changes == [old, new, new]


@pytest.mark.parametrize("spec", FILL_POINTS)
def test_a_server_killed_while_it_fills_a_cache(hub: Hub, tmp_path: Path, spec: str) -> None:
    shutil.rmtree(hub.data / "cache")
    source = GitRepository(tmp_path / "source")
    head = source.oid("main")

    server = hub.start(spec)
    source.failure("clone", hub.url(server), str(tmp_path / "cut"))
    assert hub.died(server), "the crash point was not reached"

    server = hub.start()
    clone = GitRepository.clone(hub.url(server), tmp_path / "clone")
    assert clone.oid("HEAD") == head
    assert clone.git("fsck", "--full", "--strict") == ""
    clone.commit("after the crash")
    clone.git("push", "--quiet", "origin", "main")
    hub.stop(server)
    left = hub.inspect()
    assert left.stored == sorted(left.named)
    assert (left.intents, left.quarantines) == ([], [])


def test_servers_killed_at_random_moments_lose_no_acknowledged_push(
    hub: Hub, tmp_path: Path
) -> None:
    source = GitRepository(tmp_path / "source")
    acknowledged = source.oid("main")
    for number in range(12):
        server = hub.start()
        wish = source.commit(f"change {number}", files={"f.txt": f"{number}\n" * 2000})
        client = subprocess.Popen(
            ["git", "push", "--quiet", hub.url(server), "main"],
            cwd=source.path,
            env=source.environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        # Spread over the length of a push: connecting, checking, uploading, committing.
        with contextlib.suppress(subprocess.TimeoutExpired):
            client.wait(timeout=0.02 * number)
        server.process.kill()
        hub.died(server)
        server = hub.start()
        value = source.git("ls-remote", hub.url(server), "refs/heads/main").split("\t")[0]
        if client.wait() == 0:
            acknowledged = wish
            assert value == wish, "an acknowledged push is gone"
        assert value in (acknowledged, wish)
        source.git("push", "--quiet", hub.url(server), "main")
        acknowledged = wish
        hub.stop(server)
    server = hub.start()
    clone = GitRepository.clone(hub.url(server), tmp_path / "clone")
    assert clone.oid("HEAD") == acknowledged
    assert clone.git("fsck", "--full", "--strict") == ""
    hub.stop(server)
    left = hub.inspect()
    assert left.stored == sorted(left.named)
    assert (left.intents, left.quarantines) == ([], [])
    assert left.pushes == left.events
