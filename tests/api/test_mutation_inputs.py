"""What mutations answer to good and bad input, in exact words, and what payloads show."""

import datetime as dt
from typing import Any

import pytest
from sqlalchemy import select, update

from models import EmailAddress, Repository, Session, Visibility
from models.base import utc_now
from resolvers import ids
from resolvers.ids import IdKind
from services.mail import MemoryMailer
from services.runtime import Runtime
from services.settings import ServiceSettings
from tests.api.conftest import EventLog
from tests.support.factories import (
    PASSWORD,
    make_key_pair,
    make_repository,
    make_session,
    make_ssh_key,
    make_token,
    make_user,
)
from tests.support.graphql import GraphQLClient
from tests.support.runtime import SECRET_KEY, make_runtime


@pytest.fixture
async def cookie(runtime: Runtime) -> str:
    """ann's session, its password just proven."""
    return (await make_session(runtime, await make_user(runtime, "ann"))).secret


async def test_create_repository(
    ask: GraphQLClient, runtime: Runtime, cookie: str, events: EventLog
) -> None:
    await events.new()  # those of the preparations
    answer = await ask.mutate(
        "createRepository",
        {
            "name": "demo",
            "visibility": "INTERNAL",
            "description": "  A demo ",
            "defaultBranch": "trunk",
            "hasIssuesEnabled": False,
            "hasWikiEnabled": False,
        },
        """repository { id databaseId name nameWithOwner description visibility isEmpty url
           viewerPermission owner { login repositories(first: 1) { totalCount } } }""",
        cookie=cookie,
    )
    async with runtime.database.read() as session:
        (row,) = await session.scalars(select(Repository))
    assert answer.data == {
        "createRepository": {
            "clientMutationId": "m1",
            "repository": {
                "id": ids.encode(IdKind.REPOSITORY, row.id),
                "databaseId": row.id,
                "name": "demo",
                "nameWithOwner": "ann/demo",
                "description": "A demo",
                "visibility": "INTERNAL",
                "isEmpty": True,
                "url": "http://127.0.0.1:8000/ann/demo",
                "viewerPermission": "ADMIN",
                "owner": {"login": "ann", "repositories": {"totalCount": 1}},
            },
        }
    }
    assert row.default_branch == "trunk"
    assert await events.new() == [
        ("RepositoryCreated", {"repository_id": row.id, "owner_id": row.owner_id})
    ]


async def test_create_repository_for_somebody_else(
    ask: GraphQLClient, runtime: Runtime, cookie: str
) -> None:
    bob = await make_user(runtime, "bob")
    given = {"name": "demo", "visibility": "PUBLIC", "ownerId": ids.encode(IdKind.USER, bob.id)}
    answer = await ask.mutate("createRepository", given, "", cookie=cookie)
    assert answer.error["message"] == "you cannot create repositories for bob"
    root = await make_user(runtime, "root-admin", site_admin=True)
    by_root = (await make_session(runtime, root)).secret
    made = await ask.mutate(
        "createRepository", given, "repository { nameWithOwner }", cookie=by_root
    )
    assert made.data["createRepository"]["repository"] == {"nameWithOwner": "bob/demo"}


