"""Who may do what: the roles, the table of actions, and the only ways to a repository row.

Every door passes here, and rights are judged at the time of use: the credential and the account
are looked at again in the transaction that acts (K10). What an actor may not read does not exist
for it, in text, code and number of queries (K9).
"""

import dataclasses
import enum
from collections.abc import Sequence

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    bindparam,
    exists,
    false,
    func,
    or_,
    select,
    true,
)

from models import (
    Collaborator,
    LoginRedirect,
    Owner,
    Repository,
    RepositoryRedirect,
    User,
    Visibility,
)
from services import credentials, scopes
from services.actor import Actor, ActorKind
from services.context import ReadTransaction
from services.errors import (
    FailedPrecondition,
    Forbidden,
    ForgeError,
    InsufficientScopes,
    NotFound,
    Unauthenticated,
)
from services.names import is_id, name_key, printable

ARCHIVED = "repository is archived so it is read-only"


class Role(enum.IntEnum):
    """What a person may do with a repository; each role includes those before it."""

    READ = 1
    TRIAGE = 2
    WRITE = 3
    MAINTAIN = 4
    ADMIN = 5


class Action(enum.Enum):
    """What can be done with a repository."""

    REPOSITORY_READ = "repository:read"
    REPOSITORY_PUSH = "repository:push"
    REPOSITORY_UPDATE = "repository:update"
    REPOSITORY_RENAME = "repository:rename"
    REPOSITORY_SET_DEFAULT_BRANCH = "repository:set_default_branch"
    REPOSITORY_SET_VISIBILITY = "repository:set_visibility"
    REPOSITORY_ARCHIVE = "repository:archive"
    REPOSITORY_MANAGE_KEYS = "repository:manage_keys"
    REPOSITORY_MANAGE_COLLABORATORS = "repository:manage_collaborators"
    REPOSITORY_TRANSFER = "repository:transfer"
    REPOSITORY_DELETE = "repository:delete"


POLICY: dict[Action, Role] = {
    Action.REPOSITORY_READ: Role.READ,
    Action.REPOSITORY_PUSH: Role.WRITE,
    Action.REPOSITORY_UPDATE: Role.MAINTAIN,
    Action.REPOSITORY_RENAME: Role.ADMIN,
    Action.REPOSITORY_SET_DEFAULT_BRANCH: Role.ADMIN,
    Action.REPOSITORY_SET_VISIBILITY: Role.ADMIN,
    Action.REPOSITORY_ARCHIVE: Role.ADMIN,
    Action.REPOSITORY_MANAGE_KEYS: Role.ADMIN,
    Action.REPOSITORY_MANAGE_COLLABORATORS: Role.ADMIN,
    Action.REPOSITORY_TRANSFER: Role.ADMIN,
    Action.REPOSITORY_DELETE: Role.ADMIN,
}

# What a token needs beyond seeing the repository, which for one that is not public takes "repo".
# "repo" includes "public_repo".
SCOPES: dict[Action, str | None] = {
    Action.REPOSITORY_READ: None,
    Action.REPOSITORY_PUSH: "public_repo",
    Action.REPOSITORY_UPDATE: "public_repo",
    Action.REPOSITORY_RENAME: "public_repo",
    Action.REPOSITORY_SET_DEFAULT_BRANCH: "public_repo",
    Action.REPOSITORY_SET_VISIBILITY: "repo",
    Action.REPOSITORY_ARCHIVE: "public_repo",
    Action.REPOSITORY_MANAGE_KEYS: "repo",
    Action.REPOSITORY_MANAGE_COLLABORATORS: "repo",
    Action.REPOSITORY_TRANSFER: "repo",
    Action.REPOSITORY_DELETE: "delete_repo",
}

ALLOWED_WHEN_ARCHIVED = frozenset(
    (
        Action.REPOSITORY_READ,
        Action.REPOSITORY_ARCHIVE,
        Action.REPOSITORY_MANAGE_KEYS,
        Action.REPOSITORY_MANAGE_COLLABORATORS,
        Action.REPOSITORY_TRANSFER,
        Action.REPOSITORY_DELETE,
    )
)

# An SSH key sits on a machine that does git; whatever else its owner may do needs another proof.
ALLOWED_WITH_SSH_KEY = frozenset((Action.REPOSITORY_READ, Action.REPOSITORY_PUSH))

_KEYS_DO_GIT = "an SSH key can only fetch and push"
_owners = Owner.__table__.c


