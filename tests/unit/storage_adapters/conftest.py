"""A local store in the test's own folder."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from storage_adapters.local import LocalObjectStore


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The store's folder; made by whoever opens it."""
    return tmp_path / "objects"


@pytest.fixture
async def local_store(root: Path) -> AsyncIterator[LocalObjectStore]:
    """Open in ``root``."""
    opened = LocalObjectStore(root)
    yield opened
    await opened.close()
