"""From the address in the settings to a store, and what is said of an address that is wrong."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from storage_adapters.errors import InvalidStorageURL
from storage_adapters.factory import check_storage_url, create_object_store
from storage_adapters.local import LocalObjectStore
from storage_adapters.memory import MemoryObjectStore
from storage_adapters.settings import StorageSettings

SUPPORTED = "supported are file:///absolute/path, memory://"
FAULTS = {
    "": f"the storage URL has no scheme; {SUPPORTED}",
    "/srv/objects": f"the storage URL has no scheme; {SUPPORTED}",
    "file:/srv/objects": f"the storage URL has no scheme; {SUPPORTED}",
    "ftp://user:secret@host/x": f"the storage URL's scheme 'ftp' is unknown; {SUPPORTED}",
    "file://[/srv": f"the storage URL is malformed; {SUPPORTED}",
    "file://srv/objects": (
        "a file:// storage URL has three slashes and an absolute path: file:///absolute/path"
    ),
    "file://": "a file:// storage URL holds an absolute path: file:///absolute/path",
    "file:///srv/../etc": "a file:// storage URL holds an absolute path: file:///absolute/path",
    "file:///srv/%2e%2e/etc": "a file:// storage URL holds an absolute path: file:///absolute/path",
    "file:///srv/%00": "a file:// storage URL holds an absolute path: file:///absolute/path",
    "file:///": "a file:// storage URL names a folder below /",
    "file:////": "a file:// storage URL names a folder below /",
    "file:///srv?x=1": "a file:// storage URL writes ? as %3F and # as %23",
    "file:///srv#x": "a file:// storage URL writes ? as %3F and # as %23",
    "memory://host": "a storage URL in memory is just memory://",
}


@pytest.mark.parametrize("name", ["objects", "with space", "100%", "a?b#c", "caf\u00e9"])
async def test_a_folder(tmp_path: Path, name: str) -> None:
    store = create_object_store((tmp_path / name).as_uri())
    assert isinstance(store, LocalObjectStore)
    await store.put("key", b"x")
    assert (tmp_path / name / "key").read_bytes() == b"x"
    await store.close()


async def test_memory() -> None:
    store = create_object_store("memory://")
    assert isinstance(store, MemoryObjectStore)
    await store.put("key", b"x")
    assert await store.get("key") == b"x"


@pytest.mark.parametrize(("url", "text"), FAULTS.items())
def test_an_address_that_cannot_be_used(url: str, text: str) -> None:
    for attempt in (check_storage_url, create_object_store):
        with pytest.raises(InvalidStorageURL) as refused:
            attempt(url)
        assert str(refused.value) == text


def test_settings() -> None:
    assert StorageSettings().storage_url is None
    assert StorageSettings(storage_url="file:///srv/objects").storage_url == "file:///srv/objects"
    with pytest.raises(ValidationError) as refused:
        StorageSettings(storage_url="s4://bucket")
    (fault,) = refused.value.errors()
    assert fault["loc"] == ("storage_url",)
    assert fault["msg"] == (f"Value error, the storage URL's scheme 's4' is unknown; {SUPPORTED}")
