"""Stars and watches: who has them, who sees them, and what they cost."""

import asyncio
from typing import Any

import pytest

from models import Repository, User, Visibility, WatchState
from resolvers import ids
from resolvers.ids import IdKind
from services import repositories, stars
from services.actor import Actor, ActorKind
from services.context import OpContext
from services.repositories import RepositoryChanges
from services.runtime import Runtime
from tests.api.conftest import EventLog
from tests.api.test_connections import counted_statements
from tests.support.factories import (
    make_repository,
    make_session,
    make_token,
    make_user,
)
from tests.support.graphql import GraphQLClient
from tests.support.runtime import make_op, operator

REPOSITORY = """query($id: ID!) { node(id: $id) { ... on Repository {
  stargazerCount viewerHasStarred viewerSubscription viewerCanSubscribe
  stargazers(first: 10) { totalCount nodes { login } edges { starredAt node { login } } }
  watchers(first: 10) { totalCount nodes { login } edges { node { login } } } } } }"""


@pytest.fixture
async def ann(runtime: Runtime) -> User:
    return await make_user(runtime, "ann")


@pytest.fixture
async def bob(runtime: Runtime) -> User:
    return await make_user(runtime, "bob")


@pytest.fixture
async def demo(runtime: Runtime, ann: User) -> Repository:
    return await make_repository(runtime, ann, "demo")


def node_id(repository: Repository) -> str:
    return ids.encode(IdKind.REPOSITORY, repository.id)


def acting(runtime: Runtime, user: User) -> OpContext:
    return make_op(runtime, Actor(ActorKind.SESSION, user_id=user.id, login=user.login))


async def star(runtime: Runtime, user: User, *starred: Repository) -> None:
    for repository in starred:
        await stars.star(acting(runtime, user), repository.id)


async def test_stars_are_counted_and_listed(
    runtime: Runtime, ask: GraphQLClient, ann: User, bob: User, demo: Repository, events: EventLog
) -> None:
    cookie = (await make_session(runtime, bob)).secret
    await events.new()
    for _ in "twice":  # the second one changes nothing
        answer = await ask.mutate(
            "addStar",
            {"starrableId": node_id(demo)},
            "starrable { id stargazerCount viewerHasStarred ... on Repository { name } }",
            cookie=cookie,
        )
        assert answer.data["addStar"]["starrable"] == {
            "id": node_id(demo),
            "stargazerCount": 1,
            "viewerHasStarred": True,
            "name": "demo",
        }
    assert await events.new() == [
        ("RepositoryStarred", {"repository_id": demo.id, "user_id": bob.id})
    ]
    await star(runtime, ann, demo)
    found = (await ask(REPOSITORY, {"id": node_id(demo)}, cookie=cookie)).data["node"]
    assert found["stargazerCount"] == found["stargazers"]["totalCount"] == 2
    assert [each["login"] for each in found["stargazers"]["nodes"]] == ["bob", "ann"]
    assert [each["node"]["login"] for each in found["stargazers"]["edges"]] == ["bob", "ann"]
    anonymous = (await ask(REPOSITORY, {"id": node_id(demo)})).data["node"]
    assert (anonymous["viewerHasStarred"], anonymous["viewerSubscription"]) == (False, None)
    assert anonymous["viewerCanSubscribe"] is False
    await events.new()
    for _ in "twice":
        answer = await ask.mutate(
            "removeStar",
            {"starrableId": node_id(demo)},
            "starrable { stargazerCount viewerHasStarred }",
            cookie=cookie,
        )
        assert answer.data["removeStar"]["starrable"] == {
            "stargazerCount": 1,
            "viewerHasStarred": False,
        }
    assert [name for name, _ in await events.new()] == ["RepositoryUnstarred"]


@pytest.mark.databases
async def test_racing_requests_leave_one_star(
    runtime: Runtime, bob: User, demo: Repository, ask: GraphQLClient
) -> None:
    await asyncio.gather(*(star(runtime, bob, demo) for _ in range(8)))
    found = (await ask(REPOSITORY, {"id": node_id(demo)})).data["node"]
    assert found["stargazerCount"] == 1


