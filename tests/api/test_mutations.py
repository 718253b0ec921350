"""Every mutation, by one table: who may, with which credential, what is emitted, what is left.

Row 48: rights are the rules', not the transport's, so each mutation is tried by everybody.
"""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from graph.schema import schema
from models import Base, Collaborator, Repository, User, Visibility
from resolvers import ids
from resolvers.ids import IdKind
from services.access import Role
from services.runtime import Runtime
from tests.api.conftest import EventLog
from tests.api.mutation_cases import CASES, Case, Input, World
from tests.support.factories import (
    make_collaborator,
    make_repository,
    make_session,
    make_token,
    make_user,
)
from tests.support.graphql import GraphQLClient

# No matter of rights: signing in, and what needs a mailed token; they have tests of their own.
ELSEWHERE = {"signIn", "requestEmailVerification", "verifyEmailAddress"}


def cases(wanted: Callable[[Case], bool] = lambda _case: True) -> pytest.MarkDecorator:
    chosen = [each for each in CASES if wanted(each)]
    return pytest.mark.parametrize("case", chosen, ids=[each.name for each in chosen])


ALL = cases()
# Ending no session is anybody's.
PROTECTED = cases(lambda case: case.scopes != ())


def test_no_mutation_is_left_out() -> None:
    mutations = set(schema._schema.mutation_type.fields)  # type: ignore[union-attr]
    assert {each.name for each in CASES} | ELSEWHERE == mutations


@pytest.fixture
async def world(runtime: Runtime) -> World:
    ann = await make_user(runtime, "ann")
    return World(
        runtime,
        ann,
        await make_user(runtime, "bob"),
        await make_user(runtime, "root-admin", site_admin=True),
        await make_repository(runtime, ann, "demo", visibility=Visibility.PRIVATE),
    )


