"""Node ids: opaque strings that name one object of one type, with GitHub's prefixes.

An id is no secret and grants nothing: whoever decodes one still asks ``services.access`` for the
row by its concrete type. Decoding is strict (one spelling per object), so ids can be compared.
"""

import base64
import binascii
import enum
import struct

from services.errors import NotFound

_HEADER = struct.Struct(">BQ")
_VERSION = 0
_MAX_ID = 2**31 - 1


class IdKind(enum.Enum):
    """The types that have node ids; the value is the prefix."""

    USER = "U"
    REPOSITORY = "R"
    REF = "REF"
    COMMIT = "C"
    TREE = "T"
    BLOB = "B"
    TAG = "TA"
    COMPARISON = "CMP"
    PUBLIC_KEY = "PK"
    DEPLOY_KEY = "DK"
    EMAIL_ADDRESS = "EM"
    ACCESS_TOKEN = "AT"  # noqa: S105
    SESSION = "SE"


# What has no number of its own: a name or an object id within a repository.
_NAMED = frozenset(
    (IdKind.REF, IdKind.COMMIT, IdKind.TREE, IdKind.BLOB, IdKind.TAG, IdKind.COMPARISON)
)
_KINDS = {kind.value: kind for kind in IdKind}


def encode(kind: IdKind, number: int) -> str:
    """The node id of the row with this primary key."""
    return f"{kind.value}_{_to_text(_HEADER.pack(_VERSION, number))}"


def encode_named(kind: IdKind, number: int, name: str) -> str:
    """The node id of something that has no number of its own: a name within another row."""
    return f"{kind.value}_{_to_text(_HEADER.pack(_VERSION, number) + name.encode())}"


def decode(node_id: str) -> tuple[IdKind, int, str]:
    """Type, number and name (empty unless the type has one). Raises NotFound for anything else."""
    prefix, separator, text = node_id.partition("_")
    kind = _KINDS.get(prefix)
    raw = _from_text(text) if separator else None
    if kind is None or raw is None or len(raw) < _HEADER.size:
        raise unresolvable(node_id)
    version, number = _HEADER.unpack_from(raw)
    try:
        name = raw[_HEADER.size :].decode()
    except UnicodeDecodeError as error:
        raise unresolvable(node_id) from error
    if version != _VERSION or not 0 < number <= _MAX_ID or bool(name) is not (kind in _NAMED):
        raise unresolvable(node_id)
    return kind, number, name


def decode_as(node_id: str, kind: IdKind) -> int:
    """The number of an id that must be of this type. Raises NotFound for any other type too."""
    actual, number, _ = decode(node_id)
    if actual is not kind:
        raise unresolvable(node_id)
    return number


def unresolvable(node_id: str) -> NotFound:
    """What a forged, foreign or outdated id is answered with; GitHub's words."""
    return NotFound(
        f"Could not resolve to a node with the global id of '{node_id[:200]}'",
        details={"id": node_id[:200]},
    )


def _to_text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _from_text(text: str) -> bytes | None:
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    # The last character has spare bits; only the canonical spelling is an id.
    return raw if _to_text(raw) == text else None
