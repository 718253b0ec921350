"""Looking at object stores from outside."""

from pathlib import Path

from storage_adapters.base import ObjectStore


async def list_keys(store: ObjectStore, prefix: str = "") -> list[str]:
    """The keys that ``list`` gives, in its order."""
    return [info.key async for info in store.list(prefix)]


def files_under(root: Path) -> list[str]:
    """Every file of a local store, keys and leftovers alike, but for its locks."""
    return sorted(
        str(path.relative_to(root))
        for path in root.rglob("*")
        if not path.is_dir() and path.suffix != ".lock"
    )
