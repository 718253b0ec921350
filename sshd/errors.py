"""Errors as an SSH client sees them: lines on standard error, which git passes on to its user."""

import re

from gitserve.errors import judge, text_for
from services.context import OpContext

# C0, DEL and C1: a terminal obeys them, and messages may contain what a client sent.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def error_line(op: OpContext, error: Exception) -> bytes:
    """What to say about an exception: its own words if it was expected, else "internal error".

    Logs what an operator has to know of, under the request id that stands in the line.
    """
    return line(f"ERROR: {text_for(op, judge(op, error))}")


def line(text: str) -> bytes:
    """One line for a terminal, without control characters."""
    return _CONTROL.sub("", text).encode() + b"\n"