@dataclasses.dataclass(frozen=True, slots=True)
class _Candidate:
    """A repository row with what it takes to judge access to it."""

    repository: Repository
    owner_login: str
    collaborator_role: str | None

    @property
    def name_with_owner(self) -> str:
        return f"{self.owner_login}/{self.repository.name}"


async def get_repository(
    tx: ReadTransaction,
    id_or_path: int | tuple[str, str],
    action: Action,
    *,
    lock: bool = False,
) -> Repository:
    """The repository, if the actor may do ``action`` with it. The only way to one.

    Old logins and names lead to it as well. ``lock`` holds the row against other writers until the
    transaction ends. Raises NotFound (also for what the actor may not see), Unauthenticated,
    Forbidden, InsufficientScopes and FailedPrecondition for an archived one.
    """
    repository, _ = await get_named_repository(tx, id_or_path, action, lock=lock)
    return repository


async def get_named_repository(
    tx: ReadTransaction, id_or_path: int | tuple[str, str], action: Action, *, lock: bool = False
) -> tuple[Repository, str]:
    """As ``get_repository``, with the repository's ``OWNER/NAME`` as both are written now."""
    actor = await credentials.reload(tx.session, tx.actor)
    # Missing and hidden repositories take the same statements.
    if lock:
        repository_id = id_or_path if isinstance(id_or_path, int) else await _id_of(tx, id_or_path)
        await tx.session.execute(
            select(Repository.id).where(Repository.id == repository_id).with_for_update()
        )
    candidate = await _find(tx, actor, id_or_path)
    repository = _judge(actor, candidate, action, id_or_path)
    assert candidate is not None  # or it would have been judged not to exist
    return repository, candidate.name_with_owner


async def require(tx: ReadTransaction, action: Action, repository: Repository) -> None:
    """Judge a further action on a row that ``get_repository`` gave. Raises as that does."""
    actor = await credentials.reload(tx.session, tx.actor)
    _judge(actor, await _find(tx, actor, repository.id), action, repository.id)


async def allows(tx: ReadTransaction, actor: Actor, action: Action, repository: Repository) -> bool:
    """Whether ``get_repository`` would give the row for this action."""
    try:
        current = await credentials.reload(tx.session, actor)
        _judge(current, await _find(tx, current, repository.id), action, repository.id)
    except ForgeError:
        return False
    return True


async def role_of(tx: ReadTransaction, actor: Actor, repository: Repository) -> Role | None:
    """The role the actor has with this credential; None for what it may not see."""
    try:
        current = await credentials.reload(tx.session, actor)
    except ForgeError:
        return None
    candidate = await _find(tx, current, repository.id)
    if candidate is None or _missing_scope(current, candidate, Action.REPOSITORY_READ):
        return None
    return _role(current, candidate)


async def roles_of(
    tx: ReadTransaction, actor: Actor, repository_ids: Sequence[int]
) -> dict[int, Role]:
    """As ``role_of`` for many repositories in one statement; those it may not see are left out."""
    try:
        current = await credentials.reload(tx.session, actor)
    except ForgeError:
        return {}
    found = await tx.session.execute(
        _CANDIDATES.where(Repository.id.in_(repository_ids)), _for(current)
    )
    roles: dict[int, Role] = {}
    for candidate in (_Candidate(*row) for row in found):
        role = _role(current, candidate)
        if role and not _missing_scope(current, candidate, Action.REPOSITORY_READ):
            roles[candidate.repository.id] = role
    return roles


async def refusals(
    tx: ReadTransaction, action: Action, repository_ids: Sequence[int]
) -> dict[int, ForgeError]:
    """What ``get_repository`` would raise for each of them, in one statement; those it would give
    are left out."""
    current = await credentials.reload(tx.session, tx.actor)
    found = await tx.session.execute(
        _CANDIDATES.where(Repository.id.in_(repository_ids)), _for(current)
    )
    candidates = {row[0].id: _Candidate(*row) for row in found}
    refused: dict[int, ForgeError] = {}
    for repository_id in repository_ids:
        try:
            _judge(current, candidates.get(repository_id), action, repository_id)
        except ForgeError as fault:
            refused[repository_id] = fault
    return refused


async def name_with_owner(tx: ReadTransaction, repository: Repository) -> str:
    """``OWNER/NAME`` as both are written now."""
    login = await tx.session.scalar(select(_owners.login).where(_owners.id == repository.owner_id))
    return f"{login}/{repository.name}"


