"""Subscriptions over a real WebSocket: what is delivered, to whom, and what it costs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from graph.endpoint import GraphQLEndpoint
from models import AccessToken, Repository, User, Visibility
from models.base import utc_now
from resolvers import events, ids
from resolvers.ids import IdKind
from services import accounts, collaborators, event_feed, forks, repositories
from services.access import Role
from services.actor import Actor, ActorKind
from services.context import OpContext
from services.events import RepositoryUpdated
from services.repositories import RepositoryChanges
from services.runtime import Runtime
from tests.api.test_connections import counted_statements
from tests.support.content import store_content
from tests.support.factories import make_repository, make_token, make_user
from tests.support.git import GitRepository
from tests.support.graphql import GraphQLClient
from tests.support.http_server import serving
from tests.support.runtime import make_op, operator
from tests.support.subscriptions import (
    EVENTS,
    SocketClient,
    acknowledged,
    node_id,
    until_heard,
)

MISSING = "Could not resolve to a node with the global id of '{}'"


@pytest.fixture
async def ann(runtime: Runtime) -> User:
    return await make_user(runtime, "ann")


@pytest.fixture
async def demo(runtime: Runtime, ann: User) -> Repository:
    return await make_repository(runtime, ann, "demo")


@pytest.fixture
async def secret(runtime: Runtime, ann: User) -> Repository:
    return await make_repository(runtime, ann, "secret", visibility=Visibility.PRIVATE)


@pytest.fixture
async def port(runtime: Runtime) -> AsyncIterator[int]:
    async with serving(GraphQLEndpoint(runtime)) as port:
        yield port


def acting(runtime: Runtime, user: User) -> OpContext:
    actor = Actor(ActorKind.SESSION, user_id=user.id, login=user.login)
    return make_op(runtime, actor)


async def describe(op: OpContext, repository: Repository, text: str) -> None:
    await repositories.update_repository(op, repository.id, RepositoryChanges(description=text))


async def last_number(ask: GraphQLClient, repository: Repository, token: str | None = None) -> str:
    query = "query($id: ID!) { node(id: $id) { ... on Repository { lastEventNumber } } }"
    answer = await ask(query, {"id": node_id(repository)}, token=token)
    number: str = answer.data["node"]["lastEventNumber"]
    return number


async def test_events_come_as_they_happen_and_show_the_state_of_then(
    runtime: Runtime, port: int, ann: User, demo: Repository
) -> None:
    async with acknowledged(port) as client:
        subscription = await client.subscribe(EVENTS, {"id": node_id(demo)})
        await until_heard(runtime)
        for text in ("one", "two"):
            await describe(acting(runtime, ann), demo, text)
            event = (await client.data(subscription))["repositoryEvents"]
            assert event["number"].isdecimal()
            assert event | {"number": ""} == {
                "__typename": "RepositoryUpdatedEvent",
                "number": "",
                "actor": {"login": "ann"},
                "repository": {"nameWithOwner": "ann/demo", "description": text},
                "changedFields": ["description"],
            }
        await client.send({"id": subscription, "type": "complete"})
        await until_heard(runtime, 0)


async def test_a_push_tells_what_it_did_to_each_ref(
    runtime: Runtime,
    port: int,
    ann: User,
    demo: Repository,
    ask: GraphQLClient,
    tmp_path: Path,
) -> None:
    source = GitRepository.create(tmp_path / "source")
    head = source.commit("first", files={"README": "x"})
    await store_content(runtime, demo, source)
    token = (await make_token(runtime, ann, "repo")).token
    query = """subscription($id: ID!) { repositoryEvents(repositoryId: $id) {
      ... on PushEvent { refChanges(first: 10) { totalCount nodes {
        name beforeOid afterOid isForced } } } } }"""
    async with acknowledged(port, token) as client:
        subscription = await client.subscribe(query, {"id": node_id(demo)})
        await until_heard(runtime)
        commit = await ask.mutate(
            "createCommitOnBranch",
            {
                "branch": {"repositoryNameWithOwner": "ann/demo", "branchName": "main"},
                "message": {"headline": "begin"},
                "expectedHeadOid": head,
                "fileChanges": {"additions": [{"path": "a", "contents": "YQ=="}]},
            },
            "commit { oid }",
            token=token,
        )
        oid = commit.data["createCommitOnBranch"]["commit"]["oid"]
        changes = (await client.data(subscription))["repositoryEvents"]["refChanges"]
        assert changes == {
            "totalCount": 1,
            "nodes": [
                {"name": "refs/heads/main", "beforeOid": head, "afterOid": oid, "isForced": False}
            ],
        }


async def test_a_subscription_resumes_after_a_number(
    runtime: Runtime, port: int, ann: User, demo: Repository, ask: GraphQLClient
) -> None:
    op = acting(runtime, ann)
    await event_feed.number_all(runtime.database)
    start = await last_number(ask, demo)
    other = await make_repository(runtime, ann, "other")
    for place in range(3):
        await describe(op, demo, f"text {place}")
        await describe(op, other, f"text {place}")
    async with acknowledged(port) as client:
        subscription = await client.subscribe(EVENTS, {"id": node_id(demo), "after": start})
        first = [(await client.data(subscription))["repositoryEvents"]["number"] for _ in "123"]
    assert sorted(map(int, first)) == list(map(int, first))
    assert int(first[0]) > int(start)
    async with acknowledged(port) as client:
        again = await client.subscribe(EVENTS, {"id": node_id(demo), "after": first[0]})
        numbers = [(await client.data(again))["repositoryEvents"]["number"] for _ in "12"]
        assert numbers == first[1:]
        # What happens now follows what was missed, in the same subscription.
        await describe(op, demo, "now")
        event = (await client.data(again))["repositoryEvents"]
        assert event["repository"]["description"] == "now"
        assert int(event["number"]) > int(first[2])


async def test_a_number_that_no_event_has_is_refused(
    runtime: Runtime, port: int, demo: Repository, ask: GraphQLClient
) -> None:
    last = int(await last_number(ask, demo))
    async with acknowledged(port) as client:
        subscription = await client.subscribe(EVENTS, {"id": node_id(demo), "after": "999999"})
        error = await client.error(subscription)
    newest = int(await last_number(ask, demo))
    assert last <= newest
    assert (error["type"], error["message"]) == (
        "UNPROCESSABLE",
        f"there is no event 999999 yet; the last is {newest}",
    )
    assert error["extensions"]["fields"] == ["after"]


@pytest.mark.parametrize("number", [True, 1.5, "one", "9" * 30, ""])
async def test_a_number_must_be_one(port: int, demo: Repository, number: Any) -> None:
    async with acknowledged(port) as client:
        subscription = await client.subscribe(EVENTS, {"id": node_id(demo), "after": number})
        error = await client.error(subscription)
        assert error["type"] == "UNPROCESSABLE"
        assert "a BigInt is a whole number of 64 bits" in error["message"]


async def test_what_is_hidden_and_what_is_missing_answer_alike(
    runtime: Runtime, port: int, secret: Repository
) -> None:
    bob = (await make_token(runtime, await make_user(runtime, "bob"), "repo")).token
    missing = ids.encode(IdKind.REPOSITORY, 999)
    for token in (None, bob):
        async with acknowledged(port, token) as client:
            for identifier in (node_id(secret), missing):
                subscription = await client.subscribe(EVENTS, {"id": identifier})
                error = await client.error(subscription)
                assert (error["type"], error["message"]) == (
                    "NOT_FOUND",
                    MISSING.format(identifier),
                )
    assert runtime.feed.listeners == 0


async def test_an_id_of_another_type_is_not_found(
    runtime: Runtime, port: int, ann: User, demo: Repository
) -> None:
    identifier = ids.encode(IdKind.USER, ann.id)
    async with acknowledged(port) as client:
        error = await client.error(await client.subscribe(EVENTS, {"id": identifier}))
        assert error["type"] == "NOT_FOUND"


async def test_a_repository_made_private_ends_the_strangers_subscriptions_before_the_event(
    runtime: Runtime, port: int, ann: User, demo: Repository
) -> None:
    token = (await make_token(runtime, ann, "repo")).token
    async with acknowledged(port) as stranger, acknowledged(port, token) as owner:
        theirs = await stranger.subscribe(EVENTS, {"id": node_id(demo)})
        own = await owner.subscribe(EVENTS, {"id": node_id(demo)})
        await until_heard(runtime, 2)
        await repositories.update_repository(
            acting(runtime, ann), demo.id, RepositoryChanges(visibility=Visibility.PRIVATE)
        )
        event = (await owner.data(own))["repositoryEvents"]
        assert event["changedFields"] == ["visibility"]
        error = await stranger.error(theirs)
        assert (error["type"], error["message"]) == ("NOT_FOUND", MISSING.format(node_id(demo)))
        await until_heard(runtime, 1)


async def test_a_deleted_repository_ends_its_subscriptions(
    runtime: Runtime, port: int, ann: User, demo: Repository
) -> None:
    async with acknowledged(port) as client:
        subscription = await client.subscribe(EVENTS, {"id": node_id(demo)})
        await until_heard(runtime)
        await repositories.delete_repository(operator(runtime), demo.id)
        error = await client.error(subscription)
        assert error["type"] == "NOT_FOUND"


async def test_a_collaborator_removed_hears_nothing_more(
    runtime: Runtime, port: int, ann: User, secret: Repository
) -> None:
    bob = await make_user(runtime, "bob")
    await collaborators.add_collaborator(acting(runtime, ann), secret.id, bob.id, Role.READ)
    token = (await make_token(runtime, bob, "repo")).token
    async with acknowledged(port, token) as client:
        subscription = await client.subscribe(EVENTS, {"id": node_id(secret)})
        await until_heard(runtime)
        await describe(acting(runtime, ann), secret, "seen")
        event = (await client.data(subscription))["repositoryEvents"]
        assert event["repository"]["description"] == "seen"
        await collaborators.remove_collaborator(acting(runtime, ann), secret.id, bob.id)
        await describe(acting(runtime, ann), secret, "not seen")
        error = await client.error(subscription)
        assert (error["type"], error["message"]) == ("NOT_FOUND", MISSING.format(node_id(secret)))


async def test_a_right_taken_away_ends_a_subscription_in_silence_too(
    runtime: Runtime,
    port: int,
    ann: User,
    secret: Repository,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(events, "JUDGED_EVERY_SECONDS", 0.1)
    token = (await make_token(runtime, ann, "repo")).token
    async with acknowledged(port, token) as client:
        subscription = await client.subscribe(EVENTS, {"id": node_id(secret)})
        await until_heard(runtime)
        async with runtime.database.write() as session:
            await session.execute(
                update(AccessToken)
                .values(scopes="public_repo")
                .where(AccessToken.user_id == ann.id)
            )
        assert (await client.error(subscription))["type"] == "NOT_FOUND"


async def test_an_event_after_the_token_ended_is_not_delivered(
    runtime: Runtime, port: int, ann: User, demo: Repository
) -> None:
    token = (await make_token(runtime, ann, "repo")).token
    async with acknowledged(port, token) as client:
        subscription = await client.subscribe(EVENTS, {"id": node_id(demo)})
        await until_heard(runtime)
        async with runtime.database.write() as session:
            await session.execute(update(AccessToken).values(revoked_at=utc_now()))
        await describe(acting(runtime, ann), demo, "after")
        error = await client.error(subscription)
        assert (error["type"], error["message"]) == (
            "UNAUTHENTICATED",
            "access token has been revoked",
        )


async def test_a_suspended_user_hears_nothing_more(
    runtime: Runtime, port: int, demo: Repository, ann: User
) -> None:
    bob = await make_user(runtime, "bob")
    token = (await make_token(runtime, bob, "repo")).token
    async with acknowledged(port, token) as client:
        subscription = await client.subscribe(EVENTS, {"id": node_id(demo)})
        await until_heard(runtime)
        await accounts.suspend_user(operator(runtime), bob.id)
        await describe(acting(runtime, ann), demo, "after")
        error = await client.error(subscription)
        assert error["type"] == "FORBIDDEN"


async def test_forks_and_collaborators_are_told_only_to_who_may_see_them(
    runtime: Runtime, port: int, ann: User, secret: Repository, demo: Repository
) -> None:
    bob = await make_user(runtime, "bob")
    cyd = await make_user(runtime, "cyd")
    for user in (bob, cyd):
        await collaborators.add_collaborator(acting(runtime, ann), secret.id, user.id, Role.READ)
    tokens = [(await make_token(runtime, user, "repo")).token for user in (ann, bob, cyd)]
    async with (
        acknowledged(port, tokens[0]) as owner,
        acknowledged(port, tokens[1]) as forker,
        acknowledged(port, tokens[2]) as reader,
    ):
        heard = [
            (client, await client.subscribe(EVENTS, {"id": node_id(secret)}))
            for client in (owner, forker, reader)
        ]
        await until_heard(runtime, 3)
        await forks.fork_repository(acting(runtime, bob), secret.id, "bob")
        await collaborators.add_collaborator(acting(runtime, ann), secret.id, cyd.id, Role.WRITE)
        await describe(acting(runtime, ann), secret, "end")

        async def names(client: SocketClient, subscription: str) -> list[str]:
            found: list[str] = []
            while "RepositoryUpdatedEvent" not in found:
                event = (await client.data(subscription))["repositoryEvents"]
                found.append(event["__typename"])
                if event["__typename"] == "CollaboratorAddedEvent":
                    assert (event["permission"], event["user"]["login"]) == ("WRITE", "cyd")
                if event["__typename"] == "RepositoryForkedEvent":
                    assert event["fork"] == {"nameWithOwner": "bob/secret"}
            return found

        assert [await names(*each) for each in heard] == [
            # Bob's private fork is not Ann's to know of.
            ["CollaboratorAddedEvent", "RepositoryUpdatedEvent"],
            ["RepositoryForkedEvent", "RepositoryUpdatedEvent"],
            ["RepositoryUpdatedEvent"],
        ]


async def test_who_falls_behind_is_cut_off_with_the_last_number(
    runtime: Runtime,
    port: int,
    ann: User,
    demo: Repository,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(event_feed, "MAX_BEHIND", 5)
    held = asyncio.Event()
    judge = events._require_readable

    async def slowly(op: OpContext, number: int, repository_id: str) -> None:
        await judge(op, number, repository_id)
        if runtime.feed.listeners:
            await held.wait()

    monkeypatch.setattr(events, "_require_readable", slowly)
    async with acknowledged(port) as client:
        subscription = await client.subscribe(EVENTS, {"id": node_id(demo)})
        await until_heard(runtime)
        async with acting(runtime, ann).transaction() as tx:
            for _ in range(20):
                tx.emit(RepositoryUpdated(demo.id, ("description",)))
        await asyncio.sleep(0.5)
        held.set()
        numbers = []
        while True:
            message = await client.next(subscription)
            if message["type"] == "error":
                break
            numbers.append(message["payload"]["data"]["repositoryEvents"]["number"])
        (error,) = message["payload"]
        assert error["type"] == "SERVICE_UNAVAILABLE"
        last = error["extensions"]["details"]["lastNumber"]
        assert not numbers or numbers[-1] == last
        again = await client.subscribe(EVENTS, {"id": node_id(demo), "after": last})
        while len(numbers) < 20:
            message = await client.next(again)
            if message["type"] == "error":
                last = message["payload"][0]["extensions"]["details"]["lastNumber"]
                again = await client.subscribe(EVENTS, {"id": node_id(demo), "after": last})
                continue
            numbers.append(message["payload"]["data"]["repositoryEvents"]["number"])
    assert len(set(numbers)) == 20
    assert numbers == sorted(numbers, key=int)


async def test_a_delivery_costs_the_same_statements_each_time(
    runtime: Runtime, port: int, ann: User, demo: Repository
) -> None:
    query = """subscription($id: ID!) { repositoryEvents(repositoryId: $id) {
      number actor { login } repository { name } } }"""
    async with acknowledged(port) as client:
        subscription = await client.subscribe(query, {"id": node_id(demo)})
        await until_heard(runtime)
        async with acting(runtime, ann).transaction() as tx:
            for _ in range(20):
                tx.emit(RepositoryUpdated(demo.id, ("description",)))
        with counted_statements(runtime.database) as statements:
            for _ in range(20):
                await client.data(subscription)
        # For each: the right to read, then repository and actor; numbering and reading is shared.
        shared = [each for each in statements if "events" in each or "event_counter" in each]
        assert len(statements) - len(shared) == 20 * 3


async def test_sockets_of_one_user_share_what_an_event_costs(
    runtime: Runtime, port: int, ann: User, demo: Repository
) -> None:
    query = """subscription($id: ID!) { repositoryEvents(repositoryId: $id) {
      number actor { login } repository { name } } }"""
    token = (await make_token(runtime, ann, "repo")).token
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(acknowledged(port, token)) for _ in range(10)]
        heard = [(each, await each.subscribe(query, {"id": node_id(demo)})) for each in clients]
        await until_heard(runtime, 10)
        with counted_statements(runtime.database) as statements:
            async with acting(runtime, ann).transaction() as tx:
                tx.emit(RepositoryUpdated(demo.id, ("description",)))
            numbers = {
                (await client.data(subscription))["repositoryEvents"]["number"]
                for client, subscription in heard
            }
        assert len(numbers) == 1
        shared = [each for each in statements if "event" in each]
        # Judged once (the token, the repository), and repository and actor read once.
        assert len(statements) - len(shared) <= 5


async def test_a_delivery_that_takes_too_long_ends_the_subscription(
    runtime: Runtime, port: int, ann: User, demo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graph.subscriptions.DEADLINE_SECONDS", 0.3)

    async def never(*_: object) -> dict[int, object]:
        await asyncio.sleep(30)
        return {}

    async with acknowledged(port) as client:
        subscription = await client.subscribe(EVENTS, {"id": node_id(demo)})
        await until_heard(runtime)
        await asyncio.sleep(0.5)  # waiting for an event takes as long as it takes
        monkeypatch.setattr("resolvers.loaders._owners", never)
        await describe(acting(runtime, ann), demo, "slow")
        error = await client.error(subscription)
        assert error["type"] == "RESOURCE_LIMITS_EXCEEDED"
        assert error["message"].startswith("the request took longer than 0.3 seconds")
        await until_heard(runtime, 0)


async def test_a_delivery_costs_what_its_selection_does_beyond_a_point(
    runtime: Runtime, port: int, ann: User, demo: Repository, ask: GraphQLClient
) -> None:
    token = (await make_token(runtime, ann, "repo")).token
    dear = """subscription($id: ID!) { repositoryEvents(repositoryId: $id) { number repository {
      refs(refPrefix: "refs/heads/", first: 100) { nodes { repository {
        refs(refPrefix: "refs/heads/", first: 1) { nodes { name } } } } } } } }"""

    async def used() -> int:
        answer = await ask("{ rateLimit { used } }", token=token)
        points: int = answer.data["rateLimit"]["used"]
        return points

    async with acknowledged(port, token) as client:
        cheap_one = await client.subscribe(EVENTS, {"id": node_id(demo)})
        dear_one = await client.subscribe(dear, {"id": node_id(demo)})
        await until_heard(runtime, 2)
        before = await used()
        for text in ("one", "two", "three"):
            await describe(acting(runtime, ann), demo, text)
            await client.data(cheap_one)
            await client.data(dear_one)
        assert await used() - before == 3 * 1 + 1  # the last one is this question itself
