"""What a pack must prove before its refs move, and what it may cost to look at it."""

import asyncio
import hashlib
import struct
import zlib

import pytest
from sqlalchemy import select

from gitstore.errors import MissingObjects, PackRejected
from gitstore.settings import MIB, GitStoreSettings
from gitstore.store import GitStore
from gitstore.transactions import RefUpdate, discard_upload
from models import GitPack
from models.database import Database
from storage_adapters.base import ObjectStore
from tests.support.content import Bytes
from tests.support.git import GitRepository
from tests.unit.gitstore.conftest import PushPack

MAIN = "refs/heads/main"
COPY_BYTES = 65536
SMALL_PACKS = 600
BLOB, OFS_DELTA = 3, 6


async def test_a_stale_commit_graph_does_not_hide_a_missing_commit(
    push: PushPack, git_store: GitStore, repository_id: int, source: GitRepository
) -> None:
    first, second = source.commit("first"), source.commit("second")
    await push(source.pack("main"), RefUpdate(MAIN, None, second))
    third = source.commit("third")
    async with git_store.begin(repository_id) as work:
        local = GitRepository(work.repository.path)
        local.git("commit-graph", "write", "--reachable")
        for path in (local.path / "objects" / "pack").iterdir():
            path.unlink()
        # What is left knows the first commit from the commit-graph alone.
        names = [
            line.split()[0] for line in source.git("rev-list", "--objects", second).split("\n")
        ]
        left = "".join(f"{name}\n" for name in names if name != first)
        source.git("pack-objects", "-q", str(local.path / "objects/pack/pack"), stdin=left.encode())
        await work.quarantine.receive_pack(
            Bytes(source.pack(third, f"^{second}")), progress=None, input_ended=lambda: None
        )
        with pytest.raises(MissingObjects):
            await work.quarantine.check_connected([third], [])


async def test_an_identical_push_again_while_the_sweep_runs(
    git_store: GitStore,
    database: Database,
    object_store: ObjectStore,
    repository_id: int,
    source: GitRepository,
) -> None:
    """A push that died after its upload, and its retry with the very same pack."""
    oid = source.commit("one")
    pack = source.pack("main")
    async with git_store.begin(repository_id) as died, git_store.begin(repository_id) as retry:
        uploads = []
        for work in (died, retry):
            received = await work.quarantine.receive_pack(
                Bytes(pack), progress=None, input_ended=lambda: None
            )
            assert received is not None
            uploads.append(await work.upload(received))
        abandoned, stored = uploads
        assert abandoned.pack.name == stored.pack.name

        async def commit() -> None:
            async with database.write() as session:
                await retry.apply(session, [RefUpdate(MAIN, None, oid)], stored, atomic=False)

        await asyncio.gather(
            discard_upload(database, object_store, abandoned.storage_key), commit()
        )
    keys = [info.key async for info in object_store.list("packs/")]
    assert keys == [stored.storage_key + suffix for suffix in (".idx", ".pack", ".rev")]
    await git_store.cache.evict(repository_id)
    async with git_store.open(repository_id) as local:
        assert GitRepository(local.path).git("fsck", "--full", "--strict") == ""


@pytest.mark.parametrize("object_store", ["local"], indirect=True)
async def test_many_small_packs(
    push: PushPack,
    git_store: GitStore,
    database: Database,
    repository_id: int,
    source: GitRepository,
) -> None:
    base = source.commit("base")
    await push(source.pack("main"), RefUpdate(MAIN, None, base))
    slots = asyncio.Semaphore(4)

    async def push_blob(number: int) -> None:
        async with slots:
            blob = source.git("hash-object", "-w", "--stdin", stdin=b"%d" % number)
            pack = source.run("pack-objects", "--stdout", "-q", stdin=f"{blob}\n".encode()).stdout
            applied = await push(pack, RefUpdate(f"refs/tags/{number}", None, blob))
            assert applied.rejected == {}

    await asyncio.gather(*(push_blob(number) for number in range(SMALL_PACKS)))
    async with database.read() as session:
        assert len((await session.scalars(select(GitPack.id))).all()) == SMALL_PACKS + 1
    await git_store.cache.evict(repository_id)
    async with git_store.open(repository_id) as local:
        repository = GitRepository(local.path)
        assert repository.git("fsck", "--full", "--strict") == ""
        assert len(repository.refs()) == SMALL_PACKS + 1
    tip = source.commit("on top of many packs")
    assert (await push(source.pack(tip, f"^{base}"), RefUpdate(MAIN, base, tip))).rejected == {}