async def test_starred_repositories_show_what_the_viewer_may_read(
    runtime: Runtime, ask: GraphQLClient, ann: User, bob: User, demo: Repository
) -> None:
    own = await make_repository(runtime, bob, "own")
    hidden = await make_repository(runtime, bob, "hidden", visibility=Visibility.PRIVATE)
    await star(runtime, bob, demo, own, hidden)
    query = """query($owned: Boolean) { user(login: "bob") { starredRepositories(
      first: 10, ownedByViewer: $owned, orderBy: {field: STARRED_AT, direction: DESC}) {
      totalCount isOverLimit nodes { name } edges { starredAt node { name } } } } }"""

    async def names(owned: bool | None = None, cookie: str | None = None) -> list[str]:
        answer = await ask(query, {"owned": owned}, cookie=cookie)
        found = answer.data["user"]["starredRepositories"]
        names = [each["name"] for each in found["nodes"]]
        assert found["isOverLimit"] is False
        assert found["totalCount"] == len(names)
        assert [each["node"]["name"] for each in found["edges"]] == names
        return names

    assert await names() == ["own", "demo"]
    cookie = (await make_session(runtime, bob)).secret
    assert await names(cookie=cookie) == ["hidden", "own", "demo"]
    assert await names(True, cookie) == ["hidden", "own"]
    assert await names(False, cookie) == ["demo"]
    await repositories.update_repository(
        operator(runtime), demo.id, RepositoryChanges(visibility=Visibility.PRIVATE)
    )
    assert await names(cookie=cookie) == ["hidden", "own"]


async def test_watching(
    runtime: Runtime, ask: GraphQLClient, ann: User, bob: User, demo: Repository
) -> None:
    cookie = (await make_session(runtime, bob)).secret

    async def watch(state: str) -> Any:
        answer = await ask.mutate(
            "updateSubscription",
            {"subscribableId": node_id(demo), "state": state},
            "subscribable { viewerSubscription }",
            cookie=cookie,
        )
        found = (await ask(REPOSITORY, {"id": node_id(demo)}, cookie=cookie)).data["node"]
        shown = answer.data["updateSubscription"]["subscribable"]["viewerSubscription"]
        assert shown == found["viewerSubscription"] == state
        assert found["watchers"]["totalCount"] == len(found["watchers"]["nodes"])
        edges = [each["node"]["login"] for each in found["watchers"]["edges"]]
        assert edges == [each["login"] for each in found["watchers"]["nodes"]]
        return edges

    before = (await ask(REPOSITORY, {"id": node_id(demo)}, cookie=cookie)).data["node"]
    assert (before["viewerSubscription"], before["viewerCanSubscribe"]) == ("UNSUBSCRIBED", True)
    assert await watch("SUBSCRIBED") == ["bob"]
    assert await watch("SUBSCRIBED") == ["bob"]
    assert await watch("IGNORED") == []
    assert await watch("UNSUBSCRIBED") == []
    assert await watch("UNSUBSCRIBED") == []


async def test_anonymous_and_wrong_ids(
    ask: GraphQLClient, runtime: Runtime, ann: User, demo: Repository
) -> None:
    given = {"starrableId": node_id(demo)}
    refused = await ask.mutate("addStar", given, "starrable { id }")
    assert refused.error["type"] == "UNAUTHENTICATED"
    cookie = (await make_session(runtime, ann)).secret
    for wrong in (ids.encode(IdKind.USER, ann.id), ids.encode(IdKind.REPOSITORY, 999), "R_x"):
        answer = await ask.mutate(
            "addStar", {"starrableId": wrong}, "starrable { id }", cookie=cookie
        )
        assert answer.error["type"] == "NOT_FOUND"
    limited = (await make_token(runtime, ann, "repo", repository_ids=[demo.id])).token
    answer = await ask.mutate("addStar", given, "starrable { id }", token=limited)
    assert answer.error["type"] == "FORBIDDEN"


async def test_stars_and_watches_go_with_the_repository(
    runtime: Runtime, ask: GraphQLClient, ann: User, bob: User, demo: Repository
) -> None:
    op = acting(runtime, bob)
    await star(runtime, bob, demo)
    await stars.watch(op, demo.id, WatchState.SUBSCRIBED)
    await repositories.delete_repository(operator(runtime), demo.id)
    query = '{ user(login: "bob") { starredRepositories(first: 1) { totalCount } } }'
    answer = await ask(query)
    assert answer.data["user"]["starredRepositories"]["totalCount"] == 0


async def test_a_list_costs_the_same_statements_whatever_its_length(
    runtime: Runtime, ask: GraphQLClient, ann: User
) -> None:
    cookie = (await make_session(runtime, ann)).secret
    query = """{ viewer { repositories(first: 50) { nodes {
      stargazerCount viewerHasStarred viewerSubscription
      stargazers(first: 2) { nodes { login } edges { starredAt node { login } } }
      watchers(first: 2) { nodes { login } } } }
      starredRepositories(first: 50) { nodes { name } edges { node { name } } } } }"""
    counts = []
    for _ in range(2):
        for _ in range(3):
            repository = await make_repository(runtime, ann)
            await star(runtime, ann, repository)
            await star(runtime, await make_user(runtime), repository)
        await ask(query, cookie=cookie)
        with counted_statements(runtime.database) as statements:
            assert (await ask(query, cookie=cookie)).data
        counts.append(len(statements))
    assert counts[0] == counts[1]
