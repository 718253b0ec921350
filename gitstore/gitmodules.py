"""The versions of ``.gitmodules`` that a push brings: found by path, read by git's own parser.

What they may say is ``services.submodule_rules``'s. Only the file at the root of a commit counts,
since git reads no other. Commits are compared with their parents along this one path, which for
tens of thousands of commits takes a second or two, and for one commit a few milliseconds.
"""

import dataclasses
import secrets
from collections.abc import AsyncIterator, Iterable, Sequence

from gitstore.errors import MissingObjects, PackRejected
from gitstore.process import PIPE_READ_BYTES, GitProcesses
from gitstore.quarantine import Quarantine

MAX_VERSION_BYTES = 1024 * 1024
MAX_VERSIONS = 50_000
MAX_TOTAL_BYTES = 256 * 1024 * 1024
# Git compares paths faster when letters are not folded. What only a case-insensitive file system
# takes for ``.gitmodules`` is looked for where the whole search is short anyway; elsewhere git's
# own check of such names (fsck) has to do.
FOLD_CASE_MAX_OBJECTS = 20_000
_BATCH_BYTES = 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_LOG = (
    *("log", "--stdin", "--full-history", "--diff-merges=separate", "--format=%H"),
    *("--raw", "-z", "--no-abbrev", "--no-renames", "--no-show-signature", "--no-notes"),
)


@dataclasses.dataclass(frozen=True, slots=True)
class GitmodulesVersion:
    """One content of the file, and a commit that has it.

    ``settings`` are its keys (``submodule.NAME.path``) and values in order, a value None where
    there is no ``=``; bytes that are not UTF-8 are surrogates. None if git cannot parse the file.
    """

    commit: str
    settings: Sequence[tuple[str, str | None]] | None


@dataclasses.dataclass(frozen=True, slots=True)
class SubmoduleSettings:
    """What the file says of one submodule; bytes that are not UTF-8 are surrogates."""

    name: str
    path: str
    url: str
    branch: str | None


async def read_submodules(processes: GitProcesses, content: bytes) -> list[SubmoduleSettings]:
    """The submodules of a file that have a path and an address, by path; none of one that git
    cannot parse. As in git, the last of several values counts, and of several names for one path
    the first."""
    parsed = (await _parse(processes, {"file": content}))["file"]
    values: dict[str, dict[str, str]] = {}
    for key, value in parsed or ():
        section, _, rest = key.partition(".")
        name, _, variable = rest.rpartition(".")
        if section == "submodule" and name and value is not None:
            values.setdefault(name, {})[variable] = value
    by_path: dict[str, SubmoduleSettings] = {}
    for name, each in values.items():
        path, url = each.get("path", "").strip("/"), each.get("url")
        if path and url:
            found = SubmoduleSettings(name, path, url, each.get("branch"))
            by_path.setdefault(path, found)
    return [by_path[path] for path in sorted(by_path)]


async def new_gitmodules(
    quarantine: Quarantine, tips: Iterable[str], known: Iterable[str], *, object_count: int
) -> AsyncIterator[GitmodulesVersion]:
    """Every version that commits reached by ``tips`` and not by ``known`` bring, once.

    ``object_count`` is the size of the received pack. Raises MissingObjects when the history of
    ``tips`` is not complete, and PackRejected for versions too many or too large.
    """
    commits = await _find(quarantine, tips, known, fold_case=object_count <= FOLD_CASE_MAX_OBJECTS)
    if not commits:
        return
    for batch in await _in_batches(quarantine, commits):
        contents = await _contents(quarantine, batch)
        parsed = await _parse(quarantine.processes, contents)
        for oid in batch:
            yield GitmodulesVersion(commits[oid], parsed[oid])


