"""The WebSocket door: who may come in, what sockets may say, and how they end."""

import datetime as dt
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import update

from graph import websocket
from graph.endpoint import GraphQLEndpoint
from models import AccessToken, Repository, User
from models.base import utc_now
from resolvers import ids
from resolvers.ids import IdKind
from services import sessions
from services.runtime import Runtime
from tests.support.factories import PASSWORD, make_repository, make_token, make_user
from tests.support.graphql import BASE_URL, GraphQLClient
from tests.support.http_server import serving
from tests.support.runtime import make_op
from tests.support.subscriptions import EVENTS, acknowledged, node_id, opened, until_heard


@pytest.fixture
async def ann(runtime: Runtime) -> User:
    return await make_user(runtime, "ann")


@pytest.fixture
async def demo(runtime: Runtime, ann: User) -> Repository:
    return await make_repository(runtime, ann, "demo")


@pytest.fixture
async def port(runtime: Runtime) -> AsyncIterator[int]:
    async with serving(GraphQLEndpoint(runtime)) as port:
        yield port


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


async def test_a_subscription_by_post_is_told_where_to_go(
    ask: GraphQLClient, demo: Repository
) -> None:
    answer = await ask(EVENTS, {"id": node_id(demo)})
    assert answer.error == {
        "type": "UNPROCESSABLE",
        "message": "a subscription is asked over a WebSocket at this address, with the subprotocol "
        "graphql-transport-ws",
    }
