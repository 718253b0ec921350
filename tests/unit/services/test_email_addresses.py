"""E-mail addresses: which are accepted, whose they are, how they are proven."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import select, update

from models import EmailAddress, Session, User
from models.base import utc_now
from models.database import Database
from services import authentication, email_addresses
from services.actor import Actor
from services.email_rules import email_key, noreply_address
from services.errors import (
    Conflict,
    FailedPrecondition,
    Forbidden,
    Invalid,
    NotFound,
    RateLimited,
    Unauthenticated,
)
from services.mail import MemoryMailer
from services.runtime import Runtime
from services.settings import ServiceSettings
from tests.support.factories import make_session, make_token, make_user, session_actor
from tests.support.runtime import make_op, make_runtime, operator

SETTINGS = ServiceSettings(base_url="https://Hub.Example")  # type: ignore[arg-type]
NOT_ONE = "this is not an e-mail address; write it like ann@example.com"


@pytest.fixture
async def mailing(database: Database) -> AsyncIterator[Runtime]:
    """A server that can send mail."""
    runtime = make_runtime(database, mailer=MemoryMailer())
    yield runtime
    runtime.passwords.close()


async def actor_of(runtime: Runtime, user: User) -> Actor:
    return session_actor(await make_session(runtime, user))


def sent_token(runtime: Runtime) -> str:
    assert isinstance(runtime.mailer, MemoryMailer)
    return runtime.mailer.outbox[-1].text.partition("#token=")[2].strip()


@pytest.mark.parametrize(
    "email",
    ["a@b.de", "Ann.Example+git@Mail.Example.COM", "o'neill@x-y.example", "a@b.xn--p1ai"],
)
def test_addresses_are_compared_in_lower_case(email: str) -> None:
    assert email_key(SETTINGS, email) == email.lower()


@pytest.mark.parametrize(
    ("email", "fault"),
    [
        ("", NOT_ONE),
        ("ann", NOT_ONE),
        ("ann@localhost", NOT_ONE),
        ("@example.com", NOT_ONE),
        ("ann@", NOT_ONE),
        ("a@b@example.com", NOT_ONE),
        ("ann@example..com", NOT_ONE),
        ("ann@-example.com", NOT_ONE),
        (".ann@example.com", NOT_ONE),
        ("a..b@example.com", NOT_ONE),
        ("ann@127.0.0.1", NOT_ONE),
        ("ann@[127.0.0.1]", NOT_ONE),
        ('"ann"@example.com', NOT_ONE),
        ("ann@example.com\nBcc: x@y.example", NOT_ONE),
        ("ann@example.com\n", NOT_ONE),
        (" ann@example.com", NOT_ONE),
        ("Ann <ann@example.com>", NOT_ONE),
        ("ann\0@example.com", NOT_ONE),
        ("ann@ex\u0430mple.com", "an e-mail address can only have ASCII characters here"),
        # Dotless i and Kelvin sign fold to ASCII letters (CVE-2019-19844).
        ("m\u0131ke@example.com", "an e-mail address can only have ASCII characters here"),
        ("mi\u212ae@example.com", "an e-mail address can only have ASCII characters here"),
        (
            "a" * 65 + "@example.com",
            "an e-mail address can have at most 254 characters, 64 before the @",
        ),
        (
            "a@" + "b" * 250 + ".example.com",
            "an e-mail address can have at most 254 characters, 64 before the @",
        ),
        (
            "7+ann@users.noreply.hub.example",
            "addresses of users.noreply.hub.example belong to this server",
        ),
    ],
)
def test_bad_addresses_are_refused_with_the_reason(email: str, fault: str) -> None:
    with pytest.raises(Invalid) as caught:
        email_key(SETTINGS, email)
    assert caught.value.message == fault
    assert caught.value.fields == ("email",)


@pytest.mark.databases
async def test_whose_address_it_is(runtime: Runtime, ann: User, bob: User) -> None:
    await email_addresses.add_email_address(operator(runtime), bob.id, "claim@example.com")
    noreply = noreply_address(runtime.settings, ann.id, "Ann")
    assert noreply == f"{ann.id}+Ann@users.noreply.127.0.0.1"
    expected = {
        "ann@example.com": ann.id,
        "ANN@Example.COM": ann.id,
        noreply: ann.id,
        # The login may have changed; the number has not.
        f"{ann.id}+bob@users.noreply.127.0.0.1": ann.id,
        "claim@example.com": None,
        "nobody@example.com": None,
        f"{ann.id}+ann@users.noreply.other.example": None,
        "999999+ann@users.noreply.127.0.0.1": None,
        "99999999999+ann@users.noreply.127.0.0.1": None,
        "9999999999+ann@users.noreply.127.0.0.1": None,
        "ann@users.noreply.127.0.0.1": None,
        "": None,
        "ann@example.com\0": None,
        "\u0430nn@example.com": None,
    }
    async with make_op(runtime).read() as tx:
        found = await email_addresses.find_users_by_email(tx, expected)
        assert {email: user.id for email, user in found.items()} == {
            email: user_id for email, user_id in expected.items() if user_id is not None
        }


@pytest.mark.databases
async def test_adding_choosing_and_removing(runtime: Runtime, ann: User) -> None:
    op = make_op(runtime, await actor_of(runtime, ann))
    row = await email_addresses.add_email_address(op, ann.id, "second@example.com")
    assert (row.verified_at, row.primary_of) == (None, None)
    with pytest.raises(Conflict) as twice:
        await email_addresses.add_email_address(op, ann.id, "SECOND@example.com")
    assert twice.value.message == "the account has this e-mail address already"
    with pytest.raises(FailedPrecondition) as unverified:
        await email_addresses.set_primary_email_address(op, ann.id, row.id)
    assert unverified.value.message == "the address must be verified first"
    await email_addresses.mark_email_address_verified(operator(runtime), ann.id, row.id)
    for _ in range(2):
        await email_addresses.set_primary_email_address(op, ann.id, row.id)
    async with op.read() as tx:
        rows = await email_addresses.list_email_addresses(tx)
        assert [each.email for each in rows] == ["second@example.com", "ann@example.com"]
        assert await email_addresses.primary_email(tx, ann.id) == "second@example.com"
    with pytest.raises(FailedPrecondition) as primary:
        await email_addresses.remove_email_address(op, ann.id, row.id)
    assert primary.value.message == "make another address the primary one first"
    await email_addresses.remove_email_address(op, ann.id, rows[1].id)
    async with op.read() as tx:
        assert [each.id for each in await email_addresses.list_email_addresses(tx)] == [row.id]


async def test_an_account_has_room_for_twenty(runtime: Runtime, ann: User) -> None:
    for number in range(19):
        await email_addresses.add_email_address(operator(runtime), ann.id, f"{number}@example.com")
    with pytest.raises(FailedPrecondition) as caught:
        await email_addresses.add_email_address(operator(runtime), ann.id, "more@example.com")
    assert caught.value.message == "an account can have at most 20 e-mail addresses"


async def test_strangers_reach_no_address(runtime: Runtime, ann: User, bob: User) -> None:
    row = await email_addresses.add_email_address(operator(runtime), ann.id, "second@example.com")
    op = make_op(runtime, await actor_of(runtime, bob))
    for attempt in (
        email_addresses.add_email_address(op, ann.id, "bobs@example.com"),
        email_addresses.remove_email_address(op, ann.id, row.id),
        email_addresses.set_primary_email_address(op, ann.id, row.id),
        email_addresses.mark_email_address_verified(op, ann.id, row.id),
    ):
        with pytest.raises(Forbidden):
            await attempt
    # Under one's own account an id of another leads nowhere.
    for number in (row.id, 0, 2**70):
        with pytest.raises(NotFound) as caught:
            await email_addresses.remove_email_address(op, bob.id, number)
        assert caught.value.message == "the account has no such e-mail address"
    async with make_op(runtime).read() as tx:
        with pytest.raises(Unauthenticated):
            await email_addresses.list_email_addresses(tx)
    token = await make_token(runtime, bob, "read:user", "repo")
    by_token = await authentication.authenticate_token(make_op(runtime), token.token)
    async with make_op(runtime, by_token).read() as tx:
        with pytest.raises(Forbidden):
            await email_addresses.list_email_addresses(tx)


async def test_changes_need_the_password_lately(runtime: Runtime, ann: User) -> None:
    op = make_op(runtime, await actor_of(runtime, ann))
    async with runtime.database.write() as session:
        await session.execute(
            update(Session).values(confirmed_at=utc_now() - dt.timedelta(minutes=16))
        )
    with pytest.raises(Forbidden) as caught:
        await email_addresses.add_email_address(op, ann.id, "second@example.com")
    assert caught.value.message == (
        "confirm your password first; it was last given more than 15 minutes ago"
    )
    assert caught.value.details == {"reason": "password_confirmation_required"}


async def test_without_mail_only_an_administrator_verifies(runtime: Runtime, ann: User) -> None:
    op = make_op(runtime, await actor_of(runtime, ann))
    row = await email_addresses.add_email_address(op, ann.id, "second@example.com")
    with pytest.raises(FailedPrecondition) as caught:
        await email_addresses.request_email_verification(op, row.id)
    assert caught.value.message == (
        "this server sends no mail; ask its administrator to verify the address"
    )
    with pytest.raises(Forbidden):
        await email_addresses.mark_email_address_verified(op, ann.id, row.id)
    boss = await make_user(runtime, "boss", site_admin=True)
    verified = await email_addresses.mark_email_address_verified(
        make_op(runtime, await actor_of(runtime, boss)), ann.id, row.id
    )
    assert verified.verified_key == "second@example.com"


async def test_a_token_by_mail_proves_an_address(mailing: Runtime) -> None:
    ann, bob = await make_user(mailing, "ann"), await make_user(mailing, "bob")
    op = make_op(mailing, await actor_of(mailing, ann))
    row = await email_addresses.add_email_address(op, ann.id, "Second@example.com")
    await email_addresses.request_email_verification(op, row.id)
    first = sent_token(mailing)
    await email_addresses.request_email_verification(op, row.id)
    token = sent_token(mailing)
    assert isinstance(mailing.mailer, MemoryMailer)
    assert [mail.to for mail in mailing.mailer.outbox] == ["Second@example.com"] * 2
    assert "http://127.0.0.1:8000/settings/emails/verify#token=" in mailing.mailer.outbox[0].text
    async with mailing.database.read() as session:
        hashes = await session.scalars(select(EmailAddress.verification_hash))
        assert token not in hashes
    invalid = "this link is not valid or older than 24 hours; ask for another one"
    theirs = make_op(mailing, await actor_of(mailing, bob))
    for who, text in ((op, first), (op, "x"), (op, ""), (op, "\ud800"), (theirs, token)):
        with pytest.raises(Invalid) as caught:
            await email_addresses.verify_email_address(who, text)
        assert caught.value.message == invalid
    verified = await email_addresses.verify_email_address(op, token)
    assert verified.verified_key == "second@example.com"
    with pytest.raises(Invalid):
        await email_addresses.verify_email_address(op, token)
    with pytest.raises(FailedPrecondition) as again:
        await email_addresses.request_email_verification(op, row.id)
    assert again.value.message == "the address is verified already"


async def test_a_token_by_mail_lasts_a_day(mailing: Runtime) -> None:
    ann = await make_user(mailing, "ann")
    op = make_op(mailing, await actor_of(mailing, ann))
    row = await email_addresses.add_email_address(op, ann.id, "second@example.com")
    await email_addresses.request_email_verification(op, row.id)
    async with mailing.database.write() as session:
        await session.execute(
            update(EmailAddress).values(
                verification_sent_at=utc_now() - dt.timedelta(hours=24, seconds=1)
            )
        )
    with pytest.raises(Invalid):
        await email_addresses.verify_email_address(op, sent_token(mailing))


async def test_mail_is_sent_five_times_an_hour(mailing: Runtime) -> None:
    ann = await make_user(mailing, "ann")
    op = make_op(mailing, await actor_of(mailing, ann))
    row = await email_addresses.add_email_address(op, ann.id, "second@example.com")
    for _ in range(5):
        await email_addresses.request_email_verification(op, row.id)
    with pytest.raises(RateLimited):
        await email_addresses.request_email_verification(op, row.id)


@pytest.mark.databases
async def test_one_account_for_each_verified_address(
    runtime: Runtime, ann: User, bob: User
) -> None:
    rows = [
        await email_addresses.add_email_address(operator(runtime), user.id, "both@example.com")
        for user in (ann, bob)
    ]
    outcomes = await asyncio.gather(
        *(
            email_addresses.mark_email_address_verified(operator(runtime), row.user_id, row.id)
            for row in rows
        ),
        return_exceptions=True,
    )
    refused = [each for each in outcomes if isinstance(each, Conflict)]
    assert [each.message for each in refused] == [
        "the e-mail address is already in use by another account"
    ]
