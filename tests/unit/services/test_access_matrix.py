"""Every kind of actor, every action, every visibility: what ``services.access`` answers.

The answers stand in ``access_matrix.txt``, so that a change of policy is a visible difference.
After a wanted change run this file with ``OCH_TEST_WRITE_MATRIX=1`` and commit the result.
"""

import os
from pathlib import Path

import pytest

from models import Repository, User, Visibility
from services import access, accounts, authentication, deploy_keys, repositories
from services.access import Action, Role
from services.actor import ANONYMOUS, OPERATOR, Actor
from services.errors import (
    FailedPrecondition,
    Forbidden,
    ForgeError,
    InsufficientScopes,
    NotFound,
    Unauthenticated,
)
from services.repositories import RepositoryChanges
from services.runtime import Runtime
from tests.support import factories
from tests.support.factories import (
    make_collaborator,
    make_key_pair,
    make_repository,
    make_session,
    make_ssh_key,
    make_token,
    make_user,
)
from tests.support.runtime import make_op, operator

MATRIX = Path(__file__).with_name("access_matrix.txt")
WORDS: dict[type[ForgeError], str] = {
    NotFound: "not found",
    Unauthenticated: "sign in",
    Forbidden: "forbidden",
    InsufficientScopes: "scope",
    FailedPrecondition: "archived",
}


async def make_places(runtime: Runtime, owner: User) -> dict[str, Repository]:
    """Ann's repositories by what the matrix calls them."""
    places = {
        visibility.value: await make_repository(
            runtime, owner, visibility.value, visibility=visibility
        )
        for visibility in Visibility
    }
    for visibility in Visibility:
        name = f"{visibility.value}, archived"
        places[name] = await make_repository(
            runtime, owner, f"{visibility.value}-archived", visibility=visibility
        )
        await repositories.update_repository(
            operator(runtime), places[name].id, RepositoryChanges(archived=True)
        )
    return places


async def session_of(runtime: Runtime, user: User) -> Actor:
    return factories.session_actor(await make_session(runtime, user))


async def token_of(
    runtime: Runtime, user: User, *scopes: str, only: list[Repository] | None = None
) -> Actor:
    ids = None if only is None else [repository.id for repository in only]
    made = await make_token(runtime, user, *scopes, repository_ids=ids)
    return await authentication.authenticate_token(make_op(runtime), made.token)


async def key_actor(runtime: Runtime, fingerprint: str) -> Actor:
    return await authentication.authenticate_ssh_key(make_op(runtime), fingerprint)


async def make_actors(
    runtime: Runtime, owner: User, places: dict[str, Repository]
) -> dict[str, Actor]:
    every = list(places.values())
    other = await make_repository(runtime, owner, "other")
    actors = {"anonymous": ANONYMOUS, "operator": OPERATOR}
    actors["stranger"] = await session_of(runtime, await make_user(runtime, "stranger"))
    for role in list(Role)[:-1]:
        user = await make_user(runtime, f"{role.name.lower()}-collaborator")
        for repository in every:
            await make_collaborator(runtime, repository, user, role)
        actors[f"collaborator, {role.name.lower()}"] = await session_of(runtime, user)
    writer = await make_user(runtime, "writer")
    for repository in every:
        await make_collaborator(runtime, repository, writer, Role.WRITE)
    actors["collaborator, write; SSH key"] = await key_actor(
        runtime, (await make_ssh_key(runtime, writer)).fingerprint
    )
    actors["collaborator, write; suspended meanwhile"] = await session_of(runtime, writer)
    actors["owner"] = await session_of(runtime, owner)
    actors["owner; SSH key"] = await key_actor(
        runtime, (await make_ssh_key(runtime, owner)).fingerprint
    )
    for scopes in ((), ("public_repo",), ("repo",), ("delete_repo",), ("repo", "delete_repo")):
        label = f"owner; token with {' and '.join(scopes) or 'no scope'}"
        actors[label] = await token_of(runtime, owner, *scopes)
    actors["owner; token with repo for these alone"] = await token_of(
        runtime, owner, "repo", only=every
    )
    actors["owner; token with repo for another"] = await token_of(
        runtime, owner, "repo", only=[other]
    )
    administrator = await make_user(runtime, "administrator-1", site_admin=True)
    actors["site administrator"] = await session_of(runtime, administrator)
    actors["site administrator; token with repo"] = await token_of(runtime, administrator, "repo")
    actors["site administrator; token with repo and site_admin"] = await token_of(
        runtime, administrator, "repo", "site_admin"
    )
    actors["site administrator; token with site_admin"] = await token_of(
        runtime, administrator, "site_admin"
    )
    return actors


