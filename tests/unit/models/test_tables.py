"""Types, constraints and cascades do the same on each system."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError

from models import (
    AccessToken,
    AccessTokenRepository,
    Base,
    Collaborator,
    EmailAddress,
    Event,
    GitPack,
    GitRef,
    Owner,
    PackUpload,
    Push,
    RefChange,
    Repository,
    RepositoryRedirect,
    Session,
    SSHKey,
    User,
)
from models.database import Database
from models.dialect import violates_unique
from tests.support.rows import add_repository, add_user

pytestmark = pytest.mark.databases

NOON = dt.datetime(2024, 2, 29, 12, 0, 0, 123456, tzinfo=dt.UTC)


async def add_ann_and_bob(database: Database) -> tuple[User, User]:
    async with database.write() as session:
        return await add_user(session, "ann"), await add_user(session, "bob")


async def count(database: Database, model: type[Base]) -> int:
    async with database.read() as session:
        return await session.scalar(select(func.count()).select_from(model)) or 0


@pytest.mark.parametrize("hours", [0, 2, -11])
async def test_a_time_comes_back_as_the_same_moment_in_utc(database: Database, hours: int) -> None:
    (ann, _) = await add_ann_and_bob(database)
    given = NOON.astimezone(dt.timezone(dt.timedelta(hours=hours)))
    async with database.write() as session:
        await session.execute(
            update(User).where(User.id == ann.id).values(password_changed_at=given)
        )
    async with database.read() as session:
        stored = (await session.get_one(User, ann.id)).password_changed_at
        earlier = select(User.id).where(User.password_changed_at < given)
        same = select(User.id).where(User.password_changed_at == given)
        assert (await session.scalar(earlier), await session.scalar(same)) == (None, ann.id)
    assert stored == NOON
    assert stored.tzinfo is dt.UTC


async def test_a_time_without_a_zone_is_refused(database: Database) -> None:
    (ann, _) = await add_ann_and_bob(database)
    with pytest.raises(StatementError, match="a stored time needs a zone"):
        async with database.write() as session:
            await session.execute(
                update(User)
                .where(User.id == ann.id)
                .values(password_changed_at=NOON.replace(tzinfo=None))
            )


async def test_text_and_json_keep_every_character(database: Database) -> None:
    text = "naïve 名前 🐙 \N{COMBINING ACUTE ACCENT}"
    async with database.write() as session:
        session.add(User(login="ann", login_key="ann", name=text))
        event = Event(name="tested", payload={"text": text, "big": 2**53, "none": None})
        session.add(event)
    async with database.read() as session:
        assert await session.scalar(select(User.name)) == text
        payload = (await session.get_one(Event, event.id)).payload
        assert payload == {"text": text, "big": 2**53, "none": None}


@pytest.mark.parametrize(
    "make",
    [
        lambda _: User(login="u", login_key="u"),
        lambda repository_id: pack(repository_id, "gone"),
        lambda _: Event(name="tested", payload={}),
    ],
    ids=["integer", "big integer", "no foreign key"],
)
async def test_an_id_is_never_used_again(database: Database, make: Callable[[int], Any]) -> None:
    """Ids name folders and storage keys, so a deleted row's must stay unused."""
    async with database.write() as session:
        repository = await add_repository(session, await add_user(session, "ann"), "demo")
    used = []
    for _ in range(3):
        async with database.write() as session:
            row = make(repository.id)
            session.add(row)
            await session.flush()
            used.append(row.id)
            await session.delete(row)
    assert used[0] < used[1] < used[2]


def email(user: User, address: str, **values: Any) -> EmailAddress:
    return EmailAddress(user_id=user.id, email=address, email_key=address.lower(), **values)


def pack(repository_id: int, storage_key: str) -> GitPack:
    sizes = ("size_bytes", "index_size_bytes", "reverse_index_size_bytes", "object_count")
    return GitPack(
        repository_id=repository_id,
        storage_key=storage_key,
        name="0" * 40,
        generation=1,
        **dict.fromkeys(sizes, 2**40),
    )


def ssh_key(fingerprint: str, **values: Any) -> SSHKey:
    return SSHKey(title="key", public_key="ssh-ed25519 AAAA", fingerprint=fingerprint, **values)


async def refused(database: Database, *rows: Base) -> bool:
    """Whether adding the rows together violates a unique constraint; if not, they stay."""
    try:
        async with database.write() as session:
            session.add_all(rows)
    except IntegrityError as error:
        if violates_unique(error):
            return True
        raise
    return False


async def test_a_login_is_taken_whatever_its_case(database: Database) -> None:
    await add_ann_and_bob(database)
    assert await refused(database, User(login="ANN", login_key="ann"))
    assert await count(database, Owner) == 2  # the owner's row went with the user's


async def test_one_account_has_a_verified_address_but_any_may_claim_it(database: Database) -> None:
    ann, bob = await add_ann_and_bob(database)
    assert not await refused(database, email(ann, "a@b.org"), email(bob, "a@b.org"))
    verify = update(EmailAddress).values(verified_key=EmailAddress.email_key)
    async with database.write() as session:
        await session.execute(verify.where(EmailAddress.user_id == bob.id))
    with pytest.raises(IntegrityError) as failure:
        async with database.write() as session:
            await session.execute(verify.where(EmailAddress.user_id == ann.id))
    assert violates_unique(failure.value)
    assert await refused(database, email(ann, "A@B.org"))  # one's own claim, twice


async def test_an_account_has_one_primary_address(database: Database) -> None:
    ann, bob = await add_ann_and_bob(database)
    first, second = email(ann, "1@b.org"), email(ann, "2@b.org")
    assert not await refused(database, first, second, email(bob, "3@b.org", primary_of=bob.id))
    async with database.write() as session:
        await session.execute(
            update(EmailAddress).where(EmailAddress.id == first.id).values(primary_of=ann.id)
        )
    assert await refused(database, email(ann, "4@b.org", primary_of=ann.id))


