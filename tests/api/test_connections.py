"""Connections: pages in every direction and order, GitHub's errors, and no statement per item."""

import contextlib
import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event, update

from models import EmailAddress, GitRef, Repository, User, Visibility
from models.database import Database
from services import deploy_keys, forks
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

REPOSITORIES = """query($login: String!, $first: Int, $last: Int, $after: String, $before: String,
    $order: RepositoryOrder) {
  user(login: $login) { repositories(first: $first, last: $last, after: $after, before: $before,
      orderBy: $order) {
    totalCount nodes { name } edges { cursor node { name } }
    pageInfo { startCursor endCursor hasNextPage hasPreviousPage } } } }"""


async def repositories(ask: GraphQLClient, **variables: Any) -> dict[str, Any]:
    answer = await ask(REPOSITORIES, {"login": "ann", **variables})
    connection: dict[str, Any] = answer.data["user"]["repositories"]
    return connection


def names(connection: dict[str, Any]) -> list[str]:
    assert connection["nodes"] == [each["node"] for each in connection["edges"]]
    return [each["name"] for each in connection["nodes"]]


async def make_five(runtime: Runtime) -> User:
    user = await make_user(runtime, "ann")
    for name in ("delta", "alpha", "echo", "bravo", "charlie"):
        await make_repository(runtime, user, name)
    return user


async def test_forward_and_backward(ask: GraphQLClient, runtime: Runtime) -> None:
    await make_five(runtime)
    first = await repositories(ask, first=2)
    assert names(first) == ["alpha", "bravo"]
    assert first["totalCount"] == 5
    assert first["pageInfo"] == {
        "startCursor": first["edges"][0]["cursor"],
        "endCursor": first["edges"][1]["cursor"],
        "hasNextPage": True,
        "hasPreviousPage": False,
    }
    second = await repositories(ask, first=2, after=first["pageInfo"]["endCursor"])
    assert names(second) == ["charlie", "delta"]
    assert second["pageInfo"]["hasPreviousPage"] is True
    third = await repositories(ask, first=2, after=second["pageInfo"]["endCursor"])
    assert names(third) == ["echo"]
    assert third["pageInfo"]["hasNextPage"] is False
    last = await repositories(ask, last=2)
    assert names(last) == ["delta", "echo"]
    assert (last["pageInfo"]["hasNextPage"], last["pageInfo"]["hasPreviousPage"]) == (False, True)
    before = await repositories(ask, last=2, before=last["pageInfo"]["startCursor"])
    assert names(before) == ["bravo", "charlie"]
    assert before["pageInfo"]["hasNextPage"] is True
    between = await repositories(
        ask, first=5, after=first["edges"][0]["cursor"], before=last["edges"][1]["cursor"]
    )
    assert names(between) == ["bravo", "charlie", "delta"]


async def test_an_empty_page(ask: GraphQLClient, runtime: Runtime) -> None:
    await make_user(runtime, "ann")
    assert await repositories(ask, first=10) == {
        "totalCount": 0,
        "nodes": [],
        "edges": [],
        "pageInfo": {
            "startCursor": None,
            "endCursor": None,
            "hasNextPage": False,
            "hasPreviousPage": False,
        },
    }
    assert names(await repositories(ask, first=0)) == []


async def test_rows_that_come_and_go_move_no_page(ask: GraphQLClient, runtime: Runtime) -> None:
    user = await make_five(runtime)
    first = await repositories(ask, first=2)
    await make_repository(runtime, user, "aaa")
    await make_repository(runtime, user, "bzz")
    second = await repositories(ask, first=2, after=first["pageInfo"]["endCursor"])
    assert names(second) == ["bzz", "charlie"]


async def test_orders_and_ties(ask: GraphQLClient, runtime: Runtime) -> None:
    await make_five(runtime)
    moment = dt.datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=dt.UTC)
    async with runtime.database.write() as session:
        await session.execute(
            update(Repository).values(created_at=moment, updated_at=moment, pushed_at=None)
        )
        await session.execute(
            update(Repository)
            .where(Repository.name == "alpha")
            .values(pushed_at=moment + dt.timedelta(microseconds=1), updated_at=moment)
        )
    for field in ("CREATED_AT", "UPDATED_AT", "PUSHED_AT"):
        for direction in ("ASC", "DESC"):
            order = {"field": field, "direction": direction}
            seen: list[str] = []
            cursor = None
            while True:
                page = await repositories(ask, first=2, after=cursor, order=order)
                seen += names(page)
                cursor = page["pageInfo"]["endCursor"]
                if not page["pageInfo"]["hasNextPage"]:
                    break
            made = ["delta", "alpha", "echo", "bravo", "charlie"]
            if field == "PUSHED_AT":
                made = ["delta", "echo", "bravo", "charlie", "alpha"]
            assert seen == (made if direction == "ASC" else made[::-1]), (field, direction)


