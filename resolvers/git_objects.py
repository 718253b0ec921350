"""Fields of git objects: commits, trees and their entries, blobs, tags, and who wrote them."""

import asyncio
import base64
import datetime as dt
from pathlib import PurePosixPath
from typing import Annotated, Any

import strawberry
from strawberry import Parent

from gitstore.objects import Blob, Commit, GitObject, ObjectKind, Signature, Tag, Tree
from models import GitRef, Repository, User
from resolvers import revisions
from resolvers.context import Info
from resolvers.located import FolderCommits, Located, LocatedEntry
from resolvers.repositories import resource_path as repository_path
from resolvers.repositories import url as repository_url
from services.errors import NotFound
from services.git_reading import state_of

ABBREVIATED = 7
# Git looks for a NUL in so many bytes to tell binary files from text.
_LOOKED_AT = 8000

Path = Annotated[
    str,
    strawberry.argument(
        description="The path of a file or folder, from the top of the repository."
    ),
]


async def ref_target(root: Parent[GitRef], info: Info) -> Located[GitObject] | None:
    repository = await info.context.loaders.repository_by_id.load(root.repository_id)
    if repository is None or root.oid is None:
        return None
    return await revisions.load(info, repository, root.oid)


def oid(root: Parent[Located[GitObject]]) -> str:
    return root.value.oid


def abbreviated_oid(root: Parent[Located[GitObject]]) -> str:
    return root.value.oid[:ABBREVIATED]


def repository(root: Parent[Any]) -> Repository:
    found: Repository = root.repository
    return found


async def commit_path(root: Parent[Located[GitObject]], info: Info) -> str:
    return f"{await repository_path(root.repository, info)}/commit/{root.value.oid}"


async def commit_url(root: Parent[Located[GitObject]], info: Info) -> str:
    return f"{await repository_url(root.repository, info)}/commit/{root.value.oid}"


async def tree_path(root: Parent[Located[Commit]], info: Info) -> str:
    return f"{await repository_path(root.repository, info)}/tree/{root.value.oid}"


async def tree_url(root: Parent[Located[Commit]], info: Info) -> str:
    return f"{await repository_url(root.repository, info)}/tree/{root.value.oid}"


def author(root: Parent[Located[Commit]]) -> Signature:
    return root.value.author


def committer(root: Parent[Located[Commit]]) -> Signature:
    return root.value.committer


def authored_date(root: Parent[Located[Commit]]) -> dt.datetime:
    return root.value.author.moment


def committed_date(root: Parent[Located[Commit]]) -> dt.datetime:
    return root.value.committer.moment


def authored_by_committer(root: Parent[Located[Commit]]) -> bool:
    commit = root.value
    return (commit.author.name, commit.author.email) == (
        commit.committer.name,
        commit.committer.email,
    )


def message(root: Parent[Located[Commit]]) -> str:
    return root.value.message


def message_headline(root: Parent[Located[Commit]]) -> str:
    return root.value.headline


def message_body(root: Parent[Located[Commit]]) -> str:
    return root.value.body


async def commit_tree(root: Parent[Located[Commit]], info: Info) -> Located[GitObject]:
    found = await _needed(info, root.repository, root.value.tree_oid)
    return Located(root.repository, found.value, root.value.oid, b"")


async def commit_file(root: Parent[Located[Commit]], info: Info, path: Path) -> LocatedEntry | None:
    """The entry at a path, None where there is none (the top itself is no entry)."""
    parts = [part for part in path.encode("utf-8", "surrogateescape").split(b"/") if part]
    if not parts:
        return None
    folder = b"/".join(parts[:-1])
    found = await revisions.at_path(info, root.repository, root.value.oid, folder)
    if found is None or not isinstance(found.value, Tree):
        return None
    entry = found.value.entry(parts[-1])
    if entry is None:
        return None
    return LocatedEntry(root.repository, entry, folder, root.value.oid)


def tree_entries(root: Parent[Located[Tree]]) -> list[LocatedEntry]:
    commits = FolderCommits()
    return [
        LocatedEntry(root.repository, entry, root.path, root.commit_oid, commits)
        for entry in root.value.entries
    ]


def entry_name(root: Parent[LocatedEntry]) -> str:
    return root.entry.name


def entry_name_raw(root: Parent[LocatedEntry]) -> str:
    return base64.b64encode(root.entry.raw_name).decode()


def entry_path(root: Parent[LocatedEntry]) -> str | None:
    return None if root.raw_path is None else root.raw_path.decode("utf-8", "replace")


def entry_path_raw(root: Parent[LocatedEntry]) -> str | None:
    return None if root.raw_path is None else base64.b64encode(root.raw_path).decode()


def entry_mode(root: Parent[LocatedEntry]) -> int:
    return root.entry.mode


def entry_oid(root: Parent[LocatedEntry]) -> str:
    return root.entry.oid


def entry_type(root: Parent[LocatedEntry]) -> str:
    return root.entry.kind.value


def entry_extension(root: Parent[LocatedEntry]) -> str | None:
    return PurePosixPath(root.entry.name).suffix or None


