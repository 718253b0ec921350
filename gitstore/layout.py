"""What a local bare repository of ours looks like on disk: folders, configuration, packed refs."""

from collections.abc import Sequence
from pathlib import Path

from gitstore.manifest import RefRow, RepositoryState

PACKS = "objects/pack"
COMMIT_GRAPH = "objects/info/commit-graph"
MULTI_PACK_INDEX = f"{PACKS}/multi-pack-index"
# What git needs before it takes a folder for a repository, and the refs that we write once.
SKELETON = ("config", "HEAD", "packed-refs", "refs", PACKS)

_CONFIG = """\
[core]
\trepositoryformatversion = {format_version}
\tbare = true
\tfsync = none
\thooksPath = /dev/null
\talternateRefsCommand = true
\tbigFileThreshold = 16m
[gc]
\tauto = 0
[maintenance]
\tauto = false
[pack]
\tthreads = {threads}
\twriteReverseIndex = true
[uploadpack]
\tallowFilter = true
\tallowAnySHA1InWant = true
[uploadpackfilter]
\tallow = false
[uploadpackfilter "blob:none"]
\tallow = true
[uploadpackfilter "blob:limit"]
\tallow = true
[uploadpackfilter "tree"]
\tallow = true
[uploadpackfilter "object:type"]
\tallow = true
[uploadpackfilter "combine"]
\tallow = true
"""


def make_bare_repository(
    path: Path, state: RepositoryState, *, threads: int, refs: Sequence[RefRow] = ()
) -> None:
    """Make folders and files of a repository without objects. The folder may exist."""
    for folder in (PACKS, "objects/info", "refs/heads", "refs/tags", "info"):
        (path / folder).mkdir(parents=True, mode=0o700, exist_ok=True)
    sha1 = state.object_format == "sha1"
    config = _CONFIG.format(format_version=0 if sha1 else 1, threads=threads)
    if not sha1:
        config += f"[extensions]\n\tobjectFormat = {state.object_format}\n"
    (path / "config").write_text(config)
    (path / "HEAD").write_text(f"ref: {state.head}\n")
    (path / "packed-refs").write_bytes(format_packed_refs(refs))


def format_packed_refs(refs: Sequence[RefRow]) -> bytes:
    """Git's ``packed-refs`` (fully peeled, sorted); refs must be in bytewise order."""
    lines = ["# pack-refs with: peeled fully-peeled sorted \n"]
    for ref in refs:
        lines.append(f"{ref.oid} {ref.name}\n")
        if ref.peeled_oid:
            lines.append(f"^{ref.peeled_oid}\n")
    return "".join(lines).encode()


def parse_packed_refs(data: bytes) -> list[RefRow]:
    """The reverse of ``format_packed_refs``."""
    refs: list[RefRow] = []
    for line in data.decode().split("\n"):
        if line.startswith("^"):
            refs[-1] = refs[-1]._replace(peeled_oid=line[1:])
        elif line and not line.startswith("#"):
            oid, name = line.split(" ", 1)
            refs.append(RefRow(name, oid, None))
    return refs