@pytest.mark.parametrize(
    ("variables", "kind", "message"),
    [
        (
            {},
            "MISSING_PAGINATION_BOUNDARIES",
            "You must provide a `first` or `last` value to properly paginate the `repositories` "
            "connection.",
        ),
        (
            {"first": 101},
            "EXCESSIVE_PAGINATION",
            "Requesting 101 records on the `repositories` connection exceeds the `first` limit of "
            "100 records.",
        ),
        (
            {"last": 1000},
            "EXCESSIVE_PAGINATION",
            "Requesting 1000 records on the `repositories` connection exceeds the `last` limit of "
            "100 records.",
        ),
        (
            {"first": -1},
            "INVALID_PAGINATION",
            "`first` on the `repositories` connection cannot be less than zero.",
        ),
        (
            {"first": 1, "last": 1},
            "INVALID_PAGINATION",
            "Passing both `first` and `last` to paginate the `repositories` connection is not "
            "supported.",
        ),
        (
            {"first": 1, "after": "x"},
            "INVALID_CURSOR_ARGUMENTS",
            "`x` does not appear to be a valid cursor.",
        ),
        (
            {"last": 1, "before": "W10="},
            "INVALID_CURSOR_ARGUMENTS",
            "`W10=` does not appear to be a valid cursor.",
        ),
    ],
)
async def test_page_faults_in_githubs_words(
    ask: GraphQLClient, runtime: Runtime, variables: dict[str, Any], kind: str, message: str
) -> None:
    await make_user(runtime, "ann")
    answer = await ask(REPOSITORIES, {"login": "ann", **variables})
    assert {(each["type"], each["message"]) for each in answer.errors} == {(kind, message)}


async def test_the_count_alone_needs_no_page(ask: GraphQLClient, runtime: Runtime) -> None:
    await make_five(runtime)
    answer = await ask('{ user(login: "ann") { repositories { totalCount } } }')
    assert answer.data["user"]["repositories"] == {"totalCount": 5}


async def test_a_cursor_of_another_order_is_refused(ask: GraphQLClient, runtime: Runtime) -> None:
    await make_five(runtime)
    cursor = (await repositories(ask, first=1))["pageInfo"]["endCursor"]
    order = {"field": "CREATED_AT", "direction": "ASC"}
    answer = await ask(REPOSITORIES, {"login": "ann", "first": 1, "after": cursor, "order": order})
    assert {each["type"] for each in answer.errors} == {"INVALID_CURSOR_ARGUMENTS"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", ["demo-internal", "demo-private", "demo-public", "shared", "shared-fork"]),
        (
            "ownerAffiliations: OWNER,",
            ["demo-internal", "demo-private", "demo-public", "shared-fork"],
        ),
        ("ownerAffiliations: [COLLABORATOR],", ["shared"]),
        ("ownerAffiliations: [ORGANIZATION_MEMBER],", []),
        ("affiliations: [OWNER],", ["demo-internal", "demo-private", "demo-public", "shared-fork"]),
        ("affiliations: [COLLABORATOR],", ["shared"]),
        ("affiliations: [],", []),
        ("privacy: PRIVATE,", ["demo-internal", "demo-private"]),
        ("privacy: PUBLIC,", ["demo-public", "shared", "shared-fork"]),
        ("visibility: INTERNAL,", ["demo-internal"]),
        ("isArchived: true,", []),
        ("isFork: true,", ["shared-fork"]),
        ("isLocked: true,", []),
        ("hasIssuesEnabled: true,", []),
        ("isLocked: false, hasIssuesEnabled: false, isFork: true,", ["shared-fork"]),
        ("isFork: false, isArchived: false, visibility: PRIVATE,", ["demo-private"]),
    ],
)
async def test_filters(
    ask: GraphQLClient, runtime: Runtime, arguments: str, expected: list[str]
) -> None:
    ann = await make_user(runtime, "ann")
    for visibility in Visibility:
        await make_repository(runtime, ann, f"demo-{visibility.value}", visibility=visibility)
    shared = await make_repository(runtime, None, "shared")
    await make_collaborator(runtime, shared, ann, Role.READ)
    await forks.fork_repository(operator(runtime), shared.id, "ann", "shared-fork")
    token = (await make_token(runtime, ann, "repo")).token
    query = (
        f"{{ viewer {{ repositories({arguments} first: 10) {{ totalCount nodes {{ name }} }} }} }}"
    )
    found = (await ask(query, token=token)).data["viewer"]["repositories"]
    assert [each["name"] for each in found["nodes"]] == expected
    assert found["totalCount"] == len(expected)


