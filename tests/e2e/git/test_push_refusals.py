"""Pushes the hub refuses: each says why, in git's own way, and changes nothing."""

import os

import pytest

from tests.e2e.git.conftest import Client, World
from tests.e2e.git.pushes import NULL, commands, nothing_left, refs
from tests.support.git import GitRepository


@pytest.mark.parametrize(
    ("ref", "reason"),
    [
        ("refs/heads/HEAD", "HEAD cannot be the name of a branch or tag"),
        ("refs/heads/" + "a" * 40, "a branch or tag cannot be named like an object id"),
        ("refs/heads/" + "b" * 300, "ref name is longer than 255 bytes"),
        ("refs/heads/a\u202eb", "ref name has a control or invisible character"),
        ("refs/heads/-x", "a part of the ref name begins with '-'"),
        ("refs/heads/a/-b", "a part of the ref name begins with '-'"),
        ("refs/heads/a..b", "ref name has a character or sequence that git does not allow"),
        ("refs/heads/x.lock", "a part of the ref name begins with '.' or ends with '.lock'"),
        ("refs/heads/.x", "a part of the ref name begins with '.' or ends with '.lock'"),
        ("refs/heads", "ref name is not of the form refs/heads/NAME or refs/tags/NAME"),
        ("main", "ref name is not of the form refs/heads/NAME or refs/tags/NAME"),
        ("refs/pull/7/head", "refs of this namespace are written by the hub alone"),
    ],
)
async def test_bad_ref_names_are_refused_over_the_wire(
    client: Client, world: World, history: GitRepository, ref: str, reason: str
) -> None:
    before = await refs(world)
    oid = history.oid("main")
    body = commands(f"{NULL} {oid} {ref}") + history.pack("main")

    answer = await client.post("ann/demo.git", "git-receive-pack", body, login="ann")

    assert answer.status == 200
    assert f"ng {ref} {reason}\n".encode() in answer.body
    assert await refs(world) == before
    await nothing_left(world)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"zzzz", b"malformed packet length b'zzzz'"),
        (b"0009hello", b"malformed push command"),
        (b"00ffshort", b"the connection ended in the middle of a packet"),
        (b"0003", b"malformed packet length b'0003'"),
        (b"fff9" + b"x" * 65525, b"malformed packet length b'fff9'"),
        (
            commands(f"{NULL} {'1' * 40} refs/heads/a", f"{NULL} {'2' * 40} refs/heads/a"),
            b"ref refs/heads/a is named twice in one push",
        ),
        (
            commands(f"{NULL} {NULL} refs/heads/a"),
            b"ref refs/heads/a would move from nothing to nothing",
        ),
        (commands(f"{NULL} {'G' * 40} refs/heads/a"), b"malformed push command"),
        (
            commands(f"{NULL} {'1' * 40} refs/heads/a", capabilities="object-format=sha256"),
            b"this repository uses the object format sha1",
        ),
        (
            commands(f"{NULL} {'1' * 40} refs/heads/a")[:-4],
            b"the list of commands does not end with a flush packet",
        ),
    ],
)
async def test_malformed_pushes_are_told_what_is_wrong(
    client: Client, world: World, history: GitRepository, body: bytes, message: bytes
) -> None:
    before = await refs(world)
    answer = await client.post("ann/demo.git", "git-receive-pack", body, login="ann")
    assert answer.status == 200
    # Git understands an error packet only as long as it has not asked for bands.
    assert (b"\x03" if b"side-band-64k" in body else b"ERR ") + message in answer.body
    assert await refs(world) == before
    await nothing_left(world)


async def test_corrupt_truncated_and_incomplete_packs(
    client: Client, world: World, history: GitRepository
) -> None:
    before = await refs(world)
    base = history.oid("main")
    middle = history.commit("middle")
    tip = history.commit("tip")
    command = commands(f"{base} {tip} refs/heads/main")
    pack = history.pack(tip, f"^{base}")
    flipped = bytearray(pack)
    flipped[-30] ^= 0xFF

    async def push(data: bytes) -> bytes:
        done = await client.post("ann/demo", "git-receive-pack", command + data, login="ann")
        assert done.status == 200
        return done.body

    for damaged in (bytes(flipped), pack[:-21], pack[:12], b""):
        report = await push(damaged)
        assert b"unpack ok" not in report
        assert b"ng refs/heads/main unpacker error" in report
        assert str(world.runtime.git.cache.root).encode() not in report
    # The tip's parent and its tree are missing, and nobody but the client has them.
    for revisions in ((tip, f"^{middle}"),):
        report = await push(history.pack(*revisions))
        assert b"ng refs/heads/main" in report
        assert b"ok refs/heads/main" not in report
    blob = history.git("hash-object", "-w", "--stdin", stdin=b"unrelated")
    alone = history.run("pack-objects", "--stdout", stdin=blob.encode()).stdout
    assert b"ng refs/heads/main missing necessary objects" in await push(alone)
    assert await refs(world) == before
    await nothing_left(world)
    await client.git("push", "--quiet", client.url("ann/demo", "ann"), "main", cwd=history.path)
    assert (await refs(world))["refs/heads/main"] == tip


async def test_a_branch_must_be_a_commit(
    client: Client, world: World, history: GitRepository
) -> None:
    blob = history.git("hash-object", "-w", "--stdin", stdin=b"not a commit")
    history.git("tag", "a-blob", blob)
    body = commands(f"{NULL} {blob} refs/heads/blob") + history.pack("a-blob")
    answer = await client.post("ann/demo", "git-receive-pack", body, login="ann")
    assert b"ng refs/heads/blob a branch must point to a commit" in answer.body
    await client.git("push", "--quiet", client.url("ann/demo", "ann"), "a-blob", cwd=history.path)
    assert (await refs(world))["refs/tags/a-blob"] == blob


async def test_the_default_branch_stays(
    client: Client, world: World, history: GitRepository
) -> None:
    done = await client.run(
        "push", "--delete", client.url("ann/demo", "ann"), "main", cwd=history.path
    )
    assert done.returncode == 1
    assert (
        "[remote rejected] main (the default branch cannot be deleted; choose another one first)"
        in done.stderr
    )
    assert "refs/heads/main" in await refs(world)


async def test_forced_pushes_and_deletions_where_they_are_forbidden(
    client: Client, world: World, history: GitRepository
) -> None:
    settings = world.runtime.settings
    settings.deny_non_fast_forwards = settings.deny_deletes = True
    before = await refs(world)
    history.git("reset", "--quiet", "--hard", "HEAD~1")
    history.commit("another future")

    done = await client.run(
        "push", "--force", client.url("ann/demo", "ann"), "main", ":topic", cwd=history.path
    )

    assert done.returncode == 1
    assert (
        "[remote rejected] main -> main"
        " (the branch would lose commits, which this server forbids)" in done.stderr
    )
    assert "[remote rejected] topic (deletion is forbidden on this server)" in done.stderr
    assert await refs(world) == before
    await nothing_left(world)


async def test_a_pack_beyond_the_limit(
    client: Client, world: World, history: GitRepository
) -> None:
    world.runtime.git.settings.push_max_bytes = 3_000_000
    before = await refs(world)
    history.commit("big", files={"big.bin": os.urandom(12_000_000)})

    done = await client.run("push", client.url("ann/demo", "ann"), "main", cwd=history.path)

    assert done.returncode == 1
    assert (
        "remote unpack failed: the pack is larger than the 3000000 bytes that one push may send"
        in done.stderr
    )
    assert await refs(world) == before
    await nothing_left(world)
