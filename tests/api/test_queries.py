"""What can be asked: viewer, users, repositories, refs, and any object by its id."""

from typing import Any

import pytest

from models import GitPack, GitRef, Repository, Visibility
from models.base import utc_now
from resolvers import ids
from resolvers.ids import IdKind
from services import accounts, deploy_keys, repositories
from services.access import Role
from services.repositories import RepositoryChanges
from services.runtime import Runtime
from services.settings import ServiceSettings
from tests.support.factories import (
    make_collaborator,
    make_key_pair,
    make_repository,
    make_session,
    make_ssh_key,
    make_token,
    make_user,
)
from tests.support.graphql import GraphQLClient
from tests.support.runtime import SECRET_KEY, make_runtime, operator

OID = "1" * 40
REPOSITORY = """query($owner: String!, $name: String!, $follow: Boolean = true) {
  repository(owner: $owner, name: $name, followRenames: $follow) { nameWithOwner }
}"""


async def add_refs(runtime: Runtime, repository: Repository, *names: str) -> None:
    async with runtime.database.write() as session:
        for name in names:
            session.add(GitRef(repository_id=repository.id, name=name, oid=OID, generation=1))


async def test_viewer(ask: GraphQLClient, runtime: Runtime) -> None:
    user = await make_user(runtime, "Ann-B", site_admin=True)
    token = (await make_token(runtime, user, "user:email")).token
    answer = await ask(
        """{ viewer { __typename id databaseId login name bio email url resourcePath createdAt
             updatedAt isSiteAdmin isViewer emails(first: 5) { totalCount nodes {
               email isPrimary isVerified } } } }""",
        token=token,
    )
    created = user.created_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert answer.data["viewer"] == {
        "__typename": "User",
        "id": ids.encode(IdKind.USER, user.id),
        "databaseId": user.id,
        "login": "Ann-B",
        "name": None,
        "bio": None,
        "email": "Ann-B@example.com",
        "url": "http://127.0.0.1:8000/Ann-B",
        "resourcePath": "/Ann-B",
        "createdAt": created,
        "updatedAt": created,
        "isSiteAdmin": True,
        "isViewer": True,
        "emails": {
            "totalCount": 1,
            "nodes": [{"email": "Ann-B@example.com", "isPrimary": True, "isVerified": True}],
        },
    }


async def test_nobody_is_the_viewer(ask: GraphQLClient) -> None:
    answer = await ask("{ viewer { login } }")
    assert answer.body["data"] is None
    assert answer.error == {
        "type": "UNAUTHENTICATED",
        "message": "sign in or send an access token; there is no viewer without one",
        "path": ["viewer"],
    }


async def test_users_by_login(ask: GraphQLClient, runtime: Runtime) -> None:
    await make_user(runtime, "ann")
    answer = await ask(
        """{ user(login: "ANN") { login email isViewer }
             repositoryOwner(login: "ann") { __typename login url }
             nobody: repositoryOwner(login: "bob") { login } }"""
    )
    assert answer.data == {
        "user": {"login": "ann", "email": "", "isViewer": False},
        "repositoryOwner": {
            "__typename": "User",
            "login": "ann",
            "url": "http://127.0.0.1:8000/ann",
        },
        "nobody": None,
    }


async def test_an_unknown_user_in_githubs_words(ask: GraphQLClient) -> None:
    answer = await ask('{ user(login: "bob") { login } }')
    assert answer.body["data"] == {"user": None}
    assert answer.error == {
        "type": "NOT_FOUND",
        "message": "Could not resolve to a User with the login of 'bob'.",
        "path": ["user"],
    }


async def test_what_is_private_of_a_user(ask: GraphQLClient, runtime: Runtime) -> None:
    await make_user(runtime, "ann")
    token = (await make_token(runtime, await make_user(runtime, "bob"), "user")).token
    query = """{ user(login: "ann") { email
        emails(first: 1) { totalCount } accessTokens(first: 1) { totalCount }
        sessions(first: 1) { totalCount } } }"""
    answer = await ask(query, token=token)
    assert answer.body["data"]["user"] == {
        "email": "",
        "emails": None,
        "accessTokens": None,
        "sessions": None,
    }
    assert sorted(each["message"] for each in answer.errors) == [
        "only ann can see the access tokens of ann",
        "only ann can see the e-mail addresses of ann",
        "only ann can see the sessions of ann",
    ]
    assert {each["type"] for each in answer.errors} == {"FORBIDDEN"}


