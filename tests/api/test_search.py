"""Search, and what an address shows: only what the viewer may read, told alike."""

from pathlib import Path
from typing import Any

import pytest

from models import Repository, User, Visibility
from services import forks, profiles, repositories
from services.profiles import ProfileChanges
from services.repositories import RepositoryChanges
from services.runtime import Runtime
from tests.api.test_connections import counted_statements
from tests.support.content import store_content
from tests.support.factories import make_repository, make_token, make_user
from tests.support.git import GitRepository
from tests.support.graphql import BASE_URL, GraphQLClient
from tests.support.runtime import operator

SEARCH = """query($query: String!, $type: SearchType!, $first: Int = 10, $after: String) {
  search(query: $query, type: $type, first: $first, after: $after) {
    repositoryCount userCount pageInfo { hasNextPage endCursor }
    nodes { __typename ... on Repository { nameWithOwner } ... on User { login } }
    edges { cursor node { ... on Repository { nameWithOwner } ... on User { login } } } } }"""
RESOURCE = """query($url: URI!) { resource(url: $url) { __typename resourcePath
  ... on Repository { nameWithOwner } ... on User { login } ... on Commit { oid } } }"""


@pytest.fixture
async def ann(runtime: Runtime) -> User:
    return await make_user(runtime, "ann")


@pytest.fixture
async def token(runtime: Runtime, ann: User) -> str:
    return (await make_token(runtime, ann, "repo")).token


@pytest.fixture
async def world(runtime: Runtime, ann: User) -> dict[str, Repository]:
    bob = await make_user(runtime, "bob")
    await profiles.update_profile(operator(runtime), bob.id, ProfileChanges(name="Robert Tables"))
    made = {
        "ann/web-server": await make_repository(runtime, ann, "web-server"),
        "ann/Secret-Web": await make_repository(
            runtime, ann, "Secret-Web", visibility=Visibility.PRIVATE
        ),
        "bob/tool": await make_repository(runtime, bob, "tool"),
        "bob/100%": await make_repository(runtime, bob, "100_x"),
    }
    op = operator(runtime)
    await repositories.update_repository(
        op, made["bob/tool"].id, RepositoryChanges(description="A Tool for the web")
    )
    await repositories.update_repository(op, made["bob/100%"].id, RepositoryChanges(archived=True))
    await forks.fork_repository(op, made["bob/tool"].id, "ann", "copy")
    return made


async def found(
    ask: GraphQLClient, query: str, kind: str = "REPOSITORY", **credentials: Any
) -> list[str]:
    """The names, sorted."""
    answer = await ask(SEARCH, {"query": query, "type": kind}, **credentials)
    result = answer.data["search"]
    field = "nameWithOwner" if kind == "REPOSITORY" else "login"
    names = [each[field] for each in result["nodes"]]
    assert [each["node"][field] for each in result["edges"]] == names
    counts = (result["repositoryCount"], result["userCount"])
    assert counts == ((len(names), 0) if kind == "REPOSITORY" else (0, len(names)))
    return sorted(names)


@pytest.mark.databases
async def test_words_and_qualifiers(
    ask: GraphQLClient, world: dict[str, Repository], token: str
) -> None:
    everything = ["ann/Secret-Web", "ann/copy", "ann/web-server", "bob/100_x", "bob/tool"]
    for query, expected in {
        "": everything,
        "web": ["ann/Secret-Web", "ann/copy", "ann/web-server", "bob/tool"],
        "WEB server": ["ann/web-server"],
        '"tool for"': ["ann/copy", "bob/tool"],
        '"tool': [],  # the quotation mark is searched for
        "bob/to": ["bob/tool"],
        "_": ["bob/100_x"],
        "%": [],
        "user:ANN web": ["ann/Secret-Web", "ann/copy", "ann/web-server"],
        "repo:bob/tool": ["bob/tool"],
        "is:private": ["ann/Secret-Web"],
        "is:public user:ann": ["ann/copy", "ann/web-server"],
        "archived:true": ["bob/100_x"],
        "archived:false user:bob": ["bob/tool"],
        "fork:only": ["ann/copy"],
        "fork:false web": ["ann/Secret-Web", "ann/web-server", "bob/tool"],
        "fork:true": everything,
        "unknown:thing": [],
        "user:nobody": [],
    }.items():
        assert await found(ask, query, token=token) == expected, query


async def test_what_is_hidden_is_neither_found_nor_counted(
    ask: GraphQLClient, runtime: Runtime, world: dict[str, Repository]
) -> None:
    stranger = (await make_token(runtime, await make_user(runtime, "cyd"), "repo")).token
    for credentials in ({}, {"token": stranger}):
        assert await found(ask, "secret", **credentials) == []
        assert await found(ask, "is:private", **credentials) == []
        assert await found(ask, "repo:ann/Secret-Web", **credentials) == []


