"""The table of all mutations: what each is given, who may, and what it emits."""

import dataclasses
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from sqlalchemy import select

from models import EmailAddress, Repository, User
from resolvers import ids
from resolvers.ids import IdKind
from services import commits, deploy_keys, email_addresses, forks, repositories, stars
from services.access import Role
from services.actor import Actor, ActorKind
from services.commits import FileEdits
from services.repositories import RepositoryChanges
from services.runtime import Runtime
from tests.support.content import store_content
from tests.support.factories import (
    PASSWORD,
    make_collaborator,
    make_key_pair,
    make_repository,
    make_session,
    make_ssh_key,
    make_token,
    make_user,
    session_actor,
)
from tests.support.git import GitRepository
from tests.support.runtime import make_op, operator

Input = dict[str, Any]


@dataclasses.dataclass
class World:
    """What a case needs: ann owns a private repository; root runs the server; bob is a stranger."""

    runtime: Runtime
    ann: User
    bob: User
    root: User
    repository: Repository

    @property
    def repository_id(self) -> str:
        return ids.encode(IdKind.REPOSITORY, self.repository.id)

    async def email_id(self, email: str) -> str:
        async with self.runtime.database.read() as session:
            row = await session.scalar(select(EmailAddress).where(EmailAddress.email == email))
        assert row is not None
        return ids.encode(IdKind.EMAIL_ADDRESS, row.id)

    async def second_email(self, *, verified: bool = False) -> str:
        row = await email_addresses.add_email_address(
            operator(self.runtime), self.ann.id, "second@example.com"
        )
        if verified:
            await email_addresses.mark_email_address_verified(
                operator(self.runtime), self.ann.id, row.id
            )
        return ids.encode(IdKind.EMAIL_ADDRESS, row.id)


@dataclasses.dataclass(frozen=True)
class Case:
    """``scopes``: the least with which a token of the owner succeeds; None for no token at all.

    ``anonymous``, ``stranger``: the type of error they get; None where anybody may.
    """

    name: str
    input: Callable[[World], Awaitable[Input]]
    events: tuple[str, ...]
    scopes: tuple[str, ...] | None
    selection: str = ""
    by: str = "ann"
    anonymous: str | None = "UNAUTHENTICATED"
    stranger: str | None = "NOT_FOUND"


def fixed(**values: Any) -> Callable[[World], Awaitable[Input]]:
    async def give(_world: World) -> Input:
        return values

    return give


def on_repository(**values: Any) -> Callable[[World], Awaitable[Input]]:
    async def give(world: World) -> Input:
        return {"repositoryId": world.repository_id, **values}

    return give


async def on_starrable(world: World) -> Input:
    return {"starrableId": world.repository_id}


async def on_starred(world: World) -> Input:
    actor = Actor(ActorKind.SESSION, user_id=world.ann.id, login=world.ann.login)
    await stars.star(make_op(world.runtime, actor), world.repository.id)
    return {"starrableId": world.repository_id}


async def on_subscribable(world: World) -> Input:
    return {"subscribableId": world.repository_id, "state": "SUBSCRIBED"}


async def archived(world: World) -> Input:
    await repositories.update_repository(
        operator(world.runtime), world.repository.id, RepositoryChanges(archived=True)
    )
    return {"repositoryId": world.repository_id}


async def transfer(world: World) -> Input:
    # To bob, which only an administrator of the server may do.
    return {
        "repositoryId": world.repository_id,
        "newOwnerId": ids.encode(IdKind.USER, world.bob.id),
    }


async def fork_behind(world: World) -> Input:
    """ann's second repository is a fork of bob's, which has a commit more."""
    source = await make_repository(world.runtime, world.bob, "upstream")
    with tempfile.TemporaryDirectory() as folder:
        work = GitRepository.create(Path(folder))
        tip = work.commit("first")
        await store_content(world.runtime, source, work)
    fork = await forks.fork_repository(
        make_op(world.runtime, session_actor(await make_session(world.runtime, world.ann))),
        source.id,
        "ann",
    )
    session = await make_session(world.runtime, world.bob)
    await commits.create_commit_on_branch(
        make_op(world.runtime, session_actor(session)),
        source.id,
        "refs/heads/main",
        expected_head_oid=tip,
        message="second",
        edits=FileEdits({"file": b"x"}, []),
    )
    return {"repositoryId": ids.encode(IdKind.REPOSITORY, fork.id)}


async def bob_as_collaborator(world: World) -> Input:
    return {
        "repositoryId": world.repository_id,
        "userId": ids.encode(IdKind.USER, world.bob.id),
    }


async def guest_to_remove(world: World) -> Input:
    guest = await make_user(world.runtime, "guest-1", password=None)
    await make_collaborator(world.runtime, world.repository, guest, Role.READ)
    return {
        "repositoryId": world.repository_id,
        "userId": ids.encode(IdKind.USER, guest.id),
    }


