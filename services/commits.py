"""Commits made through the API: judged like every push, and by the rules for edits of files."""

import dataclasses
from collections.abc import Sequence

from gitstore.committing import CommitPlan, FilePack, FileWrite, make_commit
from gitstore.objects import SUBMODULE_MODE, SYMLINK_MODE, TREE_MODE, Commit, Tree, TreeEntry
from gitstore.transactions import CHANGED_MEANWHILE
from models import Owner, User
from models.base import utc_now
from services import email_rules, pushes
from services.context import OpContext
from services.errors import Forbidden, Invalid, NotFound, StaleData, Unauthenticated
from services.git_access import GitRepository, GitService, open_repository_by_id
from services.git_reading import GitReading, open_for_reading
from services.push_records import Door
from services.pushes import PushRequest, RefCommand
from services.ref_changes import current_value, outcome_of
from services.ref_names import BRANCHES

MAX_FILES = 1000
MAX_PATH_BYTES = 4096
MAX_COMPONENT_BYTES = 255
MAX_MESSAGE_LENGTH = 64 * 1024
STALE = 'Expected branch to point to "{}" but it did not. Pull and try again.'


@dataclasses.dataclass(frozen=True, slots=True)
class FileEdits:
    """``additions`` are whole contents by path, of new files and changed ones alike."""

    additions: dict[str, bytes]
    deletions: Sequence[str]


async def create_commit_on_branch(
    op: OpContext,
    repository_id: int,
    branch: str,
    *,
    expected_head_oid: str,
    message: str,
    edits: FileEdits,
) -> str:
    """Add a commit to a branch (a full ref name) and return its id.

    The author is the actor, with the noreply address. Emits PushReceived. Raises StaleData when the
    branch is no longer where it was expected, Invalid, Unavailable, and as ``open_repository``.
    """
    if not branch.startswith(BRANCHES):
        raise Invalid("a commit is made on a branch", fields=("branchName",))
    author = await _author(op)
    message = _checked_message(message)
    repository = await open_repository_by_id(op, repository_id, GitService.PUSH)
    head = await current_value(op, repository_id, branch)
    if head is None:
        raise NotFound(f"the repository has no branch '{branch.removeprefix(BRANCHES)}'")
    if head != expected_head_oid:
        raise StaleData(STALE.format(expected_head_oid))
    async with open_for_reading(op, repository.state) as reading:
        writes, deletions = await _judge_edits(reading, head, edits)
        plan = CommitPlan(head, writes, deletions, message, author, utc_now())
        git = op.runtime.git
        async with make_commit(git.processes, git.cache.root, reading.copy, plan) as made:
            await _push(op, repository, RefCommand(branch, head, made.oid), FilePack(made.pack))
            return made.oid


async def _push(
    op: OpContext, repository: GitRepository, command: RefCommand, pack: FilePack
) -> None:
    try:
        outcome = await pushes.receive_push(
            op, repository, PushRequest([command]), pack, door=Door.API
        )
    finally:
        pack.close()
    if outcome.verdicts[command.name] == CHANGED_MEANWHILE:
        raise StaleData(STALE.format(command.old))
    outcome_of(outcome)


async def _author(op: OpContext) -> tuple[str, str]:
    user_id = op.actor.user_id
    if user_id is None:
        raise Unauthenticated("a commit needs an author: sign in, or use a user's access token")
    async with op.read() as tx:
        user = await tx.session.get(Owner, user_id)
    if not isinstance(user, User):
        raise Forbidden("a commit needs an author who has an account")
    # Git keeps these characters for itself (git-commit-tree).
    name = "".join(each for each in user.name or "" if each not in "<>\n\0").strip()
    return name or user.login, email_rules.noreply_address(op.runtime.settings, user.id, user.login)


def _checked_message(message: str) -> str:
    fault = None
    if not message.strip():
        fault = "a commit needs a message"
    elif len(message) > MAX_MESSAGE_LENGTH:
        fault = f"a commit message can have at most {MAX_MESSAGE_LENGTH} characters"
    if fault:
        raise Invalid(fault, fields=("headline",))
    return f"{message.rstrip()}\n"


