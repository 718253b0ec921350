"""The keys that tell clients this is the same hub as before, whichever node answers.

They are made once. All nodes find them in the object store, the one durable thing that every
installation has, large or embedded; ``put_if_absent`` settles who was first. There they lie
encrypted with a key derived from the secret key, so that reading the store (a backup, a leaked
bucket) is not enough to pose as the hub. An operator may provide keys of their own instead.
"""

import asyncio
import base64
import re
from pathlib import Path

import asyncssh
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from sshd.algorithms import host_key_pairs
from storage_adapters import keys
from storage_adapters.base import ObjectStore
from storage_adapters.errors import ObjectExists, ObjectNotFound

RSA_BITS = 3072
MINIMUM_RSA_BITS = 2048
# Name in the object store -> algorithm.
_GENERATED = {
    "ed25519": "ssh-ed25519",
    "ecdsa": "ecdsa-sha2-nistp256",
    "rsa": "ssh-rsa",
}
_PEM = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.S)
_SETTING = "OCH_SSH_HOST_KEYS"


class HostKeysUnusable(Exception):
    """The host keys cannot be had; the message says why and what to do."""


async def load_host_keys(
    store: ObjectStore, secret_key: str, configured: str
) -> list[asyncssh.SSHKey]:
    """The private host keys: those ``configured`` (paths or PEM), else those all nodes share.

    Makes the shared ones where there are none yet. Raises HostKeysUnusable, StorageUnavailable.
    """
    if configured.strip():
        loaded = await asyncio.to_thread(_read_configured, configured)
    else:
        if not store.capabilities.put_if_absent:
            raise HostKeysUnusable(
                "this object store cannot keep SSH host keys that several nodes agree on;"
                f" set {_SETTING} to the paths of private keys"
            )
        sealing = Fernet(_sealing_key(secret_key))
        loaded = [
            await _shared_key(store, sealing, name, algorithm)
            for name, algorithm in _GENERATED.items()
        ]
    if not host_key_pairs(loaded):
        raise HostKeysUnusable(
            "none of the keys is of a type that can be used: ed25519, ecdsa (NIST curves) or rsa"
        )
    return loaded


def _sealing_key(secret_key: str) -> bytes:
    if not secret_key:
        raise HostKeysUnusable("the secret key is empty; set OCH_SECRET_KEY")
    derivation = HKDF(hashes.SHA256(), length=32, salt=None, info=b"opencodehub ssh host keys")
    return base64.urlsafe_b64encode(derivation.derive(secret_key.encode()))


async def _shared_key(
    store: ObjectStore, sealing: Fernet, name: str, algorithm: str
) -> asyncssh.SSHKey:
    place = keys.ssh_host_key(name)
    try:
        return _unseal(sealing, place, await store.get(place))
    except ObjectNotFound:
        key = await asyncio.to_thread(_generate, algorithm)
    sealed = sealing.encrypt(key.export_private_key("openssh"))
    try:
        await store.put_if_absent(place, sealed)
    except ObjectExists:
        # Another node was faster. Its key counts for all.
        return _unseal(sealing, place, await store.get(place))
    return key


def _generate(algorithm: str) -> asyncssh.SSHKey:
    if algorithm == "ssh-rsa":
        return asyncssh.generate_private_key(algorithm, key_size=RSA_BITS)
    return asyncssh.generate_private_key(algorithm)


def _unseal(sealing: Fernet, place: str, sealed: bytes) -> asyncssh.SSHKey:
    try:
        return asyncssh.import_private_key(sealing.decrypt(sealed))
    except InvalidToken as error:
        raise HostKeysUnusable(
            f"the SSH host key {place} in the object store was encrypted with another secret key;"
            f" restore the former OCH_SECRET_KEY, or set {_SETTING}, or delete the objects under"
            f" {keys.SSH_HOST_KEYS}/ so that new ones are made (every client will be warned)"
        ) from error


def _read_configured(configured: str) -> list[asyncssh.SSHKey]:
    blocks = _PEM.findall(configured)
    if blocks:
        return [_import(block, f"key {number}") for number, block in enumerate(blocks, start=1)]
    paths = [part.strip() for part in configured.split(",") if part.strip()]
    texts: list[tuple[str, str]] = []
    for path in paths:
        try:
            texts.append((path, Path(path).read_text()))
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a text file"
            raise HostKeysUnusable(f"cannot read {path}: {reason}") from error
    return [_import(text, path) for path, text in texts]


def _import(text: str, name: str) -> asyncssh.SSHKey:
    try:
        key = asyncssh.import_private_key(text)
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        raise HostKeysUnusable(
            f"{name} is not a private key without passphrase ({error})"
        ) from error
    private = key.pyca_key
    if isinstance(private, RSAPrivateKey) and private.key_size < MINIMUM_RSA_BITS:
        raise HostKeysUnusable(f"{name} is an RSA key below {MINIMUM_RSA_BITS} bits")
    return key
