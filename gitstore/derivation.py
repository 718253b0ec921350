"""Making derived files with git in a workspace; ``derived`` puts them into local copies."""

import dataclasses
from pathlib import Path

import structlog

from gitstore.derived import (
    BITMAP_SUFFIX,
    GRAPH_SUFFIX,
    MULTI_PACK_INDEX_SUFFIX,
    bitmap_name,
)
from gitstore.errors import GitFailed
from gitstore.identifiers import new_ulid
from gitstore.layout import COMMIT_GRAPH, MULTI_PACK_INDEX
from gitstore.manifest import PACK_SUFFIX
from gitstore.workspace import Workspace
from models import DerivedKind, PackUpload
from models.database import Database
from storage_adapters.base import ObjectStore
from storage_adapters.keys import derived_stem


@dataclasses.dataclass(slots=True)
class DerivedFiles:
    """Files made in a workspace by suffix, and after ``upload`` their key and sizes."""

    kind: DerivedKind
    files: dict[str, Path]
    packs: list[str]
    object_count: int
    storage_key: str = ""
    sizes: dict[str, int] = dataclasses.field(default_factory=dict)

    async def upload(self, database: Database, store: ObjectStore, repository_id: int) -> None:
        """Make them durable, under an intent row. Raises as ``transactions.upload_pack``."""
        self.storage_key = derived_stem(repository_id, new_ulid(), self.kind.value)
        async with database.write() as session:
            session.add(PackUpload(storage_key=self.storage_key, repository_id=repository_id))
        for suffix, path in self.files.items():
            self.sizes[suffix] = await store.put(self.storage_key + suffix, path)


async def make_derived(workspace: Workspace, object_count: int) -> list[DerivedFiles]:
    """Make what git can make of the workspace's packs and refs.

    A kind that git cannot make (a repository without commits, say) is left out: none is needed.
    """
    made = []
    for make in (_make_multi_pack_index, _make_commit_graph):
        try:
            made.append(await make(workspace, object_count))
        except (GitFailed, FileNotFoundError) as error:
            structlog.get_logger("opencodehub").warning(
                "a derived file could not be made",
                repository_id=workspace.state.repository_id,
                error=str(error),
            )
    return made


async def _make_multi_pack_index(workspace: Workspace, object_count: int) -> DerivedFiles:
    packs = sorted(workspace.packs.glob(f"*{PACK_SUFFIX}"), key=lambda each: each.stat().st_size)
    await workspace.git(
        [
            *("multi-pack-index", "write", "--bitmap", "--no-progress"),
            f"--preferred-pack={packs[-1].name}",
        ]
    )
    index = workspace.path / MULTI_PACK_INDEX
    oid_bytes = 20 if workspace.state.object_format == "sha1" else 32
    files = {MULTI_PACK_INDEX_SUFFIX: index}
    bitmap = workspace.packs / bitmap_name(index.read_bytes()[-oid_bytes:], oid_bytes)
    if bitmap.exists():
        files[BITMAP_SUFFIX] = bitmap
    stems = [pack.name.removesuffix(PACK_SUFFIX) for pack in packs]
    return DerivedFiles(DerivedKind.MULTI_PACK_INDEX, files, stems, object_count)


async def _make_commit_graph(workspace: Workspace, object_count: int) -> DerivedFiles:
    await workspace.git(
        ["commit-graph", "write", "--reachable", "--changed-paths", "--no-progress"]
    )
    files = {GRAPH_SUFFIX: workspace.path / COMMIT_GRAPH}
    if not files[GRAPH_SUFFIX].exists():
        raise FileNotFoundError("the repository has no commits")
    return DerivedFiles(DerivedKind.COMMIT_GRAPH, files, [], object_count)
