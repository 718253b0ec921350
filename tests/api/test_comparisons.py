"""What the API tells of differences: comparisons, changed files, statistics and blame."""

from pathlib import Path
from typing import Any

import pytest

from gitstore.memory import Memory
from models import Repository, Visibility
from resolvers import ids
from resolvers.ids import IdKind
from services.runtime import Runtime
from tests.api.test_histories import counted_children
from tests.support.content import store_content
from tests.support.factories import make_repository, make_session, make_user
from tests.support.git import GitRepository
from tests.support.graphql import Answer, GraphQLClient

FILE = "path previousPath changeType additions deletions isBinary patch isPatchTruncated"


@pytest.fixture
async def demo(runtime: Runtime) -> Repository:
    return await make_repository(runtime, await make_user(runtime, "ann"), "demo")


@pytest.fixture
async def source(runtime: Runtime, demo: Repository, tmp_path: Path) -> GitRepository:
    """main: one, two, three; topic, from one: a, b; an orphan; and a tag of topic."""
    source = GitRepository.create(tmp_path / "source")
    source.commit("one", files={"a": "1\n2\n3\n", "b": "x\n"})
    source.git("branch", "topic")
    source.commit("two", files={"a": "1\nTWO\n3\n"})
    source.commit("three")
    source.git("checkout", "--quiet", "topic")
    source.environment["GIT_AUTHOR_EMAIL"] = "bob@example.com"
    source.git("mv", "b", "c")
    source.commit("a", files={"bin": b"\0"})
    source.commit("b", files={"d": "new\n"})
    source.git("tag", "--annotate", "--message", "x", "v1")
    source.git("checkout", "--quiet", "--orphan", "other")
    source.git("rm", "-rf", "--quiet", ".")
    source.commit("alone", files={"z": "z\n"})
    await store_content(runtime, demo, source)
    return source


async def look(ask: GraphQLClient, selection: str, **options: Any) -> Answer:
    return await ask(f'{{ repository(owner: "ann", name: "demo") {{ {selection} }} }}', **options)


async def test_a_comparison_of_branches(
    ask: GraphQLClient, demo: Repository, source: GitRepository
) -> None:
    answer = await look(
        ask,
        f"""ref(qualifiedName: "main") {{ compare(headRef: "topic") {{
          id status aheadBy behindBy baseTarget {{ oid }} headTarget {{ oid }} mergeBase {{ oid }}
          commits(first: 5) {{ totalCount authorCount nodes {{ messageHeadline }} }}
          files(first: 5) {{ totalCount isTruncated nodes {{ {FILE} }} }} }} }}""",
    )
    main, topic = source.oid("main"), source.oid("topic")
    found = answer.data["repository"]["ref"]["compare"]
    assert found == {
        "id": ids.encode_named(IdKind.COMPARISON, demo.id, f"{main}...{topic}"),
        "status": "DIVERGED",
        "aheadBy": 2,
        "behindBy": 2,
        "baseTarget": {"oid": main},
        "headTarget": {"oid": topic},
        "mergeBase": {"oid": source.oid("main~2")},
        "commits": {
            "totalCount": 2,
            "authorCount": 1,
            "nodes": [{"messageHeadline": "a"}, {"messageHeadline": "b"}],
        },
        "files": {
            "totalCount": 3,
            "isTruncated": False,
            "nodes": [
                {
                    "path": "bin",
                    "previousPath": None,
                    "changeType": "ADDED",
                    "additions": 0,
                    "deletions": 0,
                    "isBinary": True,
                    "patch": None,
                    "isPatchTruncated": False,
                },
                {
                    "path": "c",
                    "previousPath": "b",
                    "changeType": "RENAMED",
                    "additions": 0,
                    "deletions": 0,
                    "isBinary": False,
                    "patch": "",
                    "isPatchTruncated": False,
                },
                {
                    "path": "d",
                    "previousPath": None,
                    "changeType": "ADDED",
                    "additions": 1,
                    "deletions": 0,
                    "isBinary": False,
                    "patch": "@@ -0,0 +1 @@\n+new\n",
                    "isPatchTruncated": False,
                },
            ],
        },
    }
    again = await ask(
        "query($id: ID!) { node(id: $id) { ... on Comparison { id status aheadBy } } }",
        {"id": found["id"]},
    )
    assert again.data["node"] == {"id": found["id"], "status": "DIVERGED", "aheadBy": 2}


@pytest.mark.parametrize(
    ("base", "head", "expected"),
    [
        ("main", "main~1", ("BEHIND", 0, 1)),
        ("main~1", "main", ("AHEAD", 1, 0)),
        ("main", "main", ("IDENTICAL", 0, 0)),
        ("main", "v1", ("DIVERGED", 2, 2)),
        ("main", "other", ("DIVERGED", 1, 3)),
        ("main", "none", None),
        ("none", "main", None),
        ("main", "main^{tree}", None),
        ("main", "1" * 40, None),
        ("main", "--all", None),
    ],
)
async def test_any_two_commits(
    ask: GraphQLClient, source: GitRepository, base: str, head: str, expected: Any
) -> None:
    answer = await look(
        ask, f'compare(base: "{base}", head: "{head}") {{ status aheadBy behindBy }}'
    )
    found = answer.data["repository"]["compare"]
    assert (found and tuple(found.values())) == expected


async def test_unrelated_histories_differ_in_everything(
    ask: GraphQLClient, source: GitRepository
) -> None:
    answer = await look(
        ask,
        'compare(base: "main", head: "other") { mergeBase { oid } files(first: 9) { '
        "nodes { path changeType } } }",
    )
    assert answer.data["repository"]["compare"] == {
        "mergeBase": None,
        "files": {"nodes": [{"path": "z", "changeType": "ADDED"}]},
    }


