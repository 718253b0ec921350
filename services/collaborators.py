"""Collaborators: the people a repository is shared with, and how far."""

from sqlalchemy import select

from models import Collaborator, User
from services import access
from services.access import Action, Role
from services.context import OpContext, ReadTransaction, Transaction
from services.errors import FailedPrecondition, Invalid, NotFound
from services.events import CollaboratorAdded, CollaboratorRemoved
from services.names import is_id
from services.uniqueness import conflict_if_taken

MAX_COLLABORATORS = 1000


async def add_collaborator(op: OpContext, repository_id: int, user_id: int, role: Role) -> User:
    """Share a repository with a person, or change how far it is shared with one.

    Emits CollaboratorAdded if anything changed. Raises Invalid for the owner, NotFound, Conflict,
    FailedPrecondition, and as ``access.get_repository``.
    """
    async with op.transaction() as tx:
        # The lock makes concurrent changes of one repository's collaborators take turns.
        repository = await access.get_repository(
            tx, repository_id, Action.REPOSITORY_MANAGE_COLLABORATORS, lock=True
        )
        user = await _user(tx, user_id)
        if user.id == repository.owner_id:
            raise Invalid("the owner of a repository needs no share in it", fields=("userId",))
        row = await tx.session.get(Collaborator, (repository.id, user.id))
        name = role.name.lower()
        if row is not None and row.role == name:
            return user
        if row is not None:
            row.role = name
        else:
            await _check_room(tx, repository.id)
            async with conflict_if_taken(
                tx, "somebody else has just shared it", fields=("userId",)
            ):
                tx.session.add(
                    Collaborator(repository_id=repository.id, user_id=user.id, role=name)
                )
        tx.emit(CollaboratorAdded(repository.id, user.id, name))
    return user


async def remove_collaborator(op: OpContext, repository_id: int, user_id: int) -> None:
    """Stop sharing a repository with a person; who was given a share may also give it back.

    Emits CollaboratorRemoved. Raises NotFound where there is no such share, and as
    ``access.get_repository``.
    """
    async with op.transaction() as tx:
        leaves = tx.actor.user_id is not None and tx.actor.user_id == user_id
        repository = await access.get_repository(tx, repository_id, Action.REPOSITORY_READ)
        if leaves:
            access.require_scope(tx.actor, "repo")
        else:
            await access.require(tx, Action.REPOSITORY_MANAGE_COLLABORATORS, repository)
        row = None
        if is_id(user_id):
            row = await tx.session.get(Collaborator, (repository.id, user_id))
        if row is None:
            raise NotFound("the repository is not shared with this person")
        await tx.session.delete(row)
        tx.emit(CollaboratorRemoved(repository.id, user_id))


async def _user(tx: ReadTransaction, user_id: int) -> User:
    user = await tx.session.get(User, user_id) if is_id(user_id) else None
    if user is None:
        raise NotFound(f"Could not resolve to a User with the id '{user_id}'.")
    return user


async def _check_room(tx: Transaction, repository_id: int) -> None:
    statement = select(Collaborator.user_id).where(Collaborator.repository_id == repository_id)
    if len((await tx.session.scalars(statement.limit(MAX_COLLABORATORS))).all()) >= (
        MAX_COLLABORATORS
    ):
        raise FailedPrecondition(f"a repository can have at most {MAX_COLLABORATORS} collaborators")
