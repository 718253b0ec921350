"""One request cannot ask for too much, and one client cannot ask too often (rows 85 to 87, T8)."""

import asyncio
import json
from typing import Any

import pytest

from graph import operation
from graph.limits import MAX_TOKENS
from resolvers import loaders, users
from services.runtime import Runtime
from services.settings import ServiceSettings
from tests.support.factories import make_repository, make_token, make_user
from tests.support.graphql import GraphQLClient
from tests.support.runtime import SECRET_KEY, make_runtime


def limited(runtime: Runtime, points: int) -> Runtime:
    settings = ServiceSettings(secret_key=SECRET_KEY, rate_limit_per_hour=points)
    return make_runtime(runtime.database, settings=settings)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("{" + "a " * MAX_TOKENS + "}", "Syntax Error: Document contains more than 10000 tokens."),
        ("{a" * 3000 + "}" * 3000, "Syntax Error: Document is nested too deeply."),
        ("{a(x:" + "[" * 4000 + "]" * 4000 + ")}", "Syntax Error: Document is nested too deeply."),
        (
            "{ viewer "
            + "{ repositories(first: 1) { nodes { owner " * 9
            + "{ id }"
            + "}}}" * 9
            + "}",
            "the document has more than 25 levels of nesting; ask for less at once",
        ),
        (
            "{" + " ".join(f"a{n}: __typename" for n in range(5000)) + "}",
            "Syntax Error: Document contains more than 10000 tokens.",
        ),
        (
            "{" + " ".join(f"a{n}: __typename" for n in range(501)) + "}",
            "the document has more than 500 aliases; ask for less at once",
        ),
        (
            "{ __typename " + "@skip(if: false) " * 201 + "}",
            "the document has more than 200 directives; ask for less at once",
        ),
        (
            "{ __typename ...F } fragment F on Query { ...F }",
            "Cannot spread fragment 'F' within itself.",
        ),
        (
            "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }",
            None,
        ),
    ],
)
async def test_what_asks_for_too_much(ask: GraphQLClient, query: str, message: str | None) -> None:
    answer = await ask(query)
    assert answer.response.status_code == 200
    assert answer.body["data"] is None
    assert len(answer.errors) == 1
    if message is not None:
        assert answer.error["message"].startswith(message)
    assert answer.error["type"] in ("UNPROCESSABLE", "RESOURCE_LIMITS_EXCEEDED")


async def test_a_hundred_aliases_are_fine(ask: GraphQLClient, runtime: Runtime) -> None:
    """GitHub's tools send as many (`repo_000`)."""
    await make_repository(runtime, await make_user(runtime, "ann"), "demo")
    query = "".join(
        f'repo_{n:03}: repository(owner: "ann", name: "demo") {{ name }} ' for n in range(100)
    )
    answer = await ask(f"{{ {query} }}")
    assert len(answer.data) == 100
    assert answer.response.headers["x-ratelimit-used"] == "1"


async def test_errors_of_a_document_name_the_place(ask: GraphQLClient) -> None:
    answer = await ask("{\n  nope\n}")
    assert answer.body["errors"][0]["locations"] == [{"line": 2, "column": 3}]
    assert answer.error == {
        "type": "UNPROCESSABLE",
        "message": "Field 'nope' doesn't exist on type 'Query'",
    }
    assert answer.codes == ["INVALID"]


async def test_bad_variables_are_the_clients_fault(ask: GraphQLClient) -> None:
    answer = await ask("query($n: Int!) { viewer { repositories(first: $n) { totalCount } } }", {})
    assert answer.error["type"] == "UNPROCESSABLE"
    assert "Variable '$n'" in answer.error["message"]
    answer = await ask(
        "mutation($at: DateTime) { createAccessToken(input: {name: "
        '"x", scopes: [], expiresAt: $at}) { token } }',
        {"at": "yesterday"},
    )
    assert answer.error["type"] == "UNPROCESSABLE"
    assert "a DateTime is an ISO-8601 text with a zone" in answer.error["message"]


@pytest.mark.parametrize(
    "variables", [{"login": "a\x00b"}, {"login": "a\ud800b"}], ids=["nul", "surrogate"]
)
async def test_text_no_database_holds(ask: GraphQLClient, variables: dict[str, Any]) -> None:
    body = {"query": "query($login: String!) { user(login: $login) { id } }"}
    response = await ask.send(
        content=json.dumps({**body, "variables": variables}),
        headers={"Content-Type": "application/json"},
    )
    (error,) = response.json()["errors"]
    assert error["type"] == "UNPROCESSABLE"
    assert error["message"] == "a text in the request holds a NUL character or a lone surrogate"


async def test_the_price_of_a_query(ask: GraphQLClient, runtime: Runtime) -> None:
    user = await make_user(runtime, "ann")
    token = (await make_token(runtime, user)).token
    query = """{ rateLimit { cost limit nodeCount remaining used resetAt }
        viewer { repositories(first: 100) { nodes { refs(refPrefix: "refs/heads/", first: 100) {
          nodes { repository { refs(refPrefix: "refs/tags/", first: 10) { totalCount } } } }
        } } } }"""
    answer = await ask(query, token=token)
    rate = answer.data["rateLimit"]
    assert rate["resetAt"].endswith("Z")
    assert {key: rate[key] for key in rate if key != "resetAt"} == {
        "cost": 102,
        "limit": 5000,
        "nodeCount": 110100,
        "remaining": 4898,
        "used": 102,
    }
    assert answer.response.headers["x-ratelimit-remaining"] == "4898"
    dry = await ask(query.replace("rateLimit {", "rateLimit(dryRun: true) {"), token=token)
    assert list(dry.data) == ["rateLimit"]
    assert dry.data["rateLimit"]["cost"] == 102
    assert dry.data["rateLimit"]["used"] == 103


