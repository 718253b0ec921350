"""History as a connection: pages, filters, counts, and what they cost."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from gitstore.memory import Memory
from gitstore.process import GitProcesses
from gitstore.transactions import RefUpdate
from models import Repository, User
from resolvers import ids
from resolvers.ids import IdKind
from services.runtime import Runtime
from tests.api.test_connections import counted_statements
from tests.support.content import Bytes, store_content
from tests.support.factories import make_repository, make_user
from tests.support.git import GitRepository
from tests.support.graphql import Answer, GraphQLClient

PAGE = (
    "nodes { message } edges { cursor } "
    "pageInfo { startCursor endCursor hasNextPage hasPreviousPage }"
)
NAMES = [f"c{number}" for number in range(7, 0, -1)]


@pytest.fixture
async def ann(runtime: Runtime) -> User:
    return await make_user(runtime, "ann")


@pytest.fixture
async def demo(runtime: Runtime, ann: User) -> Repository:
    return await make_repository(runtime, ann, "demo")


@pytest.fixture
async def source(runtime: Runtime, demo: Repository, tmp_path: Path) -> GitRepository:
    """Seven commits; every other one is by somebody else and changes another file."""
    source = GitRepository.create(tmp_path / "source")
    for number in range(1, 8):
        odd = number % 2
        source.environment |= {
            "GIT_AUTHOR_EMAIL": "ann@example.com" if odd else "Bob@example.com",
            "GIT_COMMITTER_DATE": f"{1_700_000_000 + number * 60} +0000",
        }
        source.commit(f"c{number}", files={f"{'odd' if odd else 'even'}/file": str(number)})
    await store_content(runtime, demo, source)
    return source


async def history(
    ask: GraphQLClient, arguments: str, selection: str = PAGE, revision: str = "HEAD"
) -> Answer:
    return await ask(
        f'{{ repository(owner: "ann", name: "demo") {{ object(expression: "{revision}") '
        f"{{ ... on Commit {{ history({arguments}) {{ {selection} }} }} }} }} }}"
    )


def connection(answer: Answer) -> Any:
    return answer.data["repository"]["object"]["history"]


def names(found: Any) -> list[str]:
    return [each["message"].strip() for each in found["nodes"]]


@contextlib.contextmanager
def counted_children(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Sequence[str]]]:
    """The arguments of every git child that is started."""
    started: list[Sequence[str]] = []
    start = GitProcesses.start

    def note(self: GitProcesses, args: Sequence[str], **options: Any) -> Any:
        started.append(args)
        return start(self, args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(GitProcesses, "start", note)
        yield started


async def test_pages_in_both_directions(ask: GraphQLClient, source: GitRepository) -> None:
    tip = source.oid("main")
    found = connection(await history(ask, "first: 3", f"totalCount {PAGE}"))
    assert found["totalCount"] == 7
    assert names(found) == NAMES[:3]
    assert found["pageInfo"] == {
        "startCursor": f"{tip} 0",
        "endCursor": f"{tip} 2",
        "hasNextPage": True,
        "hasPreviousPage": False,
    }
    found = connection(await history(ask, f'first: 3, after: "{tip} 2"'))
    assert (names(found), found["pageInfo"]["hasPreviousPage"]) == (NAMES[3:6], True)
    found = connection(await history(ask, f'first: 3, after: "{tip} 5"'))
    assert (names(found), found["pageInfo"]["hasNextPage"]) == (NAMES[6:], False)
    found = connection(await history(ask, "last: 2"))
    assert names(found) == NAMES[5:]
    assert found["pageInfo"] == {
        "startCursor": f"{tip} 5",
        "endCursor": f"{tip} 6",
        "hasNextPage": False,
        "hasPreviousPage": True,
    }
    found = connection(await history(ask, f'last: 2, before: "{tip} 5"'))
    assert (names(found), found["pageInfo"]["hasNextPage"]) == (NAMES[3:5], True)
    found = connection(await history(ask, f'last: 9, before: "{tip} 2", after: "{tip} 0"'))
    assert names(found) == NAMES[1:2]
    found = connection(await history(ask, f'first: 3, after: "{tip} 99"'))
    assert (names(found), found["pageInfo"]["hasNextPage"]) == ([], False)
    found = connection(await history(ask, "first: 0"))
    assert (names(found), found["pageInfo"]["hasNextPage"]) == ([], True)


async def test_a_cursor_stays_where_it_is_when_more_is_pushed(
    ask: GraphQLClient, runtime: Runtime, demo: Repository, source: GitRepository
) -> None:
    old = source.oid("main")
    cursor = connection(await history(ask, "first: 3"))["pageInfo"]["endCursor"]
    new = source.commit("c8")
    async with runtime.git.begin(demo.id) as work:
        received = await work.quarantine.receive_pack(
            Bytes(source.pack("main", f"^{old}")), progress=None, input_ended=lambda: None
        )
        assert received is not None
        stored = await work.upload(received)
        async with runtime.database.write() as session:
            await work.apply(session, [RefUpdate("refs/heads/main", old, new)], stored, atomic=True)
    assert names(connection(await history(ask, "first: 1"))) == ["c8"]
    found = connection(await history(ask, f'first: 3, after: "{cursor}"'))
    assert names(found) == NAMES[3:6]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('path: "odd"', NAMES[::2]),
        ('path: "/odd/file/"', NAMES[::2]),
        ('path: "none"', []),
        ('path: "*"', []),
        ('path: ":(top)odd"', []),
        ('path: "--all"', []),
        ('author: {emails: ["BOB@example.com"]}', NAMES[1::2]),
        ('author: {emails: ["bob@example.com", "ann@example.com"]}', NAMES),
        ("author: {emails: []}", []),
        ('author: {emails: ["example.com"]}', []),
        ("author: {}", NAMES),
        ('since: "2023-11-14T22:18:20Z"', NAMES[:3]),
        ('until: "2023-11-14T23:15:20+01:00"', NAMES[-2:]),
        ('since: "2023-11-14T22:15:20Z", until: "2023-11-14T22:16:20Z", path: "odd"', ["c3"]),
    ],
)
async def test_filters(
    ask: GraphQLClient, source: GitRepository, arguments: str, expected: list[str]
) -> None:
    found = connection(await history(ask, f"first: 100, {arguments}", f"totalCount {PAGE}"))
    assert names(found) == expected
    assert found["totalCount"] == len(expected)


async def test_an_author_by_account(
    ask: GraphQLClient, runtime: Runtime, ann: User, source: GitRepository
) -> None:
    async def of(user: User) -> list[str]:
        node = ids.encode(IdKind.USER, user.id)
        return names(connection(await history(ask, f'first: 100, author: {{id: "{node}"}}')))

    assert await of(ann) == NAMES[::2]
    assert await of(await make_user(runtime, "carl")) == []


async def test_renames_are_followed_if_asked(
    ask: GraphQLClient, runtime: Runtime, ann: User, tmp_path: Path
) -> None:
    source = GitRepository.create(tmp_path / "renamed")
    source.commit("born", files={"old": "1\n2\n3\n"})
    source.git("mv", "old", "new")
    source.commit("renamed", files={"other": "x"})
    repository = await make_repository(runtime, ann, "renamed")
    await store_content(runtime, repository, source)
    for arguments, expected in (
        ('path: "new"', ["renamed"]),
        ('path: "new", followRenames: true', ["renamed", "born"]),
        ("followRenames: true", ["renamed", "born"]),
    ):
        answer = await ask(
            '{ repository(owner: "ann", name: "renamed") { object(expression: "HEAD") '
            f"{{ ... on Commit {{ history(first: 9, {arguments}) {{ {PAGE} }} }} }} }} }}"
        )
        assert names(connection(answer)) == expected


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (
            "",
            "MISSING_PAGINATION_BOUNDARIES",
            "You must provide a `first` or `last` value to properly paginate the `history` "
            "connection.",
        ),
        (
            "first: 101",
            "EXCESSIVE_PAGINATION",
            "Requesting 101 records on the `history` connection exceeds the `first` limit of 100 "
            "records.",
        ),
        (
            'first: 1, after: "x"',
            "INVALID_CURSOR_ARGUMENTS",
            "`x` does not appear to be a valid cursor.",
        ),
        (
            'first: 1, after: "--all 1"',
            "INVALID_CURSOR_ARGUMENTS",
            "`--all 1` does not appear to be a valid cursor.",
        ),
        (
            "first: 1, author: {emails: [" + '"a", ' * 21 + "]}",
            "ARGUMENT_LIMIT",
            "You may not provide more than 20 emails; you provided 21.",
        ),
    ],
)
async def test_faults(
    ask: GraphQLClient, source: GitRepository, arguments: str, kind: str, message: str
) -> None:
    selection = "nodes { oid }"
    text = f"({arguments})" if arguments else ""
    answer = await ask(
        '{ repository(owner: "ann", name: "demo") { object(expression: "HEAD") '
        f"{{ ... on Commit {{ history{text} {{ {selection} }} }} }} }} }}"
    )
    assert (answer.error["type"], answer.error["message"]) == (kind, message)


async def test_a_cursor_of_no_commit_here(ask: GraphQLClient, source: GitRepository) -> None:
    answer = await history(ask, f'first: 1, after: "{"1" * 40} 0"', "nodes { oid }")
    assert answer.error == {
        "type": "INVALID_CURSOR_ARGUMENTS",
        "message": f"`{'1' * 40} 0` does not appear to be a valid cursor.",
        "path": ["repository", "object", "history", "nodes"],
    }


async def test_a_page_of_commits_takes_one_process_whatever_its_length(
    ask: GraphQLClient,
    runtime: Runtime,
    source: GitRepository,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    selection = (
        "nodes { message author { name user { login } } tree { oid entries { name size } } "
        "parents(first: 1) { nodes { message } } }"
    )
    await history(ask, "first: 1", selection)  # starts the reader, which stays
    counts = []
    for size in (1, 7):
        runtime.git.memory = Memory()
        with (
            counted_statements(runtime.database) as statements,
            counted_children(monkeypatch) as children,
        ):
            found = connection(await history(ask, f"first: {size}", selection))
        assert len(found["nodes"]) == size
        assert [args[1] for args in children] == ["rev-list"]
        counts.append(len(statements))
        # What stands for the same for good is not read twice.
        with counted_children(monkeypatch) as children:
            assert connection(await history(ask, f"first: {size}", selection)) == found
        assert not children
    assert counts[0] == counts[1]
