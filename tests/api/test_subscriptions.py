"""Subscriptions over a real WebSocket: what is delivered, to whom, and how sockets end."""

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from graph import websocket
from graph.endpoint import GraphQLEndpoint
from models import AccessToken, Repository, User, Visibility
from models.base import utc_now
from resolvers import events, ids
from resolvers.ids import IdKind
from services import accounts, collaborators, event_feed, forks, repositories, sessions
from services.access import Role
from services.actor import Actor, ActorKind
from services.context import OpContext
from services.events import RepositoryUpdated
from services.repositories import RepositoryChanges
from services.runtime import Runtime
from tests.api.test_connections import counted_statements
from tests.support.content import store_content
from tests.support.factories import PASSWORD, make_repository, make_token, make_user
from tests.support.git import GitRepository
from tests.support.graphql import BASE_URL, GraphQLClient
from tests.support.http_server import serving
from tests.support.runtime import make_op, operator
from tests.support.subscriptions import SocketClient, acknowledged, opened

EVENTS = """subscription($id: ID!, $after: BigInt) {
  repositoryEvents(repositoryId: $id, after: $after) {
    __typename number actor { login } repository { nameWithOwner description }
    ... on RepositoryUpdatedEvent { changedFields }
    ... on RepositoryForkedEvent { fork { nameWithOwner } }
    ... on CollaboratorAddedEvent { permission user { login } }
  }
}"""
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


def node_id(repository: Repository) -> str:
    return ids.encode(IdKind.REPOSITORY, repository.id)


def acting(runtime: Runtime, user: User) -> OpContext:
    actor = Actor(ActorKind.SESSION, user_id=user.id, login=user.login)
    return make_op(runtime, actor)


async def describe(op: OpContext, repository: Repository, text: str) -> None:
    await repositories.update_repository(op, repository.id, RepositoryChanges(description=text))


async def until_heard(runtime: Runtime, listeners: int = 1) -> None:
    """Wait until so many subscriptions have begun to listen."""
    async with asyncio.timeout(10):
        while runtime.feed.listeners != listeners:
            await asyncio.sleep(0.01)


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


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"revoked_at": utc_now()}, "access token has been revoked"),
        ({"expires_at": utc_now() - dt.timedelta(seconds=1)}, "access token has expired"),
    ],
)
async def test_a_credential_that_ends_closes_its_socket(
    runtime: Runtime,
    port: int,
    ann: User,
    demo: Repository,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any],
    reason: str,
) -> None:
    monkeypatch.setattr(websocket, "CREDENTIAL_CHECKED_EVERY_SECONDS", 0.1)
    token = (await make_token(runtime, ann, "repo")).token
    async with acknowledged(port, token) as client:
        await client.subscribe(EVENTS, {"id": node_id(demo)})
        await until_heard(runtime)
        async with runtime.database.write() as session:
            await session.execute(update(AccessToken).values(**change))
        assert await client.closed() == (4401, reason)
    await until_heard(runtime, 0)


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


async def test_queries_and_mutations_are_answered_too(
    runtime: Runtime, port: int, ann: User
) -> None:
    token = (await make_token(runtime, ann, "user")).token
    async with acknowledged(port, token) as client:
        query = await client.subscribe("{ viewer { login } }")
        assert await client.data(query) == {"viewer": {"login": "ann"}}
        assert (await client.next(query))["type"] == "complete"
        mutation = await client.subscribe(
            "mutation($id: ID!)"
            ' { updateUser(input: {userId: $id, bio: "hello"}) { user { bio } } }',
            {"id": ids.encode(IdKind.USER, ann.id)},
        )
        assert await client.data(mutation) == {"updateUser": {"user": {"bio": "hello"}}}


