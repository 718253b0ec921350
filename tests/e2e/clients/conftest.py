"""One hub, two people, one full repository that is only read, and new ones for what is pushed."""

import dataclasses
import itertools
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from services.tokens import new_access_token
from tests.e2e.clients.clients import CLIENTS, NPM, Client, Person, Remote
from tests.support.git import GitRepository
from tests.support.hub import Hub, hub
from tests.support.ssh import generate_key

__all__ = ["hub"]

PAIRS = {
    f"{client.name}-{transport}": (client, transport)
    for client in CLIENTS
    for transport in client.transports
}


def need(found: bool, text: str) -> None:
    """Skip a test whose part is missing; under ``CI=true`` fail it."""
    if found:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(text)
    pytest.skip(text)


def need_client(client: Client) -> None:
    if client.name == "jgit":
        need(shutil.which("jgit") is not None, "jgit is not installed (Debian: jgit-cli)")
        need(
            shutil.which("java") is not None, "java is not installed (Debian: default-jre-headless)"
        )
    if client.name == "isomorphic":
        need(shutil.which("node") is not None, "node is not installed (Debian: nodejs)")
        ready = (NPM / "node_modules" / "isomorphic-git").is_dir()
        need(ready, "isomorphic-git is not installed: run make test, or npm ci in its folder")


@pytest.fixture(params=PAIRS)
def pair(request: pytest.FixtureRequest) -> tuple[Client, str]:
    """The name of a client and of a transport that it has, with a hyphen between them."""
    client, transport = PAIRS[request.param]
    need_client(client)
    return client, transport


@pytest.fixture
def client(pair: tuple[Client, str]) -> Client:
    """Each client in turn, over each transport that it has: see ``transport``."""
    return pair[0]


@pytest.fixture
def transport(pair: tuple[Client, str]) -> str:
    return pair[1]


@dataclasses.dataclass(frozen=True, slots=True)
class World:
    """``library`` is ann's, private and never changed; bob may read it. ``source`` is its content.

    ``nobody`` has a token and a key which the hub does not know.
    """

    hub: Hub
    ann: Person
    bob: Person
    nobody: Person
    source: GitRepository
    library: str

    def create(self, name: str) -> str:
        """A new, empty, private repository of ann's; returns its path."""
        created = self.mutate(
            "createRepository",
            {"name": name, "visibility": "PRIVATE"},
            "repository { id nameWithOwner }",
        )
        path: str = created["repository"]["nameWithOwner"]  # type: ignore[index]
        return path

    def mutate(
        self, name: str, given: dict[str, object], selection: str, *, as_: Person | None = None
    ) -> dict[str, object]:
        kind = f"{name[0].upper()}{name[1:]}Input"
        answer = self.hub.graphql(
            f"mutation($input: {kind}!) {{ {name}(input: $input) {{ {selection} }} }}",
            {"input": given},
            token=(as_ or self.ann).token,
        )
        assert "errors" not in answer, answer
        result: dict[str, object] = answer["data"][name]
        return result

    def url(self, path: str) -> str:
        """For stock git, as ann over HTTP: the yardstick."""
        return self.hub.clone_url(path, self.ann.token)

    def stored(self, path: str, folder: Path) -> dict[str, str]:
        """Every ref of the repository, as a new clone of stock git has them after its checks."""
        copy = GitRepository.clone(self.url(path), folder, "--mirror")
        assert copy.git("fsck", "--full", "--strict") == ""
        return copy.refs()


def make_source(folder: Path) -> GitRepository:
    """Two branches, a merge, both kinds of tags, deltas, a binary, a script and a link."""
    source = GitRepository.create(folder)
    text = [f"line {number}\n" for number in range(2000)]
    for number in range(6):
        text[number * 300] = f"changed in {number}\n"
        source.commit(f"change {number}", files={"src/text.txt": "".join(text)})
    source.git("tag", "light")
    script = source.path / "run.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    (source.path / "link").symlink_to("src/text.txt")
    source.commit("kinds", files={"binary.dat": bytes(range(256)) * 200, "däta/ü.txt": "ü\n"})
    source.git("tag", "--annotate", "--message", "the first", "v1")
    source.git("switch", "--quiet", "--create", "topic", "HEAD~3")
    source.commit("on the side")
    source.git("switch", "--quiet", "main")
    source.git("merge", "--quiet", "--no-edit", "topic")
    source.commit("last")
    return source


@pytest.fixture(scope="session")
def world(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("world")
    people = {}
    for login in ("ann", "bob", "nobody"):
        generate_key(folder / login, kind="ecdsa")
        token = new_access_token()
        if login != "nobody":
            token = hub.create_user(f"clients-{login}", scopes="repo,write:public_key")
        people[login] = Person(f"clients-{login}", token, folder / login)
    world = World(
        hub=hub,
        **people,
        source=make_source(folder / "source"),
        library="clients-ann/library",
    )
    for person in (world.ann, world.bob):
        key = person.key.with_name(f"{person.key.name}.pub").read_text()
        world.mutate("createSshKey", {"key": key, "title": "key"}, "clientMutationId", as_=person)
    assert world.create("library") == world.library
    world.source.git("push", "--quiet", "--mirror", world.url(world.library))
    ids = hub.graphql(
        'query($login: String!) { repository(owner: "clients-ann", name: "library") { id }'
        " user(login: $login) { id } }",
        {"login": world.bob.login},
        token=world.ann.token,
    )["data"]
    share = {"repositoryId": ids["repository"]["id"], "userId": ids["user"]["id"]}
    world.mutate("addCollaborator", {**share, "permission": "READ"}, "clientMutationId")
    return world


_numbers = itertools.count(1)


@pytest.fixture
def project(world: World) -> str:
    """A repository for one test to change, with all of ``world.source`` in it; its path."""
    path = world.create(f"project-{next(_numbers)}")
    world.source.git("push", "--quiet", "--mirror", world.url(path))
    return path


@pytest.fixture
def copy(world: World, tmp_path: Path) -> GitRepository:
    """A repository on this side with all refs of ``world.source``, which no test may change."""
    repository = GitRepository.create(tmp_path / "copy")
    repository.git("fetch", "--quiet", "--update-head-ok", str(world.source.path), "refs/*:refs/*")
    return repository


@pytest.fixture
def remote(world: World, transport: str) -> Callable[..., Remote]:
    """``remote(path)`` as ann, ``remote(path, world.bob)`` as somebody else."""

    def remote_of(path: str, person: Person | None = None) -> Remote:
        return Remote(world.hub, path, transport, person or world.ann)

    return remote_of
