"""What the API shows of forks, and that nobody learns of one that is hidden from them."""

import asyncio
from typing import Any

import pytest

from graph import operation
from models import Visibility
from resolvers import ids
from resolvers.ids import IdKind
from services import forks, repositories
from services.access import Role
from services.repositories import RepositoryChanges
from services.runtime import Runtime
from tests.support.factories import (
    make_collaborator,
    make_repository,
    make_session,
    make_user,
)
from tests.support.graphql import GraphQLClient
from tests.support.runtime import operator

SHOWN = "nameWithOwner isFork forkCount parent { nameWithOwner isFork forkCount }"
ASK = f"""query($owner: String!, $name: String!) {{
  repository(owner: $owner, name: $name) {{ {SHOWN} }} }}"""


@pytest.mark.parametrize(("name", "expected"), [(None, "bob/demo"), ("mine", "bob/mine")])
async def test_fork_repository(
    ask: GraphQLClient, runtime: Runtime, name: str | None, expected: str
) -> None:
    source = await make_repository(runtime, await make_user(runtime, "ann"), "demo")
    bob = await make_user(runtime, "bob")
    cookie = (await make_session(runtime, bob)).secret
    given = {"repositoryId": ids.encode(IdKind.REPOSITORY, source.id), "name": name}
    shown = {
        "nameWithOwner": expected,
        "isFork": True,
        "forkCount": 0,
        "parent": {"nameWithOwner": "ann/demo", "isFork": False, "forkCount": 1},
    }
    # Asked again, the account's one fork comes back.
    for _ in range(2):
        answer = await ask.mutate(
            "forkRepository", given, f"repository {{ {SHOWN} }}", cookie=cookie
        )
        assert answer.data["forkRepository"]["repository"] == shown
    elsewhere = {"ownerId": ids.encode(IdKind.USER, source.owner_id), "name": "copy", **given}
    refused = await ask.mutate("forkRepository", elsewhere, "", cookie=cookie)
    assert refused.error["type"] == "FORBIDDEN"
    assert refused.error["message"] == "you cannot create repositories for ann"


async def test_a_large_fork_takes_longer_than_other_requests_may(
    ask: GraphQLClient, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operation, "DEADLINE_SECONDS", 0.2)
    source = await make_repository(runtime, await make_user(runtime, "ann"), "demo")
    cookie = (await make_session(runtime, await make_user(runtime, "bob"))).secret
    prepare = forks.prepare_fork

    async def slowly(*args: Any) -> Any:
        await asyncio.sleep(0.5)
        return await prepare(*args)

    monkeypatch.setattr(forks, "prepare_fork", slowly)
    given = {"repositoryId": ids.encode(IdKind.REPOSITORY, source.id)}
    answer = await ask.mutate(
        "forkRepository", given, "repository { nameWithOwner }", cookie=cookie
    )
    assert answer.data["forkRepository"]["repository"] == {"nameWithOwner": "bob/demo"}


async def test_a_taken_name(ask: GraphQLClient, runtime: Runtime) -> None:
    ann = await make_user(runtime, "ann")
    source = await make_repository(runtime, ann, "demo")
    cookie = (await make_session(runtime, ann)).secret
    given = {"repositoryId": ids.encode(IdKind.REPOSITORY, source.id)}
    answer = await ask.mutate("forkRepository", given, "", cookie=cookie)
    assert answer.error["type"] == "UNPROCESSABLE"
    assert answer.error["message"] == "Name already exists on this account"


async def test_hidden_parents_and_forks(ask: GraphQLClient, runtime: Runtime) -> None:
    ann, bob = await make_user(runtime, "ann"), await make_user(runtime, "bob")
    source = await make_repository(runtime, ann, "demo")
    open_fork = await forks.fork_repository(operator(runtime), source.id, "bob")
    cyd = await make_user(runtime, "cyd")
    hidden_fork = await forks.fork_repository(operator(runtime), source.id, "cyd")
    private = RepositoryChanges(visibility=Visibility.PRIVATE)
    await repositories.update_repository(operator(runtime), hidden_fork.id, private)

    async def shown(owner: str, cookie: str | None = None) -> dict[str, object]:
        answer = await ask(ASK, {"owner": owner, "name": "demo"}, cookie=cookie)
        found: dict[str, object] = answer.data["repository"]
        return found

    assert (await shown("ann"))["forkCount"] == 1
    assert (await shown("ann", (await make_session(runtime, cyd)).secret))["forkCount"] == 2

    await repositories.update_repository(operator(runtime), source.id, private)
    fork = await shown("bob", (await make_session(runtime, bob)).secret)
    assert (fork["isFork"], fork["parent"]) == (True, None)
    await make_collaborator(runtime, source, bob, Role.READ)
    fork = await shown("bob", (await make_session(runtime, bob)).secret)
    assert fork["parent"] == {"nameWithOwner": "ann/demo", "isFork": False, "forkCount": 1}
    assert open_fork.visibility is Visibility.PUBLIC
