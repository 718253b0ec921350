"""E-mail addresses of accounts: one account per verified address, one primary each.

An address is proven by a token sent to it. A server without a mail transport cannot do that, so
there an administrator marks addresses as verified; those given when an administrator creates an
account are verified from the start.
"""

import datetime as dt
import secrets
from collections.abc import Iterable

from sqlalchemy import func, select

from models import EmailAddress, User
from models.base import utc_now
from services import account_access
from services.accounts import EMAIL_TAKEN, lock_account
from services.context import OpContext, ReadTransaction, Transaction
from services.email_rules import email_key, noreply_address, noreply_user_id
from services.errors import FailedPrecondition, Invalid, NotFound
from services.events import (
    EmailAddressAdded,
    EmailAddressRemoved,
    EmailAddressVerified,
    EmailVerificationRequested,
    PrimaryEmailAddressChanged,
)
from services.mail import Mail
from services.tokens import hash_token
from services.uniqueness import conflict_if_taken

MAX_EMAIL_ADDRESSES = 20
VERIFICATION_LIFETIME = dt.timedelta(hours=24)
_VERIFICATIONS_PER_HOUR = 5
_NOT_FOUND = "the account has no such e-mail address"


async def list_email_addresses(tx: ReadTransaction) -> list[EmailAddress]:
    """One's own, the primary one first. Takes the scope ``user:email``."""
    user = await account_access.acting_user(tx, "user:email")
    rows = await tx.session.scalars(
        select(EmailAddress)
        .where(EmailAddress.user_id == user.id)
        .order_by(EmailAddress.primary_of.is_(None), EmailAddress.id)
    )
    return list(rows)


async def primary_email(tx: ReadTransaction, user_id: int) -> str | None:
    """The address mail to the account goes to, verified or not. For rules, not for display."""
    email: str | None = await tx.session.scalar(
        select(EmailAddress.email).where(EmailAddress.primary_of == user_id)
    )
    return email


async def find_users_by_email(tx: ReadTransaction, emails: Iterable[str]) -> dict[str, User]:
    """Whose verified or noreply addresses these are, by address as given, in two statements.

    Unverified claims count for nothing.
    """
    settings = tx.op.runtime.settings
    user_ids: dict[str, int] = {}
    by_key: dict[str, list[str]] = {}
    for email in emails:
        user_id = noreply_user_id(settings, email) if email.isascii() else None
        if user_id is not None:
            user_ids[email] = user_id
        elif email.isascii() and "\0" not in email:
            by_key.setdefault(email.lower(), []).append(email)
    if by_key:
        rows = await tx.session.execute(
            select(EmailAddress.verified_key, EmailAddress.user_id).where(
                EmailAddress.verified_key.in_(by_key)
            )
        )
        user_ids |= {email: user_id for key, user_id in rows for email in by_key[key or ""]}
    known = {user_id for user_id in user_ids.values() if user_id < 2**31}
    if not known:
        return {}
    users = {
        user.id: user for user in await tx.session.scalars(select(User).where(User.id.in_(known)))
    }
    return {email: users[user_id] for email, user_id in user_ids.items() if user_id in users}


async def list_emails_of_authors(
    tx: ReadTransaction, user_ids: Iterable[int]
) -> dict[int, frozenset[str]]:
    """The addresses by which commits find these accounts, in lower case."""
    users = list(await tx.session.scalars(select(User).where(User.id.in_(list(user_ids)))))
    rows = await tx.session.execute(
        select(EmailAddress.user_id, EmailAddress.verified_key).where(
            EmailAddress.user_id.in_([user.id for user in users]),
            EmailAddress.verified_key.is_not(None),
        )
    )
    found = {
        user.id: {noreply_address(tx.op.runtime.settings, user.id, user.login).lower()}
        for user in users
    }
    for user_id, key in rows:
        found[user_id].add(key or "")
    return {user_id: frozenset(emails) for user_id, emails in found.items()}


async def add_email_address(op: OpContext, user_id: int, email: str) -> EmailAddress:
    """Add an address that is not verified yet.

    For its owner (scope ``user``; a session must have proven its password lately) and for
    administrators. Emits EmailAddressAdded. Raises Invalid, Conflict, NotFound, Forbidden.
    """
    key = email_key(op.runtime.settings, email)
    async with op.transaction() as tx:
        user = await lock_account(tx, user_id, "user", prove_password=True)
        count = await tx.session.scalar(select(func.count()).where(EmailAddress.user_id == user.id))
        if (count or 0) >= MAX_EMAIL_ADDRESSES:
            raise FailedPrecondition(
                f"an account can have at most {MAX_EMAIL_ADDRESSES} e-mail addresses"
            )
        row = EmailAddress(user_id=user.id, email=email, email_key=key)
        async with conflict_if_taken(
            tx, "the account has this e-mail address already", fields=("email",)
        ):
            tx.session.add(row)
        tx.emit(EmailAddressAdded(user.id, row.id))
    return row


