"""Files committed through the API: what comes of it, and what is refused."""

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from models import Push, RefChange, Repository, User
from resolvers import ids
from resolvers.ids import IdKind
from services import repositories
from services.repositories import RepositoryChanges
from services.runtime import Runtime
from tests.api.conftest import EventLog
from tests.support.content import store_content
from tests.support.factories import make_repository, make_session, make_user
from tests.support.git import GitRepository
from tests.support.graphql import Answer, GraphQLClient
from tests.support.runtime import operator

MAIN = "refs/heads/main"
SHOWN = (
    "commit { oid message author { name email user { login } } parents(first: 1) { nodes { oid } } "
    "changedFiles } ref { name target { oid } }"
)


@pytest.fixture
async def ann(runtime: Runtime) -> User:
    return await make_user(runtime, "ann")


@pytest.fixture
async def demo(runtime: Runtime, ann: User) -> Repository:
    return await make_repository(runtime, ann, "demo")


@pytest.fixture
async def cookie(runtime: Runtime, ann: User) -> str:
    return (await make_session(runtime, ann)).secret


@pytest.fixture
async def source(runtime: Runtime, demo: Repository, tmp_path: Path) -> GitRepository:
    source = GitRepository.create(tmp_path / "source")
    files = {"README": "x\n", "bin/run": "#!\n", "src/a": "1\n", "src/b": "2\n"}
    source.commit("first", files=files)
    source.git("update-index", "--chmod=+x", "bin/run")
    (source.path / "link").symlink_to("src")
    source.git("add", "link")
    source.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},vendor")
    source.git("commit", "--quiet", "--message", "odd things")
    await store_content(runtime, demo, source)
    return source


def text(content: str | bytes) -> str:
    raw = content.encode() if isinstance(content, str) else content
    return base64.b64encode(raw).decode()


async def commit(
    ask: GraphQLClient,
    cookie: str,
    head: str,
    *,
    additions: dict[str, str | bytes] | None = None,
    deletions: list[str] | None = None,
    **changes: Any,
) -> Answer:
    given = {
        "branch": {"repositoryNameWithOwner": "ann/demo", "branchName": "main"},
        "expectedHeadOid": head,
        "message": {"headline": "Change things", "body": "As told.\n"},
        "fileChanges": {
            "additions": [
                {"path": path, "contents": text(content)}
                for path, content in (additions or {}).items()
            ],
            "deletions": [{"path": path} for path in deletions or []],
        },
        **changes,
    }
    return await ask.mutate("createCommitOnBranch", given, SHOWN, cookie=cookie)


async def clone(runtime: Runtime, repository: Repository, path: Path) -> GitRepository:
    """What git itself finds in the repository now, checked."""
    async with runtime.git.open(repository.id) as copy:
        cloned = GitRepository.clone(str(copy.path), path)
    cloned.git("fsck", "--full", "--strict")
    return cloned


async def test_a_commit(
    ask: GraphQLClient,
    runtime: Runtime,
    demo: Repository,
    source: GitRepository,
    cookie: str,
    events: EventLog,
    tmp_path: Path,
) -> None:
    head = source.oid("main")
    await events.new()
    answer = await commit(
        ask,
        cookie,
        head,
        additions={"README": "new\n", "bin/run": "#!/bin/sh\n", "docs/ü x.md": b"\0\xff", "e": ""},
        deletions=["src/a"],
    )
    made = answer.data["createCommitOnBranch"]
    assert made["commit"]["message"] == "Change things\n\nAs told.\n"
    assert made["commit"]["author"] == {
        "name": "ann",
        "email": f"{demo.owner_id}+ann@users.noreply.127.0.0.1",
        "user": {"login": "ann"},
    }
    assert made["commit"]["parents"]["nodes"] == [{"oid": head}]
    assert made["commit"]["changedFiles"] == 5
    assert made["ref"] == {"name": "main", "target": {"oid": made["commit"]["oid"]}}
    cloned = await clone(runtime, demo, tmp_path / "clone")
    assert cloned.oid("HEAD") == made["commit"]["oid"]
    listed = dict(
        reversed(line.split("\t"))
        for line in cloned.git("-c", "core.quotePath=false", "ls-tree", "-r", "HEAD").splitlines()
    )
    modes = {path: entry.split()[0] for path, entry in listed.items()}
    assert modes == {
        "README": "100644",
        "bin/run": "100755",  # as before
        "docs/ü x.md": "100644",
        "e": "100644",
        "link": "120000",
        "src/b": "100644",
        "vendor": "160000",
    }
    assert cloned.run("show", "HEAD:docs/ü x.md").stdout == b"\0\xff"
    assert [name for name, _ in await events.new()] == ["PushReceived"]
    async with runtime.database.read() as session:
        push = await session.scalar(select(Push))
        change = await session.scalar(select(RefChange))
    assert push is not None
    assert change is not None
    assert (push.door, push.pusher_id) == ("api", demo.owner_id)
    assert (change.ref_name, change.old_oid, change.new_oid, change.forced) == (
        MAIN,
        head,
        made["commit"]["oid"],
        False,
    )