async def test_lists_show_what_the_viewer_may_read(ask: GraphQLClient, runtime: Runtime) -> None:
    ann, bob = await make_user(runtime, "ann"), await make_user(runtime, "bob")
    for visibility in Visibility:
        await make_repository(runtime, ann, f"demo-{visibility.value}", visibility=visibility)
    assert names(await repositories(ask, first=10)) == ["demo-public"]
    assert (await repositories(ask, first=10))["totalCount"] == 1
    for scopes, expected in (
        (("repo",), ["demo-internal", "demo-public"]),
        (("public_repo",), ["demo-public"]),
    ):
        token = (await make_token(runtime, bob, *scopes)).token
        answer = await ask(REPOSITORIES, {"login": "ann", "first": 10}, token=token)
        assert names(answer.data["user"]["repositories"]) == expected


async def test_privacy_and_visibility_exclude_each_other(
    ask: GraphQLClient, runtime: Runtime
) -> None:
    await make_user(runtime, "ann")
    answer = await ask(
        """{ user(login: "ann") { repositories(first: 1, privacy: PUBLIC, visibility: PUBLIC) {
             totalCount } } }"""
    )
    assert answer.error["message"] == "give either privacy or visibility, not both"
    assert answer.fields == ["privacy", "visibility"]


async def test_refs_by_query_and_direction(ask: GraphQLClient, runtime: Runtime) -> None:
    repository = await make_repository(runtime, await make_user(runtime, "ann"), "demo")
    async with runtime.database.write() as session:
        for name in ("main", "fix/100%", "fix/100x", "Main2"):
            session.add(
                GitRef(
                    repository_id=repository.id,
                    name=f"refs/heads/{name}",
                    oid="1" * 40,
                    generation=1,
                )
            )
        session.add(
            GitRef(repository_id=repository.id, name="refs/heads/gone", oid=None, generation=1)
        )

    async def refs(arguments: str) -> list[str]:
        query = (
            '{ repository(owner: "ann", name: "demo") { refs(refPrefix: "refs/heads/", '
            f"{arguments}) {{ nodes {{ name }} }} }} }}"
        )
        nodes = (await ask(query)).data["repository"]["refs"]["nodes"]
        return [each["name"] for each in nodes]

    assert sorted(await refs("first: 10")) == ["Main2", "fix/100%", "fix/100x", "main"]
    assert await refs('first: 10, query: "100%"') == ["fix/100%"]
    assert await refs('first: 10, query: "heads"') == []
    descending = await refs("first: 10, orderBy: {field: ALPHABETICAL, direction: DESC}")
    assert descending == (await refs("first: 10"))[::-1]
    assert await refs("first: 10, direction: DESC") == descending


@contextlib.contextmanager
def counted_statements(database: Database) -> Iterator[list[str]]:
    """Every SELECT and the like that runs on either engine."""
    statements: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith(("BEGIN", "PRAGMA", "COMMIT", "ROLLBACK")):
            statements.append(statement)

    engines = [engine.sync_engine for engine in (database.read_engine, database.write_engine)]
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        for engine in engines:
            event.remove(engine, "before_cursor_execute", note)


async def populate(runtime: Runtime, user: User, count: int) -> None:
    """``count`` repositories, each with refs, keys and a collaborator."""
    for number in range(count):
        repository = await make_repository(runtime, user, f"demo-{number}")
        guest = await make_user(runtime, f"guest-{user.login}-{number}", password=None)
        await make_ssh_key(runtime, guest)
        await make_collaborator(runtime, repository, guest, Role.WRITE)
        await deploy_keys.add_deploy_key(
            operator(runtime), repository.id, "ci", make_key_pair().public
        )
        await forks.fork_repository(operator(runtime), repository.id, guest.login)
        async with runtime.database.write() as session:
            for name in ("main", "next"):
                session.add(
                    GitRef(
                        repository_id=repository.id,
                        name=f"refs/heads/{name}",
                        oid="1" * 40,
                        generation=1,
                    )
                )


