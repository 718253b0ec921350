"""Repositories: creating, changing, handing over, deleting. Their content is ``gitstore``'s."""

import dataclasses

from sqlalchemy import delete, func, insert, literal, select
from sqlalchemy.sql import Select

from models import (
    Collaborator,
    GitDerived,
    GitPack,
    GitRef,
    PackUpload,
    Repository,
    RepositoryRedirect,
    Visibility,
)
from models.base import UTCDateTime, utc_now
from services import access, account_access
from services.access import Action
from services.context import OpContext, ReadTransaction, Transaction
from services.errors import Invalid
from services.events import (
    RepositoryCreated,
    RepositoryDeleted,
    RepositoryTransferred,
    RepositoryUpdated,
)
from services.names import repository_name_key
from services.omitted import OMITTED, OmittedType
from services.ref_names import BRANCHES, check_branch_name
from services.uniqueness import conflict_if_taken

MAX_DESCRIPTION_LENGTH = 350
NAME_TAKEN = "Name already exists on this account"


@dataclasses.dataclass(frozen=True, slots=True)
class RepositoryChanges:
    """What to change; what is left out stays. A description of None is removed."""

    name: str | OmittedType = OMITTED
    description: str | OmittedType | None = OMITTED
    visibility: Visibility | OmittedType = OMITTED
    default_branch: str | OmittedType = OMITTED
    archived: bool | OmittedType = OMITTED


async def create_repository(
    op: OpContext,
    owner_login: str,
    name: str,
    *,
    visibility: Visibility = Visibility.PUBLIC,
    description: str | None = None,
    default_branch: str = "main",
) -> Repository:
    """Create an empty repository in one's own account, or in any as an administrator.

    A name that led to a moved repository now means this one. Emits RepositoryCreated. Raises
    Invalid, Conflict, NotFound, Forbidden, InsufficientScopes, Unauthenticated.
    """
    key = repository_name_key(name)
    check_branch_name(default_branch)
    description = _checked_description(description)
    async with op.transaction() as tx:
        owner = await account_access.get_owner_to_fill(tx, owner_login, visibility)
        repository = Repository(
            owner_id=owner.id,
            name=name,
            name_key=key,
            description=description,
            visibility=visibility,
            default_branch=default_branch,
        )
        async with conflict_if_taken(tx, NAME_TAKEN, fields=("name",)):
            tx.session.add(repository)
        await end_redirect(tx, owner.id, key)
        tx.emit(RepositoryCreated(repository.id, owner.id))
    return repository


async def update_repository(
    op: OpContext, repository_id: int, changes: RepositoryChanges
) -> Repository:
    """Change what is given, all or nothing. An old name goes on leading here.

    Emits RepositoryUpdated if anything changed. Raises Invalid, Conflict, FailedPrecondition for an
    archived one, and as ``access.get_repository``.
    """
    async with op.transaction() as tx:
        repository = await access.get_repository(
            tx, repository_id, Action.REPOSITORY_READ, lock=True
        )
        changed: list[str] = []
        # Coming out of the archive makes the rest possible; going in comes last.
        if changes.archived is False:
            changed += await _set_archived(tx, repository, archived=False)
        if changes.name is not OMITTED:
            changed += await _rename(tx, repository, changes.name)
        if changes.description is not OMITTED:
            changed += await _describe(tx, repository, changes.description)
        if changes.visibility is not OMITTED:
            changed += await _set_visibility(tx, repository, changes.visibility)
        if changes.default_branch is not OMITTED:
            changed += await _set_default_branch(tx, repository, changes.default_branch)
        if changes.archived is True:
            changed += await _set_archived(tx, repository, archived=True)
        await tx.session.flush()
        if changed:
            tx.emit(RepositoryUpdated(repository.id, tuple(changed)))
    return repository


async def transfer_repository(
    op: OpContext, repository_id: int, new_owner_login: str
) -> Repository:
    """Hand a repository to another account: one row changes, the old address leads to it.

    The actor must be allowed to create repositories there. The old owner, if a person, stays as
    a collaborator. Emits RepositoryTransferred. Raises Conflict, and as ``get_repository``.
    """
    async with op.transaction() as tx:
        repository = await access.get_repository(
            tx, repository_id, Action.REPOSITORY_TRANSFER, lock=True
        )
        owner = await account_access.get_owner_to_fill(tx, new_owner_login, repository.visibility)
        old_owner_id = repository.owner_id
        if owner.id == old_owner_id:
            raise Invalid("the repository belongs to this account already", fields=("newOwner",))
        async with conflict_if_taken(tx, NAME_TAKEN, fields=("newOwner",)):
            repository.owner_id = owner.id
        await end_redirect(tx, owner.id, repository.name_key)
        await _redirect(tx, old_owner_id, repository.name_key, repository.id)
        await _swap_owner_with_collaborator(tx, repository.id, old_owner_id, owner.id)
        tx.emit(RepositoryTransferred(repository.id, old_owner_id, owner.id))
    return repository


