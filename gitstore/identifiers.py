"""Identifiers that sort by time: ULIDs (github.com/ulid/spec), 26 characters of base 32."""

import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_ulid() -> str:
    """Lower case, since it becomes part of storage keys. Unique without coordination."""
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return "".join(_ALPHABET[(value >> shift) & 31] for shift in range(125, -5, -5))
