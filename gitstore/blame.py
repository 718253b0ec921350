"""Who last changed each line of a file: ``git blame``, as ranges of lines."""

import dataclasses

from gitstore.cache import CachedRepository
from gitstore.process import MAX_PATH_BYTES, GitProcesses
from gitstore.quoting import QUOTE_PATH, unquote

# A file of more lines is not blamed: the answer would be of no use to a person.
MAX_RANGES = 20_000


@dataclasses.dataclass(frozen=True, slots=True)
class BlameRange:
    """Lines ``start`` to ``end``, counted from 1 and both within, came with commit ``oid``.

    There the file was at ``path``, and before that, in ``previous_oid``, at ``previous_path``: None
    for lines that came with the file itself.
    """

    start: int
    end: int
    oid: str
    path: bytes
    previous_oid: str | None
    previous_path: bytes | None


async def blame(
    processes: GitProcesses, copy: CachedRepository, commit_oid: str, path: bytes
) -> list[BlameRange] | None:
    """The ranges in order; None where the commit has no such file, or the path is too long.

    Raises GitFailed, QueueFull.
    """
    if len(path) > MAX_PATH_BYTES:
        return None
    completed = await processes.run(
        [
            "--literal-pathspecs",
            *QUOTE_PATH,
            "blame",
            "--incremental",
            commit_oid,
            "--",
            path.decode("utf-8", "surrogateescape"),
        ],
        git_dir=copy.path,
        accept=(0, 128),
    )
    if completed.returncode:
        return None
    ranges = _parse(completed.stdout)
    return sorted(ranges, key=lambda each: each.start)[:MAX_RANGES]


def _parse(output: bytes) -> list[BlameRange]:
    """``ID SOURCE_LINE LINE COUNT``, then headers, all for a commit's first range; the last is
    ``filename`` (git-blame, "INCREMENTAL OUTPUT")."""
    ranges: list[BlameRange] = []
    head: list[bytes] = []
    previous: dict[tuple[str, bytes], tuple[str, bytes]] = {}
    found: tuple[str, bytes] | None = None
    for line in output.split(b"\n"):
        key, _, value = line.partition(b" ")
        if not head:
            head, found = line.split(b" "), None
        elif key == b"previous":
            oid, _, old_path = value.partition(b" ")
            found = (oid.decode("ascii"), unquote(old_path))
        elif key == b"filename":
            oid_text, path = head[0].decode("ascii"), unquote(value)
            if found is not None:
                previous[oid_text, path] = found
            before = previous.get((oid_text, path))
            start = int(head[2])
            ranges.append(
                BlameRange(
                    start=start,
                    end=start + int(head[3]) - 1,
                    oid=oid_text,
                    path=path,
                    previous_oid=before[0] if before else None,
                    previous_path=before[1] if before else None,
                )
            )
            head = []
    return ranges