async def test_a_dry_run_by_variable_and_fragment(ask: GraphQLClient) -> None:
    query = """query($dry: Boolean) { ...F viewer { login } }
        fragment F on Query { limits: rateLimit(dryRun: $dry) { cost } }"""
    answer = await ask(query, {"dry": True})
    assert answer.data == {"limits": {"cost": 1}}


async def test_points_run_out(runtime: Runtime) -> None:
    small = limited(runtime, 20)
    ask = GraphQLClient(small)
    user = await make_user(small, "ann")
    token, other = [(await make_token(small, user)).token for _ in range(2)]
    for _ in range(19):
        await ask("{ __typename }", token=token)
    # A user's tokens share the points.
    assert (await ask("{ __typename }", token=other)).data == {"__typename": "Query"}
    answer = await ask("{ __typename }", token=token)
    assert answer.response.status_code == 200
    assert answer.body["data"] is None
    assert answer.error == {
        "type": "RATE_LIMITED",
        "message": "too many requests; try again in 3600 seconds",
    }
    assert answer.codes == ["RATE_LIMITED"]
    assert answer.response.headers["x-ratelimit-remaining"] == "0"
    assert answer.response.headers["retry-after"] == "3600"
    # Nobody's points are another's.
    assert (await ask("{ __typename }")).data == {"__typename": "Query"}
    small.passwords.close()


async def test_what_a_query_costs_must_be_left(runtime: Runtime) -> None:
    small = limited(runtime, 50)
    ask = GraphQLClient(small)
    token = (await make_token(small, await make_user(small, "ann"))).token
    query = """{ viewer { repositories(first: 100) { nodes { refs(refPrefix: "refs/heads/",
        first: 100) { nodes { repository { refs(refPrefix: "refs/tags/", first: 1) { totalCount }
        } } } } } } }"""
    answer = await ask(query, token=token)
    assert answer.body["data"] is None
    assert answer.error["type"] == "RATE_LIMITED"
    assert answer.response.headers["x-ratelimit-used"] == "1"
    small.passwords.close()


async def test_strangers_share_a_tenth_by_address(runtime: Runtime) -> None:
    small = limited(runtime, 20)
    one = GraphQLClient(small, address="2001:db8::1")
    neighbour = GraphQLClient(small, address="2001:db8::2")
    elsewhere = GraphQLClient(small, address="2001:db8:0:1::1")
    assert (await one("{ __typename }")).response.headers["x-ratelimit-limit"] == "2"
    await neighbour("{ __typename }")
    assert (await one("{ __typename }")).error["type"] == "RATE_LIMITED"
    assert (await elsewhere("{ __typename }")).data == {"__typename": "Query"}
    small.passwords.close()


async def test_refused_documents_cost_a_point_too(ask: GraphQLClient) -> None:
    for _ in range(3):
        answer = await ask("{ nope }")
    assert answer.response.headers["x-ratelimit-used"] == "3"


async def test_the_deadline(
    ask: GraphQLClient, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operation, "DEADLINE_SECONDS", 0.05)

    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(users.accounts, "get_user", never)
    answer = await ask('{ user(login: "ann") { login } }')
    assert answer.body["data"] is None
    assert answer.error == {
        "type": "RESOURCE_LIMITS_EXCEEDED",
        "message": "the request took longer than 0.05 seconds and was stopped; ask for less at "
        "once, and after a mutation look whether the change was made",
    }
    # The connection that was cut short is not used again.
    assert (await ask("{ __typename }")).data == {"__typename": "Query"}


async def test_the_deadline_stops_what_was_being_read(
    ask: GraphQLClient, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operation, "DEADLINE_SECONDS", 0.05)
    stopped = asyncio.Event()

    async def never(*_: object) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stopped.set()
            raise

    monkeypatch.setattr(loaders, "load_counts", never)
    await make_user(runtime, "ann")
    answer = await ask('{ user(login: "ann") { repositories { totalCount } } }')
    assert answer.error["type"] == "RESOURCE_LIMITS_EXCEEDED"
    await stopped.wait()


async def test_mutations_in_one_request_see_each_others_work(
    ask: GraphQLClient, runtime: Runtime
) -> None:
    user = await make_user(runtime, "ann")
    token = (await make_token(runtime, user, "repo")).token
    answer = await ask(
        """mutation {
          first: createRepository(input: {name: "one", visibility: PUBLIC}) {
            repository { owner { repositories(first: 5) { totalCount } } } }
          second: createRepository(input: {name: "two", visibility: PUBLIC}) {
            repository { owner { repositories(first: 5) { totalCount nodes { name } } } } } }""",
        token=token,
    )
    assert answer.data["first"]["repository"]["owner"]["repositories"]["totalCount"] == 1
    assert answer.data["second"]["repository"]["owner"]["repositories"] == {
        "totalCount": 2,
        "nodes": [{"name": "one"}, {"name": "two"}],
    }
