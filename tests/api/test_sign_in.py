"""Signing in and out through the contract: cookies, signed tokens, and what guessing learns."""

import pytest
from sqlalchemy import select

from models import Session
from services import accounts
from services.runtime import Runtime
from tests.api.conftest import EventLog
from tests.support.factories import PASSWORD, make_session, make_token, make_user
from tests.support.graphql import BASE_URL, GraphQLClient
from tests.support.runtime import operator

OWN_PAGE = {"Origin": BASE_URL}
SHOWN = "token expiresAt session { id isCurrent userAgent address } user { login email }"


def cookie_of(header: str) -> str:
    return header.partition(";")[0].partition("=")[2]


async def test_a_browser_signs_in_and_out(
    ask: GraphQLClient, runtime: Runtime, events: EventLog
) -> None:
    user = await make_user(runtime, "ann")
    await events.new()  # those of the preparations
    answer = await ask.mutate(
        "signIn",
        {"login": "ANN", "password": PASSWORD, "method": "COOKIE"},
        SHOWN,
        headers={**OWN_PAGE, "User-Agent": "Mozilla/5.0"},
    )
    signed_in = answer.data["signIn"]
    assert signed_in["token"] is None
    assert signed_in["user"] == {"login": "ann", "email": ""}
    assert signed_in["session"]["userAgent"] == "Mozilla/5.0"
    assert signed_in["session"]["address"] == "192.0.2.7"
    header = answer.response.headers["set-cookie"]
    assert header.endswith("; Path=/; HttpOnly; SameSite=Lax; Max-Age=2591999")
    cookie = cookie_of(header)
    assert cookie not in answer.response.text
    viewer = await ask("{ viewer { login } }", cookie=cookie)
    assert viewer.data == {"viewer": {"login": "ann"}}
    out = await ask.mutate("signOut", {}, "", cookie=cookie)
    assert out.response.headers["set-cookie"] == (
        "och_session=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0"
    )
    gone = await ask("{ viewer { login } }", cookie=cookie)
    assert gone.error["type"] == "UNAUTHENTICATED"
    async with runtime.database.read() as session:
        (row,) = await session.scalars(select(Session))
    assert cookie not in row.token_hash
    values = {"kind": "session", "credential_id": row.id, "user_id": user.id}
    assert await events.new() == [("CredentialCreated", values), ("CredentialRevoked", values)]


async def test_an_api_client_signs_in_and_out(ask: GraphQLClient, runtime: Runtime) -> None:
    await make_user(runtime, "ann")
    answer = await ask.mutate("signIn", {"login": "ann@example.com", "password": PASSWORD}, SHOWN)
    assert "set-cookie" not in answer.response.headers
    token = answer.data["signIn"]["token"]
    viewer = await ask(
        "{ viewer { login sessions(first: 5) { nodes { isCurrent } } } }", token=token
    )
    assert viewer.data == {"viewer": {"login": "ann", "sessions": {"nodes": [{"isCurrent": True}]}}}
    # A signed token is no cookie, and a cookie's value no token.
    assert (await ask("{ viewer { login } }", cookie=token)).error["type"] == "UNAUTHENTICATED"
    await ask.mutate("signOut", {}, "", token=token)
    assert (await ask("{ viewer { login } }", token=token)).response.status_code == 401


async def test_signing_in_again_ends_the_old_session(ask: GraphQLClient, runtime: Runtime) -> None:
    user = await make_user(runtime, "ann")
    old = (await make_session(runtime, user)).secret
    answer = await ask.mutate(
        "signIn", {"login": "ann", "password": PASSWORD, "method": "COOKIE"}, "token", cookie=old
    )
    new = cookie_of(answer.response.headers["set-cookie"])
    assert new != old
    assert (await ask("{ viewer { login } }", cookie=old)).error["type"] == "UNAUTHENTICATED"
    assert (await ask("{ viewer { login } }", cookie=new)).data == {"viewer": {"login": "ann"}}


@pytest.mark.parametrize(
    ("login", "password"),
    [("ann", "wrong password"), ("nobody", PASSWORD), ("ann@example.org", PASSWORD), ("", "")],
)
async def test_what_is_wrong_is_not_said(
    ask: GraphQLClient, runtime: Runtime, login: str, password: str
) -> None:
    """Row 87: an unknown account and a wrong password are answered alike."""
    await make_user(runtime, "ann")
    answer = await ask.mutate("signIn", {"login": login, "password": password}, "token")
    assert answer.body["data"] == {"signIn": None}
    assert answer.error == {
        "type": "UNAUTHENTICATED",
        "message": "the login or the password is wrong",
        "path": ["signIn"],
    }


async def test_guessing_is_throttled_in_one_request_too(
    ask: GraphQLClient, runtime: Runtime
) -> None:
    await make_user(runtime, "ann")
    guesses = " ".join(
        f'g{n}: signIn(input: {{login: "ann", password: "guess {n}"}}) {{ token }}'
        for n in range(15)
    )
    answer = await ask(f"mutation {{ {guesses} }}")
    kinds = [each["type"] for each in answer.errors]
    assert kinds == ["UNAUTHENTICATED"] * 10 + ["RATE_LIMITED"] * 5
    details = answer.body["errors"][-1]["extensions"]["details"]
    assert 0 < details["retry_after"] <= 900


@pytest.mark.parametrize("headers", [{}, {"Sec-Fetch-Site": "none"}])
async def test_a_cookie_is_set_for_own_pages_alone(
    ask: GraphQLClient, runtime: Runtime, headers: dict[str, str]
) -> None:
    await make_user(runtime, "ann")
    answer = await ask.mutate(
        "signIn",
        {"login": "ann", "password": PASSWORD, "method": "COOKIE"},
        "token",
        headers=headers,
    )
    assert "set-cookie" not in answer.response.headers
    if answer.response.status_code == 200:
        assert answer.error["message"] == (
            "only pages of this server can sign in with a cookie; ask for a token"
        )
    async with runtime.database.read() as session:
        assert list(await session.scalars(select(Session))) == []


async def test_a_suspended_user(ask: GraphQLClient, runtime: Runtime) -> None:
    user = await make_user(runtime, "ann")
    token = (await make_token(runtime, user)).token
    cookie = (await make_session(runtime, user)).secret
    await accounts.suspend_user(operator(runtime), user.id)
    answer = await ask.mutate("signIn", {"login": "ann", "password": PASSWORD}, "token")
    assert answer.error["type"] == "FORBIDDEN"
    for credentials in ({"token": token}, {"cookie": cookie}):
        refused = await ask("{ __typename }", **credentials)
        assert refused.response.status_code == 403
        assert refused.body["message"] == (
            "the account is suspended; ask the administrator of this server"
        )


async def test_changing_the_password_ends_other_sessions(
    ask: GraphQLClient, runtime: Runtime
) -> None:
    user = await make_user(runtime, "ann")
    this, other = [(await make_session(runtime, user)).secret for _ in range(2)]
    await ask.mutate(
        "changePassword",
        {"currentPassword": PASSWORD, "newPassword": "another battery staple"},
        "user { login }",
        cookie=this,
    )
    assert (await ask("{ viewer { login } }", cookie=this)).data == {"viewer": {"login": "ann"}}
    assert (await ask("{ viewer { login } }", cookie=other)).error["type"] == "UNAUTHENTICATED"
    signed_in = await ask.mutate("signIn", {"login": "ann", "password": PASSWORD}, "token")
    assert signed_in.error["message"] == "the login or the password is wrong"
