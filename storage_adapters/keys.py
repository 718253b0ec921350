"""Every key in the object store is built here, from ids and hashes, never from names users chose."""

import re

from storage_adapters.errors import InvalidKey

MAX_KEY_LENGTH = 255
_KEY = re.compile(r"[a-z0-9][a-zA-Z0-9._-]*(/[a-zA-Z0-9][a-zA-Z0-9._-]*)*")


def check_key(key: str) -> str:
    """Return the key. Raises InvalidKey unless it is a plain relative path of safe characters."""
    if len(key) > MAX_KEY_LENGTH or not _KEY.fullmatch(key) or ".." in key:
        raise InvalidKey(f"invalid storage key {key!r}")
    return key


def pack_stem(repository_id: int, upload_id: str, pack_name: str) -> str:
    """The stem of a pack's objects; ``upload_id`` (a ULID) makes it unique per upload."""
    return check_key(f"packs/{repository_id}/{upload_id}/pack-{pack_name}")
