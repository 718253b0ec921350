"""What happened in repositories, as subscriptions tell it: rows of one table, a type for each."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import strawberry

import models
from graph.connections import Connection
from graph.scalars import BigInt, GitObjectID, GitRefname
from graph.types.interfaces import Actor
from graph.types.owner import User
from graph.types.repository import Repository
from graph.view import field, view_of
from resolvers import events
from services.access import Role


@strawberry.interface(
    description="Something that happened in a repository. Numbers grow in the order of "
    "delivery; other repositories' events lie between them."
)
class RepositoryEvent:
    actor: Actor | None = field(
        events.actor,
        description="Who did it; null for the server itself, a deploy key, and accounts that are "
        "gone.",
    )
    created_at: dt.datetime = field(description="When it happened.")
    number: BigInt = field(
        description="The event's number; a subscription resumes `after` the last one it got."
    )
    repository: Repository = field(events.repository, description="Where it happened.")


def _shows(name: str) -> Callable[[type[Any]], type[Any]]:
    """The type that stands for events of this name."""
    return view_of(models.Event, lambda event: event.name == name)


@strawberry.type(description="What a push did to one ref.")
@view_of(models.RefChange)
class PushedRefChange:
    after_oid: GitObjectID | None = field(
        events.after_oid, description="What the ref points to since; null if it was deleted."
    )
    before_oid: GitObjectID | None = field(
        events.before_oid, description="What it pointed to before; null if it is new."
    )
    is_forced: bool = field(
        events.is_forced, description="Whether commits were lost that the ref had reached."
    )
    name: GitRefname = field(events.ref_name, description="The fully qualified name of the ref.")


@strawberry.type(description="A push, or another change of refs, was received.")
@_shows("PushReceived")
class PushEvent(RepositoryEvent):
    ref_changes: Connection[PushedRefChange] = field(
        events.ref_changes, description="What it did to each ref."
    )


@strawberry.type(description="The repository was made.")
@_shows("RepositoryCreated")
class RepositoryCreatedEvent(RepositoryEvent):
    pass


@strawberry.type(description="Something about the repository was changed.")
@_shows("RepositoryUpdated")
class RepositoryUpdatedEvent(RepositoryEvent):
    changed_fields: list[str] = field(
        events.changed_fields, description="The fields of `Repository` that changed, by name."
    )


@strawberry.type(description="The repository was handed to another account.")
@_shows("RepositoryTransferred")
class RepositoryTransferredEvent(RepositoryEvent):
    previous_owner: User | None = field(
        events.previous_owner, description="Whose it was; null if the account is gone."
    )


@strawberry.type(description="The repository was forked. Only for who can see the fork.")
@_shows("ForkCreated")
class RepositoryForkedEvent(RepositoryEvent):
    fork: Repository | None = field(events.fork, description="The fork.")


@strawberry.type(
    description="The repository was shared with a person, or that person's role changed. Only for "
    "administrators of the repository."
)
@_shows("CollaboratorAdded")
class CollaboratorAddedEvent(RepositoryEvent):
    permission: Role = field(events.permission, description="What the person may do since.")
    user: User | None = field(events.collaborator, description="The person.")


@strawberry.type(
    description="The repository is no longer shared with a person. Only for administrators of the "
    "repository."
)
@_shows("CollaboratorRemoved")
class CollaboratorRemovedEvent(RepositoryEvent):
    user: User | None = field(events.collaborator, description="The person.")


@strawberry.type(description="The actor starred the repository.")
@_shows("RepositoryStarred")
class RepositoryStarredEvent(RepositoryEvent):
    pass


@strawberry.type(description="The actor took a star back.")
@_shows("RepositoryUnstarred")
class RepositoryUnstarredEvent(RepositoryEvent):
    pass


EVENT_TYPES = [
    PushEvent,
    RepositoryCreatedEvent,
    RepositoryUpdatedEvent,
    RepositoryTransferredEvent,
    RepositoryForkedEvent,
    CollaboratorAddedEvent,
    CollaboratorRemovedEvent,
    RepositoryStarredEvent,
    RepositoryUnstarredEvent,
]
