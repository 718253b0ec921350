"""Deploy keys: SSH keys that stand for no person and reach one repository only."""

from sqlalchemy import func, select

from models import Repository, SSHKey
from services import access, account_access
from services.access import Action
from services.actor import ActorKind
from services.context import OpContext, ReadTransaction
from services.errors import FailedPrecondition, NotFound
from services.events import CredentialCreated, CredentialRevoked
from services.ssh_keys import KEY_IN_USE, checked_title
from services.ssh_public_keys import parse_public_key
from services.uniqueness import conflict_if_taken

MAX_DEPLOY_KEYS = 100


async def add_deploy_key(
    op: OpContext, repository_id: int, title: str, public_key: str, *, read_only: bool = True
) -> SSHKey:
    """Let a key fetch from the repository and, unless ``read_only``, push to it.

    A session must have proven its password within 15 minutes. Emits CredentialCreated. Raises
    Invalid, Conflict, FailedPrecondition, and as ``access.get_repository``.
    """
    key = parse_public_key(public_key)
    title = checked_title(title, key)
    async with op.transaction() as tx:
        repository = await access.get_repository(
            tx, repository_id, Action.REPOSITORY_MANAGE_KEYS, lock=True
        )
        if tx.actor.kind is ActorKind.SESSION:
            await account_access.acting_user(tx, "repo", prove_password=True)
        count = await tx.session.scalar(
            select(func.count()).where(SSHKey.repository_id == repository.id)
        )
        if (count or 0) >= MAX_DEPLOY_KEYS:
            raise FailedPrecondition(
                f"a repository can have at most {MAX_DEPLOY_KEYS} deploy keys; delete one first"
            )
        row = SSHKey(
            repository_id=repository.id,
            added_by_id=tx.actor.user_id,
            title=title,
            public_key=key.text,
            fingerprint=key.fingerprint,
            read_only=read_only,
        )
        async with conflict_if_taken(tx, KEY_IN_USE, fields=("key",)):
            tx.session.add(row)
        tx.emit(CredentialCreated("deploy_key", row.id, tx.actor.user_id))
    return row


async def list_deploy_keys(tx: ReadTransaction, repository: Repository) -> list[SSHKey]:
    """The repository's, oldest first. Raises as ``access.require``."""
    await access.require(tx, Action.REPOSITORY_MANAGE_KEYS, repository)
    rows = await tx.session.scalars(
        select(SSHKey).where(SSHKey.repository_id == repository.id).order_by(SSHKey.id)
    )
    return list(rows)


async def remove_deploy_key(op: OpContext, repository_id: int, ssh_key_id: int) -> None:
    """Take a key away from the repository. Emits CredentialRevoked.

    Raises NotFound, also for a key of another repository, and as ``access.get_repository``.
    """
    async with op.transaction() as tx:
        repository = await access.get_repository(tx, repository_id, Action.REPOSITORY_MANAGE_KEYS)
        row = await tx.session.scalar(
            select(SSHKey).where(
                SSHKey.repository_id == repository.id,
                SSHKey.id == min(ssh_key_id, 2**31 - 1),
            )
        )
        if row is None:
            raise NotFound("the repository has no such deploy key")
        await tx.session.delete(row)
        tx.emit(CredentialRevoked("deploy_key", row.id, tx.actor.user_id))
