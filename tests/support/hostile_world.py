"""Mallory attacks a hub that Ann goes on using: one real ``och serve``, real bytes, both doors.

A suite's ``conftest.py`` imports the fixtures, and ``hub``.
"""

import contextlib
import dataclasses
import itertools
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.git import GitRepository
from tests.support.hub import Hub
from tests.support.raw_git import Door, HTTPDoor, Person, SSHDoor, packets
from tests.support.ssh import generate_key

SECRET = "hostile-ann/secret"
PUBLIC = "hostile-ann/public"
TARGET = "hostile-mallory/target"


@dataclasses.dataclass(frozen=True, slots=True)
class State:
    """What a refused push must leave as it was: refs, packs of the manifest, begun uploads."""

    refs: list[tuple[str, str]]
    packs: list[str]
    stored: list[str]


@dataclasses.dataclass(frozen=True, slots=True)
class World:
    """``SECRET`` is Ann's and private, ``PUBLIC`` hers too; ``TARGET`` is Mallory's, with a commit.

    Ron may read ``SECRET``. ``secret`` is the id of a commit that only ``SECRET`` has.
    """

    hub: Hub
    ann: Person
    mallory: Person
    ron: Person
    stranger: Person
    secret: str
    base: str

    def mutate(self, who: Person, name: str, given: dict[str, object], selection: str) -> object:
        kind = f"{name[0].upper()}{name[1:]}Input"
        answer = self.hub.graphql(
            f"mutation($input: {kind}!) {{ {name}(input: $input) {{ {selection} }} }}",
            {"input": given},
            token=who.token,
        )
        assert "errors" not in answer, answer
        return answer["data"][name]

    def create(self, who: Person, name: str, *, private: bool = False) -> str:
        visibility = "PRIVATE" if private else "PUBLIC"
        self.mutate(
            who, "createRepository", {"name": name, "visibility": visibility}, "clientMutationId"
        )
        return f"{who.login}/{name}"

    def node_id(self, path: str, who: Person) -> str:
        owner, name = path.split("/")
        answer = self.hub.graphql(
            "query($o: String!, $n: String!) { repository(owner: $o, name: $n) { id } }",
            {"o": owner, "n": name},
            token=who.token,
        )
        found: str = answer["data"]["repository"]["id"]
        return found

    def state(self, path: str) -> State:
        with self.database() as database:
            number = self.repository_id(path)
            refs = database.execute(
                "SELECT name, oid FROM git_refs WHERE repository_id = ? AND oid IS NOT NULL"
                " ORDER BY name",
                (number,),
            ).fetchall()
            packs = database.execute(
                "SELECT storage_key FROM git_packs WHERE repository_id = ?"
                " UNION ALL SELECT storage_key FROM pack_uploads WHERE repository_id = ?"
                " ORDER BY 1",
                (number, number),
            ).fetchall()
        folder = self.hub.data / "storage" / "packs" / str(number)
        stored = sorted(str(each.relative_to(folder)) for each in folder.rglob("*.*"))
        return State(refs, [key for (key,) in packs], stored)

    def repository_id(self, path: str) -> int:
        owner, name = path.split("/")
        with self.database() as database:
            (number,) = database.execute(
                "SELECT r.id FROM repositories r JOIN owners o ON o.id = r.owner_id"
                " WHERE o.login_key = ? AND r.name_key = ?",
                (owner, name),
            ).fetchone()
        found: int = number
        return found

    @contextlib.contextmanager
    def database(self) -> Iterator[sqlite3.Connection]:
        address = f"file:{self.hub.data}/opencodehub.db?mode=ro"
        with contextlib.closing(sqlite3.connect(address, uri=True)) as connection:
            yield connection

    def still_serves_ann(self) -> None:
        """Her private repository is there for her, and says what it said."""
        answer = HTTPDoor(self.hub).advertise("upload-pack", SECRET, self.ann)
        assert answer.status == 200
        assert f"{self.secret} refs/heads/main\n".encode() in packets(answer.body)


def told(text: str) -> str:
    """The text without what differs between requests."""
    return re.sub(r" \(request [0-9a-f]+\)", "", text)


@pytest.fixture(scope="session")
def world(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("hostile")
    people = {}
    for name in ("ann", "mallory", "ron", "stranger"):
        login = f"hostile-{name}"
        generate_key(folder / name)
        token = "" if name == "stranger" else hub.create_user(login, scopes="repo,write:public_key")
        people[name] = Person(login, token, folder / name)
    source = GitRepository.create(folder / "source")
    secret = source.commit("secret")
    other = GitRepository.create(folder / "other")
    base = other.commit("base")
    world = World(hub, **people, secret=secret, base=base)
    for who in (world.ann, world.mallory, world.ron):
        public = who.key.with_name(f"{who.key.name}.pub").read_text()
        world.mutate(who, "createSshKey", {"key": public, "title": "key"}, "clientMutationId")
    assert world.create(world.ann, "secret", private=True) == SECRET
    assert world.create(world.ann, "public") == PUBLIC
    assert world.create(world.mallory, "target") == TARGET
    user = hub.graphql(
        "query($login: String!) { user(login: $login) { id } }",
        {"login": world.ron.login},
        token=world.ann.token,
    )["data"]["user"]["id"]
    share = {"repositoryId": world.node_id(SECRET, world.ann), "userId": user, "permission": "READ"}
    world.mutate(world.ann, "addCollaborator", share, "clientMutationId")
    source.git("push", "--quiet", hub.clone_url(SECRET, world.ann.token), "main")
    other.git("push", "--quiet", hub.clone_url(PUBLIC, world.ann.token), "main")
    other.git("push", "--quiet", hub.clone_url(TARGET, world.mallory.token), "main")
    return world


@pytest.fixture(autouse=True)
def others_are_served(world: World) -> Iterator[None]:
    """Whatever a test does, Ann is served right after it."""
    yield
    world.still_serves_ann()


@pytest.fixture(params=["http", "ssh"])
def door(request: pytest.FixtureRequest, world: World) -> Door:
    return HTTPDoor(world.hub) if request.param == "http" else SSHDoor(world.hub)


@pytest.fixture
def http(world: World) -> HTTPDoor:
    return HTTPDoor(world.hub)


@pytest.fixture
def ssh(world: World) -> SSHDoor:
    return SSHDoor(world.hub)


_numbers = itertools.count(1)


@pytest.fixture
def fresh(world: World) -> str:
    """The path of a new, empty, public repository of Mallory's."""
    return world.create(world.mallory, f"fresh-{next(_numbers)}")


@pytest.fixture
def clone(world: World, tmp_path: Path) -> GitRepository:
    """A clone of ``TARGET``, for Mallory's own git."""
    url = world.hub.clone_url(TARGET, world.mallory.token)
    return GitRepository.clone(url, tmp_path / "clone")