async def entry_size(root: Parent[LocatedEntry], info: Info) -> int:
    if root.entry.kind is not ObjectKind.BLOB:
        return 0
    size = await info.context.loaders.git.size_by_oid.load((root.state, root.entry.oid))
    return min(size or 0, 2**31 - 1)


async def entry_line_count(root: Parent[LocatedEntry], info: Info) -> int | None:
    if root.entry.kind is not ObjectKind.BLOB:
        return None
    blob = await info.context.loaders.git.blob_by_oid.load((root.state, root.entry.oid))
    if blob is None or blob.is_truncated or is_binary(blob):
        return None
    return blob.head.count(b"\n") + (not blob.head.endswith(b"\n") and bool(blob.head))


async def entry_object(root: Parent[LocatedEntry], info: Info) -> Located[GitObject] | None:
    if root.entry.kind is ObjectKind.COMMIT:  # a submodule's, which is elsewhere
        return None
    found = await revisions.load(info, root.repository, root.entry.oid)
    return found and Located(root.repository, found.value, root.commit_oid, root.raw_path)


def entry_last_commit(root: Parent[LocatedEntry], info: Info) -> Any:
    """A commit or None, or where it has to be read what gives it later: a page of a folder has
    hundreds of these, and each that waits costs as much as all the others."""
    if root.folder is None or root.commit_oid is None:
        return None
    commits = root.siblings or FolderCommits()
    if commits.found is None and commits.loading is None:
        known = info.context.loaders.git.remembered_last_commits(
            root.state, root.commit_oid, root.folder
        )
        if known is not None:
            commits.found = _located(root.repository, known)
    if commits.found is not None:
        return commits.found.get(root.entry.raw_name)
    return _last_commit_later(root, info, commits)


async def _last_commit_later(
    root: LocatedEntry, info: Info, commits: FolderCommits
) -> Located[Commit] | None:
    assert root.commit_oid is not None
    assert root.folder is not None
    if commits.loading is None:
        loading = _folder_commits(info, root.repository, root.commit_oid, root.folder)
        commits.loading = asyncio.ensure_future(loading)
        # Whoever waits for it gets the error; if nobody does any more, it is of no interest.
        commits.loading.add_done_callback(lambda done: done.cancelled() or done.exception())
    return (await asyncio.shield(commits.loading)).get(root.entry.raw_name)


async def _folder_commits(
    info: Info, repository: Repository, commit_oid: str, folder: bytes
) -> dict[bytes, Located[Commit]]:
    git, state = info.context.loaders.git, state_of(repository)
    found = await git.last_commits.load((state, commit_oid, folder)) or {}
    loaded = await git.object_by_oid.load_many([(state, oid) for oid in found.values()])
    commits = {
        name: commit
        for name, commit in zip(found, loaded, strict=True)
        if isinstance(commit, Commit)
    }
    return _located(repository, commits)


def _located(repository: Repository, commits: dict[bytes, Commit]) -> dict[bytes, Located[Commit]]:
    # One for each commit, since most entries share theirs.
    located = {commit.oid: Located(repository, commit) for commit in commits.values()}
    return {name: located[commit.oid] for name, commit in commits.items()}


def blob_byte_size(root: Parent[Located[Blob]]) -> int:
    return min(root.value.size, 2**31 - 1)


async def blob_is_binary(root: Parent[Located[Blob]], info: Info) -> bool:
    return is_binary(await _content(root, info))


async def blob_is_truncated(root: Parent[Located[Blob]], info: Info) -> bool:
    return (await _content(root, info)).is_truncated


async def blob_text(root: Parent[Located[Blob]], info: Info) -> str | None:
    blob = await _content(root, info)
    return None if is_binary(blob) else blob.head.decode("utf-8", "replace")


def tag_name(root: Parent[Located[Tag]]) -> str:
    return root.value.name


def tag_message(root: Parent[Located[Tag]]) -> str:
    return root.value.message


def tagger(root: Parent[Located[Tag]]) -> Signature | None:
    return root.value.tagger


async def tag_target(root: Parent[Located[Tag]], info: Info) -> Located[GitObject]:
    return await _needed(info, root.repository, root.value.target_oid)


async def signer_user(root: Parent[Signature], info: Info) -> User | None:
    """The account that has proven to own the address."""
    if not root.email:
        return None
    return await info.context.loaders.user_by_email.load(root.email)


def signature_date(root: Parent[Signature]) -> dt.datetime | None:
    return root.when


def is_binary(blob: Blob) -> bool:
    return b"\0" in blob.head[:_LOOKED_AT]


async def _content(root: Located[Blob], info: Info) -> Blob:
    blob = await info.context.loaders.git.blob_by_oid.load((root.state, root.value.oid))
    if blob is None:
        raise NotFound(f"the object {root.value.oid} no longer exists")
    return blob


async def _needed(info: Info, repository: Repository, oid: str) -> Located[GitObject]:
    """An object that another one points to. Raises NotFound where it cannot be shown."""
    found = await revisions.load(info, repository, oid)
    if found is None:
        raise NotFound(f"the object {oid} is missing or too large to be shown")
    return found


def never(root: Parent[Any]) -> bool:
    return False


def nothing(root: Parent[Any]) -> None:
    return None
