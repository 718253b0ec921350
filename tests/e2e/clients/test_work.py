"""What people do all day, with each client over each of its transports.

What a client did is judged by stock git: its checks in the client's clone, and the refs of a new
clone after a push. Commits are made by stock git too; what is tested is the conversation.
"""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.clients.clients import Client, Remote, StockGit
from tests.e2e.clients.conftest import PAIRS, World
from tests.support.git import GitRepository

RemoteOf = Callable[..., Remote]


@pytest.mark.parametrize("version", ["0", "1", "2"])
@pytest.mark.parametrize("transport", ["http", "ssh"])
def test_stock_git_speaks_the_version_it_is_told(
    version: str, remote: RemoteOf, world: World, tmp_path: Path
) -> None:
    """So the tests below do cover all three. The first version does not say its number."""
    trace = tmp_path / "trace"
    told = StockGit(version).attempt(
        "clone", remote(world.library), tmp_path / "clone", more={"GIT_TRACE_PACKET": str(trace)}
    )
    assert told is None
    spoken = re.findall(r"< version (\d)$", trace.read_text(), re.MULTILINE)
    assert set(spoken) == (set() if version == "0" else {version})


def checked(path: Path) -> GitRepository:
    """The clone, after stock git found no fault in it."""
    clone = GitRepository(path)
    assert clone.git("fsck", "--full", "--strict", "--no-dangling") == ""
    return clone


def fetched(clone: GitRepository) -> dict[str, str]:
    """What the client knows of the server, under the server's names."""
    return {
        name.replace("refs/remotes/origin/", "refs/heads/"): oid
        for name, oid in clone.refs().items()
        if name.startswith(("refs/remotes/origin/", "refs/tags/"))
        and name != "refs/remotes/origin/HEAD"
    }


def test_clone(client: Client, remote: RemoteOf, world: World, tmp_path: Path) -> None:
    client.clone(remote(world.library), tmp_path / "clone")
    clone = checked(tmp_path / "clone")
    assert fetched(clone) == world.source.refs()
    assert clone.git("symbolic-ref", "HEAD") == "refs/heads/main"
    assert clone.oid("HEAD") == world.source.oid("main")
    # Stock git finds every file as committed: content, the script's mode, the link.
    assert clone.git("status", "--porcelain") == ""
    assert clone.git("cat-file", "-t", "v1") == "tag"


def test_fetch(
    client: Client, remote: RemoteOf, world: World, project: str, tmp_path: Path
) -> None:
    client.clone(remote(project), tmp_path / "clone")
    other = GitRepository.clone(world.url(project), tmp_path / "other")
    other.commit("new on main", files={"src/text.txt": "short\n"})
    other.git("tag", "new-light")
    other.git("tag", "--annotate", "--message", "the second", "v2")
    other.git("branch", "new-branch", "HEAD~1")
    other.git("push", "--quiet", "--all")
    other.git("push", "--quiet", "--tags")

    client.fetch(remote(project), tmp_path / "clone")
    expected = world.source.refs() | {
        "refs/heads/main": other.oid("main"),
        "refs/heads/new-branch": other.oid("main~1"),
        "refs/tags/new-light": other.oid("main"),
        "refs/tags/v2": other.oid("refs/tags/v2"),
    }
    assert fetched(checked(tmp_path / "clone")) == expected


def test_fetch_after_both_sides_went_on(
    client: Client, remote: RemoteOf, world: World, project: str, tmp_path: Path
) -> None:
    """The client offers many commits that the server has never seen, mostly in several rounds."""
    client.clone(remote(project), tmp_path / "clone")
    clone = GitRepository(tmp_path / "clone")
    stream = "".join(
        "commit refs/heads/mine\ncommitter Ann <ann@example.com> "
        f"{1700000000 + number} +0000\ndata 4\nmine\n"
        + ("from refs/heads/main\n" if number == 0 else "")
        + "\n"
        for number in range(300)
    )
    clone.git("fast-import", "--quiet", stdin=stream.encode())
    assert clone.git("rev-list", "--count", "main..mine") == "300"
    other = GitRepository.clone(world.url(project), tmp_path / "other")
    tip = other.commit("theirs")
    other.git("push", "--quiet")

    client.fetch(remote(project), clone.path)
    expected = world.source.refs() | {"refs/heads/main": tip}
    assert fetched(checked(clone.path)) == expected