async def test_pages_of_commits_and_files(ask: GraphQLClient, source: GitRepository) -> None:
    info = "pageInfo { hasNextPage hasPreviousPage endCursor startCursor }"

    async def page(arguments: str) -> Any:
        answer = await look(
            ask,
            f"""compare(base: "main~2", head: "topic") {{
              commits({arguments}) {{ nodes {{ message }} {info} }}
              files({arguments}) {{ nodes {{ path }} {info} }} }}""",
        )
        return answer.data["repository"]["compare"]

    first = await page("first: 1")
    assert [each["message"] for each in first["commits"]["nodes"]] == ["a\n"]
    assert [each["path"] for each in first["files"]["nodes"]] == ["bin"]
    for each in first.values():
        assert each["pageInfo"]["hasNextPage"]
        assert not each["pageInfo"]["hasPreviousPage"]
    cursor = first["commits"]["pageInfo"]["endCursor"]
    second = await page(f'first: 5, after: "{cursor}"')
    assert [each["message"] for each in second["commits"]["nodes"]] == ["b\n"]
    assert [each["path"] for each in second["files"]["nodes"]] == ["c", "d"]
    last = await page("last: 1")
    assert [each["message"] for each in last["commits"]["nodes"]] == ["b\n"]
    assert [each["path"] for each in last["files"]["nodes"]] == ["d"]


async def test_a_commit_against_its_first_parent(ask: GraphQLClient, source: GitRepository) -> None:
    selection = (
        "additions deletions changedFiles changedFilesIfAvailable "
        "files(first: 9) { nodes { path changeType oldOid newOid oldMode newMode patch } }"
    )
    answer = await look(
        ask,
        f"""two: object(expression: "main~1") {{ ... on Commit {{ {selection} }} }}
        first: object(expression: "other") {{ ... on Commit {{ {selection} }} }}""",
    )
    two, first = answer.data["repository"]["two"], answer.data["repository"]["first"]
    assert (two["additions"], two["deletions"], two["changedFiles"]) == (1, 1, 1)
    assert two["files"]["nodes"] == [
        {
            "path": "a",
            "changeType": "MODIFIED",
            "oldOid": source.oid("main~2:a"),
            "newOid": source.oid("main:a"),
            "oldMode": 0o100644,
            "newMode": 0o100644,
            "patch": "@@ -1,3 +1,3 @@\n 1\n-2\n+TWO\n 3\n",
        }
    ]
    assert (first["additions"], first["changedFilesIfAvailable"]) == (1, 1)
    (added,) = first["files"]["nodes"]
    assert (added["changeType"], added["oldOid"], added["oldMode"]) == ("ADDED", None, None)


async def test_blame(ask: GraphQLClient, source: GitRepository) -> None:
    query = """object(expression: "main") { ... on Commit { blame(path: "%s") { ranges {
      startingLine endingLine age path previousPath previousCommit { oid }
      commit { messageHeadline } } } } }"""
    answer = await look(ask, query % "/a")
    assert answer.data["repository"]["object"]["blame"]["ranges"] == [
        {
            "startingLine": line,
            "endingLine": line,
            "age": 1,  # all at one time
            "path": "a",
            "previousPath": "a" if headline == "two" else None,
            "previousCommit": {"oid": source.oid("main~2")} if headline == "two" else None,
            "commit": {"messageHeadline": headline},
        }
        for line, headline in ((1, "one"), (2, "two"), (3, "one"))
    ]
    for path in ("none", "", "--all"):
        refused = await look(ask, query % path)
        assert refused.error == {
            "type": "NOT_FOUND",
            "message": f"there is no file at the path '{path}' in this commit",
            "path": ["repository", "object", "blame"],
        }


async def test_a_page_takes_as_many_processes_whatever_its_length(
    ask: GraphQLClient, runtime: Runtime, source: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def children(selection: str) -> list[str]:
        await look(ask, 'object(expression: "HEAD") { oid }')  # starts the reader
        runtime.git.memory = Memory()
        with counted_children(monkeypatch) as started:
            assert "errors" not in (await look(ask, selection)).body
        commands = ("rev-list", "diff-tree", "merge-base")
        return sorted(each for args in started for each in args if each in commands)

    for size in (1, 3):
        history = f"history(first: {size}) {{ nodes {{ additions deletions changedFiles }} }}"
        taken = await children(f'object(expression: "main") {{ ... on Commit {{ {history} }} }}')
        assert taken == ["diff-tree", "rev-list"]
        files = f"files(first: {size}) {{ totalCount nodes {{ path patch isBinary }} }}"
        taken = await children(f'compare(base: "main", head: "topic") {{ {files} }}')
        # The list, the counts, the patches, and where to begin.
        assert taken == ["diff-tree", "diff-tree", "diff-tree", "merge-base"]


async def test_a_hidden_comparison(
    ask: GraphQLClient, runtime: Runtime, source: GitRepository
) -> None:
    bob = await make_user(runtime, "bob")
    secret = await make_repository(runtime, bob, "secret", visibility=Visibility.PRIVATE)
    await store_content(runtime, secret, source)
    oids = f"{source.oid('main')}...{source.oid('topic')}"
    node_id = ids.encode_named(IdKind.COMPARISON, secret.id, oids)
    query = "query($id: ID!) { node(id: $id) { __typename } }"
    cookie = (await make_session(runtime, bob)).secret
    assert (await ask(query, {"id": node_id}, cookie=cookie)).data["node"] == {
        "__typename": "Comparison"
    }
    for forged in (node_id, ids.encode_named(IdKind.COMPARISON, secret.id, "main...topic")):
        answer = await ask(query, {"id": forged})
        assert answer.error["message"] == (
            f"Could not resolve to a node with the global id of '{forged}'"
        )