async def ssh_key(world: World) -> Input:
    row = await make_ssh_key(world.runtime, world.ann)
    return {"publicKeyId": ids.encode(IdKind.PUBLIC_KEY, row.id)}


async def deploy_key(world: World) -> Input:
    row = await deploy_keys.add_deploy_key(
        operator(world.runtime), world.repository.id, "ci", make_key_pair().public
    )
    return {"deployKeyId": ids.encode(IdKind.DEPLOY_KEY, row.id)}


async def access_token(world: World) -> Input:
    made = await make_token(world.runtime, world.ann)
    return {"accessTokenId": ids.encode(IdKind.ACCESS_TOKEN, made.row.id)}


async def other_session(world: World) -> Input:
    made = await make_session(world.runtime, world.ann)
    return {"sessionId": ids.encode(IdKind.SESSION, made.session.id)}


async def second_email(world: World) -> Input:
    return {"emailAddressId": await world.second_email()}


async def verified_email(world: World) -> Input:
    return {"emailAddressId": await world.second_email(verified=True)}


async def email_to_vouch_for(world: World) -> Input:
    return {
        "emailAddressId": await world.second_email(),
        "userId": ids.encode(IdKind.USER, world.ann.id),
    }


async def branch(world: World) -> tuple[str, str]:
    """The node id of a branch beside the default one, and the commit that both point to."""
    with tempfile.TemporaryDirectory() as folder:
        source = GitRepository.create(Path(folder))
        tip = source.commit("first", files={"README": "x"})
        source.git("branch", "next")
        await store_content(world.runtime, world.repository, source)
    return ids.encode_named(IdKind.REF, world.repository.id, "refs/heads/next"), tip


async def new_ref(world: World) -> Input:
    _, tip = await branch(world)
    return {"repositoryId": world.repository_id, "name": "refs/tags/v1", "oid": tip}


async def moved_ref(world: World) -> Input:
    ref_id, tip = await branch(world)
    session = await make_session(world.runtime, world.ann)
    newer = await commits.create_commit_on_branch(
        make_op(world.runtime, session_actor(session)),
        world.repository.id,
        "refs/heads/main",
        expected_head_oid=tip,
        message="second",
        edits=FileEdits({"file": b"x"}, []),
    )
    return {"refId": ref_id, "oid": newer}


async def ref_to_delete(world: World) -> Input:
    ref_id, _ = await branch(world)
    return {"refId": ref_id}


async def many_refs(world: World) -> Input:
    _, tip = await branch(world)
    return {
        "repositoryId": world.repository_id,
        "refUpdates": [
            {"name": "refs/heads/next", "beforeOid": tip, "afterOid": "0" * 40},
            {"name": "refs/heads/new", "afterOid": tip},
        ],
    }


async def commit(world: World) -> Input:
    ref_id, tip = await branch(world)
    return {
        "branch": {"id": ref_id},
        "expectedHeadOid": tip,
        "message": {"headline": "Add a file"},
        "fileChanges": {"additions": [{"path": "a/b", "contents": "eA=="}]},
    }


async def ann(world: World) -> Input:
    return {"userId": ids.encode(IdKind.USER, world.ann.id)}


