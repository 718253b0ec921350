"""The last commit of each entry of a folder, remembered: then only what came since is looked at.

A folder's latest answer is kept in the shared cache; the next one starts from it. After a push a
job finds those of the default branch's top, so that a repository's page need not wait for them.
"""

import base64
import hashlib
import json
from collections.abc import Mapping

from gitstore.last_commits import KnownCommits, LastCommits, last_commits
from models import Event, GitRef, Repository
from services.context import OpContext
from services.errors import ForgeError
from services.git_reading import GitReading, open_for_reading, state_of
from services.jobs import job
from services.ref_names import BRANCHES

_KEPT_SECONDS = 7 * 24 * 3600


async def find_last_commits(
    reading: GitReading, commit_oid: str, folder: bytes, entries: Mapping[bytes, str]
) -> LastCommits:
    """By name of each entry of the folder in that commit. Raises GitStoreError."""
    cache = reading.op.runtime.cache
    key = _key(reading, folder)
    known = _read(await cache.get(key))
    if known is not None and known.tip == commit_oid:
        return known.commits
    found = await last_commits(reading.processes, reading.copy, commit_oid, folder, entries, known)
    value = _written(KnownCommits(commit_oid, entries, found))
    await cache.put(key, value, seconds=_KEPT_SECONDS)
    return found


@job("git.find_last_commits", queue="git", retries=1)
async def find_last_commits_after_event(op: OpContext, event_id: int) -> None:
    """After a push or a fork: the last commits at the top of the default branch."""
    async with op.read() as tx:
        event = await tx.session.get(Event, event_id)
        if event is None or event.repository_id is None:
            return
        repository = await tx.session.get(Repository, event.repository_id)
        if repository is None:
            return
        ref = await tx.session.get(GitRef, (repository.id, BRANCHES + repository.default_branch))
        tip = ref.oid if ref is not None else None
    if tip is None:
        return
    try:
        async with open_for_reading(op, state_of(repository)) as reading:
            tree = await reading.tree_at(tip, b"")
            if tree is not None:
                entries = {entry.raw_name: entry.oid for entry in tree.entries}
                await find_last_commits(reading, tip, b"", entries)
    except ForgeError as fault:
        # Whoever asks for them finds them too, only later.
        op.log.warning("last commits not found", error=str(fault))


def _key(reading: GitReading, folder: bytes) -> str:
    copy = reading.copy
    digest = hashlib.sha256(folder).hexdigest()
    return f"last-commits:{copy.repository_id}:{copy.prune_epoch}:{digest}"


def _written(known: KnownCommits) -> bytes:
    entries = {
        base64.b64encode(name).decode(): (known.entries[name], commit)
        for name, commit in known.commits.items()
    }
    return json.dumps({"tip": known.tip, "entries": entries}).encode()


def _read(value: bytes | None) -> KnownCommits | None:
    if value is None:
        return None
    try:
        content = json.loads(value)
        entries = {base64.b64decode(name): pair for name, pair in content["entries"].items()}
        return KnownCommits(
            content["tip"],
            {name: oid for name, (oid, _) in entries.items()},
            {name: commit for name, (_, commit) in entries.items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
