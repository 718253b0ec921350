"""The errors rules raise. Doors translate them with one table each and never word their own.

Messages state facts in lower case; where GitHub's tools compare a text, GitHub's own text stands.
They never contain secrets; request data goes into ``details``.
"""

import enum
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class ErrorCode(enum.Enum):
    """Machine-readable reason; part of the GraphQL contract."""

    UNAUTHENTICATED = "UNAUTHENTICATED"
    NOT_FOUND = "NOT_FOUND"
    FORBIDDEN = "FORBIDDEN"
    INSUFFICIENT_SCOPES = "INSUFFICIENT_SCOPES"
    INVALID = "INVALID"
    CONFLICT = "CONFLICT"
    FAILED_PRECONDITION = "FAILED_PRECONDITION"
    RATE_LIMITED = "RATE_LIMITED"
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
    UNAVAILABLE = "UNAVAILABLE"
    INTERNAL = "INTERNAL"


class ForgeError(Exception):
    """Base of all expected errors. ``fields`` name the inputs at fault, for forms."""

    code: ClassVar[ErrorCode] = ErrorCode.INTERNAL

    def __init__(
        self, message: str, *, fields: Sequence[str] = (), details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.fields = tuple(fields)
        self.details = dict(details or {})


class Unauthenticated(ForgeError):
    """No credential, or one that is unknown, expired or revoked."""

    code = ErrorCode.UNAUTHENTICATED


class NotFound(ForgeError):
    """It does not exist, or the actor may not know that it does."""

    code = ErrorCode.NOT_FOUND


class Forbidden(ForgeError):
    """The actor may see it, but not do this to it."""

    code = ErrorCode.FORBIDDEN


class InsufficientScopes(Forbidden):
    """The token lacks a scope; ``details["scopes"]`` lists those any of which would do."""

    code = ErrorCode.INSUFFICIENT_SCOPES


class Invalid(ForgeError):
    """The input breaks a rule."""

    code = ErrorCode.INVALID


class Conflict(ForgeError):
    """Somebody else was faster, or it exists already."""

    code = ErrorCode.CONFLICT


class StaleData(Conflict):
    """The change was made for another state than the present one; GitHub has a word for it."""

    error_type = "STALE_DATA"


class FailedPrecondition(ForgeError):
    """The state of the thing forbids it, for instance because it is archived."""

    code = ErrorCode.FAILED_PRECONDITION


class RateLimited(ForgeError):
    """Too many requests; ``details["retry_after"]`` in seconds."""

    code = ErrorCode.RATE_LIMITED


class QuotaExceeded(ForgeError):
    """Larger than a limit allows."""

    code = ErrorCode.QUOTA_EXCEEDED


class Unavailable(ForgeError):
    """A part of the hub does not answer; the same request may succeed later."""

    code = ErrorCode.UNAVAILABLE
