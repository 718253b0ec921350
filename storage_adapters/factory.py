"""From the address in the settings to a store. Imports only what the address asks for."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

from storage_adapters.base import ObjectStore
from storage_adapters.errors import InvalidStorageURL

_FILE_FORM = "file:///absolute/path"
_MEMORY_FORM = "memory://"


def create_object_store(url: str) -> ObjectStore:
    """Open the store at this address; the caller closes it.

    Raises InvalidStorageURL, and StorageUnavailable where a folder cannot be made or used.
    """
    opener, parts = _parse(url)
    return opener(parts)


def check_storage_url(url: str) -> str:
    """Return the address. Raises InvalidStorageURL; opens nothing."""
    _parse(url)
    return url


# Each opener imports its adapter when called, so that an SDK that is not configured need not be
# installed. The address is never shown in an error: it may carry credentials.


def _open_local(url: SplitResult) -> ObjectStore:
    from storage_adapters.local import LocalObjectStore

    return LocalObjectStore(_folder(url))


def _open_memory(url: SplitResult) -> ObjectStore:
    from storage_adapters.memory import MemoryObjectStore

    return MemoryObjectStore()


def _check_memory(url: SplitResult) -> None:
    if url.netloc or url.path or url.query or url.fragment:
        raise InvalidStorageURL(f"a storage URL in memory is just {_MEMORY_FORM}")


def _check_local(url: SplitResult) -> None:
    _folder(url)


def _folder(url: SplitResult) -> Path:
    if url.netloc not in ("", "localhost"):
        raise InvalidStorageURL(
            f"a file:// storage URL has three slashes and an absolute path: {_FILE_FORM}"
        )
    if url.query or url.fragment:
        raise InvalidStorageURL("a file:// storage URL writes ? as %3F and # as %23")
    # Bytes, because a folder's name need not be UTF-8.
    path = unquote_to_bytes(url.path)
    if b"\0" in path or not path.startswith(b"/") or b".." in path.split(b"/"):
        raise InvalidStorageURL(f"a file:// storage URL holds an absolute path: {_FILE_FORM}")
    if not path.strip(b"/"):
        raise InvalidStorageURL("a file:// storage URL names a folder below /")
    return Path(path.decode("utf-8", "surrogateescape"))


_Check = Callable[[SplitResult], None]
_Opener = Callable[[SplitResult], ObjectStore]
_SCHEMES: dict[str, tuple[str, _Check, _Opener]] = {
    "file": (_FILE_FORM, _check_local, _open_local),
    "memory": (_MEMORY_FORM, _check_memory, _open_memory),
}


def _parse(url: str) -> tuple[_Opener, SplitResult]:
    supported = ", ".join(form for form, _, _ in _SCHEMES.values())
    # Without the slashes, "user:secret@host" would pass for a scheme and be shown.
    if "://" not in url:
        raise InvalidStorageURL(f"the storage URL has no scheme; supported are {supported}")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise InvalidStorageURL(
            f"the storage URL is malformed; supported are {supported}"
        ) from None
    if parts.scheme not in _SCHEMES:
        raise InvalidStorageURL(
            f"the storage URL's scheme {parts.scheme!r} is unknown; supported are {supported}"
        )
    _, check, opener = _SCHEMES[parts.scheme]
    check(parts)
    return opener, parts
