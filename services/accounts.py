"""Accounts of people: creating, renaming, suspending, passwords.

E-mail addresses are ``services.email_addresses``'s, signing in is ``services.sessions``'s.
"""

from sqlalchemy import delete, select, update

from models import EmailAddress, LoginRedirect, Owner, Session, User
from models.base import utc_now
from services import account_access, credentials
from services.actor import ActorKind
from services.context import OpContext, ReadTransaction, Transaction
from services.email_rules import email_key
from services.errors import Conflict, Forbidden, Invalid, NotFound, Unauthenticated
from services.events import (
    PasswordChanged,
    UserCreated,
    UserRenamed,
    UserSuspended,
    UserUnsuspended,
)
from services.names import is_id, login_key, name_key, printable
from services.password_rules import check_password
from services.uniqueness import conflict_if_taken

_SIGN_UPS_PER_ADDRESS_AND_HOUR = 10
_PASSWORD_ATTEMPTS = 10
_PASSWORD_WINDOW_SECONDS = 15 * 60
EMAIL_TAKEN = "the e-mail address is already in use by another account"


async def create_user(
    op: OpContext,
    login: str,
    email: str,
    password: str | None = None,
    *,
    site_admin: bool = False,
) -> User:
    """Create an account. Without a password nobody can sign in to it, but tokens and keys work.

    For administrators, whose word makes the address a verified one, and for strangers where the
    server is open to them. Emits UserCreated. Raises Invalid, Conflict, Forbidden, Unauthenticated,
    RateLimited.
    """
    key, address_key = login_key(login), email_key(op.runtime.settings, email)
    if password is not None:
        check_password(password, login=login)
    # Judged before the costly hash, and again where it counts.
    async with op.read() as reading:
        is_sign_up = await _judge_creation(reading, site_admin=site_admin)
    if is_sign_up:
        if password is None:
            raise Invalid("a password is needed", fields=("password",))
        await op.runtime.rate_limiter.check(
            f"sign-up:{op.address}", _SIGN_UPS_PER_ADDRESS_AND_HOUR, 3600
        )
    password_hash = None if password is None else await op.runtime.passwords.hash(password)
    now = utc_now()
    async with op.transaction() as tx:
        await _judge_creation(tx, site_admin=site_admin)
        await _refuse_taken_login(tx, key, login)
        user = User(
            login=login,
            login_key=key,
            password_hash=password_hash,
            password_changed_at=None if password_hash is None else now,
            is_site_admin=site_admin,
        )
        async with conflict_if_taken(tx, _login_taken(login), fields=("login",)):
            tx.session.add(user)
        # Only now: whoever gave the login up meanwhile has committed the redirect.
        await tx.session.execute(delete(LoginRedirect).where(LoginRedirect.login_key == key))
        async with conflict_if_taken(tx, EMAIL_TAKEN, fields=("email",)):
            tx.session.add(
                EmailAddress(
                    user_id=user.id,
                    email=email,
                    email_key=address_key,
                    verified_key=None if is_sign_up else address_key,
                    verified_at=None if is_sign_up else now,
                    primary_of=user.id,
                )
            )
        tx.emit(UserCreated(user.id))
    return user


async def get_user(tx: ReadTransaction, login: str) -> User:
    """Anybody may know which accounts exist. Raises NotFound in GitHub's words."""
    user = await find_user(tx, login)
    if user is None:
        raise NotFound(f"Could not resolve to a User with the login of '{printable(login)}'.")
    return user


async def find_user(tx: ReadTransaction, login: str) -> User | None:
    """The account that has this login now."""
    return await tx.session.scalar(select(User).where(User.login_key == name_key(login)))


async def rename_user(op: OpContext, user_id: int, new_login: str) -> User:
    """Change a login; the old one leads here until another account takes it.

    One's own (scope ``user``), any for administrators. Emits UserRenamed. Raises Invalid, Conflict,
    NotFound, Forbidden, InsufficientScopes, Unauthenticated.
    """
    key = login_key(new_login)
    async with op.transaction() as tx:
        user = await lock_account(tx, user_id, "user")
        old_login, old_key = user.login, user.login_key
        if new_login == old_login:
            return user
        if key != old_key:
            await _refuse_taken_login(tx, key, new_login)
        async with conflict_if_taken(tx, _login_taken(new_login), fields=("login",)):
            user.login, user.login_key = new_login, key
        if key != old_key:
            await tx.session.execute(
                delete(LoginRedirect).where(LoginRedirect.login_key.in_((key, old_key)))
            )
            tx.session.add(LoginRedirect(login_key=old_key, owner_id=user.id))
        tx.emit(UserRenamed(user.id, old_login, new_login))
    return user


async def suspend_user(op: OpContext, user_id: int) -> User:
    """Take all access from an account at once; nothing of it is deleted.

    For administrators. Emits UserSuspended. Raises NotFound, Forbidden, Unauthenticated.
    """
    async with op.transaction() as tx:
        await account_access.require_site_admin(tx)
        user = await _locked_user(tx, user_id)
        if user.id == tx.actor.user_id:
            raise Forbidden("you cannot suspend yourself")
        if user.suspended_at is None:
            user.suspended_at = utc_now()
            tx.emit(UserSuspended(user.id))
    return user