async def test_faults_of_documents_are_told_as_over_http(port: int, demo: Repository) -> None:
    async with acknowledged(port) as client:
        for query, message in (
            ("subscription {", "Syntax Error: Expected Name, found <EOF>."),
            ("subscription { nothing }", "Field 'nothing' doesn't exist on type 'Subscription'"),
            (
                "query($a: ID!) { node(id: $a) { id } }",
                "Variable '$a' has invalid value: Expected a value of non-null type 'ID!' to be "
                "provided.",
            ),
        ):
            error = await client.error(await client.subscribe(query))
            assert (error["type"], error["message"]) == ("UNPROCESSABLE", message)
            assert error["extensions"]["requestId"]
        two = 'subscription { a: repositoryEvents(repositoryId: "x") { number } b: viewer }'
        assert (await client.next(await client.subscribe(two)))["type"] == "error"
        # The socket goes on.
        fine = await client.subscribe("{ __typename }")
        assert await client.data(fine) == {"__typename": "Query"}


async def test_a_session_cookie_counts_only_for_own_pages(
    runtime: Runtime, port: int, ann: User
) -> None:
    signed_in = await sessions.sign_in(make_op(runtime), "ann", PASSWORD, user_agent=None)
    cookie = {"Cookie": f"och_session={signed_in.secret}"}
    query = "{ viewer { login } }"
    async with acknowledged(port, headers=cookie | {"Origin": BASE_URL}) as client:
        assert await client.data(await client.subscribe(query)) == {"viewer": {"login": "ann"}}
    for headers in (cookie | {"Origin": "https://evil.example"}, {"Origin": "null"}):
        async with opened(port, headers=headers) as client:
            await client.send({"type": "connection_init"})
            code, reason = await client.closed()
            assert (code, reason) == (
                4403,
                "sockets of pages of other sites need an access token in connection_init",
            )
    async with opened(port, headers=cookie) as client:
        await client.send({"type": "connection_init"})
        assert (await client.closed())[0] == 4403


async def test_a_page_of_another_site_may_use_a_token(
    runtime: Runtime, port: int, ann: User
) -> None:
    token = (await make_token(runtime, ann, "repo")).token
    async with acknowledged(port, token, headers={"Origin": "https://other.example"}) as client:
        query = await client.subscribe("{ viewer { login } }")
        assert await client.data(query) == {"viewer": {"login": "ann"}}


async def test_the_handshake_may_carry_the_token(runtime: Runtime, port: int, ann: User) -> None:
    token = (await make_token(runtime, ann, "repo")).token
    async with acknowledged(port, headers={"Authorization": f"token {token}"}) as client:
        query = await client.subscribe("{ viewer { login } }")
        assert await client.data(query) == {"viewer": {"login": "ann"}}


@pytest.mark.parametrize("text", ["bearer och_nothing", "bearer ", "Basic !!", "x" * 9000])
async def test_bad_credentials_close_the_socket(port: int, text: str) -> None:
    async with opened(port) as client:
        await client.send({"type": "connection_init", "payload": {"authorization": text}})
        assert await client.closed() == (4401, "Bad credentials")


@pytest.mark.parametrize("protocol", ["graphql-ws", "soap"])
async def test_another_subprotocol_is_refused(port: int, protocol: str) -> None:
    async with opened(port, protocol=protocol) as client:
        assert await client.closed() == (4406, "the subprotocol must be graphql-transport-ws")


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        (["nonsense"], 4400),
        (["[]"], 4400),
        (['"text"'], 4400),
        (["[" * 5000], 4400),
        ([b"binary"], 4400),
        (['{"type": "unknown"}'], 4400),
        (['{"type": ["connection_init"]}'], 4400),
        (['{"type": "connection_init", "payload": 1}'], 4400),
        (['{"type": "connection_init"}', '{"type": "connection_init"}'], 4429),
        (['{"type": "subscribe", "id": "1", "payload": {"query": "{ __typename }"}}'], 4401),
        (['{"type": "connection_init"}', '{"type": "subscribe", "id": "1"}'], 4400),
        (['{"type": "connection_init"}', '{"type": "subscribe", "id": 1, "payload": {}}'], 4400),
        (
            [
                '{"type": "connection_init"}',
                '{"type": "subscribe", "id": "1", "payload": {"query": 1}}',
            ],
            4400,
        ),
        (
            [
                '{"type": "connection_init"}',
                '{"type": "subscribe", "id": "1", "payload": {"query": "{a}", "variables": []}}',
            ],
            4400,
        ),
        (['{"type": "connection_init"}', '{"type": "complete", "id": {}}'], 4400),
        (["x" * (1024 * 1024 + 1)], 1009),
    ],
)
async def test_messages_that_are_none_close_the_socket(
    port: int, messages: list[str | bytes], code: int
) -> None:
    async with opened(port) as client:
        for message in messages:
            await client.connection.send(message)
        assert (await client.closed())[0] == code