async def test_own_keys_tokens_and_sessions(ask: GraphQLClient, runtime: Runtime) -> None:
    user = await make_user(runtime, "ann")
    key = await make_ssh_key(runtime, user)
    token = await make_token(runtime, user, "repo", "user")
    signed_in = await make_session(runtime, user)
    answer = await ask(
        """{ viewer {
          publicKeys(first: 5) { nodes { __typename id key fingerprint title isReadOnly
            createdAt accessedAt } }
          accessTokens(first: 5) { nodes { id name scopes tokenLastEight expiresAt
            isLimitedToRepositories } }
          sessions(first: 5) { nodes { id userAgent address isCurrent } } } }""",
        cookie=signed_in.secret,
    )
    assert answer.data["viewer"] == {
        "publicKeys": {
            "nodes": [
                {
                    "__typename": "PublicKey",
                    "id": ids.encode(IdKind.PUBLIC_KEY, key.id),
                    "key": key.public_key,
                    "fingerprint": key.fingerprint,
                    "title": "key of a test",
                    "isReadOnly": False,
                    "createdAt": key.created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
                    "accessedAt": None,
                }
            ]
        },
        "accessTokens": {
            "nodes": [
                {
                    "id": ids.encode(IdKind.ACCESS_TOKEN, token.row.id),
                    "name": token.row.name,
                    "scopes": ["repo", "user"],
                    "tokenLastEight": token.token[-8:],
                    "expiresAt": None,
                    "isLimitedToRepositories": False,
                }
            ]
        },
        "sessions": {
            "nodes": [
                {
                    "id": ids.encode(IdKind.SESSION, signed_in.session.id),
                    "userAgent": "Test Browser",
                    "address": "192.0.2.1",
                    "isCurrent": True,
                }
            ]
        },
    }


async def test_keys_of_others_without_what_is_theirs(ask: GraphQLClient, runtime: Runtime) -> None:
    user = await make_user(runtime, "ann")
    key = await make_ssh_key(runtime, user)
    unscoped = (await make_token(runtime, user, "repo")).token
    query = """{ user(login: "ann") { publicKeys(first: 1) { nodes {
        key title createdAt accessedAt isReadOnly } } } }"""
    for credentials in ({}, {"token": unscoped}):
        answer = await ask(query, **credentials)
        assert answer.data["user"]["publicKeys"]["nodes"] == [
            {
                "key": key.public_key,
                "title": None,
                "createdAt": None,
                "accessedAt": None,
                "isReadOnly": None,
            }
        ]


async def test_a_repository(ask: GraphQLClient, runtime: Runtime) -> None:
    repository = await make_repository(runtime, await make_user(runtime, "ann"), "Demo")
    await add_refs(runtime, repository, "refs/heads/main", "refs/heads/feature/x", "refs/tags/v1")
    async with runtime.database.write() as session:
        session.add(
            GitPack(
                repository_id=repository.id,
                storage_key="k",
                name="n",
                size_bytes=5000,
                index_size_bytes=1100,
                reverse_index_size_bytes=44,
                object_count=1,
                generation=1,
            )
        )
    answer = await ask(
        """{ repository(owner: "ANN", name: "demo") {
          __typename id databaseId name nameWithOwner description url resourcePath sshUrl
          visibility isPrivate isArchived archivedAt isEmpty isFork pushedAt diskUsage
          owner { __typename login } defaultBranchRef { name prefix }
          viewerPermission viewerCanAdminister
          full: ref(qualifiedName: "refs/heads/feature/x") { name prefix repository { name } }
          short: ref(qualifiedName: "v1") { name prefix }
          none: ref(qualifiedName: "nope") { name }
          refs(refPrefix: "refs/heads/", first: 10) { totalCount nodes { name } } } }"""
    )
    assert answer.data["repository"] == {
        "__typename": "Repository",
        "id": ids.encode(IdKind.REPOSITORY, repository.id),
        "databaseId": repository.id,
        "name": "Demo",
        "nameWithOwner": "ann/Demo",
        "description": None,
        "url": "http://127.0.0.1:8000/ann/Demo",
        "resourcePath": "/ann/Demo",
        "sshUrl": "ssh://git@127.0.0.1:2222/ann/Demo.git",
        "visibility": "PUBLIC",
        "isPrivate": False,
        "isArchived": False,
        "archivedAt": None,
        "isEmpty": False,
        "isFork": False,
        "pushedAt": None,
        "diskUsage": 6,
        "owner": {"__typename": "User", "login": "ann"},
        "defaultBranchRef": {"name": "main", "prefix": "refs/heads/"},
        "viewerPermission": None,
        "viewerCanAdminister": False,
        "full": {"name": "feature/x", "prefix": "refs/heads/", "repository": {"name": "Demo"}},
        "short": {"name": "v1", "prefix": "refs/tags/"},
        "none": None,
        "refs": {"totalCount": 2, "nodes": [{"name": "feature/x"}, {"name": "main"}]},
    }