KEY = make_key_pair().public
INVALID: list[tuple[str, dict[str, Any], str, str, list[str]]] = [
    (
        "createRepository",
        {"name": "a b", "visibility": "PUBLIC"},
        "UNPROCESSABLE",
        "a repository name can only have the letters a to z, digits, '.', '-' and '_'",
        ["name"],
    ),
    (
        "createRepository",
        {"name": "taken", "visibility": "PUBLIC"},
        "UNPROCESSABLE",
        "Name already exists on this account",
        ["name"],
    ),
    (
        "createRepository",
        {"name": "x", "visibility": "PUBLIC", "description": "a\nb"},
        "UNPROCESSABLE",
        "a description cannot have line breaks or control characters",
        ["description"],
    ),
    (
        "createRepository",
        {"name": "x", "visibility": "PUBLIC", "defaultBranch": "-x"},
        "UNPROCESSABLE",
        "a part of the ref name begins with '-'",
        ["name"],
    ),
    (
        "createSshKey",
        {"key": KEY, "title": "x" * 256},
        "UNPROCESSABLE",
        "a key's title can have at most 255 printable characters",
        ["title"],
    ),
    (
        "createAccessToken",
        {"name": "x", "scopes": ["nonsense"]},
        "UNPROCESSABLE",
        "unknown scope 'nonsense'; the scopes are",
        ["scopes"],
    ),
    (
        "createAccessToken",
        {"name": " ", "scopes": []},
        "UNPROCESSABLE",
        "a token needs a name that tells what it is for",
        ["name"],
    ),
    (
        "createAccessToken",
        {"name": "x", "scopes": [], "expiresAt": "2020-01-01T00:00:00Z"},
        "UNPROCESSABLE",
        "the expiry must be a time to come, with its zone",
        ["expiresAt"],
    ),
    (
        "createAccessToken",
        {"name": "x", "scopes": [], "repositoryIds": []},
        "UNPROCESSABLE",
        "a token is limited to 1 to 50 repositories, or to none at all",
        ["repositoryIds"],
    ),
    (
        "addEmailAddress",
        {"email": "nonsense"},
        "UNPROCESSABLE",
        "this is not an e-mail address; write it like ann@example.com",
        ["email"],
    ),
    (
        "renameUser",
        {"login": "a--b"},
        "UNPROCESSABLE",
        "a login can only have letters, digits and single hyphens, and cannot begin or end with "
        "a hyphen",
        ["login"],
    ),
    (
        "updateUser",
        {"name": "a\tb"},
        "UNPROCESSABLE",
        "a name cannot have line breaks or control characters",
        ["name"],
    ),
    (
        "updateUser",
        {"bio": "x" * 161},
        "UNPROCESSABLE",
        "a bio can have at most 160 characters",
        ["bio"],
    ),
    (
        "confirmPassword",
        {"password": "wrong"},
        "UNPROCESSABLE",
        "the password is wrong",
        ["password"],
    ),
    (
        "verifyEmailAddress",
        {"token": "nonsense"},
        "UNPROCESSABLE",
        "this link is not valid or older than 24 hours; ask for another one",
        ["token"],
    ),
]


@pytest.mark.parametrize(("name", "given", "kind", "message", "fields"), INVALID)
async def test_invalid_input(
    ask: GraphQLClient,
    runtime: Runtime,
    cookie: str,
    name: str,
    given: dict[str, Any],
    kind: str,
    message: str,
    fields: list[str],
) -> None:
    await make_repository(runtime, "ann", "taken")
    answer = await ask.mutate(name, given, "", cookie=cookie)
    assert answer.body["data"] == {name: None}
    assert answer.error["type"] == kind
    assert answer.error["message"].startswith(message)
    assert answer.fields == fields


async def test_omitted_and_null_differ(ask: GraphQLClient, runtime: Runtime, cookie: str) -> None:
    repository = await make_repository(runtime, "ann", "demo")
    identifier = ids.encode(IdKind.REPOSITORY, repository.id)

    async def change(**given: Any) -> Any:
        answer = await ask.mutate(
            "updateRepository",
            {"repositoryId": identifier, **given},
            "repository { name description visibility }",
            cookie=cookie,
        )
        return answer.data["updateRepository"]["repository"]

    assert (await change(description="A demo"))["description"] == "A demo"
    assert (await change(name="other"))["description"] == "A demo"
    assert await change(name=None, visibility=None, defaultBranch=None) == {
        "name": "other",
        "description": "A demo",
        "visibility": "PUBLIC",
    }
    assert (await change(description=None))["description"] is None
    await change(description="Again")
    assert (await change(description=""))["description"] is None


async def test_an_archived_repository_can_only_be_read(
    ask: GraphQLClient, runtime: Runtime, cookie: str
) -> None:
    repository = await make_repository(runtime, "ann", "demo")
    given = {"repositoryId": ids.encode(IdKind.REPOSITORY, repository.id)}
    shown = "repository { isArchived archivedAt }"
    archived = await ask.mutate("archiveRepository", given, shown, cookie=cookie)
    assert archived.data["archiveRepository"]["repository"]["isArchived"] is True
    assert archived.data["archiveRepository"]["repository"]["archivedAt"].endswith("Z")
    answer = await ask.mutate("updateRepository", {**given, "name": "x"}, "", cookie=cookie)
    assert answer.error == {
        "type": "UNPROCESSABLE",
        "message": "repository is archived so it is read-only",
        "path": ["updateRepository"],
    }
    assert answer.codes == ["FAILED_PRECONDITION"]
    again = await ask.mutate("unarchiveRepository", given, shown, cookie=cookie)
    assert again.data["unarchiveRepository"]["repository"] == {
        "isArchived": False,
        "archivedAt": None,
    }