async def deploy_key_actor(runtime: Runtime, repository: Repository, *, read_only: bool) -> Actor:
    row = await deploy_keys.add_deploy_key(
        operator(runtime), repository.id, "key", make_key_pair().public, read_only=read_only
    )
    return await key_actor(runtime, row.fingerprint)


async def answer(runtime: Runtime, actor: Actor, action: Action, repository: Repository) -> str:
    """The word for what happens; checks that all ways to ask agree."""
    async with make_op(runtime, actor).read() as tx:
        try:
            await access.get_repository(tx, repository.id, action)
            word = "yes"
        except ForgeError as error:
            word = WORDS[type(error)]
        allowed = await access.allows(tx, actor, action, repository)
        assert allowed is (word == "yes")
        if action is Action.REPOSITORY_READ:
            listed = await tx.session.scalars(access.readable_repositories(actor))
            assert (repository.id in [row.id for row in listed]) is allowed
            role = await access.role_of(tx, actor, repository)
            assert (role is not None) is allowed
    return word


async def test_the_access_matrix(runtime: Runtime, ann: User) -> None:
    places = await make_places(runtime, ann)
    actors = await make_actors(runtime, ann, places)
    foreign = await make_repository(runtime, ann, "foreign")
    actors["deploy key of another repository"] = await deploy_key_actor(
        runtime, foreign, read_only=False
    )
    writer = actors["collaborator, write; suspended meanwhile"]
    lines = ["# Written by test_access_matrix.py: what each actor gets for each action."]
    rows: dict[str, dict[str, list[str]]] = {}
    for place, repository in places.items():
        here = dict(actors)
        for read_only, label in ((True, "read-only"), (False, "writing")):
            here[f"deploy key, {label}"] = await deploy_key_actor(
                runtime, repository, read_only=read_only
            )
        rows[place] = {
            label: [await answer(runtime, actor, action, repository) for action in Action]
            for label, actor in here.items()
            if actor is not writer
        }
    assert writer.user_id is not None
    await accounts.suspend_user(operator(runtime), writer.user_id)
    suspended = "collaborator, write; suspended meanwhile"
    for place, repository in places.items():
        async with make_op(runtime, writer).read() as tx:
            for action in Action:
                with pytest.raises(Forbidden, match="the account is suspended"):
                    await access.get_repository(tx, repository.id, action)
            # What is public stays public; everything else has gone.
            listed = await tx.session.scalars(access.readable_repositories(writer))
            assert {row.visibility for row in listed} == {Visibility.PUBLIC}
        rows[place][suspended] = ["forbidden"] * len(Action)
    for place, answers in rows.items():
        lines += ["", f"== {place} =="]
        for label, words in answers.items():
            grouped: dict[str, list[str]] = {}
            for action, word in zip(Action, words, strict=True):
                grouped.setdefault(word, []).append(action.value.partition(":")[2])
            lines.append(label)
            lines += [f"    {word}: {', '.join(grouped[word])}" for word in sorted(grouped)]
    text = "\n".join(lines) + "\n"
    if os.environ.get("OCH_TEST_WRITE_MATRIX"):
        MATRIX.write_text(text)
    assert text == MATRIX.read_text()


def test_every_action_has_a_role_and_a_scope() -> None:
    assert set(access.POLICY) == set(access.SCOPES) == set(Action)
    assert access.SCOPES[Action.REPOSITORY_READ] is None
