"""Fetching over HTTP with the real git client: every protocol version, every kind of clone."""

import shutil

import pytest

from tests.e2e.git.conftest import Client, World
from tests.support.git import GitRepository

VERSIONS = ["0", "1", "2"]


def protocol(version: str) -> tuple[str, str]:
    return ("-c", f"protocol.version={version}")


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_clone_has_everything(client: Client, history: GitRepository, version: str) -> None:
    clone = await client.clone(*protocol(version), url=client.url("ann/demo.git"))
    assert clone.oid("HEAD") == history.oid("main")
    assert clone.git("symbolic-ref", "HEAD") == "refs/heads/main"
    assert clone.git("rev-list", "--all", "--objects", "--count") == history.git(
        "rev-list", "--all", "--objects", "--count"
    )
    assert clone.oid("v1.0") == history.oid("v1.0")
    assert clone.git("status", "--porcelain") == ""


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_mirror_has_every_ref(client: Client, history: GitRepository, version: str) -> None:
    path = client.folder / "mirror"
    await client.git(
        *protocol(version), "clone", "--quiet", "--mirror", client.url("ann/demo"), str(path)
    )
    assert (await client.checked(path)).refs() == history.refs()


@pytest.mark.parametrize("version", VERSIONS)
async def test_ls_remote_says_the_same_in_every_version(
    client: Client, history: GitRepository, version: str
) -> None:
    listed = await client.git(*protocol(version), "ls-remote", client.url("ann/demo"))
    expected = [f"{history.oid('main')}\tHEAD"]
    for name, oid in history.refs().items():
        expected.append(f"{oid}\t{name}")
        if name == "refs/tags/v1.0":
            expected.append(f"{history.oid('main')}\t{name}^{{}}")
    assert listed.split("\n") == expected


async def test_ls_remote_needs_no_local_copy(
    client: Client, history: GitRepository, world: World
) -> None:
    shutil.rmtree(world.runtime.git.cache.root)
    listed = await client.git("ls-remote", "--symref", client.url("ann/demo"), "HEAD", "v1*")
    assert listed.split("\n") == [
        "ref: refs/heads/main\tHEAD",
        f"{history.oid('main')}\tHEAD",
        f"{history.oid('v1.0')}\trefs/tags/v1.0",
        f"{history.oid('main')}\trefs/tags/v1.0^{{}}",
    ]
    assert not world.runtime.git.cache.root.exists()


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_local_copy_may_vanish_at_any_time(
    client: Client, history: GitRepository, world: World, version: str
) -> None:
    shutil.rmtree(world.runtime.git.cache.root)
    clone = await client.clone(*protocol(version), url=client.url("ann/demo"))
    assert clone.oid("HEAD") == history.oid("main")


@pytest.mark.parametrize("version", VERSIONS)
async def test_an_empty_repository_can_be_cloned(client: Client, version: str) -> None:
    path = client.folder / "empty"
    done = await client.run(*protocol(version), "clone", client.url("ann/demo"), str(path))
    assert done.returncode == 0
    assert "warning: You appear to have cloned an empty repository." in done.stderr
    assert await client.git("symbolic-ref", "HEAD", cwd=path) == (
        "refs/heads/main" if version == "2" else "refs/heads/master"
    )


@pytest.mark.parametrize("version", VERSIONS)
async def test_shallow_clone_deepen_and_unshallow(
    client: Client, history: GitRepository, version: str
) -> None:
    path = client.folder / "shallow"
    url = client.url("ann/demo")
    await client.git(*protocol(version), "clone", "--quiet", "--depth=1", url, str(path))
    clone = await client.checked(path)
    assert clone.git("rev-list", "--count", "HEAD") == "1"
    await client.git(*protocol(version), "fetch", "--quiet", "--deepen=2", cwd=path)
    assert clone.git("rev-list", "--count", "--first-parent", "HEAD") == "3"
    await client.git(*protocol(version), "fetch", "--quiet", "--unshallow", cwd=path)
    await client.checked(path)
    assert clone.git("rev-list", "--count", "HEAD") == history.git("rev-list", "--count", "main")
    assert not (path / ".git" / "shallow").exists()


@pytest.mark.parametrize("version", VERSIONS)
async def test_shallow_since_and_exclude(
    client: Client, history: GitRepository, version: str
) -> None:
    url = client.url("ann/demo")
    since = client.folder / "since"
    await client.git(
        *protocol(version), "clone", "--quiet", "--shallow-since=2023-11-20", url, str(since)
    )
    await client.checked(since)
    assert (since / ".git" / "shallow").exists()
    exclude = client.folder / "exclude"
    await client.git(
        *protocol(version), "clone", "--quiet", "--shallow-exclude=v0.1", url, str(exclude)
    )
    clone = await client.checked(exclude)
    assert clone.git("rev-list", "--count", "HEAD") == history.git(
        "rev-list", "--count", "v0.1..main"
    )


