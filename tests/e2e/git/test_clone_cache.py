"""Equal clones share one answer, and nobody gets one without the right to it."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import delete

from gitserve import clone_cache
from gitserve.pktline import encode
from gitserve.protocol_v2 import Request
from gitstore import answers
from gitstore.observer import Unobserved
from gitstore.process import GitProcesses
from models import Collaborator
from services.git_access import GitRepository as OpenRepository
from tests.e2e.git.conftest import Client, World
from tests.support.git import GitRepository


class Children(Unobserved):
    def __init__(self) -> None:
        self.commands: list[str] = []

    def child_ended(self, command: str, size: str, seconds: float, outcome: str) -> None:
        self.commands.append(command)


@pytest.fixture
def children(world: World, monkeypatch: pytest.MonkeyPatch) -> Children:
    """The git children of the server, and every answer worth keeping."""
    monkeypatch.setattr(answers, "MIN_KEPT_BYTES", 1)
    git = world.runtime.git
    observer = Children()
    monkeypatch.setattr(git, "processes", GitProcesses(git.settings, observer))
    return observer


async def test_ten_clones_at_once_need_one_upload_pack(
    client: Client, history: GitRepository, children: Children
) -> None:
    url = client.url("ann/secret.git", "bob")
    clones = await asyncio.gather(
        *(client.clone(url=url, name=f"clone{number}") for number in range(10))
    )
    assert children.commands.count("upload-pack") == 1
    for clone in clones:
        assert clone.oid("HEAD") == history.oid("main")
    await client.clone("-c", "protocol.version=2", url=url, name="later")
    assert children.commands.count("upload-pack") == 1
    # Another request is another answer; what is fetched on top of something is nobody else's.
    await client.clone("-c", "core.autocrlf=false", url=f"{url}", name="again")
    await client.git("clone", "--quiet", "--bare", "--filter=blob:none", url, "partial")
    assert children.commands.count("upload-pack") == 2
    await client.git("clone", "--quiet", "--depth=1", url, "shallow")
    await client.git("clone", "--quiet", "--depth=1", url, "shallow2")
    assert children.commands.count("upload-pack") == 4


async def test_the_right_to_read_is_asked_before_each_serving(
    client: Client, history: GitRepository, children: Children, world: World
) -> None:
    url = client.url("ann/secret.git", "bob")
    await client.clone(url=url)
    async with world.runtime.database.write() as session:
        await session.execute(delete(Collaborator))
    for login in ("bob", "cyd", None):
        refused = await client.run("clone", client.url("ann/secret.git", login), "stolen")
        assert refused.returncode == 128
        assert "clone" not in children.commands
    body = (
        encode(b"command=fetch\n")
        + encode(b"object-format=sha1")
        + b"0001"
        + encode(f"want {history.oid('main')}\n".encode())
        + encode(b"done\n")
        + b"0000"
    )
    answer = await client.post(
        "ann/secret.git", "git-upload-pack", body, "git-protocol: version=2", login="cyd"
    )
    assert answer.status == 200
    assert b"ERR repository not found (request " in answer.body
    assert b"PACK" not in answer.body


async def test_a_prune_ends_old_answers(
    client: Client, history: GitRepository, children: Children, world: World
) -> None:
    url = client.url("ann/secret.git", "ann")
    secret = history.commit("secret")
    await client.git("push", "--quiet", url, "main", cwd=history.path)
    await client.clone(url=url)
    history.git("reset", "--quiet", "--hard", "HEAD~")
    await client.git("push", "--quiet", "--force", url, "main", cwd=history.path)
    fetch = ("fetch", "--quiet", url, secret)
    bare = GitRepository.create(client.folder / "bare", "--bare")
    await client.git(*fetch, cwd=bare.path)  # until then whoever knows the id gets it

    assert await world.runtime.git.compactor.prune(world.ids["secret"]) is not None

    fresh = GitRepository.create(client.folder / "fresh", "--bare")
    refused = await client.run(*fetch, cwd=fresh.path)
    assert refused.returncode == 128
    assert f"not our ref {secret}" in refused.stderr


async def test_an_unknown_object_is_refused_in_gits_words(
    client: Client, history: GitRepository, children: Children
) -> None:
    bare = GitRepository.create(client.folder / "bare", "--bare")
    url = client.url("ann/secret.git", "ann")
    for _ in range(2):
        refused = await client.run("fetch", "--quiet", url, "1" * 40, cwd=bare.path)
        assert refused.returncode == 128
        assert "not our ref " + "1" * 40 in refused.stderr


async def test_without_room_each_clone_is_made_anew(
    client: Client,
    history: GitRepository,
    children: Children,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = client.url("ann/secret.git", "ann")
    for number, room in enumerate((0, 10)):
        settings = world.runtime.git.settings.model_copy(update={"clone_cache_max_bytes": room})
        monkeypatch.setattr(world.runtime.git, "answers", answers.AnswerCache(settings))
        await client.clone(url=url, name=f"clone{number}a")
        await client.clone(url=url, name=f"clone{number}b")
    assert children.commands.count("upload-pack") == 4


async def test_a_full_disk_costs_the_cache_not_the_clone(
    client: Client, history: GitRepository, children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(answers, "_write_all", full)
    clone = await client.clone(url=client.url("ann/secret.git", "ann"))
    assert clone.oid("HEAD") == history.oid("main")


def request(*arguments: bytes, command: str = "fetch") -> Request:
    return Request(command, arguments, b"")


@pytest.mark.parametrize(
    ("arguments", "is_clone"),
    [
        ((b"want 1", b"done"), True),
        ((b"want 1", b"thin-pack", b"filter blob:none", b"done"), True),
        ((b"want 1",), False),
        ((b"done",), False),
        ((b"want 1", b"have 2", b"done"), False),
        ((b"want 1", b"deepen 1", b"done"), False),
        ((b"want 1", b"deepen-since 5", b"done"), False),
        ((b"want 1", b"shallow 2", b"done"), False),
        ((b"want 1", b"wait-for-done", b"done"), False),
    ],
)
def test_what_counts_as_a_clone(arguments: tuple[bytes, ...], is_clone: bool) -> None:
    assert clone_cache.is_clone(request(*arguments)) is is_clone


def test_only_equal_requests_of_one_repository_and_epoch_share_an_answer() -> None:
    def key(*arguments: bytes, **changes: Any) -> str:
        opened = {"id": 1, "name_with_owner": "a/b", "object_format": "sha1", "prune_epoch": 0}
        opened |= {"generation": 1, "head": "refs/heads/main"}
        return clone_cache.key_of(OpenRepository(**(opened | changes)), request(*arguments))

    one = key(b"want 1", b"want 2", b"done")
    assert one == key(b"want 2", b"done", b"want 1")
    assert one == key(b"want 2", b"done", b"want 1", name_with_owner="new/name", generation=2)
    others = {
        key(b"want 1", b"done"),
        key(b"want 1", b"want 2", b"done", b"ofs-delta"),
        key(b"want 1", b"want 2", b"done", id=2),
        key(b"want 1", b"want 2", b"done", prune_epoch=1),
    }
    assert len(others | {one}) == 5
