"""Every key in the object store is built here, from ids and hashes, never from users' names."""

import re

from storage_adapters.errors import InvalidKey

MAX_KEY_LENGTH = 255
SSH_HOST_KEYS = "ssh/host_keys"
PACKS = "packs"
DERIVED = "derived"
_KEY = re.compile(r"[a-z0-9][a-zA-Z0-9._-]*(/[a-zA-Z0-9][a-zA-Z0-9._-]*)*")


def is_key(key: str) -> bool:
    """Whether this is a plain relative path of safe characters."""
    return len(key) <= MAX_KEY_LENGTH and ".." not in key and bool(_KEY.fullmatch(key))


def check_key(key: str) -> str:
    """Return the key. Raises InvalidKey unless ``is_key`` holds."""
    if not is_key(key):
        raise InvalidKey(f"invalid storage key {key!r}")
    return key


def check_prefix(prefix: str) -> str:
    """Return the prefix. Raises InvalidKey unless some key begins with it."""
    if prefix and not is_key(prefix.removesuffix("/")):
        raise InvalidKey(f"invalid storage key prefix {prefix!r}")
    return prefix


def pack_stem(repository_id: int, upload_id: str, pack_name: str) -> str:
    """The stem of a pack's objects; ``upload_id`` (a ULID) makes it unique per upload."""
    return check_key(f"{PACKS}/{repository_id}/{upload_id}/pack-{pack_name}")


def fork_pack_stem(upload_id: str, pack_name: str) -> str:
    """As ``pack_stem``, for the first pack of a repository that has no id yet."""
    return check_key(f"{PACKS}/forks/{upload_id}/pack-{pack_name}")


def derived_stem(repository_id: int, upload_id: str, kind: str) -> str:
    """The stem of a derived file's objects; ``kind`` is git's name of the file."""
    return check_key(f"{DERIVED}/{repository_id}/{upload_id}/{kind}")


def ssh_host_key(name: str) -> str:
    """A private host key of the SSH server, encrypted; ``name`` is its kind, such as ed25519."""
    return check_key(f"{SSH_HOST_KEYS}/{name}")