@pytest.fixture
def narrow_store(
    database: Database, object_store: ObjectStore, settings: GitStoreSettings
) -> GitStore:
    """Git children may use 64 MiB of memory."""
    narrow = settings.model_copy(update={"git_data_bytes": 64 * MIB})
    return GitStore(database, object_store, narrow)


@pytest.mark.parametrize("object_store", ["local"], indirect=True)
async def test_a_thin_push_onto_a_larger_repository_needs_little_memory(
    push: PushPack, narrow_store: GitStore, repository_id: int, source: GitRepository
) -> None:
    """Mapped packs do not count: limits on the address space would refuse this."""
    text = "".join(f"{number * 7919 % 100003}\n" for number in range(200_000))
    noise = hashlib.shake_256(b"noise").digest(70 * MIB)
    first = source.commit("one", files={"text": text, "noise": noise})
    await push(source.pack("main"), RefUpdate(MAIN, None, first))
    second = source.commit("two", files={"text": text + "more\n"})
    async with narrow_store.begin(repository_id) as work:
        received = await work.quarantine.receive_pack(
            Bytes(source.pack("main", f"^{first}", thin=True)),
            progress=None,
            input_ended=lambda: None,
        )
        assert received is not None
        await work.quarantine.check_connected([second], [first])


async def test_a_small_pack_that_unfolds_to_gigabytes_is_refused(
    narrow_store: GitStore, repository_id: int
) -> None:
    bomb = delta_bomb()
    assert len(bomb) < 2000
    async with narrow_store.begin(repository_id) as work:
        with pytest.raises(PackRejected, match="the pack needs more memory than a push may use"):
            await work.quarantine.receive_pack(Bytes(bomb), progress=None, input_ended=lambda: None)


def delta_bomb() -> bytes:
    """64 KiB of zeros, and three deltas that each repeat their base (git's pack format)."""
    pack = bytearray(struct.pack(">4sLL", b"PACK", 2, 4))
    base_size = COPY_BYTES
    previous = len(pack)
    pack += entry(BLOB, bytes(COPY_BYTES))
    for _ in range(3):
        copies = b"".join(
            # Copy all of the base, 64 KiB at a time (size zero means just that).
            b"\x8f" + struct.pack("<L", offset)
            for offset in range(0, base_size, COPY_BYTES)
        )
        repeats = copies * 64 if base_size == COPY_BYTES else copies[:5] * 64 * 64
        result = COPY_BYTES * (len(repeats) // 5)
        delta = varint(base_size) + varint(result) + repeats
        at = len(pack)
        pack += entry(OFS_DELTA, delta, offset=at - previous)
        base_size, previous = result, at
    return bytes(pack) + hashlib.sha1(pack).digest()


def entry(kind: int, data: bytes, *, offset: int | None = None) -> bytes:
    size = len(data)
    head = [kind << 4 | size & 15]
    size >>= 4
    while size:
        head[-1] |= 0x80
        head.append(size & 0x7F)
        size >>= 7
    back = b""
    if offset is not None:
        digits = [offset & 0x7F]
        while offset := offset >> 7:
            offset -= 1
            digits.insert(0, offset & 0x7F | 0x80)
        back = bytes(digits)
    return bytes(head) + back + zlib.compress(data, 9)


def varint(number: int) -> bytes:
    digits = []
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*digits, number])