async def test_an_empty_private_repository(ask: GraphQLClient, runtime: Runtime) -> None:
    user = await make_user(runtime, "ann")
    await make_repository(runtime, user, "demo", visibility=Visibility.INTERNAL)
    token = (await make_token(runtime, user, "repo")).token
    answer = await ask(
        """{ repository(owner: "ann", name: "demo") { isEmpty isPrivate visibility diskUsage
             defaultBranchRef { name } viewerPermission viewerCanAdminister } }""",
        token=token,
    )
    assert answer.data["repository"] == {
        "isEmpty": True,
        "isPrivate": True,
        "visibility": "INTERNAL",
        "diskUsage": 0,
        "defaultBranchRef": None,
        "viewerPermission": "ADMIN",
        "viewerCanAdminister": True,
    }


async def test_the_ssh_address_on_port_22(runtime: Runtime) -> None:
    settings = ServiceSettings(
        secret_key=SECRET_KEY, ssh_public_host="hub.example", ssh_public_port=22
    )
    other = make_runtime(runtime.database, settings=settings)
    await make_repository(other, await make_user(other, "ann"), "demo")
    answer = await GraphQLClient(other)('{ repository(owner: "ann", name: "demo") { sshUrl } }')
    assert answer.data["repository"]["sshUrl"] == "git@hub.example:ann/demo.git"
    other.passwords.close()


async def test_missing_and_hidden_repositories_are_alike(
    ask: GraphQLClient, runtime: Runtime
) -> None:
    owner = await make_user(runtime, "ann")
    await make_repository(runtime, owner, "hidden", visibility=Visibility.PRIVATE)
    stranger = (await make_token(runtime, await make_user(runtime, "bob"), "repo")).token
    for credentials in ({}, {"token": stranger}):
        for name in ("hidden", "missing"):
            answer = await ask(REPOSITORY, {"owner": "ann", "name": name}, **credentials)
            assert answer.body["data"] == {"repository": None}
            assert answer.error == {
                "type": "NOT_FOUND",
                "message": f"Could not resolve to a Repository with the name 'ann/{name}'.",
                "path": ["repository"],
            }
            assert answer.codes == ["NOT_FOUND"]


async def test_a_private_repository_needs_the_scope(ask: GraphQLClient, runtime: Runtime) -> None:
    owner = await make_user(runtime, "ann")
    await make_repository(runtime, owner, "hidden", visibility=Visibility.PRIVATE)
    token = (await make_token(runtime, owner, "public_repo")).token
    answer = await ask(REPOSITORY, {"owner": "ann", "name": "hidden"}, token=token)
    assert answer.error["type"] == "INSUFFICIENT_SCOPES"
    assert answer.error["message"] == (
        "your token has not been granted the required scopes: this requires one of the following "
        "scopes: ['repo']"
    )


async def test_old_names_lead_to_the_repository(ask: GraphQLClient, runtime: Runtime) -> None:
    repository = await make_repository(runtime, await make_user(runtime, "ann"), "old")
    await repositories.update_repository(
        operator(runtime), repository.id, RepositoryChanges(name="new")
    )
    old = {"owner": "ann", "name": "old"}
    assert (await ask(REPOSITORY, old)).data == {"repository": {"nameWithOwner": "ann/new"}}
    answer = await ask(REPOSITORY, {**old, "follow": False})
    assert answer.error["message"] == ("Could not resolve to a Repository with the name 'ann/old'.")
    named = await ask(REPOSITORY, {"owner": "ann", "name": "new", "follow": False})
    assert named.data == {"repository": {"nameWithOwner": "ann/new"}}
    through_owner = """{ repositoryOwner(login: "ann") {
        repository(name: "old") { name } none: repository(name: "x") { name } } }"""
    answer = await ask(through_owner)
    assert answer.body["data"]["repositoryOwner"] == {"repository": {"name": "new"}, "none": None}
    assert answer.error["path"] == ["repositoryOwner", "none"]


