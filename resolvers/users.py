"""Fields of users: addresses of their pages, lists, and what only they may see of themselves."""

from typing import Annotated, Any

import strawberry
from strawberry import Parent

from models import AccessToken, EmailAddress, Owner, Repository, Session, SSHKey, User
from resolvers.arguments import OPTIONAL, After, Before, First, Last, page_arguments
from resolvers.connections import Connection
from resolvers.context import Info
from resolvers.listings import (
    AccessTokensOfViewer,
    EmailAddressesOfViewer,
    PublicKeysOfUser,
    SessionsOfViewer,
)
from services import access, accounts
from services.access import Action
from services.actor import ActorKind
from services.errors import Forbidden, Unauthenticated

Login = Annotated[str, strawberry.argument(description="The login; case does not matter.")]


async def viewer(info: Info) -> User:
    """Raises Unauthenticated."""
    user_id = info.context.op.actor.user_id
    user = await info.context.loaders.owner_by_id.load(user_id) if user_id is not None else None
    if not isinstance(user, User):
        raise Unauthenticated("sign in or send an access token; there is no viewer without one")
    return user


async def user(info: Info, login: Login) -> User:
    """Raises NotFound in GitHub's words."""
    async with info.context.op.read() as tx:
        return await accounts.get_user(tx, login)


async def repository_owner(info: Info, login: Login) -> Owner | None:
    # GitHub answers an unknown login with null and no error here, and its tools expect that.
    async with info.context.op.read() as tx:
        return await accounts.find_user(tx, login)


def database_id(root: Parent[Any]) -> int:
    return int(root.id)


def resource_path(root: Parent[Owner]) -> str:
    return f"/{root.login}"


def url(root: Parent[Owner], info: Info) -> str:
    return f"{info.context.op.runtime.settings.web_url}/{root.login}"


def is_viewer(root: Parent[User], info: Info) -> bool:
    return root.id == info.context.op.actor.user_id


async def email(root: Parent[User], info: Info) -> str:
    try:
        _require_own(root, info, "user:email", "e-mail addresses")
    except (Forbidden, Unauthenticated):
        return ""
    return await info.context.loaders.primary_email_by_user_id.load(root.id) or ""


async def repository(
    root: Parent[Owner],
    info: Info,
    name: Annotated[str, strawberry.argument(description="Name of the repository to find.")],
    follow_renames: Annotated[
        bool | None,
        strawberry.argument(
            description="Follow repository renames. If disabled, a repository referenced by its "
            "old name will return an error."
        ),
    ] = True,
) -> Repository:
    """Raises NotFound in GitHub's words."""
    return await find_repository(info, root.login, name, follow_renames=follow_renames is not False)


async def find_repository(info: Info, owner: str, name: str, *, follow_renames: bool) -> Repository:
    """Raises NotFound in GitHub's words, also for what the viewer may not read."""
    async with info.context.op.read() as tx:
        found = await access.get_repository(tx, (owner, name), Action.REPOSITORY_READ)
        if not follow_renames:
            current = await access.name_with_owner(tx, found)
            if current.lower() != f"{owner}/{name}".lower():
                raise access.repository_not_found(owner, name)
    return found


def public_keys(
    root: Parent[User],
    info: Info,
    first: First = OPTIONAL,
    after: After = OPTIONAL,
    last: Last = OPTIONAL,
    before: Before = OPTIONAL,
) -> Connection[SSHKey]:
    page = page_arguments("publicKeys", first, after, last, before)
    return Connection(PublicKeysOfUser(), root.id, page)


def emails(
    root: Parent[User],
    info: Info,
    first: First = OPTIONAL,
    after: After = OPTIONAL,
    last: Last = OPTIONAL,
    before: Before = OPTIONAL,
) -> Connection[EmailAddress]:
    _require_own(root, info, "user:email", "e-mail addresses")
    page = page_arguments("emails", first, after, last, before)
    return Connection(EmailAddressesOfViewer(), root.id, page)


def access_tokens(
    root: Parent[User],
    info: Info,
    first: First = OPTIONAL,
    after: After = OPTIONAL,
    last: Last = OPTIONAL,
    before: Before = OPTIONAL,
) -> Connection[AccessToken]:
    _require_own(root, info, "user", "access tokens")
    page = page_arguments("accessTokens", first, after, last, before)
    return Connection(AccessTokensOfViewer(), root.id, page)


def sessions(
    root: Parent[User],
    info: Info,
    first: First = OPTIONAL,
    after: After = OPTIONAL,
    last: Last = OPTIONAL,
    before: Before = OPTIONAL,
) -> Connection[Session]:
    _require_own(root, info, "user", "sessions")
    if info.context.op.actor.kind is not ActorKind.SESSION:
        raise Forbidden("only somebody who signed in with the password may see sessions")
    page = page_arguments("sessions", first, after, last, before)
    return Connection(SessionsOfViewer(), root.id, page)


def _require_own(root: User, info: Info, scope: str, what: str) -> None:
    """Raises Forbidden for somebody else's, InsufficientScopes, Unauthenticated."""
    actor = info.context.op.actor
    if actor.user_id != root.id:
        raise Forbidden(f"only {root.login} can see the {what} of {root.login}")
    access.require_scope(actor, scope)
