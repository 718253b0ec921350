"""Errors as the contract shows them: GitHub's ``type`` beside the message, our code in extensions.

What the rules raise on purpose is shown as it is. Anything else is a fault of the server: it is
logged with its traceback under the request id, and the client learns that id and nothing more.
"""

from collections.abc import Sequence
from typing import Any

from graphql import GraphQLError

from models.database import CommitUnknown
from resolvers.pagination import PaginationFault
from services.context import OpContext
from services.errors import ErrorCode, ForgeError, StaleData

# GitHub's names where it has one; its tools compare NOT_FOUND, FORBIDDEN and INSUFFICIENT_SCOPES.
TYPE_OF_CODE = {
    ErrorCode.UNAUTHENTICATED: "UNAUTHENTICATED",
    ErrorCode.NOT_FOUND: "NOT_FOUND",
    ErrorCode.FORBIDDEN: "FORBIDDEN",
    ErrorCode.INSUFFICIENT_SCOPES: "INSUFFICIENT_SCOPES",
    ErrorCode.INVALID: "UNPROCESSABLE",
    ErrorCode.CONFLICT: "UNPROCESSABLE",
    ErrorCode.FAILED_PRECONDITION: "UNPROCESSABLE",
    ErrorCode.RATE_LIMITED: "RATE_LIMITED",
    ErrorCode.QUOTA_EXCEEDED: "RESOURCE_LIMITS_EXCEEDED",
    ErrorCode.UNAVAILABLE: "SERVICE_UNAVAILABLE",
    ErrorCode.INTERNAL: "INTERNAL",
}
_COMMIT_UNKNOWN = (
    "the database went away while saving; the change may or may not have been made: look before "
    "you try again"
)


class LimitExceeded(ForgeError):
    """A document asks for more than one request may; ``error_type`` is GitHub's name for it."""

    code = ErrorCode.QUOTA_EXCEEDED

    def __init__(self, message: str, error_type: str = "RESOURCE_LIMITS_EXCEEDED") -> None:
        super().__init__(message)
        self.error_type = error_type


def format_errors(errors: Sequence[GraphQLError], op: OpContext) -> list[dict[str, Any]]:
    """The ``errors`` entry of an answer; logs what is masked."""
    return [_format(error, op) for error in errors]


def format_fault(fault: ForgeError, op: OpContext) -> dict[str, Any]:
    """An error that concerns the whole request."""
    return _format(GraphQLError(fault.message, original_error=fault), op)


def _format(error: GraphQLError, op: OpContext) -> dict[str, Any]:
    cause = _cause(error)
    if isinstance(cause, ForgeError):
        shown = _shown(_type_of(cause), cause.message, cause.code, op, cause.fields, cause.details)
    elif isinstance(cause, CommitUnknown):
        op.log.error("commit unknown", exc_info=cause)
        shown = _shown("SERVICE_UNAVAILABLE", _COMMIT_UNKNOWN, ErrorCode.UNAVAILABLE, op)
    elif _is_about_the_document(error, cause):
        shown = _shown("UNPROCESSABLE", error.message, ErrorCode.INVALID, op)
    else:
        op.log.error("graphql request failed", exc_info=cause or error)
        message = (
            "Something went wrong while executing your query. Please include "
            f"`{op.request_id}` when reporting this issue."
        )
        shown = _shown("INTERNAL", message, ErrorCode.INTERNAL, op)
    if error.path is not None:
        shown["path"] = list(error.path)
    if error.locations:
        shown["locations"] = [
            {"line": location.line, "column": location.column} for location in error.locations
        ]
    return shown


def _cause(error: GraphQLError) -> BaseException | None:
    cause: BaseException | None = error
    while isinstance(cause, GraphQLError):
        cause = cause.original_error
    return cause


def _is_about_the_document(error: GraphQLError, cause: BaseException | None) -> bool:
    """Syntax, validation, or a variable's value: the client's to know, whatever found it.

    A scalar's parser raises ValueError for a bad variable; such an error points into the document
    but has no path yet, since nothing was executed.
    """
    if cause is None:
        return True
    return isinstance(cause, ValueError) and error.path is None and bool(error.nodes)


def _type_of(fault: ForgeError) -> str:
    if isinstance(fault, PaginationFault | LimitExceeded | StaleData):
        return fault.error_type
    return TYPE_OF_CODE[fault.code]


def _shown(
    error_type: str,
    message: str,
    code: ErrorCode,
    op: OpContext,
    fields: Sequence[str] = (),
    details: dict[str, Any] | None = None,
) -> dict[str, Any]:
    extensions: dict[str, Any] = {
        "code": code.value,
        "fields": list(fields),
        "requestId": op.request_id,
    }
    if details:
        extensions["details"] = details
    return {"type": error_type, "message": message, "extensions": extensions}
