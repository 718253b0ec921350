"""A place for hostile pushes in a shared hub: what they may not change, and who looks on.

Test modules import the fixtures; ``hub`` comes from their conftest.
"""

import contextlib
import dataclasses
import itertools
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitserve.pktline import encode
from tests.support.git import CLEAN_ENVIRONMENT, GitRepository, run_git
from tests.support.hub import Hub
from tests.support.raw_git import (
    CAPABILITIES,
    FLUSH,
    HTTPDoor,
    Person,
    Report,
    push,
    read_report,
)

_numbers = itertools.count(1)


@dataclasses.dataclass(frozen=True, slots=True)
class State:
    """What a refused push must leave as it was: refs, packs of the manifest, begun uploads."""

    refs: str
    packs: list[str]
    uploads: list[str]


class Mallory:
    """Somebody who may push to repositories of their own, and a neighbour who only looks on."""

    def __init__(self, hub: Hub, folder: Path) -> None:
        self.hub = hub
        login = f"pusher-{next(_numbers)}"
        self.person = Person(login, hub.create_user(login, scopes="repo"), Path())
        self.source = GitRepository.create(folder / "source")
        self.base = self.source.commit("base")
        self.neighbour = self.create()
        self.fill(self.neighbour)

    def create(self) -> str:
        """A new, empty, public repository; returns its path."""
        name = f"target-{next(_numbers)}"
        answer = self.hub.graphql(
            "mutation($input: CreateRepositoryInput!)"
            " { createRepository(input: $input) { clientMutationId } }",
            {"input": {"name": name, "visibility": "PUBLIC"}},
            token=self.person.token,
        )
        assert "errors" not in answer, answer
        return f"{self.person.login}/{name}"

    def fill(self, path: str) -> None:
        """Push the commit ``base`` to main."""
        self.source.git("push", "--quiet", self.hub.clone_url(path, self.person.token), "main")

    def look_at_neighbour(self) -> None:
        listed = run_git("ls-remote", self.hub.clone_url(self.neighbour), "main")
        assert listed == f"{self.base}\trefs/heads/main"


class Target:
    """A repository of Mallory's; ``base`` is the commit of its main."""

    def __init__(self, mallory: Mallory, path: str) -> None:
        self.mallory = mallory
        self.path = path
        self.base = mallory.base
        self.url = mallory.hub.clone_url(path, mallory.person.token)

    def push(self, data: bytes, **refs: str) -> Report:
        """Push raw bytes as the pack; ``refs`` are new branches and what they shall be."""
        moves = [(f"refs/heads/{name}", None, oid) for name, oid in refs.items()]
        return self.move(moves, data)

    def move(self, moves: list[tuple[str, str | None, str | None]], data: bytes) -> Report:
        return push(HTTPDoor(self.mallory.hub), self.path, self.mallory.person, moves, data)

    def raw(self, line: bytes) -> Report:
        """Push with this line as the only command."""
        data = encode(line + b"\0" + CAPABILITIES.encode()) + FLUSH
        door = HTTPDoor(self.mallory.hub)
        answer = door.exchange("receive-pack", self.path, self.mallory.person, data)
        return read_report(answer.body)

    def state(self) -> State:
        address = f"file:{self.mallory.hub.data}/opencodehub.db?mode=ro"
        with contextlib.closing(sqlite3.connect(address, uri=True)) as database:
            owner, name = self.path.split("/")
            ((number,),) = database.execute(
                "SELECT r.id FROM repositories r JOIN owners o ON o.id = r.owner_id"
                " WHERE o.login_key = ? AND r.name_key = ?",
                (owner, name),
            )
            packs, uploads = (
                [key for (key,) in database.execute(query, (number,))]
                for query in (
                    "SELECT storage_key FROM git_packs WHERE repository_id = ? ORDER BY 1",
                    "SELECT storage_key FROM pack_uploads WHERE repository_id = ? ORDER BY 1",
                )
            )
        return State(run_git("ls-remote", self.url), packs, uploads)

    def mirror(self, folder: Path) -> GitRepository:
        """A bare clone that git's own check finds nothing wrong with."""
        done = subprocess.run(
            ["git", "clone", "--quiet", "--bare", self.url, str(folder)],
            env=CLEAN_ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        repository = GitRepository(folder)
        repository.git("fsck", "--full", "--strict")
        return repository


@pytest.fixture(scope="session")
def mallory(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Mallory:
    return Mallory(hub, tmp_path_factory.mktemp("mallory"))


@pytest.fixture(scope="session")
def shared_target(mallory: Mallory) -> Target:
    path = mallory.create()
    mallory.fill(path)
    return Target(mallory, path)


@pytest.fixture
def refusing(shared_target: Target) -> Iterator[Target]:
    """A repository with one commit, of which a test may change nothing."""
    before = shared_target.state()
    yield shared_target
    assert shared_target.state() == before
    shared_target.mallory.look_at_neighbour()


@pytest.fixture
def target(mallory: Mallory) -> Iterator[Target]:
    """A repository with one commit. Whatever a test does to it, its neighbour is served after."""
    path = mallory.create()
    mallory.fill(path)
    yield Target(mallory, path)
    mallory.look_at_neighbour()