async def test_an_id_in_use_closes_the_socket(
    runtime: Runtime, port: int, demo: Repository
) -> None:
    async with acknowledged(port) as client:
        message = {"query": EVENTS, "variables": {"id": node_id(demo)}}
        await client.send({"id": "1", "type": "subscribe", "payload": message})
        await until_heard(runtime)
        await client.send({"id": "1", "type": "subscribe", "payload": message})
        assert await client.closed() == (4409, "Subscriber for 1 already exists")
    await until_heard(runtime, 0)


async def test_who_says_nothing_is_closed(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "INIT_SECONDS", 0.1)
    async with opened(port) as client:
        assert await client.closed() == (4408, "Connection initialisation timeout")


async def test_a_flood_closes_the_socket(port: int) -> None:
    async with acknowledged(port) as client:
        for _ in range(websocket.MAX_MESSAGES_AT_ONCE + 50):
            await client.send({"type": "ping"})
        assert await client.closed() == (4429, "too many messages at once")


async def test_a_ping_is_answered(port: int) -> None:
    async with acknowledged(port) as client:
        await client.send({"type": "ping", "payload": {"a": 1}})
        assert await client.receive() == {"type": "pong"}


async def test_subscriptions_are_bounded_by_socket_and_by_user(
    runtime: Runtime,
    port: int,
    ann: User,
    demo: Repository,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(websocket, "MAX_OPERATIONS_PER_PAYER", 101)
    token = (await make_token(runtime, ann, "repo")).token
    variables = {"id": node_id(demo)}
    async with acknowledged(port, token) as client, acknowledged(port, token) as other:
        for _ in range(100):
            await client.subscribe(EVENTS, variables)
        error = await client.error(await client.subscribe(EVENTS, variables))
        assert error["message"] == "Subscription limit reached"
        await until_heard(runtime, 100)
        await other.subscribe(EVENTS, variables)
        await until_heard(runtime, 101)
        error = await other.error(await other.subscribe(EVENTS, variables))
        assert (error["type"], error["message"]) == (
            "RATE_LIMITED",
            "more than 101 subscriptions at once; end some",
        )
        # Another user is not concerned.
        async with acknowledged(port) as stranger:
            await stranger.subscribe(EVENTS, variables)
            await until_heard(runtime, 102)
    await until_heard(runtime, 0)


async def test_sockets_are_bounded_by_user(
    runtime: Runtime, port: int, ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "MAX_SOCKETS_PER_PAYER", 1)
    token = (await make_token(runtime, ann, "repo")).token
    async with acknowledged(port, token):
        async with opened(port) as second:
            payload = {"Authorization": f"bearer {token}"}
            await second.send({"type": "connection_init", "payload": payload})
            assert await second.closed() == (4429, "more than 1 sockets at once")
        async with acknowledged(port):
            pass  # another payer
    async with acknowledged(port, token):
        pass  # the first one is gone


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


async def test_a_subscription_by_post_is_told_where_to_go(
    ask: GraphQLClient, demo: Repository
) -> None:
    answer = await ask(EVENTS, {"id": node_id(demo)})
    assert answer.error == {
        "type": "UNPROCESSABLE",
        "message": "a subscription is asked over a WebSocket at this address, with the subprotocol "
        "graphql-transport-ws",
    }


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
