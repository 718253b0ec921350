"""What differs between two commits: files, their statistics, and patches.

A commit is compared with its first parent, the first of all with the empty tree. Ids are arguments
of git; paths, all of which git itself has told, come after ``--`` and are taken literally.
"""

import dataclasses
import enum
import re
from collections.abc import AsyncIterator, Sequence

from gitstore.cache import CachedRepository
from gitstore.process import MAX_PATH_BYTES, PIPE_READ_BYTES, GitChild, GitProcesses
from gitstore.quoting import QUOTE_PATH, quote

# So many files of one comparison are told; a list that ends here says so.
MAX_FILES = 3000
MAX_PATCH_BYTES = 256 * 1024
MAX_PATCHES_BYTES = 4 * 1024 * 1024  # of those asked for together
# The id of the tree without entries, which git knows without having it.
EMPTY_TREE = {
    "sha1": "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    "sha256": "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321",
}
_SHORT_STATISTICS = re.compile(rb"(\d+) (file|insertion|deletion)")
_HEADLINE, _BINARY = b"diff --git ", b"Binary files "
_DIFF = (
    "--literal-pathspecs",
    *("-c", "diff.renameLimit=1000"),
    *QUOTE_PATH,
    *("diff-tree", "-r", "-M"),
)


class ChangeKind(enum.Enum):
    """The value is git's letter."""

    ADDED = "A"
    CHANGED = "T"
    COPIED = "C"
    DELETED = "D"
    MODIFIED = "M"
    RENAMED = "R"


@dataclasses.dataclass(frozen=True, slots=True)
class ChangedFile:
    """One file. ``old_path`` is the same as ``path`` unless it was renamed or copied; of modes and
    ids those of the side without the file are None. ``additions`` and ``deletions`` are lines, None
    for what git takes for binary."""

    kind: ChangeKind
    path: bytes
    old_path: bytes
    old_mode: int | None
    new_mode: int | None
    old_oid: str | None
    new_oid: str | None
    additions: int | None
    deletions: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class ChangedFiles:
    """``is_truncated``: there are more than these MAX_FILES, and no lines were counted."""

    files: tuple[ChangedFile, ...]
    is_truncated: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Statistics:
    files: int
    additions: int
    deletions: int


@dataclasses.dataclass(frozen=True, slots=True)
class Patch:
    """The hunks of one file, without git's header lines; nothing where only modes differ."""

    text: bytes
    is_truncated: bool


async def list_changed_files(
    processes: GitProcesses,
    copy: CachedRepository,
    old: str,
    new: str,
    *,
    ignore_whitespace: bool = False,
) -> ChangedFiles:
    """What leads from one commit or tree to another. Raises GitFailed, QueueFull."""
    raw = await _list_raw(processes, copy, old, new)
    if len(raw) > MAX_FILES:
        return ChangedFiles(tuple(raw[:MAX_FILES]), is_truncated=True)
    counts = await _count_lines(processes, copy, old, new, ignore_whitespace=ignore_whitespace)
    files = []
    for file in raw:
        # Where whitespace is ignored, a file that has no other change is left out of the counts.
        additions, deletions = counts.get(file.path, (0, 0))
        files.append(dataclasses.replace(file, additions=additions, deletions=deletions))
    return ChangedFiles(tuple(files), is_truncated=False)


async def list_statistics(
    processes: GitProcesses, copy: CachedRepository, commits: Sequence[str]
) -> dict[str, Statistics]:
    """Of each commit against its first parent, in one process."""
    completed = await processes.run(
        [*_DIFF, "--stdin", "--root", "--diff-merges=first-parent", "--shortstat"],
        git_dir=copy.path,
        stdin="".join(f"{oid}\n" for oid in commits).encode(),
    )
    found = dict.fromkeys(commits, Statistics(0, 0, 0))
    current = ""
    for line in completed.stdout.split(b"\n"):
        if line.startswith(b" "):
            counts = {word: int(number) for number, word in _SHORT_STATISTICS.findall(line)}
            found[current] = Statistics(
                counts.get(b"file", 0), counts.get(b"insertion", 0), counts.get(b"deletion", 0)
            )
        elif line:
            current = line.decode("ascii")
    return found


async def list_patches(
    processes: GitProcesses,
    copy: CachedRepository,
    old: str,
    new: str,
    files: Sequence[ChangedFile],
    *,
    ignore_whitespace: bool = False,
) -> list[Patch | None]:
    """The patch of each of these files of ``list_changed_files``; None for a binary one."""
    shown = [file for file in files if len(file.old_path + file.path) <= MAX_PATH_BYTES]
    paths = dict.fromkeys(path for file in shown for path in (file.old_path, file.path))
    arguments = [*_DIFF, "-p", "--no-color", "--src-prefix=a/", "--dst-prefix=b/"]
    arguments += ["-w"] if ignore_whitespace else []
    # Bytes that are no UTF-8 pass through argv unharmed the way Python keeps them in a str.
    arguments += [old, new, "--", *(path.decode("utf-8", "surrogateescape") for path in paths)]
    places = {_headline(file): at for at, file in enumerate(files)}
    found: list[Patch | None] = [
        # That of a file whose path is too long is left out.
        Patch(b"", is_truncated=len(file.old_path + file.path) > MAX_PATH_BYTES)
        for file in files
    ]
    if not shown:
        return found
    room = MAX_PATCHES_BYTES
    async with processes.start(arguments, git_dir=copy.path, stdin=False) as child:
        async for headline, patch in _sections(child):
            if patch is not None and len(patch.text) > room:
                patch = Patch(b"", is_truncated=True)
            room -= len(patch.text) if patch is not None else 0
            if headline in places:
                found[places[headline]] = patch
        if await child.wait():
            raise child.failure()
    return found


