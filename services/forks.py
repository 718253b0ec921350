"""Forks: a repository of one's own with the content of another."""

from sqlalchemy import select

from gitstore.errors import GitStoreError, RepositoryGone
from gitstore.forking import PreparedFork, discard_fork, prepare_fork, publish_fork
from models import Owner, Repository, RepositoryFork
from models.database import DatabaseUnavailable
from services import access, account_access
from services.access import Action
from services.context import DATABASE_UNAVAILABLE, OpContext, ReadTransaction, Transaction
from services.errors import Conflict, NotFound, Unavailable
from services.events import ForkCreated, RepositoryCreated, RepositoryForked
from services.names import repository_name_key
from services.repositories import NAME_TAKEN, end_redirect
from services.uniqueness import conflict_if_taken
from storage_adapters.errors import StorageError

FAILED = "the repository could not be copied; try again in a moment"


async def fork_repository(
    op: OpContext, source_id: int, owner_login: str, name: str | None = None
) -> Repository:
    """Copy what the branches and tags of a readable repository reach into a new repository.

    It goes where ``create_repository`` would let the actor create one, is as visible as the source,
    and has its name unless another is given. An account has one fork of a repository: a second
    request is given the first one's. Emits RepositoryCreated, RepositoryForked and ForkCreated.
    Raises Invalid, Conflict, Unavailable, and as ``access.get_repository`` and
    ``get_owner_to_fill``.
    """
    if name is not None:
        repository_name_key(name)
    async with op.read() as tx:
        source, owner = await _judge(tx, source_id, owner_login)
        if existing := await _existing(tx, source_id, owner):
            return existing
        # For a friendly answer before the work; the database decides in the end.
        taken = select(Repository.id).where(
            Repository.owner_id == owner.id,
            Repository.name_key == repository_name_key(name or source.name),
        )
        if await tx.session.scalar(taken) is not None:
            raise Conflict(NAME_TAKEN, fields=("name",))
    fork = await _prepare(op, source_id)
    published = False
    try:
        async with op.transaction() as tx:
            # First of all, so that two requests see each other's fork on every database.
            await tx.session.execute(
                select(Repository.id).where(Repository.id == source_id).with_for_update()
            )
            source, owner = await _judge(tx, source_id, owner_login)
            existing = await _existing(tx, source_id, owner)
            repository = existing or await _create(tx, source, owner, name or source.name, fork)
        published = existing is None
    except GitStoreError as error:
        raise Unavailable(FAILED) from error
    finally:
        if not published:
            # Quiet where the commit took place after all: the row decides.
            await discard_fork(op.runtime.database, op.runtime.object_store, fork)
    return repository


async def _judge(tx: ReadTransaction, source_id: int, owner_login: str) -> tuple[Repository, Owner]:
    source = await access.get_repository(tx, source_id, Action.REPOSITORY_READ)
    owner = await account_access.get_owner_to_fill(tx, owner_login, source.visibility)
    return source, owner


async def _existing(tx: ReadTransaction, source_id: int, owner: Owner) -> Repository | None:
    found = await tx.session.scalar(
        select(Repository.id)
        .join(RepositoryFork, RepositoryFork.repository_id == Repository.id)
        .where(RepositoryFork.parent_id == source_id, Repository.owner_id == owner.id)
        .order_by(Repository.id)
        .limit(1)
    )
    if found is None:
        return None
    return await access.get_repository(tx, found, Action.REPOSITORY_READ)


async def _prepare(op: OpContext, source_id: int) -> PreparedFork:
    runtime = op.runtime
    try:
        return await prepare_fork(runtime.git, runtime.database, runtime.object_store, source_id)
    except RepositoryGone as error:
        raise NotFound(access.not_found_text(source_id)) from error
    except DatabaseUnavailable as error:
        raise Unavailable(DATABASE_UNAVAILABLE) from error
    except (GitStoreError, StorageError) as error:
        raise Unavailable(FAILED) from error


async def _create(
    tx: Transaction, source: Repository, owner: Owner, name: str, fork: PreparedFork
) -> Repository:
    key = repository_name_key(name)
    repository = Repository(
        owner_id=owner.id,
        name=name,
        name_key=key,
        description=source.description,
        visibility=source.visibility,
        default_branch=fork.default_branch,
        object_format=fork.object_format,
        pushed_at=source.pushed_at,
    )
    async with conflict_if_taken(tx, NAME_TAKEN, fields=("name",)):
        tx.session.add(repository)
    repository.generation = await publish_fork(tx.session, repository.id, fork)
    tx.session.add(RepositoryFork(repository_id=repository.id, parent_id=source.id))
    await end_redirect(tx, owner.id, key)
    await tx.session.flush()
    tx.emit(RepositoryCreated(repository.id, owner.id))
    tx.emit(RepositoryForked(repository.id, source.id))
    tx.emit(ForkCreated(source.id, repository.id))
    return repository