async def unsuspend_user(op: OpContext, user_id: int) -> User:
    """Give access back. For administrators. Emits UserUnsuspended. Raises as ``suspend_user``."""
    async with op.transaction() as tx:
        await account_access.require_site_admin(tx)
        user = await _locked_user(tx, user_id)
        if user.suspended_at is not None:
            user.suspended_at = None
            tx.emit(UserUnsuspended(user.id))
    return user


async def change_password(op: OpContext, current_password: str, new_password: str) -> None:
    """Change one's own password in a session; all other sessions of the account end.

    Emits PasswordChanged. Raises Invalid, Forbidden for other credentials, RateLimited.
    """
    user = await verify_own_password(op, current_password)
    check_password(new_password, login=user.login)
    new_hash = await op.runtime.passwords.hash(new_password)
    async with op.transaction() as tx:
        await credentials.reload(tx.session, tx.actor)
        row = await _locked_user(tx, user.id)
        if row.password_hash != user.password_hash:
            raise Conflict("the password was changed meanwhile; try again")
        await _store_password(tx, row, new_hash, keep_session=tx.actor.credential_id)


async def set_password(op: OpContext, user_id: int, new_password: str) -> None:
    """Give an account a new password and end all its sessions.

    For administrators. Emits PasswordChanged. Raises Invalid, NotFound, Forbidden, Unauthenticated.
    """
    async with op.read() as reading:
        await account_access.require_site_admin(reading)
        user = await _user(reading, user_id)
    check_password(new_password, login=user.login)
    new_hash = await op.runtime.passwords.hash(new_password)
    async with op.transaction() as tx:
        await account_access.require_site_admin(tx)
        await _store_password(tx, await _locked_user(tx, user_id), new_hash, keep_session=None)


async def verify_own_password(op: OpContext, password: str) -> User:
    """The user of the session, once the password has proven right.

    Raises Invalid for a wrong one, Forbidden for anything but a session, RateLimited.
    """
    if op.actor.is_anonymous:
        raise Unauthenticated("sign in to do this")
    if op.actor.kind is not ActorKind.SESSION or op.actor.user_id is None:
        raise Forbidden("only somebody who signed in with the password may do this")
    async with op.read() as tx:
        await credentials.reload(tx.session, op.actor)
        user = await _user(tx, op.actor.user_id)
    throttle = f"password:{user.id}"
    await op.runtime.rate_limiter.check(throttle, _PASSWORD_ATTEMPTS, _PASSWORD_WINDOW_SECONDS)
    check = await op.runtime.passwords.verify(user.password_hash, password)
    if not check.is_right:
        raise Invalid("the password is wrong", fields=("password",))
    await op.runtime.rate_limiter.reset(throttle)
    return user


async def lock_account(
    tx: Transaction, user_id: int, scope: str, *, prove_password: bool = False
) -> User:
    """The account, to be changed by its owner with this scope or by an administrator.

    Others learn nothing from the attempt. Raises NotFound, Forbidden, InsufficientScopes,
    Unauthenticated.
    """
    if tx.actor.user_id == user_id:
        await account_access.acting_user(tx, scope, prove_password=prove_password)
    else:
        await account_access.require_site_admin(tx)
    return await _locked_user(tx, user_id)


async def _judge_creation(tx: ReadTransaction, *, site_admin: bool) -> bool:
    """Whether this is a stranger who signs up. Raises unless the actor may create the account."""
    if tx.actor.is_anonymous and not site_admin:
        if not tx.op.runtime.settings.sign_ups_enabled:
            raise Forbidden("sign-ups are closed; ask the administrator of this server")
        return True
    await account_access.require_site_admin(tx)
    return False


async def _refuse_taken_login(tx: ReadTransaction, key: str, login: str) -> None:
    if await tx.session.scalar(select(Owner.id).where(Owner.login_key == key)) is not None:
        raise Conflict(_login_taken(login), fields=("login",))


def _login_taken(login: str) -> str:
    return f"the login '{login}' is already taken"


async def _user(tx: ReadTransaction, user_id: int) -> User:
    user = await tx.session.get(User, user_id) if is_id(user_id) else None
    if user is None:
        raise NotFound(f"Could not resolve to a User with the id '{user_id}'.")
    return user


async def _locked_user(tx: Transaction, user_id: int) -> User:
    user = await tx.session.get(User, user_id) if is_id(user_id) else None
    if user is None:
        raise NotFound(f"Could not resolve to a User with the id '{user_id}'.")
    # The row of the table both kinds of owners share; joined rows cannot all be locked.
    await tx.session.execute(
        select(Owner.__table__.c.id).where(Owner.__table__.c.id == user_id).with_for_update()
    )
    await tx.session.refresh(user)
    return user


async def _store_password(
    tx: Transaction, user: User, password_hash: str, *, keep_session: int | None
) -> None:
    now = utc_now()
    user.password_hash, user.password_changed_at = password_hash, now
    await tx.session.execute(
        update(Session)
        .where(
            Session.user_id == user.id,
            Session.revoked_at.is_(None),
            Session.id != (keep_session or 0),
        )
        .values(revoked_at=now)
    )
    tx.emit(PasswordChanged(user.id))
