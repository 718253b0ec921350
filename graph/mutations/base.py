"""What every input and payload has, as on GitHub."""

from typing import Any, TypeVar

import strawberry

from graph.view import field
from resolvers.arguments import given
from services.omitted import OMITTED

Payload = TypeVar("Payload", bound="MutationPayload")

_CLIENT_MUTATION_ID = "A unique identifier for the client performing the mutation."


@strawberry.input(description="What every input has.")
class MutationInput:
    client_mutation_id: str | None = strawberry.field(
        default=strawberry.UNSET, description=_CLIENT_MUTATION_ID
    )


@strawberry.type(description="What every payload has.")
class MutationPayload:
    client_mutation_id: str | None = field(description=_CLIENT_MUTATION_ID)


def payload(kind: type[Payload], input: MutationInput, **rows: Any) -> Payload:
    """The payload with the input's ``clientMutationId`` and the changed rows."""
    return kind(client_mutation_id=given(input.client_mutation_id), **rows)


def optional(description: str) -> Any:
    """An input field that may be left out; ``given`` or ``change`` reads it."""
    return strawberry.field(default=strawberry.UNSET, description=description)


def required(description: str) -> Any:
    """An input field that must be there."""
    return strawberry.field(description=description)


def change(value: Any) -> Any:
    """For inputs where null clears the value: what rules call omitted, if it was left out."""
    return OMITTED if value is strawberry.UNSET else value


def change_unless_null(value: Any) -> Any:
    """For inputs of what always has a value: null means left out."""
    return OMITTED if value is strawberry.UNSET or value is None else value
