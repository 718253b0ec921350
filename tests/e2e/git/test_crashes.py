"""K1-K3: kill -9 at named points of a push and of a fill, then look at what is left.

After each crash: the ref has its old or its new value and never a third; the same push succeeds or
says that it is up to date; nothing blocks it; a clone from a fresh cache passes ``git fsck``; and
after the sweep the object store holds exactly what the manifest names.
"""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.git import GitRepository
from tests.support.web_servers import WebServers

# Where, and whether the push must already be there after the restart.
PUSH_POINTS = {
    "gitstore.quarantine:Quarantine.receive_pack:before:1": "old",
    "gitstore.quarantine:Quarantine.receive_pack:after:1": "old",
    "gitstore.quarantine:Quarantine._rev_list:after:1": "old",
    "gitstore.transactions:GitTransaction.upload:before:1": "old",
    "storage_adapters.local:LocalObjectStore.put:before:1": "old",
    "storage_adapters.local:LocalObjectStore.put:after:1": "old",
    "storage_adapters.local:LocalObjectStore.put:after:2": "old",
    "gitstore.transactions:GitTransaction.upload:after:1": "old",
    "gitstore.transactions:GitTransaction.apply:before:1": "old",
    "gitstore.transactions:publish_pack:before:1": "old",
    "gitstore.transactions:GitTransaction.apply:after:1": "old",
    "services.pushes:record_push:after:1": "old",
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


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with ann/demo and one pushed commit, to be copied by each test."""
    folder = tmp_path_factory.mktemp("prepared")
    hub = WebServers(folder)
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
def hub(prepared: Path, tmp_path: Path) -> Iterator[WebServers]:
    shutil.copytree(prepared / "data", tmp_path / "data")
    shutil.copytree(prepared / "source", tmp_path / "source")
    hub = WebServers(tmp_path)
    hub.token = (prepared / "token").read_text()
    yield hub
    for server in list(hub.servers):
        server.process.kill()
        hub.died(server)


@pytest.mark.parametrize(("spec", "expected"), PUSH_POINTS.items())
def test_a_server_killed_in_a_push(
    hub: WebServers, tmp_path: Path, spec: str, expected: str
) -> None:
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
def test_a_server_killed_while_it_fills_a_cache(hub: WebServers, tmp_path: Path, spec: str) -> None:
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
    hub: WebServers, tmp_path: Path
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