NESTED = {
    "scalars": "id name nameWithOwner url sshUrl isEmpty diskUsage isPrivate owner { login url }",
    "forks": "isFork forkCount parent { name forkCount }",
    "rights": "viewerPermission viewerCanAdminister",
    "defaultBranchRef": "defaultBranchRef { id name prefix repository { name } }",
    "refs": 'refs(refPrefix: "refs/heads/", first: 2) { totalCount nodes { name } }',
    "refs backward": 'refs(refPrefix: "refs/heads/", last: 1) { edges { cursor node { name } } }',
    "ref": 'ref(qualifiedName: "main") { name }',
    "deployKeys": "deployKeys(first: 2) { totalCount nodes { title } }",
    "collaborators": "collaborators(first: 2) { totalCount nodes { login } edges { permission } }",
    "keys of collaborators": "collaborators(first: 2) { nodes { publicKeys(first: 1) { totalCount "
    "nodes { key } } } }",
    "repositories of collaborators": "collaborators(first: 1) { nodes { repositories(first: 2) { "
    "totalCount nodes { name } } } }",
}


@pytest.mark.parametrize("selection", NESTED.values(), ids=NESTED)
async def test_lists_take_the_same_statements_whatever_their_length(
    ask: GraphQLClient, runtime: Runtime, selection: str
) -> None:
    counts = []
    for login, count in (("few", 2), ("many", 6)):
        user = await make_user(runtime, login)
        await populate(runtime, user, count)
        token = (await make_token(runtime, user, "repo")).token
        query = (
            "{ viewer { repositories(first: 10, ownerAffiliations: [OWNER]) "
            f"{{ nodes {{ {selection} }} }} }} }}"
        )
        # The first use of a credential is recorded; that is not the query's.
        await ask("{ __typename }", token=token)
        with counted_statements(runtime.database) as statements:
            answer = await ask(query, token=token)
        assert len(answer.data["viewer"]["repositories"]["nodes"]) == count
        counts.append(len(statements))
    assert counts[0] == counts[1]
    assert counts[0] <= 16


@pytest.mark.parametrize(
    "selection",
    [
        "emails(first: 10) { totalCount nodes { id email } }",
        "publicKeys(first: 10) { totalCount nodes { id key } }",
        "accessTokens(first: 10) { totalCount nodes { id scopes } }",
        "sessions(first: 10) { totalCount nodes { id isCurrent } }",
    ],
)
async def test_lists_of_the_viewer_take_one_statement_and_a_count(
    ask: GraphQLClient, runtime: Runtime, selection: str
) -> None:
    user = await make_user(runtime, "ann")
    for _ in range(3):
        await make_ssh_key(runtime, user)
        await make_token(runtime, user)
        await make_session(runtime, user)
    async with runtime.database.write() as session:
        for number in range(3):
            email = f"{number}@example.com"
            session.add(EmailAddress(user_id=user.id, email=email, email_key=email))
    cookie = (await make_session(runtime, user)).secret
    await ask("{ __typename }", cookie=cookie)
    with counted_statements(runtime.database) as statements:
        answer = await ask(f"{{ viewer {{ {selection} }} }}", cookie=cookie)
    (connection,) = answer.data["viewer"].values()
    assert connection["totalCount"] == len(connection["nodes"])
    assert connection["totalCount"] >= 3
    # The credential, the user, the page, the count.
    assert len(statements) <= 6, statements


async def test_pages_of_many_parents_are_those_of_each(
    ask: GraphQLClient, runtime: Runtime
) -> None:
    user = await make_user(runtime, "ann")
    await populate(runtime, user, 3)
    for arguments in ("first: 1", "last: 1", "first: 5"):
        refs = (
            f'refs(refPrefix: "refs/heads/", {arguments}) '
            "{ nodes { name } pageInfo { hasNextPage } }"
        )
        query = (
            f'{{ user(login: "ann") {{ repositories(first: 3) {{ nodes {{ {refs} }} }} }} '
            f'repository(owner: "ann", name: "demo-0") {{ {refs} }} }}'
        )
        data = (await ask(query)).data
        nodes = data["user"]["repositories"]["nodes"]
        assert nodes == [data["repository"]] * 3


@pytest.mark.databases
async def test_pages_on_every_database(ask: GraphQLClient, runtime: Runtime) -> None:
    user = await make_five(runtime)
    await populate(runtime, user, 2)
    for field in ("CREATED_AT", "NAME", "PUSHED_AT", "UPDATED_AT"):
        order = {"field": field, "direction": "DESC"}
        everything = names(await repositories(ask, first=100, order=order))
        pages: list[str] = []
        cursor = None
        for _ in range(4):
            page = await repositories(ask, first=2, after=cursor, order=order)
            pages += names(page)
            cursor = page["pageInfo"]["endCursor"]
        assert pages == everything
        assert len(everything) == 7
    token = (await make_token(runtime, user, "repo")).token
    for selection in NESTED.values():
        query = f"{{ viewer {{ repositories(first: 10) {{ nodes {{ {selection} }} }} }} }}"
        answer = await ask(query, token=token)
        assert len(answer.data["viewer"]["repositories"]["nodes"]) == 7