async def _list_raw(
    processes: GitProcesses, copy: CachedRepository, old: str, new: str
) -> list[ChangedFile]:
    """At most one more than MAX_FILES, without counts."""
    files: list[ChangedFile] = []
    arguments = [*_DIFF, "--raw", "-z", "--no-abbrev", old, new]
    async with processes.start(arguments, git_dir=copy.path, stdin=False) as child:
        fields = _fields(child)
        async for head in fields:
            # :OLD_MODE NEW_MODE OLD_ID NEW_ID LETTER[SCORE], then one path or two (diff-format).
            modes_and_ids = head[1:].split(b" ")
            kind = ChangeKind(modes_and_ids[4][:1].decode())
            path = await anext(fields)
            new_path = path
            if kind in (ChangeKind.RENAMED, ChangeKind.COPIED):
                new_path = await anext(fields)
            old_oid, new_oid = (oid.decode() for oid in modes_and_ids[2:4])
            files.append(
                ChangedFile(
                    kind=kind,
                    path=new_path,
                    old_path=path,
                    old_mode=int(modes_and_ids[0], 8) or None,
                    new_mode=int(modes_and_ids[1], 8) or None,
                    old_oid=old_oid if old_oid.strip("0") else None,
                    new_oid=new_oid if new_oid.strip("0") else None,
                    additions=None,
                    deletions=None,
                )
            )
            if len(files) > MAX_FILES:
                return files
        if await child.wait():
            raise child.failure()
    return files


async def _count_lines(
    processes: GitProcesses,
    copy: CachedRepository,
    old: str,
    new: str,
    *,
    ignore_whitespace: bool,
) -> dict[bytes, tuple[int | None, int | None]]:
    """Added and deleted lines by (new) path; None for binary files."""
    arguments = [*_DIFF, "--numstat", "-z", *(["-w"] if ignore_whitespace else []), old, new]
    completed = await processes.run(arguments, git_dir=copy.path)
    fields = iter(completed.stdout.split(b"\0"))
    counts: dict[bytes, tuple[int | None, int | None]] = {}
    for field in fields:
        if not field:
            continue
        added, deleted, path = field.split(b"\t", 2)
        if not path:  # renamed: both names follow
            next(fields)
            path = next(fields)
        is_binary = added == b"-"
        counts[path] = (None, None) if is_binary else (int(added), int(deleted))
    return counts


async def _fields(child: GitChild) -> AsyncIterator[bytes]:
    """What stands between NULs."""
    rest = b""
    while data := await child.stdout.read(PIPE_READ_BYTES):
        *whole, rest = (rest + data).split(b"\0")
        for field in whole:
            yield field


async def _sections(child: GitChild) -> AsyncIterator[tuple[bytes, Patch | None]]:
    """For each file its headline and patch, as far as it may be kept."""
    headline, kept = b"", bytearray()
    is_binary = is_truncated = in_hunks = False
    async for line, is_whole in _lines(child):
        if is_whole and line.startswith(_HEADLINE):
            if headline:
                yield headline, None if is_binary else Patch(bytes(kept), is_truncated)
            headline, kept = line.rstrip(b"\n"), bytearray()
            is_binary = is_truncated = in_hunks = False
        elif not in_hunks and line.startswith(_BINARY):
            is_binary = True
        else:
            in_hunks = in_hunks or line.startswith(b"@@ ")
            if in_hunks and not is_truncated:
                is_truncated = len(kept) + len(line) > MAX_PATCH_BYTES
                kept += b"" if is_truncated else line
    if headline:
        yield headline, None if is_binary else Patch(bytes(kept), is_truncated)


async def _lines(child: GitChild) -> AsyncIterator[tuple[bytes, bool]]:
    """Lines with their ends, and whether it is a line's beginning: long ones come in pieces."""
    rest, begins = b"", True
    while data := await child.stdout.read(PIPE_READ_BYTES):
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            yield line + b"\n", begins
            begins = True
        if len(rest) > MAX_PATCH_BYTES:
            yield rest, begins
            rest, begins = b"", False
    if rest:
        yield rest, begins


def _headline(file: ChangedFile) -> bytes:
    """``diff --git a/OLD b/NEW``."""
    return b"%b%b %b" % (_HEADLINE, quote(b"a/" + file.old_path), quote(b"b/" + file.path))