async def test_deploy_keys_and_collaborators_are_for_administrators(
    ask: GraphQLClient, runtime: Runtime
) -> None:
    owner, writer = await make_user(runtime, "ann"), await make_user(runtime, "bob")
    repository = await make_repository(runtime, owner, "demo")
    await make_collaborator(runtime, repository, writer, Role.WRITE)
    key = await deploy_keys.add_deploy_key(
        operator(runtime), repository.id, "ci", make_key_pair().public
    )
    collaborators = """{ repository(owner: "ann", name: "demo") { collaborators(first: 5) {
        totalCount nodes { login } edges { permission node { login } } } } }"""
    keys = """{ repository(owner: "ann", name: "demo") { deployKeys(first: 5) { nodes {
        __typename id title readOnly key } } } }"""
    admin = (await make_token(runtime, owner, "repo")).token
    assert (await ask(collaborators, token=admin)).data["repository"]["collaborators"] == {
        "totalCount": 1,
        "nodes": [{"login": "bob"}],
        "edges": [{"permission": "WRITE", "node": {"login": "bob"}}],
    }
    assert (await ask(keys, token=admin)).data["repository"]["deployKeys"]["nodes"] == [
        {
            "__typename": "DeployKey",
            "id": ids.encode(IdKind.DEPLOY_KEY, key.id),
            "title": "ci",
            "readOnly": True,
            "key": key.public_key,
        }
    ]
    refused: list[tuple[dict[str, Any], str]] = [
        ({}, "UNAUTHENTICATED"),
        ({"token": (await make_token(runtime, writer, "repo")).token}, "FORBIDDEN"),
        ({"token": (await make_token(runtime, owner, "public_repo")).token}, "INSUFFICIENT_SCOPES"),
    ]
    for credentials, kind in refused:
        answer = await ask(collaborators, **credentials)
        assert answer.body["data"] == {"repository": {"collaborators": None}}
        assert answer.error["type"] == kind
        answer = await ask(keys, **credentials)
        assert answer.body["data"] == {"repository": None}
        assert answer.error["type"] == kind


@pytest.mark.parametrize("prefix", ["refs/heads", "heads/", "", "HEAD/"])
async def test_ref_prefixes_name_folders(ask: GraphQLClient, runtime: Runtime, prefix: str) -> None:
    await make_repository(runtime, await make_user(runtime, "ann"), "demo")
    answer = await ask(
        """query($p: String!) { repository(owner: "ann", name: "demo") {
             refs(refPrefix: $p, first: 1) { totalCount } } }""",
        {"p": prefix},
    )
    assert answer.error["message"] == (
        "refPrefix must begin with 'refs/' and end with '/', like 'refs/heads/'"
    )
    assert answer.fields == ["refPrefix"]


async def test_server_metadata(ask: GraphQLClient) -> None:
    answer = await ask("{ serverMetadata { isSignUpEnabled errorCodes } }")
    assert answer.data["serverMetadata"]["isSignUpEnabled"] is False
    assert "NOT_FOUND" in answer.data["serverMetadata"]["errorCodes"]


async def test_renamed_users_are_not_users_any_more(ask: GraphQLClient, runtime: Runtime) -> None:
    user = await make_user(runtime, "old")
    await make_repository(runtime, user, "demo")
    await accounts.rename_user(operator(runtime), user.id, "newer")
    assert (await ask('{ user(login: "old") { login } }')).error["type"] == "NOT_FOUND"
    assert (await ask(REPOSITORY, {"owner": "old", "name": "demo"})).data == {
        "repository": {"nameWithOwner": "newer/demo"}
    }


async def test_feature_detection_of_githubs_tools(ask: GraphQLClient) -> None:
    answer = await ask(
        '{ __type(name: "Repository") { fields(includeDeprecated: true) { name } } }'
    )
    names = {each["name"] for each in answer.data["__type"]["fields"]}
    assert {"visibility", "nameWithOwner", "viewerPermission"} <= names


async def test_times_carry_a_zone(ask: GraphQLClient, runtime: Runtime) -> None:
    await make_repository(runtime, await make_user(runtime, "ann"), "demo")
    answer = await ask('{ repository(owner: "ann", name: "demo") { createdAt } }')
    text = answer.data["repository"]["createdAt"]
    assert text.endswith("Z")
    assert text <= utc_now().strftime("%Y-%m-%dT%H:%M:%SZ")
