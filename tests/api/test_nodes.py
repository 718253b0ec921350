"""node and nodes: an object by its id, judged by its type; nothing leaks through a foreign id."""

from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import select

from models import EmailAddress, GitRef, User, Visibility
from resolvers import ids
from resolvers.ids import IdKind
from services import deploy_keys
from services.access import Role
from services.runtime import Runtime
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
from tests.support.runtime import operator

NODE = "query($id: ID!) { node(id: $id) { __typename id } }"


async def own_email(runtime: Runtime, user: User) -> str:
    async with runtime.database.read() as session:
        row = await session.scalar(select(EmailAddress).where(EmailAddress.user_id == user.id))
    assert row is not None
    return ids.encode(IdKind.EMAIL_ADDRESS, row.id)


async def private_repository(runtime: Runtime, user: User) -> str:
    repository = await make_repository(runtime, user, visibility=Visibility.PRIVATE)
    return ids.encode(IdKind.REPOSITORY, repository.id)


async def private_ref(runtime: Runtime, user: User) -> str:
    repository = await make_repository(runtime, user, visibility=Visibility.PRIVATE)
    async with runtime.database.write() as session:
        name, oid = "refs/heads/main", "1" * 40
        session.add(GitRef(repository_id=repository.id, name=name, oid=oid, generation=1))
    return ids.encode_named(IdKind.REF, repository.id, "refs/heads/main")


async def deploy_key(runtime: Runtime, user: User) -> str:
    repository = await make_repository(runtime, user)
    row = await deploy_keys.add_deploy_key(
        operator(runtime), repository.id, "ci", make_key_pair().public
    )
    return ids.encode(IdKind.DEPLOY_KEY, row.id)


async def access_token(runtime: Runtime, user: User) -> str:
    return ids.encode(IdKind.ACCESS_TOKEN, (await make_token(runtime, user)).row.id)


async def own_session(runtime: Runtime, user: User) -> str:
    return ids.encode(IdKind.SESSION, (await make_session(runtime, user)).session.id)


HIDDEN: dict[str, Callable[[Runtime, User], Awaitable[str]]] = {
    "EmailAddress": own_email,
    "Repository": private_repository,
    "Ref": private_ref,
    "DeployKey": deploy_key,
    "AccessToken": access_token,
    "Session": own_session,
}


@pytest.mark.parametrize("kind", HIDDEN)
async def test_what_is_hidden_is_its_owners_alone(
    ask: GraphQLClient, runtime: Runtime, kind: str
) -> None:
    owner, stranger = await make_user(runtime, "ann"), await make_user(runtime, "bob")
    node_id = await HIDDEN[kind](runtime, owner)
    own = (await make_session(runtime, owner)).secret
    answer = await ask(NODE, {"id": node_id}, cookie=own)
    assert answer.data == {"node": {"__typename": kind, "id": node_id}}
    foreign = (await make_session(runtime, stranger)).secret
    unscoped = (await make_token(runtime, owner)).token
    for credentials in ({}, {"cookie": foreign}, {"token": unscoped}):
        answer = await ask(NODE, {"id": node_id}, **credentials)
        assert answer.body["data"] == {"node": None}
        assert answer.error == {
            "type": "NOT_FOUND",
            "message": f"Could not resolve to a node with the global id of '{node_id}'",
            "path": ["node"],
        }


async def test_public_objects_are_everybodys(ask: GraphQLClient, runtime: Runtime) -> None:
    user = await make_user(runtime, "ann")
    repository = await make_repository(runtime, user)
    key = await make_ssh_key(runtime, user)
    for kind, name, number in (
        (IdKind.USER, "User", user.id),
        (IdKind.REPOSITORY, "Repository", repository.id),
        (IdKind.PUBLIC_KEY, "PublicKey", key.id),
    ):
        node_id = ids.encode(kind, number)
        answer = await ask(NODE, {"id": node_id})
        assert answer.data == {"node": {"__typename": name, "id": node_id}}


async def test_the_prefix_decides_the_type(ask: GraphQLClient, runtime: Runtime) -> None:
    """Row 49: one table holds both kinds of keys, and an id of one is none of the other."""
    user = await make_user(runtime, "ann")
    key = await make_ssh_key(runtime, user)
    repository = await make_repository(runtime, user)
    row = await deploy_keys.add_deploy_key(
        operator(runtime), repository.id, "ci", make_key_pair().public
    )
    cookie = (await make_session(runtime, user)).secret
    for forged in (ids.encode(IdKind.DEPLOY_KEY, key.id), ids.encode(IdKind.PUBLIC_KEY, row.id)):
        answer = await ask(NODE, {"id": forged}, cookie=cookie)
        assert answer.body["data"] == {"node": None}
        assert answer.error["type"] == "NOT_FOUND"


async def test_deploy_keys_are_for_administrators(ask: GraphQLClient, runtime: Runtime) -> None:
    owner, writer = await make_user(runtime, "ann"), await make_user(runtime, "bob")
    repository = await make_repository(runtime, owner)
    await make_collaborator(runtime, repository, writer, Role.MAINTAIN)
    row = await deploy_keys.add_deploy_key(
        operator(runtime), repository.id, "ci", make_key_pair().public
    )
    node_id = ids.encode(IdKind.DEPLOY_KEY, row.id)
    token = (await make_token(runtime, writer, "repo")).token
    assert (await ask(NODE, {"id": node_id}, token=token)).error["type"] == "NOT_FOUND"


async def test_a_limited_token_sees_its_repositories_alone(
    ask: GraphQLClient, runtime: Runtime
) -> None:
    owner = await make_user(runtime, "ann")
    first = await make_repository(runtime, owner, visibility=Visibility.PRIVATE)
    second = await make_repository(runtime, owner, visibility=Visibility.PRIVATE)
    token = (await make_token(runtime, owner, "repo", repository_ids=[first.id])).token
    seen, hidden = (ids.encode(IdKind.REPOSITORY, each.id) for each in (first, second))
    assert (await ask(NODE, {"id": seen}, token=token)).data["node"]["id"] == seen
    assert (await ask(NODE, {"id": hidden}, token=token)).error["type"] == "NOT_FOUND"


@pytest.mark.parametrize("forged", ["", "x", "R_", "U_AAAAAAAAAA8B", "R_AAAAAAAAAAAB\u0000"])
async def test_forged_ids(ask: GraphQLClient, forged: str) -> None:
    answer = await ask(NODE, {"id": forged})
    assert answer.body["data"] in ({"node": None}, None)
    assert answer.error["type"] in ("NOT_FOUND", "UNPROCESSABLE")


async def test_many_at_once(ask: GraphQLClient, runtime: Runtime) -> None:
    user = await make_user(runtime, "ann")
    good = ids.encode(IdKind.USER, user.id)
    answer = await ask(
        "query($ids: [ID!]!) { nodes(ids: $ids) { id } }", {"ids": [good, "bad", good]}
    )
    assert answer.body["data"] == {"nodes": [{"id": good}, None, {"id": good}]}
    assert answer.error == {
        "type": "NOT_FOUND",
        "message": "Could not resolve to a node with the global id of 'bad'",
        "path": ["nodes", 1],
    }


async def test_at_most_a_hundred_at_once(ask: GraphQLClient) -> None:
    answer = await ask("query($ids: [ID!]!) { nodes(ids: $ids) { id } }", {"ids": ["x"] * 101})
    assert answer.error["type"] == "ARGUMENT_LIMIT"
    assert answer.error["message"] == (
        "You may not provide more than 100 node ids; you provided 101."
    )