async def test_transfer_to_where_one_may_not_create(
    ask: GraphQLClient, runtime: Runtime, cookie: str
) -> None:
    bob = await make_user(runtime, "bob")
    repository = await make_repository(runtime, "ann", "demo")
    answer = await ask.mutate(
        "transferRepository",
        {
            "repositoryId": ids.encode(IdKind.REPOSITORY, repository.id),
            "newOwnerId": ids.encode(IdKind.USER, bob.id),
        },
        "",
        cookie=cookie,
    )
    assert answer.error["type"] == "FORBIDDEN"
    assert answer.error["message"] == "you cannot create repositories for bob"


async def test_delete_repository(ask: GraphQLClient, runtime: Runtime, cookie: str) -> None:
    repository = await make_repository(runtime, "ann", "demo", visibility=Visibility.PRIVATE)
    given = {"repositoryId": ids.encode(IdKind.REPOSITORY, repository.id)}
    answer = await ask.mutate(
        "deleteRepository",
        given,
        "owner { login repositories(first: 1) { totalCount } }",
        cookie=cookie,
    )
    assert answer.data["deleteRepository"]["owner"] == {
        "login": "ann",
        "repositories": {"totalCount": 0},
    }
    again = await ask.mutate("deleteRepository", given, "", cookie=cookie)
    assert again.error["type"] == "NOT_FOUND"


async def test_one_key_is_one_identity(ask: GraphQLClient, runtime: Runtime, cookie: str) -> None:
    bob = await make_user(runtime, "bob")
    repository = await make_repository(runtime, "ann", "demo")
    await make_ssh_key(runtime, bob, KEY)
    attempts = [
        ("createSshKey", {"key": KEY}),
        (
            "createDeployKey",
            {"key": KEY, "repositoryId": ids.encode(IdKind.REPOSITORY, repository.id)},
        ),
    ]
    for name, given in attempts:
        answer = await ask.mutate(name, given, "", cookie=cookie)
        assert answer.error["message"] == "key is already in use"
        assert answer.codes == ["CONFLICT"]
        assert answer.fields == ["key"]


