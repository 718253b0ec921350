"""Errors as a git client sees them: one table of HTTP statuses, one wording for packets and text.

Every text ends with the request id, which leads to the log. Faults of the parts below (database,
object store, git) are turned into ``ForgeError`` here; what is unknown becomes "internal error",
so that no path, command or secret of the server reaches a client.
"""

from gitserve.pktline import ProtocolError
from gitstore.errors import (
    GitStoreError,
    GitTimedOut,
    QueueFull,
    RepositoryGone,
    RepositoryUnreadable,
)
from models.database import DatabaseUnavailable
from services.context import DATABASE_UNAVAILABLE, OpContext
from services.errors import ErrorCode, ForgeError, Invalid, NotFound, Unavailable
from storage_adapters.errors import StorageError

REPOSITORY_NOT_FOUND = "repository not found"
STORE_UNAVAILABLE = "the object store does not answer; try again in a moment"
UNREADABLE = "the repository cannot be read from storage at the moment"
BUSY = "the server is busy with other git requests; try again in a moment"
TIMED_OUT = "the request took longer than this server allows"

HTTP_STATUS = {
    ErrorCode.UNAUTHENTICATED: 401,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.INSUFFICIENT_SCOPES: 403,
    ErrorCode.INVALID: 422,
    ErrorCode.CONFLICT: 409,
    ErrorCode.FAILED_PRECONDITION: 409,
    ErrorCode.RATE_LIMITED: 429,
    ErrorCode.QUOTA_EXCEEDED: 507,
    ErrorCode.UNAVAILABLE: 503,
    ErrorCode.INTERNAL: 500,
}


class AnswerCut(Exception):
    """An answer broke off after it had begun; whatever could be said was sent to the client.

    The transport must not end it properly, or the client would take it for complete.
    """


def as_forge_error(error: Exception) -> ForgeError | None:
    """The expected error behind an exception, or None for one that nobody expected."""
    match error:
        case NotFound() | RepositoryGone():
            # Git clients ask for nothing else, and one text for all keeps what is private hidden.
            return NotFound(REPOSITORY_NOT_FOUND)
        case ForgeError():
            return error
        case ProtocolError():
            return Invalid(str(error))
        case DatabaseUnavailable():
            return Unavailable(DATABASE_UNAVAILABLE)
        case StorageError():
            return Unavailable(STORE_UNAVAILABLE)
        case RepositoryUnreadable():
            return Unavailable(UNREADABLE)
        case QueueFull():
            return Unavailable(BUSY)
        case GitTimedOut():
            return Unavailable(TIMED_OUT)
    return None


def judge(op: OpContext, error: Exception) -> ForgeError:
    """The error to show for an exception; logs those that an operator has to know of."""
    known = as_forge_error(error)
    if known is None:
        # A failing git child is known, but only its log line explains it.
        op.log.error("git request failed", error=str(error), exc_info=_traceback(error))
        return ForgeError("internal error")
    if known is not error and known.code is ErrorCode.UNAVAILABLE:
        op.log.error("git request failed", error=str(error))
    return known


def text_for(op: OpContext, error: ForgeError) -> str:
    """What the client reads, in one line."""
    return f"{error.message} (request {op.request_id})"


def _traceback(error: Exception) -> Exception | None:
    return None if isinstance(error, GitStoreError) else error