def test_first_push(
    client: Client, remote: RemoteOf, world: World, copy: GitRepository, tmp_path: Path
) -> None:
    """Into an empty repository: branches, both kinds of tags."""
    path = world.create(f"first-{client.name}-{remote('x').transport}")
    refs = world.source.refs()
    client.push(remote(path), copy.path, *(f"{name}:{name}" for name in refs))
    assert world.stored(path, tmp_path / "stored") == refs


def test_push(client: Client, remote: RemoteOf, world: World, project: str, tmp_path: Path) -> None:
    client.clone(remote(project), tmp_path / "clone")
    clone = GitRepository(tmp_path / "clone")
    for number in range(3):
        clone.commit(f"mine {number}", files={"src/text.txt": f"{number}\n", f"new/{number}": "n"})
    clone.git("branch", "feature/one", "HEAD~1")
    clone.git("tag", "mine-light", "HEAD~2")
    clone.git("tag", "--annotate", "--message", "mine", "mine-annotated")
    pushed = {
        "refs/heads/main": clone.oid("main"),
        "refs/heads/feature/one": clone.oid("feature/one"),
        "refs/tags/mine-light": clone.oid("mine-light"),
        "refs/tags/mine-annotated": clone.oid("mine-annotated"),
    }
    client.push(remote(project), clone.path, *(f"{name}:{name}" for name in pushed))
    assert world.stored(project, tmp_path / "stored") == world.source.refs() | pushed


def test_deletion_and_force(
    client: Client, remote: RemoteOf, world: World, project: str, tmp_path: Path
) -> None:
    client.clone(remote(project), tmp_path / "clone")
    clone = GitRepository(tmp_path / "clone")
    clone.git("reset", "--quiet", "--hard", "HEAD~1")
    other = clone.commit("another way")
    client.push(
        remote(project),
        clone.path,
        "+refs/heads/main:refs/heads/main",
        ":refs/heads/topic",
        ":refs/tags/v1",
    )
    assert world.stored(project, tmp_path / "stored") == {
        "refs/heads/main": other,
        "refs/tags/light": world.source.oid("light"),
    }


@pytest.mark.parametrize(
    "pair", [name for name, (client, _) in PAIRS.items() if client.can_be_shallow], indirect=True
)
def test_shallow_clone_deepened_then_pushed_from(
    client: Client, remote: RemoteOf, world: World, tmp_path: Path
) -> None:
    """A straight history without tags: some clients ask for tags at the same depth, some do not."""
    path = world.create(f"shallow-{client.name}-{remote('x').transport}")
    world.source.git("push", "--quiet", world.url(path), "v1~0:refs/heads/main")
    client.clone(remote(path), tmp_path / "clone", depth=1)
    clone = checked(tmp_path / "clone")
    assert clone.git("rev-parse", "--is-shallow-repository") == "true"
    assert clone.git("rev-list", "HEAD") == world.source.oid("v1~0")
    assert clone.git("status", "--porcelain") == ""

    client.fetch(remote(path), clone.path, depth=3)
    history = world.source.git("rev-list", "v1").splitlines()
    assert checked(clone.path).git("rev-list", "HEAD").splitlines() == history[:3]

    tip = clone.commit("from a shallow clone")
    client.push(remote(path), clone.path, "refs/heads/main:refs/heads/main")
    assert world.stored(path, tmp_path / "stored") == {"refs/heads/main": tip}