async def test_a_token_is_shown_once_and_works(
    ask: GraphQLClient, runtime: Runtime, cookie: str
) -> None:
    hidden = await make_repository(runtime, "ann", "hidden", visibility=Visibility.PRIVATE)
    other = await make_repository(runtime, "ann", "other", visibility=Visibility.PRIVATE)
    expires = (utc_now() + dt.timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    answer = await ask.mutate(
        "createAccessToken",
        {
            "name": "ci",
            "scopes": ["repo", "repo"],
            "expiresAt": expires,
            "repositoryIds": [ids.encode(IdKind.REPOSITORY, hidden.id)],
        },
        "token accessToken { name scopes expiresAt isLimitedToRepositories tokenLastEight }",
        cookie=cookie,
    )
    made = answer.data["createAccessToken"]
    assert made["token"].startswith("och_")
    assert made["accessToken"] == {
        "name": "ci",
        "scopes": ["repo"],
        "expiresAt": expires,
        "isLimitedToRepositories": True,
        "tokenLastEight": made["token"][-8:],
    }
    query = "{ viewer { repositories(first: 10) { nodes { name } } } }"
    found = (await ask(query, token=made["token"])).data["viewer"]["repositories"]["nodes"]
    assert found == [{"name": "hidden"}]
    assert other.name == "other"


async def test_credentials_need_a_recent_proof(
    ask: GraphQLClient, runtime: Runtime, cookie: str
) -> None:
    repository = await make_repository(runtime, "ann", "demo")
    async with runtime.database.write() as session:
        await session.execute(
            update(Session).values(confirmed_at=utc_now() - dt.timedelta(minutes=16))
        )
    attempts: list[tuple[str, dict[str, Any]]] = [
        ("createAccessToken", {"name": "x", "scopes": []}),
        ("createSshKey", {"key": KEY}),
        (
            "createDeployKey",
            {"key": KEY, "repositoryId": ids.encode(IdKind.REPOSITORY, repository.id)},
        ),
        ("addEmailAddress", {"email": "new@example.com"}),
    ]
    for name, given in attempts:
        answer = await ask.mutate(name, given, "", cookie=cookie)
        assert answer.error["type"] == "FORBIDDEN"
        assert answer.error["message"] == (
            "confirm your password first; it was last given more than 15 minutes ago"
        )
        assert answer.body["errors"][0]["extensions"]["details"] == {
            "reason": "password_confirmation_required"
        }
    await ask.mutate("confirmPassword", {"password": PASSWORD}, "", cookie=cookie)
    assert (await ask.mutate("createSshKey", {"key": KEY}, "", cookie=cookie)).data


async def test_an_address_is_proven_by_mail(runtime: Runtime) -> None:
    mailer = MemoryMailer()
    mailing = make_runtime(runtime.database, mailer=mailer)
    ask = GraphQLClient(mailing)
    user = await make_user(mailing, "ann")
    cookie = (await make_session(mailing, user)).secret
    added = await ask.mutate(
        "addEmailAddress",
        {"email": "new@example.com"},
        "emailAddress { id isVerified isPrimary }",
        cookie=cookie,
    )
    address = added.data["addEmailAddress"]["emailAddress"]
    assert (address["isVerified"], address["isPrimary"]) == (False, False)
    given = {"emailAddressId": address["id"]}
    early = await ask.mutate("setPrimaryEmailAddress", given, "", cookie=cookie)
    assert early.error["message"] == "the address must be verified first"
    assert (await ask.mutate("requestEmailVerification", given, "", cookie=cookie)).data
    (mail,) = mailer.outbox
    assert mail.to == "new@example.com"
    token = mail.text.rpartition("token=")[2].strip()
    verified = await ask.mutate(
        "verifyEmailAddress", {"token": token}, "emailAddress { isVerified }", cookie=cookie
    )
    assert verified.data["verifyEmailAddress"]["emailAddress"] == {"isVerified": True}
    primary = await ask.mutate(
        "setPrimaryEmailAddress", given, "emailAddress { isPrimary }", cookie=cookie
    )
    assert primary.data["setPrimaryEmailAddress"]["emailAddress"] == {"isPrimary": True}
    viewer = await ask("{ viewer { email } }", cookie=cookie)
    assert viewer.data == {"viewer": {"email": "new@example.com"}}
    mailing.passwords.close()


async def test_a_server_without_mail_says_so(
    ask: GraphQLClient, runtime: Runtime, cookie: str
) -> None:
    async with runtime.database.read() as session:
        row = await session.scalar(select(EmailAddress))
    assert row is not None
    answer = await ask.mutate(
        "requestEmailVerification",
        {"emailAddressId": ids.encode(IdKind.EMAIL_ADDRESS, row.id)},
        "",
        cookie=cookie,
    )
    assert answer.error["message"] == (
        "this server sends no mail; ask its administrator to verify the address"
    )
    assert answer.codes == ["FAILED_PRECONDITION"]


async def test_strangers_sign_up_where_they_may(ask: GraphQLClient, runtime: Runtime) -> None:
    given = {"login": "carl", "email": "carl@example.com", "password": PASSWORD}
    closed = await ask.mutate("createUser", given, "user { login }")
    assert closed.error["message"] == ("sign-ups are closed; ask the administrator of this server")
    settings = ServiceSettings(secret_key=SECRET_KEY, sign_ups_enabled=True)
    opened = make_runtime(runtime.database, settings=settings)
    client = GraphQLClient(opened)
    answer = await client.mutate("createUser", given, "user { login isSiteAdmin }")
    assert answer.data["createUser"]["user"] == {"login": "carl", "isSiteAdmin": False}
    taken = await client.mutate("createUser", given, "user { login }")
    assert taken.error["message"] == "the login 'carl' is already taken"
    assert taken.fields == ["login"]
    admin = await client.mutate(
        "createUser", {**given, "login": "dora", "isSiteAdmin": True}, "user { login }"
    )
    assert admin.error["type"] == "UNAUTHENTICATED"
    opened.passwords.close()


async def test_a_token_may_end_itself(ask: GraphQLClient, runtime: Runtime) -> None:
    made = await make_token(runtime, await make_user(runtime, "ann"))
    identifier = ids.encode(IdKind.ACCESS_TOKEN, made.row.id)
    answer = await ask.mutate(
        "revokeAccessToken",
        {"accessTokenId": identifier},
        "revokedAccessTokenId",
        token=made.token,
    )
    assert answer.data["revokeAccessToken"]["revokedAccessTokenId"] == identifier
    assert (await ask("{ __typename }", token=made.token)).response.status_code == 401


async def test_unknown_inputs_are_refused(ask: GraphQLClient, cookie: str) -> None:
    answer = await ask.mutate(
        "createRepository",
        {"name": "x", "visibility": "PUBLIC", "generation": 7},
        "",
        cookie=cookie,
    )
    assert answer.error["type"] == "UNPROCESSABLE"
    assert "generation" in answer.error["message"]
