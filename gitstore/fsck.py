"""Checking a repository from end to end: a fresh copy out of the store, then ``git fsck``."""

import dataclasses
import tempfile
from pathlib import Path

from gitstore.process import GitProcesses
from gitstore.quarantine import TOLERATED_FAULTS
from gitstore.queues import Size
from gitstore.settings import GitStoreSettings
from gitstore.store import GitStore
from models.database import Database
from storage_adapters.base import ObjectStore

MAX_LINES = 200


@dataclasses.dataclass(frozen=True, slots=True)
class FsckResult:
    """``lines`` is what git said, at most MAX_LINES; ``healthy`` is its verdict."""

    healthy: bool
    lines: list[str]


async def fsck_repository(
    database: Database, store: ObjectStore, settings: GitStoreSettings, repository_id: int
) -> FsckResult:
    """Check every object, and derived files against what they are derived from.

    Nothing of the local cache is trusted, and nothing is left behind. Raises RepositoryGone,
    RepositoryUnreadable (a pack is missing or has another size), StorageUnavailable.
    """
    settings.cache_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(prefix="fsck-", dir=settings.cache_dir) as folder:
        fresh = settings.model_copy(update={"cache_dir": Path(folder)})
        git = GitStore(database, store, fresh)
        async with git.open(repository_id) as repository:
            return await _fsck(git.processes, repository.path)


async def _fsck(processes: GitProcesses, path: Path) -> FsckResult:
    tolerated = [word for fault in TOLERATED_FAULTS.split(",") for word in ("-c", f"fsck.{fault}")]
    completed = await processes.run(
        [*tolerated, "fsck", "--full", "--no-dangling", "--no-progress"],
        git_dir=path,
        size=Size.LARGE,
        accept=range(256),
    )
    text = completed.stdout.decode("utf-8", "replace") + completed.stderr
    lines = [line for line in text.replace(str(path), "").splitlines() if line]
    return FsckResult(completed.returncode == 0, lines[:MAX_LINES])