async def _find(
    quarantine: Quarantine, tips: Iterable[str], known: Iterable[str], *, fold_case: bool
) -> dict[str, str]:
    """Ids of the blobs, each with a commit that has it."""
    path = ":(top,icase).gitmodules" if fold_case else ".gitmodules"
    stdin = "".join(f"{oid}\n" for oid in tips) + "".join(f"^{oid}\n" for oid in known)
    found: dict[str, str] = {}
    async with quarantine.processes.start(
        # Without the commit-graph: it is read before it is known to be whole.
        ["-c", "core.commitGraph=false", *_LOG, "--", path],
        git_dir=quarantine.repository.path,
        environment=quarantine.environment,
    ) as child:
        feeder = child.feed(stdin.encode())
        try:
            commit, rest = "", b""
            while data := await child.stdout.read(PIPE_READ_BYTES):
                *tokens, rest = (rest + data).split(b"\0")
                for token in tokens:
                    commit = _take(token.lstrip(b"\n"), commit, found)
                if len(found) > MAX_VERSIONS:
                    raise PackRejected(
                        f"a push may bring at most {MAX_VERSIONS} versions of .gitmodules"
                    )
            returncode = await child.wait()
        finally:
            feeder.cancel()
    if returncode:
        raise MissingObjects("the history of .gitmodules could not be read")
    return found


def _take(token: bytes, commit: str, found: dict[str, str]) -> str:
    """Read one piece of git's output: a commit's id, a change, or the path of a change."""
    if token.startswith(b":"):
        _, mode, _, oid, _ = token.split(b" ")
        if mode.startswith(b"100"):
            found.setdefault(oid.decode(), commit)
        return commit
    return token.decode() if len(token) in (40, 64) and b"." not in token else commit


async def _in_batches(quarantine: Quarantine, oids: Iterable[str]) -> list[list[str]]:
    completed = await quarantine.processes.run(
        ["cat-file", "--batch-check=%(objectname) %(objectsize)"],
        git_dir=quarantine.repository.path,
        stdin="".join(f"{oid}\n" for oid in oids).encode(),
        environment=quarantine.environment,
    )
    batches: list[list[str]] = []
    total = room = 0
    for line in completed.stdout.decode().splitlines():
        oid, _, text = line.partition(" ")
        if not text.isdigit():
            raise MissingObjects("a version of .gitmodules is missing")
        size = int(text)
        total += size
        if size > MAX_VERSION_BYTES or total > MAX_TOTAL_BYTES:
            raise PackRejected(
                f".gitmodules may have {MAX_VERSION_BYTES} bytes,"
                f" and its new versions {MAX_TOTAL_BYTES} bytes together"
            )
        if size > room:
            batches.append([])
            room = _BATCH_BYTES
        batches[-1].append(oid)
        room -= size
    return batches


async def _contents(quarantine: Quarantine, oids: Sequence[str]) -> dict[str, bytes]:
    completed = await quarantine.processes.run(
        ["cat-file", "--batch=%(objectsize)"],
        git_dir=quarantine.repository.path,
        stdin="".join(f"{oid}\n" for oid in oids).encode(),
        environment=quarantine.environment,
    )
    contents: dict[str, bytes] = {}
    data = memoryview(completed.stdout)
    for oid in oids:
        head = bytes(data[:32]).partition(b"\n")[0]
        start, size = len(head) + 1, int(head)
        contents[oid] = bytes(data[start : start + size])
        data = data[start + size + 1 :]
    return contents


_Parsed = dict[str, Sequence[tuple[str, str | None]] | None]


async def _parse(processes: GitProcesses, contents: dict[str, bytes]) -> _Parsed:
    """The settings of each file, by one run of git for all; None for a file it cannot parse."""
    # Nobody can know this section's name and so pretend that his file ends where it does not. The
    # empty section after it keeps keys that stand before any section apart. A file that is whole
    # ends at a line's end, or in a line that two line breaks surely end.
    mark = f"x{secrets.token_hex(16)}"
    texts = [
        f"[{mark}]\n\toid = {oid}\n[none]\n".encode() + content.removeprefix(_BOM) + b"\n\n"
        for oid, content in contents.items()
        if b"\0" not in content
    ]
    completed = await processes.run(
        ["config", "--file", "-", "--no-includes", "--list", "-z"],
        stdin=b"".join(texts),
        accept=(0, 1, 128),
    )
    parsed: _Parsed = dict.fromkeys(contents)
    if completed.returncode:
        if len(contents) > 1:
            for oid, content in contents.items():
                parsed |= await _parse(processes, {oid: content})
        return parsed
    settings: list[tuple[str, str | None]] = []
    for entry in completed.stdout.decode("utf-8", "surrogateescape").split("\0")[:-1]:
        key, has_value, value = entry.partition("\n")
        if key == f"{mark}.oid":
            settings = []
            parsed[value] = settings
        else:
            settings.append((key, value if has_value else None))
    return parsed