@pytest.mark.parametrize("holders", [("user",), ("repository",), (), ("user", "repository")])
async def test_a_key_has_exactly_one_holder(database: Database, holders: tuple[str, ...]) -> None:
    async with database.write() as session:
        user = await add_user(session, "ann")
        repository = await add_repository(session, user, "demo")
    ids = {"user": {"user_id": user.id}, "repository": {"repository_id": repository.id}}
    key = ssh_key("SHA256:x", **{k: v for holder in holders for k, v in ids[holder].items()})
    if len(holders) == 1:
        assert not await refused(database, key)
        assert await refused(database, ssh_key("SHA256:x", user_id=user.id))  # of whomever
        return
    # MariaDB's driver calls it an operational error.
    with pytest.raises(DBAPIError, match=r"one_holder"):
        async with database.write() as session:
            session.add(key)
    assert await count(database, SSHKey) == 0


async def test_fingerprints_that_differ_in_case_are_different_keys(database: Database) -> None:
    ann, bob = await add_ann_and_bob(database)
    keys = ssh_key("SHA256:abc", user_id=ann.id), ssh_key("SHA256:aBc", user_id=bob.id)
    assert not await refused(database, *keys)


async def test_ref_names_are_compared_byte_by_byte(database: Database) -> None:
    names = ["a", "A", "é", "e", "e\N{COMBINING ACUTE ACCENT}", "ß", "ss", "🐙", "🐠"]
    async with database.write() as session:
        repository = await add_repository(session, await add_user(session, "ann"), "demo")
        session.add_all(
            GitRef(repository_id=repository.id, name=f"refs/heads/{name}", generation=number)
            for number, name in enumerate(names)
        )
    for number, name in enumerate(names):
        async with database.read() as session:
            found = await session.scalars(
                select(GitRef.generation).where(GitRef.name == f"refs/heads/{name}")
            )
            assert list(found) == [number]


async def test_a_deleted_repository_takes_its_rows_along(database: Database) -> None:
    async with database.write() as session:
        ann = await add_user(session, "ann")
        demo, kept = [await add_repository(session, ann, name) for name in ("demo", "kept")]
        token = AccessToken(
            user_id=ann.id, name="t", token_hash="h", token_last_eight="12345678", scopes=""
        )
        pushes = [
            Push(key=name, repository_id=id_, pusher_id=ann.id, door="ssh", generation=1)
            for name, id_ in (("1", demo.id), ("2", kept.id))
        ]
        session.add_all([token, *pushes])
        await session.flush()
        for repository, push in ((demo, pushes[0]), (kept, pushes[1])):
            session.add_all(
                [
                    AccessTokenRepository(access_token_id=token.id, repository_id=repository.id),
                    Collaborator(repository_id=repository.id, user_id=ann.id, role="read"),
                    Event(name="tested", payload={}, repository_id=repository.id),
                    GitRef(repository_id=repository.id, name="refs/heads/main", generation=1),
                    pack(repository.id, f"packs/{repository.id}"),
                    PackUpload(storage_key=f"new/{repository.id}", repository_id=repository.id),
                    RefChange(push_id=push.id, ref_name="refs/heads/main"),
                    RepositoryRedirect(
                        owner_id=ann.id, name_key=f"old{push.key}", repository_id=repository.id
                    ),
                    ssh_key(f"SHA256:{push.key}", repository_id=repository.id),
                ]
            )
    async with database.write() as session:
        await session.execute(delete(Repository).where(Repository.id == demo.id))
    gone = [AccessTokenRepository, Collaborator, GitPack, GitRef, Push, RefChange]
    gone += [RepositoryRedirect, SSHKey, Repository]
    assert [await count(database, model) for model in gone] == [1] * len(gone)
    # The audit log and the intent to purge bytes outlive it.
    assert (await count(database, Event), await count(database, PackUpload)) == (2, 2)
    with pytest.raises(IntegrityError):
        async with database.write() as session:
            await session.execute(delete(Owner).where(Owner.id == ann.id))


async def test_a_deleted_account_takes_its_credentials_along(database: Database) -> None:
    ann, bob = await add_ann_and_bob(database)
    async with database.write() as session:
        demo = await add_repository(session, bob, "demo")
        push = Push(key="1", repository_id=demo.id, pusher_id=ann.id, door="ssh", generation=1)
        deploy_key = ssh_key("SHA256:deploy", repository_id=demo.id, added_by_id=ann.id)
        times = dict.fromkeys(("confirmed_at", "last_seen_at", "expires_at"), NOON)
        session.add_all(
            [
                push,
                deploy_key,
                email(ann, "a@b.org"),
                ssh_key("SHA256:own", user_id=ann.id),
                Session(user_id=ann.id, token_hash="h", **times),
                Collaborator(repository_id=demo.id, user_id=ann.id, role="read"),
            ]
        )
    async with database.write() as session:
        await session.execute(delete(Owner).where(Owner.id == ann.id))
    for model in (EmailAddress, Session, Collaborator):
        assert await count(database, model) == 0
    async with database.read() as session:
        assert list(await session.scalars(select(User.login))) == ["bob"]
        assert (await session.get_one(Push, push.id)).pusher_id is None
        assert list(await session.scalars(select(SSHKey.added_by_id))) == [None]


async def test_a_row_without_its_parent_is_refused(database: Database) -> None:
    with pytest.raises(IntegrityError) as failure:
        async with database.write() as session:
            session.add(GitRef(repository_id=999, name="refs/heads/main", generation=1))
    assert not violates_unique(failure.value)