@pytest.mark.parametrize("version", ["0", "2"])
async def test_a_partial_clone_fetches_blobs_when_it_needs_them(
    client: Client, history: GitRepository, version: str
) -> None:
    path = client.folder / "partial"
    url = client.url("ann/secret", "bob")
    config = protocol(version)
    await client.git(*config, "clone", "--quiet", "--bare", "--filter=blob:none", url, str(path))
    missing = await client.git("rev-list", "--objects", "--all", "--missing=print", cwd=path)
    assert missing.count("\n?") == 9
    content = await client.git(*config, "show", "main:file3.txt", cwd=path)
    assert content == "\n".join(["3"] * 100)
    missing = await client.git("rev-list", "--objects", "--all", "--missing=print", cwd=path)
    assert missing.count("\n?") == 8
    await client.checked(path)


async def test_a_tree_filter_is_served_and_a_sparse_one_refused(
    client: Client, history: GitRepository
) -> None:
    url = client.url("ann/demo")
    path = client.folder / "treeless"
    await client.git("clone", "--quiet", "--filter=tree:0", url, str(path))
    await client.checked(path)
    done = await client.run("clone", "--filter=sparse:oid=main:x", url, str(client.folder / "no"))
    assert done.returncode == 128
    assert "remote error: filter 'sparse:oid' not supported" in done.stderr


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_single_branch(client: Client, history: GitRepository, version: str) -> None:
    path = client.folder / "single"
    await client.git(
        *protocol(version),
        *("clone", "--quiet", "--single-branch", "--branch=topic", "--no-tags"),
        *(client.url("ann/demo"), str(path)),
    )
    clone = await client.checked(path)
    assert clone.refs() == {
        "refs/heads/topic": history.oid("topic"),
        "refs/remotes/origin/topic": history.oid("topic"),
    }


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_fetch_brings_what_is_new_with_its_tags(
    client: Client, history: GitRepository, version: str
) -> None:
    clone = await client.clone(*protocol(version), url=client.url("ann/demo"))
    history.commit("later")
    history.git("tag", "-a", "v1.1", "-m", "release 1.1")
    push_url = client.url("ann/demo", "ann")
    await client.git("push", "--quiet", push_url, "main", "v1.1", cwd=history.path)
    await client.git(*protocol(version), "fetch", "--quiet", cwd=clone.path)
    assert clone.oid("origin/main") == history.oid("main")
    assert clone.oid("v1.1") == history.oid("v1.1")
    await client.checked(clone.path)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_large_request_is_gzipped_and_understood(
    client: Client, history: GitRepository, version: str
) -> None:
    for number in range(40):
        history.git("checkout", "--quiet", "-b", f"branch{number}", "main")
        history.commit(f"on branch {number}")
    push_url = client.url("ann/demo", "ann")
    await client.git("push", "--quiet", "--all", push_url, cwd=history.path)
    path = client.folder / "clone"
    done = await client.run(
        *protocol(version), "clone", client.url("ann/demo"), str(path), GIT_TRACE_CURL="1"
    )
    assert done.returncode == 0
    assert "Content-Encoding: gzip" in done.stderr
    clone = await client.checked(path)
    assert clone.oid("origin/branch39") == history.oid("branch39")


async def test_an_object_of_another_repository_is_not_served(
    client: Client, history: GitRepository
) -> None:
    other = history.commit("only in secret")
    await client.git("push", "--quiet", client.url("ann/secret", "ann"), "main", cwd=history.path)
    clone = await client.clone(url=client.url("ann/demo"))
    for version in VERSIONS:
        done = await client.run(*protocol(version), "fetch", "origin", other, cwd=clone.path)
        assert done.returncode == 128
        assert f"remote error: upload-pack: not our ref {other}" in done.stderr


async def test_names_are_found_whatever_their_case(client: Client, history: GitRepository) -> None:
    assert await client.git("ls-remote", client.url("Ann/DEMO.git"), "HEAD")


async def test_many_ref_patterns_at_once(client: Client, history: GitRepository) -> None:
    patterns = [f"refs/heads/none{number}" for number in range(100)]
    listed = await client.git("ls-remote", client.url("ann/demo"), *patterns, "refs/heads/topic")
    assert listed == f"{history.oid('topic')}\trefs/heads/topic"
