"""What the API shows of a repository's content: commits, trees, files, tags and history."""

import base64
from pathlib import Path
from typing import Any

import pytest

from models import Repository, Visibility
from resolvers import ids
from resolvers.ids import IdKind
from services import email_addresses
from services.runtime import Runtime
from tests.support.content import store_content
from tests.support.factories import make_repository, make_session, make_user
from tests.support.git import GitRepository
from tests.support.graphql import Answer, GraphQLClient
from tests.support.runtime import operator

MISSING = "1" * 40
OBJECT = "object(expression: $expression)"
ACTOR = "name email date user { login }"


@pytest.fixture
def source(tmp_path: Path) -> GitRepository:
    return GitRepository.create(tmp_path / "source")


@pytest.fixture
async def ann_demo(runtime: Runtime) -> Repository:
    return await make_repository(runtime, await make_user(runtime, "ann"), "demo")


async def look(ask: GraphQLClient, selection: str, *, name: str = "demo", **options: Any) -> Answer:
    variables = options.pop("variables", {})
    declared = "".join(f", ${key}: {_type(value)}" for key, value in variables.items())
    query = (
        f"query($owner: String!, $name: String!{declared}) "
        f"{{ repository(owner: $owner, name: $name) {{ {selection} }} }}"
    )
    return await ask(query, {"owner": "ann", "name": name, **variables}, **options)


def _type(value: object) -> str:
    return {bool: "Boolean!", int: "Int!", str: "String!"}[type(value)]


async def resolve(ask: GraphQLClient, expression: str) -> str | None:
    answer = await look(ask, f"{OBJECT} {{ oid }}", variables={"expression": expression})
    found = answer.data["repository"]["object"]
    return found and found["oid"]


async def test_a_commit(
    ask: GraphQLClient, runtime: Runtime, ann_demo: Repository, source: GitRepository
) -> None:
    first = source.commit("first")
    source.environment["GIT_AUTHOR_DATE"] = "1700000000 +0530"
    tip = source.commit("second\n\nAnd why.\n\nCo-authored-by: Bob <bob@example.com>")
    await store_content(runtime, ann_demo, source)
    answer = await look(
        ask,
        f"""defaultBranchRef {{ name target {{ __typename oid abbreviatedOid
          commitResourcePath commitUrl repository {{ nameWithOwner }}
          ... on Commit {{ id message messageHeadline messageBody authoredDate committedDate
            authoredByCommitter url resourcePath treeUrl treeResourcePath
            author {{ {ACTOR} }} committer {{ {ACTOR} }} tree {{ oid }}
            authors(first: 5) {{ totalCount nodes {{ name user {{ login }} }} }}
            parents(first: 1) {{ totalCount nodes {{
              oid parents(first: 1) {{ nodes {{ oid }} }} }} }}
          }} }} }}""",
    )
    url = f"http://127.0.0.1:8000/ann/demo/commit/{tip}"
    assert answer.data["repository"]["defaultBranchRef"] == {
        "name": "main",
        "target": {
            "__typename": "Commit",
            "id": ids.encode_named(IdKind.COMMIT, ann_demo.id, tip),
            "oid": tip,
            "abbreviatedOid": tip[:7],
            "commitResourcePath": f"/ann/demo/commit/{tip}",
            "commitUrl": url,
            "resourcePath": f"/ann/demo/commit/{tip}",
            "url": url,
            "treeResourcePath": f"/ann/demo/tree/{tip}",
            "treeUrl": f"http://127.0.0.1:8000/ann/demo/tree/{tip}",
            "repository": {"nameWithOwner": "ann/demo"},
            "message": "second\n\nAnd why.\n\nCo-authored-by: Bob <bob@example.com>\n",
            "messageHeadline": "second",
            "messageBody": "And why.\n\nCo-authored-by: Bob <bob@example.com>",
            "authoredDate": "2023-11-14T22:13:20Z",
            "committedDate": "2023-11-14T22:13:20Z",
            "authoredByCommitter": False,
            "author": {
                "name": "Ann Author",
                "email": "ann@example.com",
                "date": "2023-11-15T03:43:20+05:30",
                "user": {"login": "ann"},
            },
            "committer": {
                "name": "Carl Committer",
                "email": "carl@example.com",
                "date": "2023-11-14T22:13:20Z",
                "user": None,
            },
            "tree": {"oid": source.oid("main^{tree}")},
            "authors": {
                "totalCount": 2,
                "nodes": [
                    {"name": "Ann Author", "user": {"login": "ann"}},
                    {"name": "Bob", "user": None},
                ],
            },
            "parents": {"totalCount": 1, "nodes": [{"oid": first, "parents": {"nodes": []}}]},
        },
    }


