"""Stars and watches: what users say of repositories they can read."""

from models import Repository, Star, Watch, WatchState
from services import access
from services.access import Action
from services.context import OpContext, Transaction
from services.errors import Conflict, Unauthenticated
from services.events import RepositoryStarred, RepositoryUnstarred
from services.uniqueness import conflict_if_taken


async def star(op: OpContext, repository_id: int) -> None:
    """Star a repository for the actor; does nothing for one that is starred.

    Emits RepositoryStarred. Raises Unauthenticated, Forbidden, and as ``access.get_repository``.
    """
    try:
        async with op.transaction() as tx:
            repository, user_id = await _theirs(tx, repository_id, "public_repo")
            if await tx.session.get(Star, (repository.id, user_id)) is not None:
                return
            async with conflict_if_taken(tx, "it is starred"):
                tx.session.add(Star(repository_id=repository.id, user_id=user_id))
            tx.emit(RepositoryStarred(repository.id, user_id))
    except Conflict:
        return  # the same request was faster


async def unstar(op: OpContext, repository_id: int) -> None:
    """Take the actor's star away, if there is one.

    Emits RepositoryUnstarred. Raises as ``star``.
    """
    async with op.transaction() as tx:
        repository, user_id = await _theirs(tx, repository_id, "public_repo")
        row = await tx.session.get(Star, (repository.id, user_id), with_for_update=True)
        if row is not None:
            await tx.session.delete(row)
            tx.emit(RepositoryUnstarred(repository.id, user_id))


async def watch(op: OpContext, repository_id: int, state: WatchState) -> None:
    """Say how much the actor wants to hear of a repository.

    Raises Unauthenticated, Forbidden, Conflict, and as ``access.get_repository``.
    """
    async with op.transaction() as tx:
        repository, user_id = await _theirs(tx, repository_id, "notifications")
        row = await tx.session.get(Watch, (repository.id, user_id), with_for_update=True)
        if state is WatchState.UNSUBSCRIBED:
            if row is not None:
                await tx.session.delete(row)
        elif row is not None:
            row.state = state
        else:
            async with conflict_if_taken(tx, "it was changed meanwhile; try again"):
                tx.session.add(Watch(repository_id=repository.id, user_id=user_id, state=state))


async def _theirs(tx: Transaction, repository_id: int, scope: str) -> tuple[Repository, int]:
    repository = await access.get_repository(tx, repository_id, Action.REPOSITORY_READ)
    access.require_scope(tx.actor, scope)
    if tx.actor.user_id is None:
        raise Unauthenticated("only users have stars and watches")
    return repository, tx.actor.user_id
