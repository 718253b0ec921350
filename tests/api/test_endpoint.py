"""The HTTP side of the contract: what is accepted, who asks, what the headers say."""

import json
import logging

import httpx
import pytest
import structlog

from graph.limits import MAX_BODY_BYTES
from models.base import utc_now
from services import repositories
from services.runtime import Runtime
from services.settings import ServiceSettings
from tests.support.factories import PASSWORD, make_session, make_token, make_user
from tests.support.graphql import BASE_URL, GraphQLClient
from tests.support.runtime import SECRET_KEY, make_runtime

VIEWER = "{ viewer { login } }"
META = "{ __typename }"


@pytest.mark.parametrize("method", ["GET", "PUT", "OPTIONS", "DELETE"])
async def test_only_post_is_answered(ask: GraphQLClient, method: str) -> None:
    response = await ask.send(method, params={"query": META})
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert response.json()["message"] == "GraphQL is asked by POST"


async def test_head_is_refused(ask: GraphQLClient) -> None:
    assert (await ask.send("HEAD")).status_code == 405


@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-www-form-urlencoded",
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/graphql",
        "application/json; charset=utf-16",
        "",
    ],
)
async def test_only_json_is_read(ask: GraphQLClient, content_type: str) -> None:
    body = json.dumps({"query": META})
    response = await ask.send(content=body, headers={"Content-Type": content_type})
    assert response.status_code == 415
    assert response.json()["message"] == "the request body must be application/json in UTF-8"


async def test_json_with_a_charset_is_read(ask: GraphQLClient) -> None:
    response = await ask.send(
        content=json.dumps({"query": META}),
        headers={"Content-Type": "application/json; charset=UTF-8"},
    )
    assert response.json() == {"data": {"__typename": "Query"}}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "Problems parsing JSON"),
        (b'{"query": NaN}', "Problems parsing JSON"),
        (b"\xff", "Problems parsing JSON"),
        (b"[" * 100_000, "Problems parsing JSON"),
        (b'{"variables": ' + b"9" * 5000 + b"}", "Problems parsing JSON"),
        (b'[{"query": "{ __typename }"}]', "one operation a request: batches are not supported"),
        (b'"text"', "the request body must be a JSON object"),
        (b"{}", "A query attribute must be specified and must be a string."),
        (b'{"query": ""}', "A query attribute must be specified and must be a string."),
        (b'{"query": 1}', "A query attribute must be specified and must be a string."),
        (b'{"query": "{a}", "variables": []}', "variables must be a JSON object"),
        (b'{"query": "{a}", "operationName": 1}', "operationName must be a string"),
    ],
)
async def test_bodies_that_are_no_request(ask: GraphQLClient, body: bytes, message: str) -> None:
    response = await ask.send(content=body, headers={"Content-Type": "application/json"})
    assert (response.status_code, response.json()["message"]) == (400, message)