async def everything(runtime: Runtime) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables."""
    async with runtime.database.read() as session:
        return {
            table.name: sorted(map(tuple, await session.execute(select(table))), key=repr)
            for table in Base.metadata.sorted_tables
        }


def user_of(world: World, name: str) -> User:
    return {"ann": world.ann, "bob": world.bob, "root": world.root}[name]


@ALL
async def test_who_may_does_and_it_is_told(
    ask: GraphQLClient, runtime: Runtime, world: World, events: EventLog, case: Case
) -> None:
    given = await case.input(world)
    cookie = (await make_session(runtime, user_of(world, case.by))).secret
    await events.new()  # those of the preparations
    answer = await ask.mutate(case.name, given, case.selection, cookie=cookie)
    assert answer.data[case.name]["clientMutationId"] == "m1"
    assert [name for name, _ in await events.new()] == list(case.events)


async def refused(
    ask: GraphQLClient, runtime: Runtime, case: Case, given: Input, **credentials: Any
) -> str:
    """The type of the one error; fails if anything changed in the database."""
    await ask("{ __typename }", **credentials)  # the first use of a credential is recorded
    before = await everything(runtime)
    answer = await ask.mutate(case.name, given, case.selection, **credentials)
    assert answer.body["data"] == {case.name: None}
    assert await everything(runtime) == before
    kind: str = answer.error["type"]
    return kind


@ALL
async def test_nobody(ask: GraphQLClient, runtime: Runtime, world: World, case: Case) -> None:
    given = await case.input(world)
    if case.anonymous is None:
        assert (await ask.mutate(case.name, given, case.selection)).data
    else:
        assert await refused(ask, runtime, case, given) == case.anonymous


@ALL
async def test_strangers(ask: GraphQLClient, runtime: Runtime, world: World, case: Case) -> None:
    given = await case.input(world)
    cookie = (await make_session(runtime, world.bob)).secret
    if case.stranger is None:
        assert (await ask.mutate(case.name, given, case.selection, cookie=cookie)).data
    else:
        assert await refused(ask, runtime, case, given, cookie=cookie) == case.stranger


@ALL
async def test_the_least_scopes(
    ask: GraphQLClient, runtime: Runtime, world: World, case: Case
) -> None:
    given = await case.input(world)
    user = user_of(world, case.by)
    if case.scopes is None:
        everything_else = ("repo", "user", "admin:public_key", "delete_repo")
        token = (await make_token(runtime, user, *everything_else)).token
        assert await refused(ask, runtime, case, given, token=token) == "FORBIDDEN"
    else:
        token = (await make_token(runtime, user, *case.scopes)).token
        assert (await ask.mutate(case.name, given, case.selection, token=token)).data


@cases(lambda case: bool(case.scopes))
async def test_every_scope_but_the_needed_ones(
    ask: GraphQLClient, runtime: Runtime, world: World, case: Case
) -> None:
    given = await case.input(world)
    user = user_of(world, case.by)
    others = {"repo", "user", "delete_repo", "workflow", "admin:public_key", "site_admin"}
    others -= {*case.scopes, *(["admin:public_key"] if "write:public_key" in case.scopes else [])}
    if case.by != "root":
        others.discard("site_admin")
    token = (await make_token(runtime, user, *others)).token
    kind = await refused(ask, runtime, case, given, token=token)
    assert kind in ("INSUFFICIENT_SCOPES", "NOT_FOUND")


@PROTECTED
async def test_a_token_that_only_reads(
    ask: GraphQLClient, runtime: Runtime, world: World, case: Case
) -> None:
    given = await case.input(world)
    token = (await make_token(runtime, user_of(world, case.by), "read:user", "read:org")).token
    kind = await refused(ask, runtime, case, given, token=token)
    assert kind in ("INSUFFICIENT_SCOPES", "NOT_FOUND", "FORBIDDEN")


@PROTECTED
async def test_a_token_for_another_repository(
    ask: GraphQLClient, runtime: Runtime, world: World, case: Case
) -> None:
    """Row 53, for tokens: rights on one repository are none on another."""
    given = await case.input(world)
    other = await make_repository(runtime, world.ann, "other")
    token = await make_token(
        runtime,
        world.ann,
        *("repo", "user", "admin:public_key", "delete_repo"),
        repository_ids=[other.id],
    )
    kind = await refused(ask, runtime, case, given, token=token.token)
    assert kind in ("NOT_FOUND", "FORBIDDEN", "INSUFFICIENT_SCOPES")


def id_fields(name: str) -> list[str]:
    """The inputs of a mutation that are node ids."""
    kind = schema._schema.get_type(f"{name[0].upper()}{name[1:]}Input")
    assert kind is not None
    fields: dict[str, Any] = kind.fields  # type: ignore[attr-defined]
    return [each for each, field in fields.items() if str(field.type).strip("[]!") == "ID"]


@ALL
async def test_ids_of_other_types_and_forged_ones(
    ask: GraphQLClient, runtime: Runtime, world: World, case: Case
) -> None:
    """Row 49: an id counts only where its type is asked for."""
    given = await case.input(world)
    cookie = (await make_session(runtime, user_of(world, case.by))).secret
    for field in id_fields(case.name):
        is_list = field.endswith("Ids")
        right = given.get(field)
        for kind in IdKind:
            number = ids.decode(right)[1] if right else 1
            forged = ids.encode(kind, number)
            expected = {"userId": IdKind.USER, "ownerId": IdKind.USER, "newOwnerId": IdKind.USER}
            if forged == right or expected.get(field) is kind or (is_list and kind.value == "R"):
                continue
            value = [forged] if is_list else forged
            kind_of_error = await refused(
                ask, runtime, case, {**given, field: value}, cookie=cookie
            )
            assert kind_of_error == "NOT_FOUND"
        for text in ("", "R_", "nonsense"):
            value = [text] if is_list else text
            assert (
                await refused(ask, runtime, case, {**given, field: value}, cookie=cookie)
                == "NOT_FOUND"
            )


async def test_collaborators_below_the_needed_role(
    ask: GraphQLClient, runtime: Runtime, world: World
) -> None:
    await make_collaborator(runtime, world.repository, world.bob, Role.MAINTAIN)
    cookie = (await make_session(runtime, world.bob)).secret
    for case in CASES:
        if case.name in (
            "archiveRepository",
            "deleteRepository",
            "addCollaborator",
            "createDeployKey",
        ):
            given = await case.input(world)
            assert await refused(ask, runtime, case, given, cookie=cookie) == "FORBIDDEN"
    described = await ask.mutate(
        "updateRepository",
        {"repositoryId": world.repository_id, "description": "by bob"},
        "repository { description }",
        cookie=cookie,
    )
    assert described.data["updateRepository"]["repository"] == {"description": "by bob"}
    answer = await ask.mutate(
        "updateRepository",
        {"repositoryId": world.repository_id, "description": "again", "name": "taken"},
        "repository { description }",
        cookie=cookie,
    )
    assert answer.error["message"] == (
        "you need the admin role on ann/demo for this; yours is maintain"
    )
    async with runtime.database.read() as session:
        row = await session.get(Repository, world.repository.id)
    assert row is not None
    assert (row.description, row.name) == ("by bob", "demo")


async def test_a_collaborator_may_leave(
    ask: GraphQLClient, runtime: Runtime, world: World, events: EventLog
) -> None:
    await make_collaborator(runtime, world.repository, world.bob, Role.READ)
    cookie = (await make_session(runtime, world.bob)).secret
    await events.new()  # those of the preparations
    answer = await ask.mutate(
        "removeCollaborator",
        {
            "repositoryId": world.repository_id,
            "userId": ids.encode(IdKind.USER, world.bob.id),
        },
        "repository { name }",
        cookie=cookie,
    )
    assert answer.data["removeCollaborator"]["repository"] is None
    assert await events.new() == [
        (
            "CollaboratorRemoved",
            {"repository_id": world.repository.id, "user_id": world.bob.id},
        )
    ]
    async with runtime.database.read() as session:
        assert list(await session.scalars(select(Collaborator))) == []