async def test_without_changes_or_by_the_branchs_id(
    ask: GraphQLClient, demo: Repository, source: GitRepository, cookie: str
) -> None:
    head = source.oid("main")
    branch = {"id": ids.encode_named(IdKind.REF, demo.id, MAIN)}
    for message, expected in (
        ({"headline": " Only a line "}, "Only a line\n"),
        ({"headline": "L", "body": "  a\n\n\n"}, "L\n\n  a\n"),
    ):
        answer = await commit(ask, cookie, head, branch=branch, message=message, fileChanges=None)
        made = answer.data["createCommitOnBranch"]["commit"]
        assert (made["message"], made["changedFiles"]) == (expected, 0)
        head = made["oid"]


async def test_a_branch_that_has_moved_on(
    ask: GraphQLClient, runtime: Runtime, demo: Repository, source: GitRepository, cookie: str
) -> None:
    head, old = source.oid("main"), source.oid("main~1")
    answer = await commit(ask, cookie, old, additions={"README": "lost?\n"})
    assert answer.body["data"] == {"createCommitOnBranch": None}
    assert answer.error == {
        "type": "STALE_DATA",
        "message": f'Expected branch to point to "{old}" but it did not. Pull and try again.',
        "path": ["createCommitOnBranch"],
    }
    assert answer.codes == ["CONFLICT"]
    answers = await asyncio.gather(
        *(commit(ask, cookie, head, additions={f"f{number}": "x"}) for number in range(8))
    )
    won = [each for each in answers if "errors" not in each.body]
    assert len(won) == 1
    assert {each.error["type"] for each in answers if each not in won} == {"STALE_DATA"}
    async with runtime.git.open(demo.id) as copy:
        refs = {ref.name: ref.oid for ref in copy.packed_refs()}
    assert refs == {MAIN: won[0].data["createCommitOnBranch"]["commit"]["oid"]}


@pytest.mark.parametrize(
    ("additions", "deletions", "message"),
    [
        ({"/etc/passwd": ""}, [], "the path '/etc/passwd' begins with a slash; it is relative to "
         "the repository's top"),
        ({"a/../../b": ""}, [], "the path 'a/../../b' has an empty part, '.' or '..'"),
        ({"a//b": ""}, [], "the path 'a//b' has an empty part, '.' or '..'"),
        ({"": ""}, [], "a path has between 1 and 4096 bytes"),
        ({"x" * 256: ""}, [], "a part of a path can have at most 255 bytes"),
        ({"a/" * 2048 + "b": ""}, [], "a path has between 1 and 4096 bytes"),
        ({".git/config": ""}, [], "the path '.git/config' leads into git's own folder"),
        ({"a/.GIT. /hooks": ""}, [], "the path 'a/.GIT. /hooks' leads into git's own folder"),
        ({"git~1/x": ""}, [], "the path 'git~1/x' leads into git's own folder"),
        ({".git::$INDEX_ALLOCATION/x": ""}, [],
         "the path '.git::$INDEX_ALLOCATION/x' leads into git's own folder"),
        ({"a\nb": ""}, [], "a path cannot have control or invisible characters"),
        ({".g\u200cit/config": ""}, [], "a path cannot have control or invisible characters"),
        ({"link/x": ""}, [], "'link' is no folder, so nothing can be in it"),
        ({"link": ""}, [], "'link' is no plain file, so it is not edited"),
        ({"vendor/x": ""}, [], "'vendor' is no folder, so nothing can be in it"),
        ({"vendor": ""}, [], "'vendor' is no plain file, so it is not edited"),
        ({"src": ""}, [], "'src' is no plain file, so it is not edited"),
        ({"README/x": ""}, [], "'README' is no folder, so nothing can be in it"),
        ({"n": "", "n/x": ""}, [], "'n' cannot be a file and a folder"),
        ({"README": ""}, ["README"], "a path is named more than once"),
        ({}, ["src/a", "src/a"], "a path is named more than once"),
        ({}, ["none"], "there is no file 'none' to delete"),
        ({}, ["src"], "there is no file 'src' to delete"),
        ({}, ["src/a/x"], "'src/a' is no folder, so nothing can be in it"),
        ({".gitmodules": '[submodule "x"]\n\tpath = x\n\turl = ext::sh -c id\n'}, [],
         None),
    ],
)  # fmt: skip
async def test_paths_that_are_refused(
    ask: GraphQLClient,
    runtime: Runtime,
    demo: Repository,
    source: GitRepository,
    cookie: str,
    events: EventLog,
    additions: dict[str, str | bytes],
    deletions: list[str],
    message: str | None,
) -> None:
    await events.new()
    answer = await commit(ask, cookie, source.oid("main"), additions=additions, deletions=deletions)
    assert answer.error["type"] == "UNPROCESSABLE"
    if message is None:
        assert "submodule" in answer.error["message"]
    else:
        assert answer.error["message"] == message
    assert await events.new() == []
    async with runtime.git.open(demo.id) as copy:
        assert [ref.oid for ref in copy.packed_refs()] == [source.oid("main")]
        assert len(list((copy.objects / "pack").glob("*.pack"))) == 1
    assert not list((runtime.git.cache.root / "quarantine").iterdir())