async def test_only_a_verified_address_leads_to_an_account(
    ask: GraphQLClient, runtime: Runtime, source: GitRepository
) -> None:
    repository = await make_repository(runtime, await make_user(runtime, "ann"), "demo")
    bob = await make_user(runtime, "bob")
    await email_addresses.add_email_address(operator(runtime), bob.id, "carl@example.com")
    source.commit("first")
    await store_content(runtime, repository, source)
    answer = await look(
        ask, "defaultBranchRef { target { ... on Commit { committer { user { login } } } } }"
    )
    assert answer.data["repository"]["defaultBranchRef"]["target"] == {"committer": {"user": None}}


async def test_trees_and_files(
    ask: GraphQLClient, runtime: Runtime, ann_demo: Repository, source: GitRepository
) -> None:
    source.commit("one", files={"README.md": "# Demo\n\nText", "src/lib/a.py": "x = 1\n"})
    source.git("update-index", "--add", "--cacheinfo", f"160000,{MISSING},vendor")
    source.git("commit", "--quiet", "--message", "submodule")
    await store_content(runtime, ann_demo, source)
    entry = "name nameRaw path pathRaw mode type size extension lineCount oid"
    answer = await look(
        ask,
        f"""object(expression: "HEAD:") {{ __typename ... on Tree {{ entries {{ {entry}
          repository {{ name }}
          object {{ __typename ... on Tree {{ entries {{ name path }} }} }} }} }} }}
        file: object(expression: "main:src/lib/a.py") {{ __typename ... on Blob {{ id text byteSize
          isBinary isTruncated }} }}
        defaultBranchRef {{ target {{ ... on Commit {{
          a: file(path: "/src/lib/a.py") {{ {entry} object {{ ... on Blob {{ text }} }} }}
          b: file(path: "src") {{ path type object {{ ... on Tree {{ entries {{ path }} }} }} }}
          none: file(path: "src/b") {{ name }}
          top: file(path: "") {{ name }} }} }} }}""",
    )
    repository = answer.data["repository"]
    found = {each["name"]: each for each in repository["object"]["entries"]}
    assert list(found) == ["README.md", "src", "vendor"]
    assert found["README.md"] == {
        "name": "README.md",
        "nameRaw": base64.b64encode(b"README.md").decode(),
        "path": "README.md",
        "pathRaw": base64.b64encode(b"README.md").decode(),
        "mode": 0o100644,
        "type": "blob",
        "size": 12,
        "extension": ".md",
        "lineCount": 3,
        "oid": source.oid("main:README.md"),
        "repository": {"name": "demo"},
        "object": {"__typename": "Blob"},
    }
    assert (found["src"]["type"], found["src"]["mode"], found["src"]["size"]) == ("tree", 16384, 0)
    assert found["src"]["object"] == {
        "__typename": "Tree",
        "entries": [{"name": "lib", "path": "src/lib"}],
    }
    vendor = found["vendor"]
    assert (vendor["type"], vendor["mode"], vendor["oid"]) == ("commit", 0o160000, MISSING)
    assert (vendor["object"], vendor["size"], vendor["lineCount"]) == (None, 0, None)
    assert repository["file"] == {
        "__typename": "Blob",
        "id": ids.encode_named(IdKind.BLOB, ann_demo.id, source.oid("main:src/lib/a.py")),
        "text": "x = 1\n",
        "byteSize": 6,
        "isBinary": False,
        "isTruncated": False,
    }
    commit = repository["defaultBranchRef"]["target"]
    assert (commit["a"]["path"], commit["a"]["pathRaw"], commit["a"]["lineCount"]) == (
        "src/lib/a.py",
        base64.b64encode(b"src/lib/a.py").decode(),
        1,
    )
    assert commit["a"]["object"] == {"text": "x = 1\n"}
    assert commit["b"]["path"] == "src"
    assert (commit["none"], commit["top"]) == (None, None)


async def test_files_that_are_no_text_or_too_large(
    ask: GraphQLClient, runtime: Runtime, ann_demo: Repository, source: GitRepository
) -> None:
    large = b"0123456789abcde\n" * (70 * 1024)
    files = {"binary": b"a\0b", "latin": b"caf\xe9\n", "empty": b"", "large": large}
    source.commit("one", files=files)
    await store_content(runtime, ann_demo, source)
    blob = "{ ... on Blob { byteSize isBinary isTruncated text } }"
    names = " ".join(f'{name}: object(expression: "HEAD:{name}") {blob}' for name in files)
    found = (await look(ask, names)).data["repository"]
    assert found["binary"] == {"byteSize": 3, "isBinary": True, "isTruncated": False, "text": None}
    assert found["latin"]["text"] == "caf\ufffd\n"
    assert found["empty"] == {"byteSize": 0, "isBinary": False, "isTruncated": False, "text": ""}
    assert found["large"] == {
        "byteSize": len(large),
        "isBinary": False,
        "isTruncated": True,
        "text": large[: 1024 * 1024].decode(),
    }