async def delete_repository(op: OpContext, repository_id: int) -> None:
    """Delete a repository for good; its name is free at once.

    The bytes go later: each pack becomes an upload that nothing refers to, which the sweep purges
    (K7). Emits RepositoryDeleted. Raises as ``access.get_repository``.
    """
    async with op.transaction() as tx:
        repository = await access.get_repository(
            tx, repository_id, Action.REPOSITORY_DELETE, lock=True
        )
        name = await access.name_with_owner(tx, repository)
        packs = select(
            GitPack.storage_key, GitPack.repository_id, literal(utc_now(), UTCDateTime)
        ).where(GitPack.repository_id == repository.id)
        await tx.session.execute(
            insert(PackUpload).from_select(["storage_key", "repository_id", "created_at"], packs)
        )
        derived = select(
            GitDerived.storage_key, GitDerived.repository_id, literal(utc_now(), UTCDateTime)
        ).where(GitDerived.repository_id == repository.id)
        await tx.session.execute(
            insert(PackUpload).from_select(["storage_key", "repository_id", "created_at"], derived)
        )
        # The row by a statement, so that the database drops what belongs to it without loading it.
        await tx.session.execute(delete(Repository).where(Repository.id == repository.id))
        tx.emit(RepositoryDeleted(repository.id, repository.owner_id, name))


async def get_repository(tx: ReadTransaction, owner_login: str, name: str) -> Repository:
    """A repository to look at. Raises as ``access.get_repository``."""
    return await access.get_repository(tx, (owner_login, name), Action.REPOSITORY_READ)


def select_repositories(tx: ReadTransaction, owner_id: int | None = None) -> Select[Repository]:
    """What the actor may read, of one account or of all; the caller orders and cuts it."""
    readable = access.readable_repositories(tx.actor)
    return readable if owner_id is None else readable.where(Repository.owner_id == owner_id)


async def _rename(tx: Transaction, repository: Repository, name: str) -> list[str]:
    key, old_key = repository_name_key(name), repository.name_key
    await access.require(tx, Action.REPOSITORY_RENAME, repository)
    if name == repository.name:
        return []
    async with conflict_if_taken(tx, NAME_TAKEN, fields=("name",)):
        repository.name, repository.name_key = name, key
    if key != old_key:
        await end_redirect(tx, repository.owner_id, key)
        await _redirect(tx, repository.owner_id, old_key, repository.id)
    return ["name"]


async def _describe(tx: Transaction, repository: Repository, description: str | None) -> list[str]:
    description = _checked_description(description)
    await access.require(tx, Action.REPOSITORY_UPDATE, repository)
    if description == repository.description:
        return []
    repository.description = description
    return ["description"]


async def _set_visibility(
    tx: Transaction, repository: Repository, visibility: Visibility
) -> list[str]:
    await access.require(tx, Action.REPOSITORY_SET_VISIBILITY, repository)
    if visibility is repository.visibility:
        return []
    repository.visibility = visibility
    return ["visibility"]


async def _set_default_branch(tx: Transaction, repository: Repository, branch: str) -> list[str]:
    """HEAD is part of what git clients fetch, so a change counts as a new generation."""
    check_branch_name(branch)
    await access.require(tx, Action.REPOSITORY_SET_DEFAULT_BRANCH, repository)
    if branch == repository.default_branch:
        return []
    live = select(func.count()).where(
        GitRef.repository_id == repository.id,
        GitRef.oid.is_not(None),
        GitRef.name.startswith(BRANCHES, autoescape=True),
    )
    has_branches = await tx.session.scalar(live)
    if has_branches and not await tx.session.scalar(live.where(GitRef.name == BRANCHES + branch)):
        raise Invalid(
            f"the repository has no branch '{branch}'; push it first", fields=("defaultBranch",)
        )
    repository.default_branch = branch
    repository.generation += 1
    return ["default_branch"]


async def _set_archived(tx: Transaction, repository: Repository, *, archived: bool) -> list[str]:
    await access.require(tx, Action.REPOSITORY_ARCHIVE, repository)
    if archived == (repository.archived_at is not None):
        return []
    repository.archived_at = utc_now() if archived else None
    return ["archived"]


async def end_redirect(tx: Transaction, owner_id: int, name_key: str) -> None:
    """A name that a repository has leads nowhere else.

    Called once the name is taken: whoever gave it up meanwhile has committed the redirect.
    """
    await tx.session.execute(
        delete(RepositoryRedirect).where(
            RepositoryRedirect.owner_id == owner_id, RepositoryRedirect.name_key == name_key
        )
    )


async def _redirect(tx: Transaction, owner_id: int, name_key: str, repository_id: int) -> None:
    await end_redirect(tx, owner_id, name_key)
    tx.session.add(
        RepositoryRedirect(owner_id=owner_id, name_key=name_key, repository_id=repository_id)
    )


async def _swap_owner_with_collaborator(
    tx: Transaction, repository_id: int, old_owner_id: int, new_owner_id: int
) -> None:
    await tx.session.execute(
        delete(Collaborator).where(
            Collaborator.repository_id == repository_id,
            Collaborator.user_id.in_((old_owner_id, new_owner_id)),
        )
    )
    tx.session.add(
        Collaborator(
            repository_id=repository_id,
            user_id=old_owner_id,
            role=access.Role.WRITE.name.lower(),
        )
    )


def _checked_description(description: str | None) -> str | None:
    """One line of plain text; an empty one is none."""
    if description is None or not description.strip():
        return None
    fault = None
    if len(description) > MAX_DESCRIPTION_LENGTH:
        fault = f"a description can have at most {MAX_DESCRIPTION_LENGTH} characters"
    elif not all(each.isprintable() for each in description):
        fault = "a description cannot have line breaks or control characters"
    if fault:
        raise Invalid(fault, fields=("description",))
    return description.strip()
