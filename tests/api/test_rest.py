"""The REST shim as HTTP: routes, answers, faults and headers that gh and octokit read."""

import base64
from pathlib import Path
from typing import Any

import httpx
import pytest
from graphql import parse, validate

from graph.rest import documents
from graph.rest.endpoint import RestEndpoint
from graph.schema import schema
from models import Visibility
from resolvers import ids
from resolvers.ids import IdKind
from services.runtime import Runtime
from tests.support.content import store_content
from tests.support.factories import make_repository, make_token, make_user
from tests.support.git import GitRepository

BASE = "http://127.0.0.1:8000/api/v3"
NOT_FOUND = {"message": "Not Found"}


class Rest:
    def __init__(self, runtime: Runtime) -> None:
        self._transport = httpx.ASGITransport(RestEndpoint(runtime), client=("192.0.2.7", 1))

    async def __call__(
        self, method: str, path: str, *, token: str | None = None, **options: Any
    ) -> httpx.Response:
        headers = options.pop("headers", {})
        if token is not None:
            headers["Authorization"] = f"token {token}"
        async with httpx.AsyncClient(transport=self._transport, base_url=BASE) as client:
            return await client.request(method, path, headers=headers, **options)


@pytest.fixture
def rest(runtime: Runtime) -> Rest:
    return Rest(runtime)


def test_every_document_is_valid() -> None:
    found = {
        name: value
        for name, value in vars(documents).items()
        if name.isupper() and value.lstrip().startswith(("query", "mutation"))
    }
    assert len(found) >= 14
    for name, document in found.items():
        assert validate(schema._schema, parse(document)) == [], name


async def test_root_and_meta(rest: Rest, runtime: Runtime) -> None:
    token = (await make_token(runtime, await make_user(runtime, "ann"), "repo", "read:org")).token
    answer = await rest("GET", "/", token=token)
    assert answer.status_code == 200
    assert {"repo", "read:org"} <= set(answer.headers["x-oauth-scopes"].split(", "))
    assert answer.headers["x-ratelimit-resource"] == "graphql"
    meta = (await rest("GET", "/meta")).json()
    assert meta["installed_version"] == "3.17.0"
    wrong = await rest("GET", "/", token="och_wrong")
    assert (wrong.status_code, wrong.json()) == (401, {"message": "Bad credentials"})


async def test_the_viewer_and_users(rest: Rest, runtime: Runtime) -> None:
    ann = await make_user(runtime, "ann")
    token = (await make_token(runtime, ann, "user")).token
    shown = (await rest("GET", "/user", token=token)).json()
    assert (shown["login"], shown["id"], shown["email"]) == ("ann", ann.id, "ann@example.com")
    assert shown["node_id"] == ids.encode(IdKind.USER, ann.id)
    anonymous = await rest("GET", "/user")
    assert (anonymous.status_code, anonymous.json()) == (
        401,
        {"message": "Requires authentication"},
    )
    other = (await rest("GET", "/users/ANN")).json()
    assert (other["login"], other["type"], "email" in other) == ("ann", "User", False)
    none = await rest("GET", "/users/none")
    assert (none.status_code, none.json()) == (404, NOT_FOUND)


async def test_a_repository_and_its_readme(rest: Rest, runtime: Runtime, tmp_path: Path) -> None:
    repository = await make_repository(runtime, await make_user(runtime, "ann"), "demo")
    assert (await rest("GET", "/repos/ann/demo/readme")).status_code == 404
    source = GitRepository.create(tmp_path / "source")
    source.commit("one", files={"readme.txt": "no", "README.md": "# Hé\n", "docs/README": "d"})
    await store_content(runtime, repository, source)
    answer = await rest("GET", "/repos/ann/demo")
    shown = answer.json()
    assert shown["node_id"] == ids.encode(IdKind.REPOSITORY, repository.id)
    assert shown["id"] == repository.id
    assert shown["full_name"] == "ann/demo"
    assert shown["url"] == f"{BASE}/repos/ann/demo"
    assert shown["clone_url"] == "http://127.0.0.1:8000/ann/demo.git"
    assert shown["permissions"] == dict.fromkeys(
        ("pull", "triage", "push", "maintain", "admin"), False
    )
    assert "parent" not in shown
    again = await rest("GET", "/repos/ann/demo", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    head = await rest("HEAD", "/repos/ann/demo")
    assert (head.status_code, head.content) == (200, b"")
    readme = (await rest("GET", "/repos/ann/demo/readme")).json()
    assert (readme["name"], readme["sha"]) == ("README.md", source.oid("main:README.md"))
    assert base64.b64decode(readme["content"]).decode() == "# Hé\n"
    docs = (await rest("GET", "/repos/ann/demo/readme?ref=HEAD:docs")).json()
    assert docs["path"] == "docs/README"


async def test_what_is_private_is_not_there(rest: Rest, runtime: Runtime) -> None:
    ann, bob = await make_user(runtime, "ann"), await make_user(runtime, "bob")
    await make_repository(runtime, ann, "secret", visibility=Visibility.PRIVATE)
    token = (await make_token(runtime, bob, "repo", "delete_repo")).token
    for credential in (None, token):
        for method, path in (
            ("GET", "/repos/ann/secret"),
            ("GET", "/repos/ann/none"),
            ("GET", "/repos/ann/secret/readme"),
            ("PATCH", "/repos/ann/secret"),
            ("DELETE", "/repos/ann/secret"),
            ("DELETE", "/repos/ann/none"),
            ("POST", "/repos/ann/secret/forks"),
        ):
            answer = await rest(method, path, token=credential)
            assert (answer.status_code, answer.json()) == (404, NOT_FOUND), (method, path)


async def test_creating_and_faults(rest: Rest, runtime: Runtime) -> None:
    token = (await make_token(runtime, await make_user(runtime, "ann"), "repo")).token
    made = await rest("POST", "/user/repos", token=token, json={"name": "demo", "private": True})
    assert (made.status_code, made.json()["visibility"]) == (201, "private")
    assert made.json()["permissions"]["admin"] is True
    twice = await rest("POST", "/user/repos", token=token, json={"name": "demo"})
    assert twice.status_code == 422
    assert twice.json() == {
        "message": "Validation Failed",
        "errors": [
            {
                "resource": "",
                "field": "name",
                "code": "custom",
                "message": "Name already exists on this account",
            }
        ],
    }
    refused = await rest("DELETE", "/repos/ann/demo", token=token)
    assert refused.status_code == 403
    assert refused.headers["x-accepted-oauth-scopes"] == "delete_repo"
    for body, status in ((b"{", 400), (b"[]", 400), (b'"x"', 400), (b'{"name": 7}', 422)):
        answer = await rest("POST", "/user/repos", token=token, content=body)
        assert answer.status_code == status, body


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/none", 404, "Not Found"),
        ("GET", "/repos/a", 404, "Not Found"),
        ("GET", "/repos/a/b/../../c", 404, "Not Found"),
        ("POST", "/meta", 405, "use GET here"),
        ("PUT", "/user/keys/1", 405, "use DELETE, GET here"),
        ("GET", "/user/keys/99999999999", 404, "Not Found"),
        ("GET", "/user/keys/7", 404, "Not Found"),
    ],
)
async def test_routes_that_are_none(
    rest: Rest, method: str, path: str, status: int, message: str
) -> None:
    answer = await rest(method, path)
    assert (answer.status_code, answer.json()) == (status, {"message": message})
