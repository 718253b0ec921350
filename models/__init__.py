"""SQL rows: tables, their query functions, and the engines. No rules, no permissions."""

from models.access_token import AccessToken, AccessTokenRepository
from models.base import Base
from models.collaborator import Collaborator
from models.email_address import EmailAddress
from models.event import Event, EventCounter
from models.git_derived import DerivedKind, GitDerived
from models.git_pack import GitPack
from models.git_ref import GitRef
from models.owner import LoginRedirect, Owner, OwnerKind
from models.pack_upload import PackUpload
from models.push import Push, RefChange
from models.repository import Repository, RepositoryRedirect, Visibility
from models.repository_fork import RepositoryFork
from models.repository_maintenance import RepositoryMaintenance
from models.retired_object import RetiredObject
from models.session import Session
from models.ssh_key import SSHKey
from models.star import Star
from models.user import User
from models.watch import Watch, WatchState

__all__ = [
    "AccessToken",
    "AccessTokenRepository",
    "Base",
    "Collaborator",
    "DerivedKind",
    "EmailAddress",
    "Event",
    "EventCounter",
    "GitDerived",
    "GitPack",
    "GitRef",
    "LoginRedirect",
    "Owner",
    "OwnerKind",
    "PackUpload",
    "Push",
    "RefChange",
    "Repository",
    "RepositoryFork",
    "RepositoryMaintenance",
    "RepositoryRedirect",
    "RetiredObject",
    "SSHKey",
    "Session",
    "Star",
    "User",
    "Visibility",
    "Watch",
    "WatchState",
]