@pytest.mark.parametrize("announced", [True, False])
async def test_large_bodies_are_refused(ask: GraphQLClient, announced: bool) -> None:
    body = json.dumps({"query": META, "x": "y" * MAX_BODY_BYTES}).encode()

    async def pieces():  # type: ignore[no-untyped-def]
        for start in range(0, len(body), 65536):
            yield body[start : start + 65536]

    response = await ask.send(
        content=body if announced else pieces(), headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 413
    assert response.json()["message"] == "the request body is larger than 1048576 bytes"


async def test_several_operations_need_a_name(ask: GraphQLClient) -> None:
    query = "query A { __typename } query B { serverMetadata { isSignUpEnabled } }"
    unnamed = await ask.send(json={"query": query})
    assert unnamed.json()["errors"][0]["message"] == (
        "the document has several operations or none; give operationName"
    )
    wrong = await ask.send(json={"query": query, "operationName": "C"})
    assert wrong.json()["errors"][0]["message"] == (
        "the document has no single operation named 'C'"
    )
    named = await ask.send(json={"query": query, "operationName": "B"})
    assert named.json() == {"data": {"serverMetadata": {"isSignUpEnabled": False}}}


@pytest.mark.parametrize(
    "authorization",
    [
        "token och_nonsense",
        "Bearer och_nonsense",
        "Bearer a.b.c",
        "Basic !!!",
        "Basic YW5uOnNlY3JldA==",
        "Digest x",
        "",
    ],
)
async def test_bad_credentials(ask: GraphQLClient, authorization: str) -> None:
    answer = await ask(META, headers={"Authorization": authorization})
    assert answer.response.status_code == 401
    assert answer.body["message"] == "Bad credentials"


async def test_every_form_of_a_token(ask: GraphQLClient, runtime: Runtime) -> None:
    user = await make_user(runtime, "ann")
    token = (await make_token(runtime, user, "repo", "read:org")).token
    for authorization in (f"token {token}", f"bearer {token}"):
        answer = await ask(VIEWER, headers={"Authorization": authorization})
        assert answer.data == {"viewer": {"login": "ann"}}
    for pair in (("x-access-token", token), ("ann", token), (token, "")):
        response = await ask.send(json={"query": VIEWER}, auth=httpx.BasicAuth(*pair))
        assert response.json() == {"data": {"viewer": {"login": "ann"}}}


async def test_headers_that_clients_read(ask: GraphQLClient, runtime: Runtime) -> None:
    token = (await make_token(runtime, await make_user(runtime), "read:user", "repo")).token
    headers = (await ask(VIEWER, token=token)).response.headers
    assert headers["content-type"] == "application/json; charset=utf-8"
    assert headers["x-oauth-scopes"] == (
        "public_repo, read:user, repo, repo:invite, repo:status, repo_deployment, security_events"
    )
    assert headers["x-github-media-type"] == "github.v4; format=json"
    assert headers["x-ratelimit-limit"] == "5000"
    assert headers["x-ratelimit-used"] == "1"
    assert headers["x-ratelimit-remaining"] == "4999"
    assert headers["x-ratelimit-resource"] == "graphql"
    assert 3590 < int(headers["x-ratelimit-reset"]) - utc_now().timestamp() < 3601
    assert headers["cache-control"] == "no-store"
    assert headers["x-github-request-id"]
    assert "x-oauth-scopes" not in (await ask(META)).response.headers


async def test_a_cookie_counts_for_pages_of_this_server(
    ask: GraphQLClient, runtime: Runtime
) -> None:
    cookie = (await make_session(runtime, await make_user(runtime, "ann"))).secret
    assert (await ask(VIEWER, cookie=cookie)).data == {"viewer": {"login": "ann"}}
    fetched = await ask(
        VIEWER, headers={"Cookie": f"och_session={cookie}", "Sec-Fetch-Site": "same-origin"}
    )
    assert fetched.data == {"viewer": {"login": "ann"}}


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": f"{BASE_URL}.evil.example"},
        {"Origin": "https://127.0.0.1:8000"},
        {"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_pages_of_other_sites_get_nothing(
    ask: GraphQLClient, runtime: Runtime, headers: dict[str, str]
) -> None:
    cookie = (await make_session(runtime, await make_user(runtime))).secret
    for given in ({**headers, "Cookie": f"och_session={cookie}"}, headers):
        answer = await ask(META, headers=given)
        assert answer.response.status_code == 403
        assert answer.body["message"] == "requests from pages of other sites need an access token"


async def test_a_cookie_without_origin_is_refused(ask: GraphQLClient, runtime: Runtime) -> None:
    cookie = (await make_session(runtime, await make_user(runtime))).secret
    answer = await ask(META, headers={"Cookie": f"och_session={cookie}"})
    assert answer.response.status_code == 403
    assert answer.body["message"] == (
        "a session cookie needs an Origin header; programs use an access token"
    )


async def test_an_ended_session_is_forgotten_and_may_sign_in_again(
    ask: GraphQLClient, runtime: Runtime
) -> None:
    answer = await ask(META, cookie="stale")
    assert answer.data == {"__typename": "Query"}
    assert answer.response.headers["set-cookie"] == (
        "och_session=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0"
    )


async def test_cookies_on_https(runtime: Runtime) -> None:
    settings = ServiceSettings(secret_key=SECRET_KEY, base_url="https://hub.example")
    secure = make_runtime(runtime.database, settings=settings)
    await make_user(secure, "ann")
    answer = await GraphQLClient(secure).mutate(
        "signIn",
        {"login": "ann", "password": PASSWORD, "method": "COOKIE"},
        "token",
        headers={"Origin": "https://hub.example"},
    )
    assert answer.data["signIn"]["token"] is None
    cookie = answer.response.headers["set-cookie"]
    assert cookie.startswith("__Host-och_session=")
    assert cookie.endswith("; Path=/; HttpOnly; SameSite=Lax; Max-Age=2591999; Secure")
    secure.passwords.close()


async def test_unexpected_faults_are_masked_and_logged(
    ask: GraphQLClient, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(repositories, "create_repository", fail)
    token = (await make_token(runtime, await make_user(runtime), "repo")).token
    with structlog.testing.capture_logs() as logs:
        answer = await ask.mutate(
            "createRepository", {"name": "demo", "visibility": "PUBLIC"}, "", token=token
        )
    identifier = answer.response.headers["x-github-request-id"]
    assert answer.body["data"] == {"createRepository": None}
    assert answer.error == {
        "type": "INTERNAL",
        "message": "Something went wrong while executing your query. Please include "
        f"`{identifier}` when reporting this issue.",
        "path": ["createRepository"],
    }
    assert answer.body["errors"][0]["extensions"] == {
        "code": "INTERNAL",
        "fields": [],
        "requestId": identifier,
    }
    assert "secret detail" not in answer.response.text
    (line,) = [each for each in logs if each["event"] == "graphql request failed"]
    assert isinstance(line["exc_info"], RuntimeError)
    assert line["request_id"] == identifier


async def test_faults_outside_of_fields_are_masked_too(
    ask: GraphQLClient, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("graph.execution.measure_cost", fail)
    answer = await ask(META)
    assert answer.error["type"] == "INTERNAL"
    assert "secret detail" not in answer.response.text


async def test_nothing_of_a_request_reaches_the_log(
    ask: GraphQLClient, runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await make_user(runtime, "ann")
    with structlog.testing.capture_logs() as logs:
        await ask.mutate("signIn", {"login": "ann", "password": "wrong-secret"}, "token")
        await ask('mutation { signIn(input: {login: "ann", password: "wrong-secret" }) { x } }')
    assert "wrong-secret" not in f"{logs}{caplog.text}"


async def test_the_database_away_is_said(ask: GraphQLClient, runtime: Runtime) -> None:
    token = (await make_token(runtime, await make_user(runtime))).token
    await runtime.database.close()
    monkey = GraphQLClient(make_runtime(type(runtime.database)("sqlite:////nowhere/hub.sqlite3")))
    answer = await monkey(VIEWER, token=token)
    assert answer.response.status_code == 503
    assert answer.response.headers["retry-after"] == "5"
    assert answer.body["message"] == "the database does not answer; try again in a moment"