async def _judge_edits(
    reading: GitReading, head: str, edits: FileEdits
) -> tuple[list[FileWrite], list[bytes]]:
    """Raises Invalid for what would leave the repository, or replace what is no plain file."""
    paths = [*edits.additions, *edits.deletions]
    if len(paths) > MAX_FILES:
        raise Invalid(
            f"one commit can change at most {MAX_FILES} files here; push larger ones",
            fields=("fileChanges",),
        )
    raw = {path: _checked_path(path) for path in paths}
    if len(set(raw.values())) != len(paths):
        raise Invalid("a path is named more than once", fields=("fileChanges",))
    _check_folders({raw[path] for path in edits.additions})
    deleted = {raw[path] for path in edits.deletions}
    found = await _entries(reading, head, set(raw.values()), deleted)
    for path in edits.deletions:
        entry = found.get(raw[path])
        if entry is None or entry.mode == TREE_MODE:
            raise Invalid(f"there is no file '{path}' to delete", fields=("deletions",))
    writes = []
    for path, content in edits.additions.items():
        entry = found.get(raw[path])
        if entry is not None and entry.mode in (TREE_MODE, SYMLINK_MODE, SUBMODULE_MODE):
            raise Invalid(f"'{path}' is no plain file, so it is not edited", fields=("additions",))
        # A file that can be run still can afterwards.
        mode = 0o100755 if entry is not None and entry.mode & 0o100 else 0o100644
        writes.append(FileWrite(raw[path], content, mode))
    return writes, [raw[path] for path in edits.deletions]


def _checked_path(path: str) -> bytes:
    """Git's own rules of names within a tree are index-pack's to judge; these are what it lacks."""
    raw = path.encode("utf-8", "surrogateescape")
    parts = raw.split(b"/")
    fault = None
    if not raw or len(raw) > MAX_PATH_BYTES:
        fault = f"a path has between 1 and {MAX_PATH_BYTES} bytes"
    elif raw.startswith(b"/"):
        fault = f"the path '{path}' begins with a slash; it is relative to the repository's top"
    elif any(part in (b"", b".", b"..") for part in parts):
        fault = f"the path '{path}' has an empty part, '.' or '..'"
    elif any(len(part) > MAX_COMPONENT_BYTES for part in parts):
        fault = f"a part of a path can have at most {MAX_COMPONENT_BYTES} bytes"
    elif not path.isprintable():
        fault = "a path cannot have control or invisible characters"
    elif any(_is_git_folder(part) for part in parts):
        fault = f"the path '{path}' leads into git's own folder"
    if fault:
        raise Invalid(fault, fields=("fileChanges",))
    return raw


def _is_git_folder(part: bytes) -> bool:
    """As far as any file system takes it for ``.git``; index-pack knows more disguises."""
    name = part.split(b":")[0].rstrip(b". ").lower()
    return name in (b".git", b"git~1")


def _check_folders(written: set[bytes]) -> None:
    """No path may need a folder where another one is a file."""
    for path in written:
        parts = path.split(b"/")
        for end in range(1, len(parts)):
            if (above := b"/".join(parts[:end])) in written:
                name = above.decode("utf-8", "replace")
                raise Invalid(f"'{name}' cannot be a file and a folder", fields=("fileChanges",))


async def _entries(
    reading: GitReading, head: str, paths: set[bytes], deleted: set[bytes]
) -> dict[bytes, TreeEntry]:
    """What stands at these paths now.

    Raises Invalid where a part above one is no folder, unless that is deleted with this commit.
    """
    commit = (await reading.objects([head])).get(head)
    if not isinstance(commit, Commit):
        raise Invalid("the branch does not point to a commit", fields=("branchName",))
    found: dict[bytes, TreeEntry] = {}
    folders = {b"": commit.tree_oid}
    # Level by level, so that each is one question.
    waiting = {path: path.split(b"/") for path in paths}
    for depth in range(max((len(parts) for parts in waiting.values()), default=0)):
        trees = await reading.objects(sorted(set(folders.values())))
        below: dict[bytes, str] = {}
        for path, parts in waiting.items():
            if depth >= len(parts):
                continue
            folder = b"/".join(parts[:depth])
            tree = trees.get(folders.get(folder, ""))
            entry = tree.entry(parts[depth]) if isinstance(tree, Tree) else None
            if entry is None:
                continue
            here = b"/".join(parts[: depth + 1])
            if depth == len(parts) - 1:
                found[path] = entry
            elif entry.mode == TREE_MODE:
                below[here] = entry.oid
            elif here not in deleted:
                name = here.decode("utf-8", "replace")
                raise Invalid(
                    f"'{name}' is no folder, so nothing can be in it", fields=("fileChanges",)
                )
        folders = below
    return found
