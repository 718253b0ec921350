"""Host keys: made once, shared by all nodes, unreadable in the store."""

import asyncio
import subprocess
from pathlib import Path

import asyncssh
import pytest

from sshd.algorithms import host_key_pairs
from sshd.host_keys import HostKeysUnusable, load_host_keys
from storage_adapters.base import ObjectStore, StoreCapabilities
from storage_adapters.local import LocalObjectStore
from storage_adapters.memory import MemoryObjectStore

SECRET = "s" * 32
PLACES = ["ssh/host_keys/ecdsa", "ssh/host_keys/ed25519", "ssh/host_keys/rsa"]


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "local":
        return LocalObjectStore(tmp_path / "storage")
    return MemoryObjectStore()


def fingerprints(keys: list[asyncssh.SSHKey]) -> list[str]:
    return [key.get_fingerprint() for key in keys]


async def test_keys_are_made_once(store: ObjectStore) -> None:
    first = await load_host_keys(store, SECRET, "")
    assert [key.get_algorithm() for key in first] == [
        "ssh-ed25519",
        "ecdsa-sha2-nistp256",
        "ssh-rsa",
    ]
    assert first[2].pyca_key.key_size == 3072
    assert fingerprints(await load_host_keys(store, SECRET, "")) == fingerprints(first)
    assert [info.key async for info in store.list("ssh/")] == PLACES


async def test_nodes_that_start_at_once_agree(tmp_path: Path) -> None:
    # Each node has its own adapter on the shared folder, as separate machines would.
    nodes = [LocalObjectStore(tmp_path / "storage") for _ in range(4)]
    answers = await asyncio.gather(*(load_host_keys(node, SECRET, "") for node in nodes))
    assert len({tuple(fingerprints(keys)) for keys in answers}) == 1


class LosesEveryRace(MemoryObjectStore):
    """Another node's key appears between our look and our write."""

    def __init__(self, theirs: MemoryObjectStore) -> None:
        super().__init__()
        self._theirs = theirs

    async def put_if_absent(self, key: str, data: object) -> int:
        await self.put(key, await self._theirs.get(key))
        return await super().put_if_absent(key, data)  # type: ignore[arg-type]


async def test_the_first_node_wins() -> None:
    theirs = MemoryObjectStore()
    winner = await load_host_keys(theirs, SECRET, "")
    loser = await load_host_keys(LosesEveryRace(theirs), SECRET, "")
    assert fingerprints(loser) == fingerprints(winner)


async def test_the_store_does_not_hold_them_in_the_clear() -> None:
    store = MemoryObjectStore()
    await load_host_keys(store, SECRET, "")
    for place in PLACES:
        assert b"PRIVATE KEY" not in await store.get(place)


async def test_another_secret_key_is_named_as_the_cause() -> None:
    store = MemoryObjectStore()
    await load_host_keys(store, SECRET, "")
    with pytest.raises(HostKeysUnusable) as refused:
        await load_host_keys(store, "t" * 32, "")
    assert str(refused.value) == (
        "the SSH host key ssh/host_keys/ed25519 in the object store was encrypted with another"
        " secret key; restore the former OCH_SECRET_KEY, or set OCH_SSH_HOST_KEYS, or delete the"
        " objects under ssh/host_keys/ so that new ones are made (every client will be warned)"
    )


async def test_no_secret_key() -> None:
    with pytest.raises(HostKeysUnusable, match=r"^the secret key is empty; set OCH_SECRET_KEY$"):
        await load_host_keys(MemoryObjectStore(), "", "")


class WithoutPutIfAbsent(MemoryObjectStore):
    @property
    def capabilities(self) -> StoreCapabilities:
        return StoreCapabilities(put_if_absent=False, consistent_list=True, signed_urls=False)


async def test_a_store_that_cannot_settle_races_needs_configured_keys(tmp_path: Path) -> None:
    with pytest.raises(HostKeysUnusable) as refused:
        await load_host_keys(WithoutPutIfAbsent(), SECRET, "")
    assert str(refused.value) == (
        "this object store cannot keep SSH host keys that several nodes agree on;"
        " set OCH_SSH_HOST_KEYS to the paths of private keys"
    )
    key = make_key(tmp_path / "key")
    loaded = await load_host_keys(WithoutPutIfAbsent(), SECRET, str(tmp_path / "key"))
    assert fingerprints(loaded) == [key.get_fingerprint()]


def make_key(path: Path, kind: str = "ssh-ed25519", **options: int) -> asyncssh.SSHKey:
    key = asyncssh.generate_private_key(kind, **options)
    key.write_private_key(path)
    return key


async def test_configured_paths(tmp_path: Path) -> None:
    keys = [
        make_key(tmp_path / "one"),
        make_key(tmp_path / "two", "ssh-rsa", key_size=2048),
        make_key(tmp_path / "three"),
    ]
    store = MemoryObjectStore()
    configured = f" {tmp_path / 'one'}, {tmp_path / 'two'} ,{tmp_path / 'three'},"
    loaded = await load_host_keys(store, SECRET, configured)
    assert fingerprints(loaded) == fingerprints(keys)
    assert [info async for info in store.list("")] == []


async def test_configured_keys_in_the_setting_itself() -> None:
    keys = [asyncssh.generate_private_key(kind) for kind in ("ssh-ed25519", "ecdsa-sha2-nistp384")]
    configured = "".join(key.export_private_key("openssh").decode() for key in keys)
    loaded = await load_host_keys(MemoryObjectStore(), SECRET, configured)
    assert fingerprints(loaded) == fingerprints(keys)


async def faults(configured: str) -> str:
    with pytest.raises(HostKeysUnusable) as refused:
        await load_host_keys(MemoryObjectStore(), SECRET, configured)
    return str(refused.value)


async def test_faults_of_configured_keys(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert await faults(str(missing)) == f"cannot read {missing}: No such file or directory"
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    assert await faults(str(binary)) == f"cannot read {binary}: not a text file"
    text = tmp_path / "text"
    text.write_text("hello\n")
    assert (
        await faults(str(text))
        == f"{text} is not a private key without passphrase (Invalid private key)"
    )
    locked = tmp_path / "locked"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(locked)], check=True
    )
    assert (await faults(str(locked))).startswith(
        f"{locked} is not a private key without passphrase ("
    )
    weak = tmp_path / "weak"
    make_key(weak, "ssh-rsa", key_size=1024)
    assert await faults(str(weak)) == f"{weak} is an RSA key below 2048 bits"
    curve448 = tmp_path / "curve448"
    make_key(curve448, "ssh-ed448")
    assert await faults(str(curve448)) == (
        "none of the keys is of a type that can be used: ed25519, ecdsa (NIST curves) or rsa"
    )


async def test_rsa_signs_with_sha2_only_and_each_way_has_its_own_pair() -> None:
    pairs = host_key_pairs(await load_host_keys(MemoryObjectStore(), SECRET, ""))
    assert list(pairs) == [
        b"ssh-ed25519",
        b"ecdsa-sha2-nistp256",
        b"rsa-sha2-512",
        b"rsa-sha2-256",
    ]
    assert [pair.algorithm for pair in pairs.values()] == list(pairs)
    assert len({id(pair) for pair in pairs.values()}) == 4
