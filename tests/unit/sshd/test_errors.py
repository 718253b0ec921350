"""Errors on standard error."""

import re
from typing import Any, cast

import pytest

from services.actor import ANONYMOUS
from services.context import OpContext
from services.errors import Forbidden, NotFound
from sshd.errors import error_line, line

OP = OpContext(cast(Any, None), ANONYMOUS, request_id="0123456789abcdef")


def test_expected_errors_speak_for_themselves() -> None:
    assert (
        error_line(OP, NotFound("repository not found"))
        == b"ERROR: repository not found (request 0123456789abcdef)\n"
    )


def test_unexpected_errors_tell_nothing_but_the_request_id() -> None:
    assert (
        error_line(OP, RuntimeError("secret path /srv/x"))
        == b"ERROR: internal error (request 0123456789abcdef)\n"
    )


@pytest.mark.parametrize("code", [*range(0x20), *range(0x7F, 0xA0)], ids=hex)
def test_control_characters_never_reach_a_terminal(code: int) -> None:
    told = error_line(OP, Forbidden(f"no{chr(code)}t you"))
    assert told == b"ERROR: not you (request 0123456789abcdef)\n"


def test_a_line_is_one_line() -> None:
    assert line("a\r\nb\x1b[31m") == b"ab[31m\n"
    assert re.fullmatch(rb"[^\n]*\n", line("größe\n\n"))
