"""Forks brought up to date: forward only, with objects of their own, and only while one may see."""

from pathlib import Path
from typing import Any

import pytest

from models import Repository, User, Visibility
from resolvers import ids
from resolvers.ids import IdKind
from services import commits, forks, repositories
from services.commits import FileEdits
from services.repositories import RepositoryChanges
from services.runtime import Runtime
from tests.support.content import store_content
from tests.support.factories import (
    make_repository,
    make_session,
    make_user,
    session_actor,
)
from tests.support.git import GitRepository
from tests.support.graphql import Answer, GraphQLClient
from tests.support.runtime import make_op, operator

MAIN = "refs/heads/main"


class People:
    """ann owns the source, bob the fork."""

    def __init__(self, runtime: Runtime, ann: User, bob: User) -> None:
        self.runtime = runtime
        self.ann = ann
        self.bob = bob

    async def commit(self, user: User, repository: Repository, head: str, path: str) -> str:
        session = await make_session(self.runtime, user)
        return await commits.create_commit_on_branch(
            make_op(self.runtime, session_actor(session)),
            repository.id,
            MAIN,
            expected_head_oid=head,
            message=f"add {path}",
            edits=FileEdits({path: path.encode()}, []),
        )


@pytest.fixture
async def people(runtime: Runtime) -> People:
    return People(runtime, await make_user(runtime, "ann"), await make_user(runtime, "bob"))


@pytest.fixture
async def source(runtime: Runtime, people: People) -> Repository:
    return await make_repository(runtime, people.ann, "demo")


@pytest.fixture
async def tip(runtime: Runtime, source: Repository, tmp_path: Path) -> str:
    work = GitRepository.create(tmp_path / "work")
    tip = work.commit("first", files={"README": "x"})
    await store_content(runtime, source, work)
    return tip


@pytest.fixture
async def fork(runtime: Runtime, people: People, source: Repository, tip: str) -> Repository:
    op = make_op(runtime, session_actor(await make_session(runtime, people.bob)))
    return await forks.fork_repository(op, source.id, "bob")


async def merge(ask: GraphQLClient, people: People, fork: Repository, **given: Any) -> Answer:
    cookie = (await make_session(people.runtime, people.bob)).secret
    return await ask.mutate(
        "mergeUpstream",
        {"repositoryId": ids.encode(IdKind.REPOSITORY, fork.id), **given},
        "mergeType baseBranch repository { defaultBranchRef { target { oid } } }",
        cookie=cookie,
    )


async def refs(runtime: Runtime, repository: Repository) -> dict[str, str]:
    async with runtime.database.read() as session:
        rows = await runtime.git.list_refs(session, repository.id)
    return {row.name: row.oid for row in rows}


async def test_forward(
    ask: GraphQLClient,
    runtime: Runtime,
    people: People,
    source: Repository,
    fork: Repository,
    tip: str,
    tmp_path: Path,
) -> None:
    again = await merge(ask, people, fork)
    assert again.data["mergeUpstream"]["mergeType"] == "NONE"
    new = await people.commit(people.ann, source, tip, "a")
    new = await people.commit(people.ann, source, new, "b")
    answer = await merge(ask, people, fork, branchName="main")
    assert answer.data["mergeUpstream"] == {
        "clientMutationId": "m1",
        "mergeType": "FAST_FORWARD",
        "baseBranch": "ann:main",
        "repository": {"defaultBranchRef": {"target": {"oid": new}}},
    }
    # What was copied is whole, and the fork's own.
    await repositories.delete_repository(operator(runtime), source.id)
    async with runtime.git.open(fork.id) as copy:
        cloned = GitRepository.clone(str(copy.path), tmp_path / "clone")
    cloned.git("fsck", "--full")
    assert sorted(cloned.git("ls-files").splitlines()) == ["README", "a", "b"]


async def test_a_branch_that_the_fork_lacks(
    ask: GraphQLClient,
    runtime: Runtime,
    people: People,
    source: Repository,
    fork: Repository,
    tip: str,
) -> None:
    cookie = (await make_session(runtime, people.ann)).secret
    given = {
        "repositoryId": ids.encode(IdKind.REPOSITORY, source.id),
        "name": "refs/heads/next",
        "oid": tip,
    }
    await ask.mutate("createRef", given, "ref { name }", cookie=cookie)
    answer = await merge(ask, people, fork, branchName="next")
    assert answer.data["mergeUpstream"]["mergeType"] == "FAST_FORWARD"
    assert await refs(runtime, fork) == {MAIN: tip, "refs/heads/next": tip}
    none = await merge(ask, people, fork, branchName="none")
    assert (none.error["type"], none.error["message"]) == (
        "NOT_FOUND",
        "the source has no branch 'none'",
    )


async def test_commits_of_ones_own_are_never_lost(
    ask: GraphQLClient,
    runtime: Runtime,
    people: People,
    source: Repository,
    fork: Repository,
    tip: str,
) -> None:
    own = await people.commit(people.bob, fork, tip, "mine")
    for _ in range(2):  # ahead, then diverged
        answer = await merge(ask, people, fork)
        assert answer.codes == ["CONFLICT"]
        assert answer.error["message"] == (
            "the branch has commits that the source lacks, so it cannot be moved forward"
        )
        assert await refs(runtime, fork) == {MAIN: own}
        await people.commit(people.ann, source, (await refs(runtime, source))[MAIN], "theirs")


async def test_a_source_that_is_hidden_by_now(
    ask: GraphQLClient,
    runtime: Runtime,
    people: People,
    source: Repository,
    fork: Repository,
    tip: str,
) -> None:
    await people.commit(people.ann, source, tip, "secret")
    await repositories.update_repository(
        operator(runtime), source.id, RepositoryChanges(visibility=Visibility.PRIVATE)
    )
    answer = await merge(ask, people, fork)
    assert answer.error["type"] == "NOT_FOUND"
    assert await refs(runtime, fork) == {MAIN: tip}


async def test_what_is_no_fork(
    ask: GraphQLClient, runtime: Runtime, people: People, tip: str
) -> None:
    own = await make_repository(runtime, people.bob, "own")
    answer = await merge(ask, people, own)
    assert answer.error["message"] == ("the repository is no fork, so there is nothing to merge")