KEY = make_key_pair().public
CASES = [
    Case(
        "createRepository",
        fixed(name="fresh", visibility="PRIVATE"),
        ("RepositoryCreated",),
        ("repo",),
        stranger=None,
    ),
    Case(
        "forkRepository",
        on_repository(name="copy"),
        ("RepositoryCreated", "RepositoryForked", "ForkCreated"),
        ("repo",),
        "repository { name isFork parent { name } }",
    ),
    Case(
        "mergeUpstream",
        fork_behind,
        ("PushReceived",),
        ("repo",),
        "mergeType baseBranch repository { name }",
        stranger="FORBIDDEN",
        anonymous="UNAUTHENTICATED",
    ),
    Case(
        "addStar",
        on_starrable,
        ("RepositoryStarred",),
        ("repo",),
        "starrable { stargazerCount viewerHasStarred }",
        anonymous="NOT_FOUND",
    ),
    Case(
        "removeStar",
        on_starred,
        ("RepositoryUnstarred",),
        ("repo",),
        "starrable { stargazerCount viewerHasStarred }",
        anonymous="NOT_FOUND",
    ),
    Case(
        "updateSubscription",
        on_subscribable,
        (),
        ("repo", "notifications"),
        "subscribable { viewerSubscription }",
        anonymous="NOT_FOUND",
    ),
    Case(
        "updateRepository",
        on_repository(name="renamed", description="A demo", visibility="PUBLIC"),
        ("RepositoryUpdated",),
        ("repo",),
        "repository { name description visibility }",
        anonymous="NOT_FOUND",
    ),
    Case(
        "archiveRepository",
        on_repository(),
        ("RepositoryUpdated",),
        ("repo",),
        "repository { isArchived }",
        anonymous="NOT_FOUND",
    ),
    Case(
        "unarchiveRepository",
        archived,
        ("RepositoryUpdated",),
        ("repo",),
        "repository { isArchived }",
        anonymous="NOT_FOUND",
    ),
    Case(
        "transferRepository",
        transfer,
        ("RepositoryTransferred",),
        ("repo", "site_admin"),
        "repository { nameWithOwner }",
        by="root",
        anonymous="NOT_FOUND",
    ),
    Case(
        "deleteRepository",
        on_repository(),
        ("RepositoryDeleted",),
        ("repo", "delete_repo"),
        "owner { login }",
        anonymous="NOT_FOUND",
    ),
    Case(
        "createRef",
        new_ref,
        ("PushReceived",),
        ("repo",),
        "ref { name prefix target { oid } }",
        anonymous="NOT_FOUND",
    ),
    Case(
        "updateRef",
        moved_ref,
        ("PushReceived",),
        ("repo",),
        "ref { name target { oid } }",
        anonymous="NOT_FOUND",
    ),
    Case("deleteRef", ref_to_delete, ("PushReceived",), ("repo",), anonymous="NOT_FOUND"),
    Case("updateRefs", many_refs, ("PushReceived",), ("repo",), anonymous="NOT_FOUND"),
    Case(
        "createCommitOnBranch",
        commit,
        ("PushReceived",),
        ("repo",),
        "commit { message } ref { name }",
    ),
    Case(
        "addCollaborator",
        bob_as_collaborator,
        ("CollaboratorAdded",),
        ("repo",),
        "user { login } repository { name }",
        anonymous="NOT_FOUND",
    ),
    Case(
        "removeCollaborator",
        guest_to_remove,
        ("CollaboratorRemoved",),
        ("repo",),
        "repository { name }",
        anonymous="NOT_FOUND",
    ),
    Case(
        "createDeployKey",
        on_repository(key=KEY, title="ci", readOnly=False),
        ("CredentialCreated",),
        ("repo",),
        "deployKey { title readOnly }",
        anonymous="NOT_FOUND",
    ),
    Case("deleteDeployKey", deploy_key, ("CredentialRevoked",), ("repo",), anonymous="NOT_FOUND"),
    Case(
        "createSshKey",
        fixed(key=KEY),
        ("CredentialCreated",),
        ("write:public_key",),
        "publicKey { title }",
        stranger=None,
    ),
    Case("deleteSshKey", ssh_key, ("CredentialRevoked",), ("admin:public_key",)),
    Case(
        "createAccessToken",
        fixed(name="ci", scopes=["repo"]),
        ("CredentialCreated",),
        None,
        "token accessToken { name scopes }",
        stranger=None,
    ),
    Case("revokeAccessToken", access_token, ("CredentialRevoked",), ("user",)),
    Case("revokeSession", other_session, ("CredentialRevoked",), None),
    Case(
        "confirmPassword",
        fixed(password=PASSWORD),
        ("PasswordConfirmed",),
        None,
        "session { isCurrent }",
        stranger=None,
    ),
    Case(
        "changePassword",
        fixed(currentPassword=PASSWORD, newPassword="another battery staple"),
        ("PasswordChanged",),
        None,
        "user { login }",
        stranger=None,
    ),
    Case(
        "addEmailAddress",
        fixed(email="new@example.com"),
        ("EmailAddressAdded",),
        ("user",),
        "emailAddress { email isVerified }",
        stranger=None,
    ),
    Case("removeEmailAddress", second_email, ("EmailAddressRemoved",), ("user",)),
    Case(
        "setPrimaryEmailAddress",
        verified_email,
        ("PrimaryEmailAddressChanged",),
        ("user",),
        "emailAddress { isPrimary }",
    ),
    Case(
        "markEmailAddressVerified",
        email_to_vouch_for,
        ("EmailAddressVerified",),
        ("site_admin",),
        "emailAddress { isVerified }",
        by="root",
        stranger="FORBIDDEN",
    ),
    Case(
        "renameUser",
        fixed(login="anna"),
        ("UserRenamed",),
        ("user",),
        "user { login }",
        stranger=None,
    ),
    Case(
        "updateUser",
        fixed(name="Ann B", bio="Builds things"),
        ("UserUpdated",),
        ("user",),
        "user { name bio }",
        stranger=None,
    ),
    Case(
        "createUser",
        fixed(login="carl", email="carl@example.com", password=PASSWORD),
        ("UserCreated",),
        ("site_admin",),
        "user { login }",
        by="root",
        anonymous="FORBIDDEN",
        stranger="FORBIDDEN",
    ),
    Case(
        "suspendUser",
        ann,
        ("UserSuspended",),
        ("site_admin",),
        "user { login }",
        by="root",
        stranger="FORBIDDEN",
    ),
    Case("unsuspendUser", ann, (), ("site_admin",), by="root", stranger="FORBIDDEN"),
    Case("signOut", fixed(), ("CredentialRevoked",), (), anonymous=None, stranger=None),
]