async def test_tags(
    ask: GraphQLClient, runtime: Runtime, ann_demo: Repository, source: GitRepository
) -> None:
    tip = source.commit("one")
    source.git("tag", "--annotate", "--message", "First.\n\nGood.", "v1")
    source.git("tag", "light")
    await store_content(runtime, ann_demo, source)
    answer = await look(
        ask,
        """refs(refPrefix: "refs/tags/", first: 5) { nodes { name target { __typename oid
          ... on Tag { id name message tagger { name } target { __typename oid } } } } }""",
    )
    light, v1 = answer.data["repository"]["refs"]["nodes"]
    assert light == {"name": "light", "target": {"__typename": "Commit", "oid": tip}}
    assert v1["target"] == {
        "__typename": "Tag",
        "id": ids.encode_named(IdKind.TAG, ann_demo.id, source.oid("v1")),
        "oid": source.oid("v1"),
        "name": "v1",
        "message": "First.\n\nGood.\n",
        "tagger": {"name": "Carl Committer"},
        "target": {"__typename": "Commit", "oid": tip},
    }


@pytest.fixture
async def grown(runtime: Runtime, ann_demo: Repository, source: GitRepository) -> GitRepository:
    """Three commits and a merge, a branch and tags."""
    source.commit("one", files={"a": "1", "d/b": "1"})
    source.commit("two")
    source.git("checkout", "--quiet", "-b", "side")
    source.commit("aside")
    source.git("checkout", "--quiet", "main")
    source.commit("three")
    source.git("merge", "--quiet", "--no-ff", "--message", "merge", "side")
    source.git("tag", "--annotate", "--message", "x", "v1", "main~1")
    source.git("tag", "--annotate", "--message", "x", "v1-again", "v1")
    source.git("branch", "v1", "main~2")
    await store_content(runtime, ann_demo, source)
    return source


@pytest.mark.parametrize(
    "expression",
    [
        "HEAD",
        "@",
        "main",
        "heads/main",
        "refs/heads/main",
        "tags/v1",
        "v1",  # a tag comes before a branch
        "v1^{}",
        "v1^0",
        "v1^{commit}",
        "v1^{tree}",
        "v1-again^{tag}",
        "v1-again~1",
        "HEAD~",
        "HEAD~2",
        "HEAD^2",
        "HEAD^^",
        "HEAD^2~1^",
        "HEAD:a",
        "main:d",
        "main:d/b",
        "v1:d/b",
        "main^{tree}:d",
        "HEAD:",
    ],
)
async def test_expressions(ask: GraphQLClient, grown: GitRepository, expression: str) -> None:
    assert await resolve(ask, expression) == grown.oid(expression)


async def test_ids_as_expressions(ask: GraphQLClient, grown: GitRepository) -> None:
    tip = grown.oid("main")
    assert await resolve(ask, tip) == tip
    assert await resolve(ask, tip[:8]) == tip
    assert await resolve(ask, f"{tip[:8].upper()}^2") == grown.oid("main^2")
    assert await resolve(ask, f"{tip}:a") == grown.oid("main:a")
    assert await resolve(ask, MISSING) is None
    assert await resolve(ask, tip[:3]) is None


@pytest.mark.parametrize(
    "expression",
    [
        "",
        ":",
        ":a",
        "none",
        "HEAD~100",
        "HEAD^3",
        "HEAD^{tag}",
        "HEAD^{tree}~1",
        "HEAD:none",
        "HEAD:a/b",
        "HEAD:../a",
        "HEAD:./a",
        "HEAD@{1}",
        "@{upstream}",
        ":/one",
        "HEAD^{/one}",
        "HEAD^!",
        "main..v1",
        "^main",
        "--all",
        "--output=/tmp/x",
        "-h",
        "main\nmain",
        "HEAD~99999999999999999999",
        "refs/heads",
        "x" * 5000,
        "HEAD:" + "d/" * 3000,
    ],
)
async def test_expressions_that_name_nothing(
    ask: GraphQLClient, grown: GitRepository, expression: str
) -> None:
    assert await resolve(ask, expression) is None