def readable_repositories(actor: Actor) -> Select[Repository]:
    """The repositories the actor may read; every list and search starts from it.

    Judges the user anew when it runs; whether the credential still holds is for the caller.
    """
    return select(Repository).where(_readable(actor))


def _readable(actor: Actor) -> ColumnElement[bool]:
    public = Repository.visibility == Visibility.PUBLIC
    if actor.kind is ActorKind.OPERATOR:
        return true()
    if actor.scopes is not None and "repo" not in actor.scopes:
        return public
    listed = (
        true() if actor.repository_ids is None else Repository.id.in_(sorted(actor.repository_ids))
    )
    if actor.kind is ActorKind.DEPLOY_KEY:
        return or_(public, listed)
    if actor.user_id is None:
        return public
    users = User.__table__.c
    is_active = and_(users.id == actor.user_id, users.suspended_at.is_(None))
    collaborates = exists().where(
        Collaborator.repository_id == Repository.id, Collaborator.user_id == actor.user_id
    )
    theirs = or_(
        Repository.visibility == Visibility.INTERNAL,
        Repository.owner_id == actor.user_id,
        collaborates,
        exists().where(is_active, users.is_site_admin.is_(True))
        if actor.is_site_admin
        else false(),
    )
    return or_(public, and_(listed, theirs, exists().where(is_active)))


def is_operator(actor: Actor) -> bool:
    """Whether the actor may look at the machine itself: a site administrator's session or token."""
    return (
        actor.is_site_admin
        and actor.kind in (ActorKind.ACCESS_TOKEN, ActorKind.SESSION)
        and actor.repository_ids is None
    )


def require_scope(actor: Actor, scope: str) -> None:
    """Whether the credential is good for this act on an account, rather than on a repository.

    SSH keys never are, nor are tokens limited to some repositories beyond reading. Raises
    Unauthenticated, Forbidden, InsufficientScopes.
    """
    if actor.is_anonymous:
        raise Unauthenticated("sign in to do this")
    if actor.kind in (ActorKind.SSH_KEY, ActorKind.DEPLOY_KEY):
        raise Forbidden(_KEYS_DO_GIT)
    if actor.scopes is not None and scope not in actor.scopes:
        raise _insufficient(scope)
    if actor.repository_ids is not None and not scope.startswith("read:"):
        raise Forbidden("an access token limited to some repositories cannot change the account")


def repository_not_found(owner: str, name: str) -> NotFound:
    """The one wording of "no such repository", for whoever must say so of a row it did find."""
    return NotFound(not_found_text((owner, name)))


async def _id_of(tx: ReadTransaction, path: tuple[str, str]) -> int:
    found: int | None = await tx.session.scalar(select(_RESOLVED), _named(path))
    return found or 0


async def _find(
    tx: ReadTransaction, actor: Actor, id_or_path: int | tuple[str, str]
) -> _Candidate | None:
    by_id = isinstance(id_or_path, int)
    found = await tx.session.execute(
        _CANDIDATE_BY_ID if by_id else _CANDIDATE_BY_PATH,
        {**_named(id_or_path), **_for(actor)},
        execution_options={"populate_existing": True},
    )
    row = found.first()
    return None if row is None else _Candidate(*row)


def _named(id_or_path: int | tuple[str, str]) -> dict[str, int | str]:
    """The parameters with which _RESOLVED, and what is made of it, means this repository."""
    if isinstance(id_or_path, int):
        return {"named_id": id_or_path if is_id(id_or_path) else 0}
    login, name = (name_key(part) for part in id_or_path)
    return {"named_login": login, "named_name": name}


def _for(actor: Actor) -> dict[str, int]:
    """The parameter of _CANDIDATES."""
    return {"asking_user_id": actor.user_id or 0}


