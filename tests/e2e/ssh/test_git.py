"""Real git over the SSH server: what works with a plain server works here."""

import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from tests.e2e.ssh.conftest import World
from tests.support.git import GitRepository
from tests.support.ssh import OpenSSH


@pytest.fixture
def project(tmp_path: Path) -> GitRepository:
    repository = GitRepository.create(tmp_path / "project")
    for number in range(5):
        repository.commit(f"change {number}", files={f"{number}.txt": f"{number}\n" * 2000})
    repository.git("tag", "-a", "-m", "first", "v1")
    return repository


@pytest.fixture
async def pushed(project: GitRepository, openssh: OpenSSH, world: World) -> GitRepository:
    done = await openssh.git(
        "push",
        "--quiet",
        openssh.url("ann/demo.git"),
        "main",
        "v1",
        identity=world.ann,
        cwd=project.path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return project


def fsck(path: Path) -> str:
    return GitRepository(path).git("fsck", "--full", "--strict", "--no-dangling")


@pytest.mark.parametrize("version", ["0", "1", "2"])
@pytest.mark.parametrize("path", ["ann/demo.git", "Ann/demo", "/ann/demo.git"])
async def test_clone(
    openssh: OpenSSH, world: World, pushed: GitRepository, version: str, path: str, tmp_path: Path
) -> None:
    clone = tmp_path / "clone"
    done = await openssh.git(
        "-c",
        f"protocol.version={version}",
        "clone",
        "--quiet",
        openssh.url(path),
        str(clone),
        identity=world.bob,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert fsck(clone) == ""
    assert GitRepository(clone).oid("origin/main") == pushed.oid("main")
    assert GitRepository(clone).oid("v1") == pushed.oid("v1")


@pytest.mark.parametrize("version", ["0", "2"])
async def test_shallow_clone_then_unshallow(
    openssh: OpenSSH, world: World, pushed: GitRepository, version: str, tmp_path: Path
) -> None:
    clone = GitRepository(tmp_path / "clone")
    protocol = f"protocol.version={version}"
    done = await openssh.git(
        "-c",
        protocol,
        "clone",
        "--quiet",
        "--depth=1",
        openssh.url("ann/demo.git"),
        str(clone.path),
        identity=world.ann,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert clone.git("rev-list", "--count", "HEAD") == "1"
    done = await openssh.git(
        "-c", protocol, "fetch", "--quiet", "--unshallow", identity=world.ann, cwd=clone.path
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert clone.git("rev-list", "--count", "HEAD") == "5"
    assert fsck(clone.path) == ""


@pytest.mark.parametrize("version", ["0", "2"])
async def test_partial_clone_fetches_blobs_when_needed(
    openssh: OpenSSH, world: World, pushed: GitRepository, version: str, tmp_path: Path
) -> None:
    clone = GitRepository(tmp_path / "clone")
    protocol = f"protocol.version={version}"
    done = await openssh.git(
        "-c",
        protocol,
        "clone",
        "--quiet",
        "--no-checkout",
        "--filter=blob:none",
        openssh.url("ann/demo.git"),
        str(clone.path),
        identity=world.ann,
    )
    assert (done.returncode, done.stderr) == (0, "")
    missing = clone.git("rev-list", "--objects", "--all", "--missing=print").splitlines()
    assert len([line for line in missing if line.startswith("?")]) == 5
    done = await openssh.git(
        "-c", protocol, "checkout", "--quiet", "main", identity=world.ann, cwd=clone.path
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (clone.path / "4.txt").read_text() == "4\n" * 2000


async def test_push_fetch_and_delete(
    openssh: OpenSSH, world: World, pushed: GitRepository, tmp_path: Path
) -> None:
    url = openssh.url("ann/demo.git")
    clone = GitRepository(tmp_path / "clone")
    await openssh.git("clone", "--quiet", url, str(clone.path), identity=world.ann)
    new = pushed.commit("more")
    done = await openssh.git(
        "push", "--atomic", url, "main", "main:topic", identity=world.ann, cwd=pushed.path
    )
    assert done.returncode == 0
    done = await openssh.git("fetch", "--quiet", identity=world.ann, cwd=clone.path)
    assert (done.returncode, done.stderr) == (0, "")
    assert clone.oid("origin/main") == clone.oid("origin/topic") == new
    done = await openssh.git("push", url, ":topic", identity=world.ann, cwd=pushed.path)
    assert done.returncode == 0
    done = await openssh.git("ls-remote", "--heads", url, identity=world.bob)
    assert done.stdout.decode() == f"{new}\trefs/heads/main\n"


async def test_push_after_losing_a_race_is_refused(
    openssh: OpenSSH, world: World, pushed: GitRepository, tmp_path: Path
) -> None:
    url = openssh.url("ann/demo.git")
    late = GitRepository(tmp_path / "late")
    await openssh.git("clone", "--quiet", url, str(late.path), identity=world.ann)
    pushed.commit("first")
    done = await openssh.git("push", "--quiet", url, "main", identity=world.ann, cwd=pushed.path)
    assert (done.returncode, done.stderr) == (0, "")
    late.commit("second")
    done = await openssh.git("push", url, "main", identity=world.ann, cwd=late.path)
    assert done.returncode == 1
    assert "[rejected]" in done.stderr


async def test_archive(openssh: OpenSSH, world: World, pushed: GitRepository) -> None:
    done = await openssh.git(
        "archive",
        f"--remote={openssh.url('ann/demo.git')}",
        "--format=tar",
        "v1",
        "3.txt",
        identity=world.bob,
    )
    assert (done.returncode, done.stderr) == (0, "")
    with tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
        assert archive.getnames() == ["3.txt"]


async def test_empty_repository(openssh: OpenSSH, world: World, tmp_path: Path) -> None:
    done = await openssh.git(
        "clone", openssh.url("ann/demo.git"), str(tmp_path / "clone"), identity=world.ann
    )
    assert done.returncode == 0
    assert "warning: You appear to have cloned an empty repository." in done.stderr