async def test_users(ask: GraphQLClient, world: dict[str, Repository]) -> None:
    assert await found(ask, "", "USER") == ["ann", "bob"]
    assert await found(ask, "ROBERT", "USER") == ["bob"]
    assert await found(ask, "b tables", "USER") == ["bob"]
    assert await found(ask, "nobody", "USER") == []


async def test_pages(ask: GraphQLClient, world: dict[str, Repository], token: str) -> None:
    names: list[str] = []
    after = None
    while True:
        variables = {"query": "", "type": "REPOSITORY", "first": 2, "after": after}
        result = (await ask(SEARCH, variables, token=token)).data["search"]
        names += [each["nameWithOwner"] for each in result["nodes"]]
        after = result["pageInfo"]["endCursor"]
        if not result["pageInfo"]["hasNextPage"]:
            break
    assert len(names) == len(set(names)) == 5


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("is:secret", "'is:secret' is nothing that can be searched for"),
        ("archived:maybe", "'archived:maybe' is nothing that can be searched for"),
        ("x" * 257, "a search may be 256 characters long"),
        ("a " * 21, "a search may have 20 terms"),
    ],
)
async def test_wrong_queries(ask: GraphQLClient, query: str, message: str) -> None:
    answer = await ask(SEARCH, {"query": query, "type": "REPOSITORY"})
    assert answer.error == {"type": "UNPROCESSABLE", "message": message, "path": ["search"]}
    assert answer.fields == ["query"]


async def test_a_search_needs_bounds(ask: GraphQLClient) -> None:
    answer = await ask('{ search(query: "", type: USER) { nodes { __typename } } }')
    assert answer.error["type"] == "MISSING_PAGINATION_BOUNDARIES"


async def test_a_page_costs_the_same_statements_whatever_it_finds(
    ask: GraphQLClient, runtime: Runtime, ann: User, token: str
) -> None:
    counts = []
    for _ in range(2):
        for _ in range(3):
            await make_repository(runtime, ann)
        await ask(SEARCH, {"query": "", "type": "REPOSITORY"}, token=token)
        with counted_statements(runtime.database) as statements:
            assert (await ask(SEARCH, {"query": "", "type": "REPOSITORY"}, token=token)).data
        counts.append(len(statements))
    assert counts[0] == counts[1]


async def test_what_an_address_shows(
    ask: GraphQLClient,
    runtime: Runtime,
    world: dict[str, Repository],
    token: str,
    tmp_path: Path,
) -> None:
    source = GitRepository.create(tmp_path / "source")
    oid = source.commit("first", files={"a": "b"})
    await store_content(runtime, world["ann/Secret-Web"], source)

    async def shown(path: str, base: str = BASE_URL, **credentials: Any) -> Any:
        return (await ask(RESOURCE, {"url": base + path}, **credentials)).data["resource"]

    user = {"__typename": "User", "resourcePath": "/ann", "login": "ann"}
    assert await shown("/ann") == await shown("/Ann/?tab=x#y") == user
    repository = {
        "__typename": "Repository",
        "resourcePath": "/bob/tool",
        "nameWithOwner": "bob/tool",
    }
    assert await shown("/bob/tool") == await shown("/bob/tool.git") == repository
    commit = {
        "__typename": "Commit",
        "resourcePath": f"/ann/Secret-Web/commit/{oid}",
        "oid": oid,
    }
    assert await shown(f"/ann/Secret-Web/commit/{oid}", token=token) == commit
    # What is hidden, what is missing and what is elsewhere.
    for path in (f"/ann/Secret-Web/commit/{oid}", "/ann/Secret-Web", "/ann/nothing", "/nobody",
                 "/", "/a/b/c", "/%00/x"):  # fmt: skip
        assert await shown(path) is None
    tree = source.git("rev-parse", "HEAD^{tree}").strip()
    assert await shown(f"/ann/Secret-Web/commit/{tree}", token=token) is None
    assert await shown(f"/ann/Secret-Web/commit/{'0' * 40}", token=token) is None
    for base in ("https://evil.example", "http://127.0.0.1:9", "http://127.0.0.1:99999"):
        assert await shown("/ann", base) is None


async def test_meta(ask: GraphQLClient) -> None:
    answer = await ask("{ meta { isPasswordAuthenticationVerifiable } }")
    assert answer.data == {"meta": {"isPasswordAuthenticationVerifiable": False}}