# Statements that every request runs are put together once; that takes as long as to run them.
_NAMED_OWNER_ID = func.coalesce(
    select(_owners.id).where(_owners.login_key == bindparam("named_login")).scalar_subquery(),
    select(LoginRedirect.owner_id)
    .where(LoginRedirect.login_key == bindparam("named_login"))
    .scalar_subquery(),
)
# The id a path names now or named once; 0, no row's, for none.
_RESOLVED = func.coalesce(
    select(Repository.id)
    .where(Repository.owner_id == _NAMED_OWNER_ID, Repository.name_key == bindparam("named_name"))
    .scalar_subquery(),
    select(RepositoryRedirect.repository_id)
    .where(
        RepositoryRedirect.owner_id == _NAMED_OWNER_ID,
        RepositoryRedirect.name_key == bindparam("named_name"),
    )
    .scalar_subquery(),
    0,
)
_CANDIDATES = (
    select(Repository, _owners.login, Collaborator.role)
    .join(Owner.__table__, _owners.id == Repository.owner_id)
    .outerjoin(
        Collaborator,
        and_(
            Collaborator.repository_id == Repository.id,
            Collaborator.user_id == bindparam("asking_user_id"),
        ),
    )
)
_CANDIDATE_BY_ID = _CANDIDATES.where(Repository.id == bindparam("named_id"))
_CANDIDATE_BY_PATH = _CANDIDATES.where(Repository.id == _RESOLVED)


def _role(actor: Actor, candidate: _Candidate) -> Role | None:
    """What the identity may do, whatever scopes its token has."""
    repository = candidate.repository
    is_public = repository.visibility is Visibility.PUBLIC
    if actor.kind is ActorKind.OPERATOR:
        return Role.ADMIN
    if actor.repository_ids is not None and repository.id not in actor.repository_ids:
        # Outside its list a limited credential is as good as none.
        return Role.READ if is_public else None
    if actor.kind is ActorKind.DEPLOY_KEY:
        return Role.READ if actor.read_only else Role.WRITE
    if actor.is_site_admin:
        return Role.ADMIN
    if actor.user_id is not None and actor.user_id == repository.owner_id:
        return Role.ADMIN
    if candidate.collaborator_role is not None:
        return Role[candidate.collaborator_role.upper()]
    if is_public:
        return Role.READ
    if repository.visibility is Visibility.INTERNAL and actor.user_id is not None:
        return Role.READ
    return None


def _missing_scope(actor: Actor, candidate: _Candidate, action: Action) -> str | None:
    if actor.scopes is None:
        return None
    if candidate.repository.visibility is not Visibility.PUBLIC and "repo" not in actor.scopes:
        return "repo"
    needed = SCOPES[action]
    return needed if needed is not None and needed not in actor.scopes else None


def _judge(
    actor: Actor,
    candidate: _Candidate | None,
    action: Action,
    id_or_path: int | tuple[str, str],
) -> Repository:
    """The row, or the reason why the actor may not do this to it."""
    role = None if candidate is None else _role(actor, candidate)
    if candidate is None or role is None:
        raise NotFound(not_found_text(id_or_path))
    if scope := _missing_scope(actor, candidate, action):
        raise _insufficient(scope)
    if role < POLICY[action]:
        raise _too_little(actor, candidate, role, POLICY[action])
    by_key = actor.kind in (ActorKind.SSH_KEY, ActorKind.DEPLOY_KEY)
    if by_key and action not in ALLOWED_WITH_SSH_KEY:
        raise Forbidden(_KEYS_DO_GIT)
    if candidate.repository.archived_at is not None and action not in ALLOWED_WHEN_ARCHIVED:
        raise FailedPrecondition(ARCHIVED)
    return candidate.repository


def _too_little(actor: Actor, candidate: _Candidate, role: Role, needed: Role) -> ForgeError:
    name = candidate.name_with_owner
    if actor.is_anonymous:
        return Unauthenticated("sign in to do this")
    if actor.repository_ids is not None and candidate.repository.id not in actor.repository_ids:
        return Forbidden(f"this credential is limited to other repositories than {name}")
    if actor.kind is ActorKind.DEPLOY_KEY and needed is Role.WRITE:
        return Forbidden("this deploy key is read-only")
    return Forbidden(
        f"you need the {needed.name.lower()} role on {name} for this; yours is {role.name.lower()}"
    )


def _insufficient(scope: str) -> InsufficientScopes:
    accepted = sorted(scopes.granting(scope))
    return InsufficientScopes(
        "your token has not been granted the required scopes: "
        f"this requires one of the following scopes: {accepted}",
        details={"scopes": accepted},
    )


def not_found_text(id_or_path: int | tuple[str, str]) -> str:
    """What is said of a repository that does not exist for the actor, however it was named."""
    if isinstance(id_or_path, int):
        return f"Could not resolve to a Repository with the id '{id_or_path}'."
    return (
        "Could not resolve to a Repository with the name "
        f"'{printable(id_or_path[0])}/{printable(id_or_path[1])}'."
    )