async def test_an_object_needs_one_way_to_find_it(ask: GraphQLClient, grown: GitRepository) -> None:
    for arguments in ("", "(oid: null)", f'(oid: "{MISSING}", expression: "HEAD")'):
        answer = await look(ask, f"object{arguments} {{ oid }}")
        assert answer.body["data"] == {"repository": {"object": None}}
        assert answer.error == {
            "type": "UNPROCESSABLE",
            "message": "give either an oid or an expression to look up an object",
            "path": ["repository", "object"],
        }
        assert answer.fields == ["oid", "expression"]


async def test_objects_by_id_and_what_is_hidden(
    ask: GraphQLClient, runtime: Runtime, source: GitRepository
) -> None:
    ann, bob = await make_user(runtime, "ann"), await make_user(runtime, "bob")
    secret = await make_repository(runtime, ann, "secret", visibility=Visibility.PRIVATE)
    own = await make_repository(runtime, bob, "own")
    tip = source.commit("one")
    await store_content(runtime, secret, source)
    cookies = {user.login: (await make_session(runtime, user)).secret for user in (ann, bob)}
    tree = source.oid("main^{tree}")
    query = "query($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }"

    async def find(login: str | None, *wanted: str) -> tuple[list[Any], list[Any]]:
        answer = await ask(query, {"ids": wanted}, cookie=login and cookies[login])
        return answer.body["data"]["nodes"], answer.errors

    commit = ids.encode_named(IdKind.COMMIT, secret.id, tip)
    found, errors = await find("ann", commit, ids.encode_named(IdKind.TREE, secret.id, tree))
    assert [each["__typename"] for each in found] == ["Commit", "Tree"]
    assert not errors
    hidden = [
        commit,
        ids.encode_named(IdKind.COMMIT, own.id, tip),  # in another repository
    ]
    for login in ("bob", None):
        found, errors = await find(login, *hidden)
        assert found == [None, None]
        assert [(each["type"], each["message"]) for each in errors] == [
            ("NOT_FOUND", f"Could not resolve to a node with the global id of '{each}'")
            for each in hidden
        ]
    wrong = [
        ids.encode_named(IdKind.TREE, secret.id, tip),  # a commit
        ids.encode_named(IdKind.COMMIT, secret.id, "main"),
        ids.encode_named(IdKind.COMMIT, secret.id, "--all"),
        ids.encode(IdKind.COMMIT, secret.id),
    ]
    found, errors = await find("ann", *wrong)
    assert found == [None] * 4
    assert {each["type"] for each in errors} == {"NOT_FOUND"}


async def test_a_repository_without_commits(
    ask: GraphQLClient, runtime: Runtime, ann_demo: Repository
) -> None:
    answer = await look(
        ask, 'object(expression: "HEAD:README.md") { oid } defaultBranchRef { target { oid } }'
    )
    assert answer.data["repository"] == {"object": None, "defaultBranchRef": None}


async def test_the_last_commit_of_each_entry(
    ask: GraphQLClient, runtime: Runtime, ann_demo: Repository, source: GitRepository
) -> None:
    first = source.commit("one", files={"a": "1", "d/x": "1", "d/y": "1"})
    second = source.commit("two", files={"d/y": "2", "b": "2"})
    await store_content(runtime, ann_demo, source)
    entries = "{ ... on Tree { entries { name lastCommit { oid messageHeadline } } } }"
    answer = await look(
        ask,
        f"""top: object(expression: "HEAD:") {entries}
        folder: object(expression: "main:d") {entries}
        older: object(expression: "main~1:") {entries}
        byId: object(oid: "{source.oid("main^{tree}")}") {entries}
        defaultBranchRef {{ target {{ ... on Commit {{
          file(path: "d/x") {{ lastCommit {{ oid }} }}
          tree {{ entries {{ name object {entries} lastCommit {{ oid }} }} }} }} }} }}""",
    )
    found = answer.data["repository"]

    def commits(tree: Any) -> dict[str, str | None]:
        return {
            entry["name"]: entry["lastCommit"] and entry["lastCommit"]["oid"]
            for entry in tree["entries"]
        }

    assert commits(found["top"]) == {"a": first, "b": second, "d": second}
    assert commits(found["folder"]) == {"x": first, "y": second}
    assert commits(found["older"]) == {"a": first, "d": first}
    assert commits(found["byId"]) == {"a": None, "b": None, "d": None}
    commit = found["defaultBranchRef"]["target"]
    assert commit["file"] == {"lastCommit": {"oid": first}}
    assert commits(commit["tree"]) == commits(found["top"])
    (folder,) = [each for each in commit["tree"]["entries"] if each["name"] == "d"]
    assert commits(folder["object"]) == commits(found["folder"])
