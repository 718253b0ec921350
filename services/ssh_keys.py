"""SSH keys of users. One key stands for one identity on the whole server, deploy keys included."""

from sqlalchemy import func, select

from models import SSHKey
from services import account_access
from services.context import OpContext, ReadTransaction
from services.errors import FailedPrecondition, Invalid, NotFound
from services.events import CredentialCreated, CredentialRevoked
from services.ssh_public_keys import PublicKey, parse_public_key
from services.uniqueness import conflict_if_taken

MAX_KEYS = 200
MAX_TITLE_LENGTH = 255
KEY_IN_USE = "key is already in use"


async def add_ssh_key(op: OpContext, user_id: int, title: str, public_key: str) -> SSHKey:
    """Let a key sign in as the account. An empty title becomes the key's comment.

    For oneself (scope ``write:public_key``; a session must have proven its password within 15
    minutes) or, as the server's operator, for any. Emits CredentialCreated. Raises Invalid,
    Conflict, Forbidden, InsufficientScopes, FailedPrecondition.
    """
    key = parse_public_key(public_key)
    title = checked_title(title, key)
    async with op.transaction() as tx:
        user = await account_access.account_to_equip(tx, user_id, "write:public_key")
        count = await tx.session.scalar(select(func.count()).where(SSHKey.user_id == user.id))
        if (count or 0) >= MAX_KEYS:
            raise FailedPrecondition(
                f"an account can have at most {MAX_KEYS} SSH keys; delete one first"
            )
        row = SSHKey(user_id=user.id, title=title, public_key=key.text, fingerprint=key.fingerprint)
        async with conflict_if_taken(tx, KEY_IN_USE, fields=("key",)):
            tx.session.add(row)
        tx.emit(CredentialCreated("ssh_key", row.id, user.id))
    return row


async def list_ssh_keys(tx: ReadTransaction) -> list[SSHKey]:
    """One's own, oldest first. Takes the scope ``read:public_key``."""
    user = await account_access.acting_user(tx, "read:public_key")
    rows = await tx.session.scalars(
        select(SSHKey).where(SSHKey.user_id == user.id).order_by(SSHKey.id)
    )
    return list(rows)


async def remove_ssh_key(op: OpContext, ssh_key_id: int) -> None:
    """Take one of one's own keys away (scope ``admin:public_key``), or any as an administrator.

    Emits CredentialRevoked. Raises NotFound, Forbidden, InsufficientScopes.
    """
    async with op.transaction() as tx:
        owner_id = await account_access.owner_id_unless_admin(tx, "admin:public_key")
        row = await tx.session.scalar(
            select(SSHKey).where(
                SSHKey.id == min(ssh_key_id, 2**31 - 1), SSHKey.user_id.is_not(None)
            )
        )
        if row is None or owner_id not in (None, row.user_id):
            raise NotFound("there is no such SSH key")
        await tx.session.delete(row)
        tx.emit(CredentialRevoked("ssh_key", row.id, row.user_id))


def checked_title(title: str, key: PublicKey) -> str:
    """The title, or the key's comment where there is none. Raises Invalid."""
    chosen = title.strip() or key.comment[:MAX_TITLE_LENGTH] or key.fingerprint
    if len(chosen) > MAX_TITLE_LENGTH or not chosen.isprintable():
        raise Invalid(
            f"a key's title can have at most {MAX_TITLE_LENGTH} printable characters",
            fields=("title",),
        )
    return chosen
