"""Gives the enums of models and rules their names, values' descriptions and place in the contract.

Types use the Python enums themselves in annotations; importing this module registers them.
"""

import enum

import strawberry

from gitstore.diffs import ChangeKind
from models import Visibility, WatchState
from resolvers.listings import Affiliation, RepositoryOrderField
from resolvers.search import SearchType
from services.access import Role
from services.errors import ErrorCode
from services.fork_sync import MergeType


class OrderDirection(enum.Enum):
    ASC = "ASC"
    DESC = "DESC"


class RepositoryPrivacy(enum.Enum):
    PRIVATE = "PRIVATE"
    PUBLIC = "PUBLIC"


class ComparisonStatus(enum.Enum):
    AHEAD = "AHEAD"
    BEHIND = "BEHIND"
    DIVERGED = "DIVERGED"
    IDENTICAL = "IDENTICAL"


class RefOrderField(enum.Enum):
    ALPHABETICAL = "ALPHABETICAL"


class StarOrderField(enum.Enum):
    STARRED_AT = "STARRED_AT"


def _register(kind: type[enum.Enum], name: str, description: str, values: dict[str, str]) -> None:
    strawberry.enum(kind, name=name, description=description)
    for value in kind.__strawberry_definition__.values:  # type: ignore[attr-defined]
        value.description = values[value.name]


_register(
    OrderDirection,
    "OrderDirection",
    "Possible directions in which to order a list of items when provided an `orderBy` argument.",
    {
        "ASC": "Specifies an ascending order for a given `orderBy` argument.",
        "DESC": "Specifies a descending order for a given `orderBy` argument.",
    },
)
_register(
    Visibility,
    "RepositoryVisibility",
    "The repository's visibility level.",
    {
        "INTERNAL": "The repository is visible to everyone who is signed in to this server.",
        "PRIVATE": "The repository is visible only to those with explicit access.",
        "PUBLIC": "The repository is visible to everyone.",
    },
)
_register(
    RepositoryPrivacy,
    "RepositoryPrivacy",
    "The privacy of a repository",
    {"PRIVATE": "Private; internal repositories count as private.", "PUBLIC": "Public"},
)
_register(
    Role,
    "RepositoryPermission",
    "The access level to a repository",
    {
        "ADMIN": "Can do everything with this repository, including deleting it, and manage keys "
        "and collaborators.",
        "MAINTAIN": "Can read, clone, and push to this repository, and manage some settings.",
        "READ": "Can read and clone this repository.",
        "TRIAGE": "Can read and clone this repository, and will manage issues and pull requests.",
        "WRITE": "Can read, clone, and push to this repository.",
    },
)
_register(
    Affiliation,
    "RepositoryAffiliation",
    "The affiliation of a user to a repository",
    {
        "COLLABORATOR": "Repositories that the user has been added to as a collaborator.",
        "ORGANIZATION_MEMBER": "Repositories that the user has access to through being a member "
        "of an organization. This server has no organizations yet, so there are none.",
        "OWNER": "Repositories that are owned by the user.",
    },
)
_register(
    RepositoryOrderField,
    "RepositoryOrderField",
    "Properties by which repository connections can be ordered.",
    {
        "CREATED_AT": "Order repositories by creation time",
        "NAME": "Order repositories by name",
        "PUSHED_AT": "Order repositories by push time; one never pushed to counts from its "
        "creation.",
        "UPDATED_AT": "Order repositories by update time",
    },
)
_register(
    RefOrderField,
    "RefOrderField",
    "Properties by which ref connections can be ordered.",
    {"ALPHABETICAL": "Order refs by their alphanumeric name"},
)
_register(
    ErrorCode,
    "ErrorCode",
    "Why something was refused; every error has one in `extensions.code`.",
    {
        "UNAUTHENTICATED": "There is no credential, or it has ended.",
        "NOT_FOUND": "It does not exist, or the viewer may not know that it does.",
        "FORBIDDEN": "The viewer may see it, but not do this to it.",
        "INSUFFICIENT_SCOPES": "The access token lacks a scope; `details.scopes` lists those any "
        "of which would do.",
        "INVALID": "The input breaks a rule; `fields` names the inputs.",
        "CONFLICT": "It exists already, or somebody else was faster.",
        "FAILED_PRECONDITION": "The state of the object forbids it, for instance because it is "
        "archived.",
        "RATE_LIMITED": "Too many requests; `details.retry_after` tells in how many seconds to "
        "come again.",
        "QUOTA_EXCEEDED": "It is more than a limit allows.",
        "UNAVAILABLE": "A part of the server does not answer; the same request may succeed later.",
        "INTERNAL": "A fault of the server; report it with the `requestId`.",
    },
)
_register(
    ChangeKind,
    "PatchStatus",
    "The possible types of patch statuses.",
    {
        "ADDED": "The file was added. Git status 'A'.",
        "CHANGED": "The file's type was changed. Git status 'T'.",
        "COPIED": "The file was copied. Git status 'C'.",
        "DELETED": "The file was deleted. Git status 'D'.",
        "MODIFIED": "The file's contents were changed. Git status 'M'.",
        "RENAMED": "The file was renamed. Git status 'R'.",
    },
)
_register(
    ComparisonStatus,
    "ComparisonStatus",
    "The status of a git comparison between two refs.",
    {
        "AHEAD": "The head ref is ahead of the base ref.",
        "BEHIND": "The head ref is behind the base ref.",
        "DIVERGED": "The head ref is both ahead and behind of the base ref, indicating git "
        "history has diverged.",
        "IDENTICAL": "The head ref is identical to the base ref.",
    },
)
_register(
    MergeType,
    "MergeUpstreamType",
    "What it took to bring a branch of a fork up to date.",
    {
        "FAST_FORWARD": "The branch was moved forward.",
        "NONE": "It was up to date already.",
    },
)
_register(
    StarOrderField,
    "StarOrderField",
    "Properties by which star connections can be ordered.",
    {"STARRED_AT": "Allows ordering a list of stars by when they were created."},
)
_register(
    WatchState,
    "SubscriptionState",
    "The possible states of a subscription.",
    {
        "SUBSCRIBED": "The User is notified of all conversations.",
        "UNSUBSCRIBED": "The User is only notified when participating or @mentioned.",
        "IGNORED": "The User is never notified.",
    },
)
_register(
    SearchType,
    "SearchType",
    "Represents the individual results of a search.",
    {
        "REPOSITORY": "Returns results matching repositories that the viewer may read.",
        "USER": "Returns results matching users on this server.",
    },
)
