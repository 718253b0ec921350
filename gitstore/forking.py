"""The content of a fork: a fresh pack of what the source's branches and tags reach.

Nothing is shared with the source, neither rows nor objects: the one can be pruned or deleted
without a thought of the other, and what was forced away in the source does not come along.
"""

import contextlib
import dataclasses

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from gitstore.errors import RepositoryUnreadable
from gitstore.identifiers import new_ulid
from gitstore.manifest import BRANCHES, TAGS, Manifest, RefRow, read_manifest
from gitstore.quarantine import ReceivedPack
from gitstore.store import GitStore
from gitstore.transactions import (
    StoredPack,
    discard_upload,
    in_batches,
    publish_pack,
    upload_pack,
)
from gitstore.workspace import open_workspace
from models import GitRef
from models.database import Database, DatabaseUnavailable
from storage_adapters.base import ObjectStore
from storage_adapters.errors import StorageError
from storage_adapters.keys import fork_pack_stem

# A compaction may replace packs between the manifest and the local copy; hardly ever twice.
_ATTEMPTS = 4
_FIRST_GENERATION = 1
_ROWS_PER_INSERT = 1000


@dataclasses.dataclass(frozen=True, slots=True)
class PreparedFork:
    """Refs of one moment of the source and a durable pack of them; None where it has no objects."""

    refs: list[RefRow]
    default_branch: str
    object_format: str
    stored: StoredPack | None


async def prepare_fork(
    git: GitStore, database: Database, store: ObjectStore, source_id: int
) -> PreparedFork:
    """Pack and upload, under an intent row; nothing is left behind on failure.

    Raises RepositoryGone, RepositoryUnreadable, GitFailed, QueueFull, StorageError,
    DatabaseUnavailable.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        async with database.read() as session:
            manifest = await read_manifest(session, source_id)
        try:
            return await _prepare(git, database, store, manifest)
        except RepositoryUnreadable:
            if attempt == _ATTEMPTS:
                raise
    raise AssertionError("unreachable")


async def publish_fork(session: AsyncSession, repository_id: int, fork: PreparedFork) -> int:
    """Give a new repository its refs and its pack, as part of the caller's transaction.

    Returns the generation it has then. Raises UploadIntentGone, after which to roll back.
    """
    rows = [
        {
            "repository_id": repository_id,
            "name": ref.name,
            "oid": ref.oid,
            "peeled_oid": ref.peeled_oid,
            "generation": _FIRST_GENERATION,
        }
        for ref in fork.refs
    ]
    for some in in_batches(rows, _ROWS_PER_INSERT):
        await session.execute(insert(GitRef), some)
    if fork.stored is not None:
        await publish_pack(session, repository_id, fork.stored, _FIRST_GENERATION)
    return _FIRST_GENERATION


async def discard_fork(database: Database, store: ObjectStore, fork: PreparedFork) -> None:
    """Remove an upload that was not committed. What fails here is left to the sweep."""
    if fork.stored is not None:
        await _discard(database, store, fork.stored.storage_key)


async def _prepare(
    git: GitStore, database: Database, store: ObjectStore, manifest: Manifest
) -> PreparedFork:
    state = manifest.state
    refs = [ref for ref in manifest.refs if ref.name.startswith((BRANCHES, TAGS))]
    stored = None
    if refs:
        async with (
            git.open(state.repository_id) as local,
            open_workspace(git.cache.root, local, state, refs, git.processes) as workspace,
        ):
            workspace.link(manifest.packs)
            workspace.link_commit_graph()
            tips = sorted({ref.oid for ref in refs})
            # For packs on disk git uses no bitmap of its own accord; it saves most of the time.
            how = ["--revs", *(["--use-bitmap-index"] if workspace.link_bitmap(manifest) else [])]
            pack = await workspace.pack_objects(how, "".join(f"{oid}\n" for oid in tips))
            assert pack is not None, "refs point to objects"
            stored = await _upload(database, store, pack)
    return PreparedFork(refs, state.head.removeprefix(BRANCHES), state.object_format, stored)


async def _upload(database: Database, store: ObjectStore, pack: ReceivedPack) -> StoredPack:
    key = fork_pack_stem(new_ulid(), pack.name)
    try:
        return await upload_pack(database, store, 0, pack, key=key)
    except BaseException:
        await _discard(database, store, key)
        raise


async def _discard(database: Database, store: ObjectStore, key: str) -> None:
    with contextlib.suppress(StorageError, DatabaseUnavailable):
        await discard_upload(database, store, key)