async def test_what_makes_way_in_the_same_commit(
    ask: GraphQLClient,
    runtime: Runtime,
    demo: Repository,
    source: GitRepository,
    cookie: str,
    tmp_path: Path,
) -> None:
    answer = await commit(
        ask,
        cookie,
        source.oid("main"),
        additions={"README/part": "x", "link/x": "y"},
        deletions=["README", "link", "vendor"],
    )
    assert answer.data
    cloned = await clone(runtime, demo, tmp_path / "clone")
    names = cloned.git("ls-tree", "-r", "--name-only", "HEAD").splitlines()
    assert names == ["README/part", "bin/run", "link/x", "src/a", "src/b"]


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"message": {"headline": " "}}, "UNPROCESSABLE", "a commit needs a message"),
        (
            {"message": {"headline": "a\nb"}},
            "UNPROCESSABLE",
            "the headline of a message is one line",
        ),
        (
            {"message": {"headline": "a", "body": "b" * 70_000}},
            "UNPROCESSABLE",
            "a commit message can have at most 65536 characters",
        ),
        (
            {"branch": {"branchName": "main"}},
            "UNPROCESSABLE",
            "name the branch either by id, or by repositoryNameWithOwner and branchName",
        ),
        (
            {"branch": {"repositoryNameWithOwner": "ann/demo", "branchName": "none"}},
            "NOT_FOUND",
            "the repository has no branch 'none'",
        ),
        (
            {"branch": {"repositoryNameWithOwner": "ann/demo", "branchName": "refs/tags/v1"}},
            "UNPROCESSABLE",
            "a commit is made on a branch",
        ),
        (
            {"branch": {"repositoryNameWithOwner": "ann/none", "branchName": "main"}},
            "NOT_FOUND",
            "Could not resolve to a Repository with the name 'ann/none'.",
        ),
        (
            {"branch": {"repositoryNameWithOwner": "ann", "branchName": "main"}},
            "NOT_FOUND",
            "Could not resolve to a Repository with the name 'ann/'.",
        ),
    ],
)
async def test_other_faults(
    ask: GraphQLClient,
    source: GitRepository,
    cookie: str,
    changes: dict[str, Any],
    kind: str,
    message: str,
) -> None:
    answer = await commit(ask, cookie, source.oid("main"), **changes)
    assert (answer.error["type"], answer.error["message"]) == (kind, message)


async def test_contents_must_be_base64(
    ask: GraphQLClient, source: GitRepository, cookie: str
) -> None:
    changes = {"additions": [{"path": "a", "contents": "no base64!"}]}
    answer = await commit(ask, cookie, source.oid("main"), fileChanges=changes)
    assert answer.error["type"] == "UNPROCESSABLE"
    assert "a Base64String is base64 as in RFC 4648, with its padding" in answer.error["message"]


async def test_too_many_files(ask: GraphQLClient, source: GitRepository, cookie: str) -> None:
    files: dict[str, str | bytes] = {f"f{number}": "" for number in range(1001)}
    answer = await commit(ask, cookie, source.oid("main"), additions=files)
    assert answer.error["message"] == (
        "one commit can change at most 1000 files here; push larger ones"
    )


async def test_an_archived_repository(
    ask: GraphQLClient, runtime: Runtime, demo: Repository, source: GitRepository, cookie: str
) -> None:
    await repositories.update_repository(
        operator(runtime), demo.id, RepositoryChanges(archived=True)
    )
    answer = await commit(ask, cookie, source.oid("main"), additions={"a": "b"})
    assert answer.error["message"] == "repository is archived so it is read-only"


async def test_an_empty_repository(ask: GraphQLClient, demo: Repository, cookie: str) -> None:
    answer = await commit(ask, cookie, "1" * 40, additions={"a": "b"})
    assert answer.error["message"] == "the repository has no branch 'main'"
