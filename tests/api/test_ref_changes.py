"""Refs changed through the API: the rules of pushes, and git's own distinction of forced moves."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from models import RefChange, Repository, User
from resolvers import ids
from resolvers.ids import IdKind
from services.runtime import Runtime
from tests.support.content import store_content
from tests.support.factories import make_repository, make_session, make_user
from tests.support.git import GitRepository
from tests.support.graphql import Answer, GraphQLClient

ZEROS = "0" * 40
MAIN, TOPIC = "refs/heads/main", "refs/heads/topic"


@pytest.fixture
async def ann(runtime: Runtime) -> User:
    return await make_user(runtime, "ann")


@pytest.fixture
async def demo(runtime: Runtime, ann: User) -> Repository:
    return await make_repository(runtime, ann, "demo")


@pytest.fixture
async def source(runtime: Runtime, demo: Repository, tmp_path: Path) -> GitRepository:
    """main and topic, each a commit beyond their common one."""
    source = GitRepository.create(tmp_path / "source")
    source.commit("one")
    source.git("branch", "topic")
    source.commit("two")
    source.git("checkout", "--quiet", "topic")
    source.commit("aside")
    source.git("tag", "--annotate", "--message", "x", "v1")
    await store_content(runtime, demo, source)
    return source


@pytest.fixture
async def cookie(runtime: Runtime, ann: User) -> str:
    return (await make_session(runtime, ann)).secret


async def refs(runtime: Runtime, repository: Repository) -> dict[str, str]:
    async with runtime.database.read() as session:
        rows = await runtime.git.list_refs(session, repository.id)
    return {row.name: row.oid for row in rows}


def ref_id(repository: Repository, name: str) -> str:
    return ids.encode_named(IdKind.REF, repository.id, name)


async def test_create_ref(
    ask: GraphQLClient, runtime: Runtime, demo: Repository, source: GitRepository, cookie: str
) -> None:
    before = await refs(runtime, demo)
    wanted = {
        "refs/heads/feature/x": source.oid("main"),
        "refs/tags/v2": source.oid("v1"),  # a tag object
        "refs/notes/commits": source.oid("main"),
    }
    for name, oid in wanted.items():
        given = {"repositoryId": ids.encode(IdKind.REPOSITORY, demo.id), "name": name, "oid": oid}
        answer = await ask.mutate(
            "createRef", given, "ref { name prefix target { oid } }", cookie=cookie
        )
        ref = answer.data["createRef"]["ref"]
        assert (ref["prefix"] + ref["name"], ref["target"]["oid"]) == (name, oid)
    assert await refs(runtime, demo) == before | wanted


@pytest.mark.parametrize(
    ("name", "oid", "message"),
    [
        (MAIN, None, f'A ref named "{MAIN}" already exists in the repository.'),
        ("feature", None, "ref name is not of the form refs/heads/NAME or refs/tags/NAME"),
        ("refs/heads/-x", None, "a part of the ref name begins with '-'"),
        ("refs/heads/a..b", None, "ref name has a character or sequence that git does not allow"),
        ("refs/pull/1/head", None, "refs of this namespace are written by the hub alone"),
        ("refs/heads/main/x", None, f"conflicts with the existing ref {MAIN}"),
        ("refs/heads/x", "1" * 40, "missing necessary objects"),
        ("refs/heads/x", "tree", "a branch must point to a commit"),
    ],
)
async def test_refs_that_cannot_be_created(
    ask: GraphQLClient,
    runtime: Runtime,
    demo: Repository,
    source: GitRepository,
    cookie: str,
    name: str,
    oid: str | None,
    message: str,
) -> None:
    before = await refs(runtime, demo)
    target = source.oid("main^{tree}") if oid == "tree" else oid or source.oid("main")
    given = {"repositoryId": ids.encode(IdKind.REPOSITORY, demo.id), "name": name, "oid": target}
    answer = await ask.mutate("createRef", given, "ref { name }", cookie=cookie)
    assert answer.error == {"type": "UNPROCESSABLE", "message": message, "path": ["createRef"]}
    assert await refs(runtime, demo) == before


async def test_update_ref(
    ask: GraphQLClient, runtime: Runtime, demo: Repository, source: GitRepository, cookie: str
) -> None:
    async def move(oid: str, **options: Any) -> Answer:
        given = {"refId": ref_id(demo, TOPIC), "oid": oid, **options}
        return await ask.mutate("updateRef", given, "ref { target { oid } }", cookie=cookie)

    before = await refs(runtime, demo)
    for options in ({}, {"force": False}, {"force": None}):
        refused = await move(source.oid("main"), **options)
        assert refused.error["message"] == "Update is not a fast forward"
        assert await refs(runtime, demo) == before
    forced = await move(source.oid("main~1"), force=True)
    assert forced.data["updateRef"]["ref"]["target"]["oid"] == source.oid("main~1")
    forward = await move(source.oid("main"))
    assert forward.data["updateRef"]["ref"]["target"]["oid"] == source.oid("main")
    same = await move(source.oid("main"))
    assert same.data["updateRef"]["ref"]["target"]["oid"] == source.oid("main")
    async with runtime.database.read() as session:
        changes = list(await session.scalars(select(RefChange).order_by(RefChange.id)))
    assert [(each.ref_name, each.forced) for each in changes] == [(TOPIC, True), (TOPIC, False)]


async def test_delete_ref(
    ask: GraphQLClient, runtime: Runtime, demo: Repository, source: GitRepository, cookie: str
) -> None:
    async def delete(name: str) -> Answer:
        return await ask.mutate("deleteRef", {"refId": ref_id(demo, name)}, "", cookie=cookie)

    assert (await delete(TOPIC)).data == {"deleteRef": {"clientMutationId": "m1"}}
    assert set(await refs(runtime, demo)) == {MAIN, "refs/tags/v1"}
    gone = await delete(TOPIC)
    assert (gone.error["type"], gone.error["message"]) == (
        "NOT_FOUND",
        f"the ref '{TOPIC}' no longer exists",
    )
    refused = await delete(MAIN)
    assert refused.error["message"] == (
        "the default branch cannot be deleted; choose another one first"
    )
    assert set(await refs(runtime, demo)) == {MAIN, "refs/tags/v1"}


async def test_update_refs_all_or_none(
    ask: GraphQLClient, runtime: Runtime, demo: Repository, source: GitRepository, cookie: str
) -> None:
    async def update(*updates: dict[str, Any]) -> Answer:
        given = {
            "repositoryId": ids.encode(IdKind.REPOSITORY, demo.id),
            "refUpdates": list(updates),
        }
        return await ask.mutate("updateRefs", given, "", cookie=cookie)

    main, topic = source.oid("main"), source.oid("topic")
    before = await refs(runtime, demo)
    good = {"name": "refs/heads/new", "beforeOid": ZEROS, "afterOid": main}
    refusals: list[tuple[dict[str, Any], str]] = [
        ({"name": TOPIC, "afterOid": main}, "Update is not a fast forward"),
        (
            {"name": TOPIC, "beforeOid": main, "afterOid": topic, "force": True},
            f"the ref '{TOPIC}' was changed meanwhile; look at it again",
        ),
        (
            {"name": TOPIC, "beforeOid": ZEROS, "afterOid": main, "force": True},
            f"the ref '{TOPIC}' was changed meanwhile; look at it again",
        ),
        (
            {"name": MAIN, "afterOid": ZEROS},
            "the default branch cannot be deleted; choose another one first",
        ),
        ({"name": "refs/heads/new", "afterOid": topic}, "a ref is named more than once"),
    ]
    for bad, message in refusals:
        refused = await update(good, bad)
        assert refused.error["message"] == message
        assert await refs(runtime, demo) == before
    many = await update(*({**good, "name": f"refs/heads/n{n}"} for n in range(101)))
    assert many.error["message"] == "one request can change at most 100 refs"
    done = await update(
        good,
        {"name": TOPIC, "beforeOid": topic, "afterOid": main, "force": True},
        {"name": "refs/tags/v1", "afterOid": ZEROS},
        {"name": "refs/tags/none", "afterOid": ZEROS},
    )
    assert done.data == {"updateRefs": {"clientMutationId": "m1"}}
    assert await refs(runtime, demo) == {MAIN: main, TOPIC: main, "refs/heads/new": main}