async def remove_email_address(op: OpContext, user_id: int, email_address_id: int) -> None:
    """Remove an address that is not the primary one. For its owner and administrators.

    Emits EmailAddressRemoved. Raises NotFound, FailedPrecondition, Forbidden.
    """
    async with op.transaction() as tx:
        user = await lock_account(tx, user_id, "user", prove_password=True)
        row = await _address(tx, user.id, email_address_id)
        if row.primary_of is not None:
            raise FailedPrecondition("make another address the primary one first")
        await tx.session.delete(row)
        tx.emit(EmailAddressRemoved(user.id, email_address_id))


async def set_primary_email_address(
    op: OpContext, user_id: int, email_address_id: int
) -> EmailAddress:
    """Choose the address mail goes to; it must be verified. For its owner and administrators.

    Emits PrimaryEmailAddressChanged. Raises NotFound, FailedPrecondition, Forbidden.
    """
    async with op.transaction() as tx:
        user = await lock_account(tx, user_id, "user", prove_password=True)
        row = await _address(tx, user.id, email_address_id)
        if row.verified_at is None:
            raise FailedPrecondition("the address must be verified first")
        if row.primary_of is None:
            old = await tx.session.scalar(
                select(EmailAddress).where(EmailAddress.primary_of == user.id)
            )
            if old is not None:
                old.primary_of = None
                # Before the other row takes the value, or the unique constraint refuses it.
                await tx.session.flush()
            row.primary_of = user.id
            tx.emit(PrimaryEmailAddressChanged(user.id, row.id))
    return row


async def request_email_verification(op: OpContext, email_address_id: int) -> None:
    """Send a token to one of one's own addresses; it is good for 24 hours and replaces older ones.

    Emits EmailVerificationRequested. Raises FailedPrecondition where the server sends no mail or
    the address is verified, NotFound, RateLimited, Unavailable.
    """
    op.runtime.mailer.require()
    token = secrets.token_urlsafe(32)
    async with op.read() as reading:
        asking = await account_access.acting_user(reading, "user")
    await op.runtime.rate_limiter.check(f"verify-email:{asking.id}", _VERIFICATIONS_PER_HOUR, 3600)
    async with op.transaction() as tx:
        user = await lock_account(tx, asking.id, "user")
        row = await _address(tx, user.id, email_address_id)
        if row.verified_at is not None:
            raise FailedPrecondition("the address is verified already")
        row.verification_hash, row.verification_sent_at = hash_token(token), utc_now()
        tx.emit(EmailVerificationRequested(user.id, row.id))
    # To the stored address, never to one that came with the request (CVE-2023-7028). The token
    # stands behind the #, which browsers send to nobody.
    await op.runtime.mailer.send(
        Mail(
            to=row.email,
            subject="Confirm your e-mail address",
            text=f"Hello {user.login},\n\nopen this page to confirm your address:\n"
            f"{op.runtime.settings.web_url}/settings/emails/verify#token={token}\n",
        )
    )


async def verify_email_address(op: OpContext, token: str) -> EmailAddress:
    """Prove an address with the token sent to it, signed in as its account.

    Emits EmailAddressVerified. Raises Invalid for a wrong or old token, Conflict when another
    account has proven the address meanwhile.
    """
    async with op.transaction() as tx:
        user = await account_access.acting_user(tx, "user")
        await lock_account(tx, user.id, "user")
        row = await tx.session.scalar(
            select(EmailAddress).where(
                EmailAddress.user_id == user.id,
                EmailAddress.verification_hash == hash_token(token),
            )
        )
        sent_at = None if row is None else row.verification_sent_at
        if row is None or sent_at is None or sent_at < utc_now() - VERIFICATION_LIFETIME:
            raise Invalid(
                "this link is not valid or older than 24 hours; ask for another one",
                fields=("token",),
            )
        await _mark_verified(tx, row)
    return row


async def mark_email_address_verified(
    op: OpContext, user_id: int, email_address_id: int
) -> EmailAddress:
    """Vouch for an address, as an administrator. Emits EmailAddressVerified.

    Raises NotFound, Conflict, Forbidden, Unauthenticated.
    """
    async with op.transaction() as tx:
        await account_access.require_site_admin(tx)
        row = await _address(tx, user_id, email_address_id)
        if row.verified_at is None:
            await _mark_verified(tx, row)
    return row


async def _mark_verified(tx: Transaction, row: EmailAddress) -> None:
    async with conflict_if_taken(tx, EMAIL_TAKEN, fields=("email",)):
        row.verified_key, row.verified_at = row.email_key, utc_now()
        row.verification_hash = None
    tx.emit(EmailAddressVerified(row.user_id, row.id))


async def _address(tx: ReadTransaction, user_id: int, email_address_id: int) -> EmailAddress:
    """By account and id, so that an id of another account leads nowhere."""
    row = await tx.session.scalar(
        select(EmailAddress).where(
            EmailAddress.user_id == user_id, EmailAddress.id == min(email_address_id, 2**31 - 1)
        )
    )
    if row is None:
        raise NotFound(_NOT_FOUND)
    return row
