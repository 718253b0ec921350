"""Logs: one JSON object a line, with the request id, and never a secret."""

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from opencodehub import logs

Entries = Callable[[], list[dict[str, Any]]]
TOKEN = "och_0123456789abcdefghijABCDEFGHIJ0123456789ab"
SIGNED = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"


@pytest.fixture
def entries(capsys: pytest.CaptureFixture[str]) -> Iterator[Entries]:
    """Call it first to set logging up, then to read what was logged since the last call."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configured = False

    def read() -> list[dict[str, Any]]:
        # Not before the test runs: until then pytest still hangs handlers of its own in.
        nonlocal configured
        if not configured:
            logs.configure("info", "json", process="web")
            configured = True
        return [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    yield read
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def test_an_entry_names_process_and_request(entries: Entries) -> None:
    entries()
    with structlog.contextvars.bound_contextvars(request_id="abc"):
        structlog.get_logger("opencodehub").info("pushed", repository_id=7)
    (entry,) = entries()
    assert entry.pop("timestamp").endswith("Z")
    assert entry == {
        "event": "pushed",
        "repository_id": 7,
        "request_id": "abc",
        "process": "web",
        "level": "info",
    }


def test_libraries_log_the_same_way(entries: Entries) -> None:
    entries()
    logging.getLogger("some.library").warning("lost %s", "a connection")
    (entry,) = entries()
    assert (entry["event"], entry["level"]) == ("lost a connection", "warning")


def test_what_is_below_the_level_is_left_out(entries: Entries) -> None:
    entries()
    structlog.get_logger("opencodehub").debug("detail")
    logging.getLogger("asyncssh").info("each connection")
    assert entries() == []


@pytest.mark.parametrize(
    ("given", "logged"),
    [
        ({"password": "swordfish"}, {"password": "[struck out]"}),
        ({"headers": {"Authorization": "x"}}, {"headers": {"Authorization": "[struck out]"}}),
        ({"set_cookie": "och_session=1"}, {"set_cookie": "[struck out]"}),
        ({"note": f"used {TOKEN} twice"}, {"note": "used [struck out] twice"}),
        ({"note": [SIGNED]}, {"note": ["[struck out]"]}),
        ({"url": "redis://:swordfish@host/0"}, {"url": "redis://[struck out]@host/0"}),
        (
            {"url": "postgresql://och:swordfish@db/och"},
            {"url": "postgresql://[struck out]@db/och"},
        ),
        ({"note": "Basic dXNlcjpwYXNzd29yZA=="}, {"note": "Basic [struck out]"}),
        ({"note": f"Bearer {SIGNED}"}, {"note": "Bearer [struck out]"}),
        ({"token_id": 5, "count": 2}, {"token_id": 5, "count": 2}),
    ],
)
def test_secrets_are_struck_out(
    entries: Entries, given: dict[str, Any], logged: dict[str, Any]
) -> None:
    entries()
    structlog.get_logger("opencodehub").info("entry", **given)
    (entry,) = entries()
    assert {name: entry[name] for name in given} == logged


def test_secrets_in_tracebacks_are_struck_out(entries: Entries) -> None:
    entries()
    try:
        raise ValueError(f"refused {TOKEN}")
    except ValueError:
        structlog.get_logger("opencodehub").exception("failed")
    (entry,) = entries()
    assert "ValueError: refused [struck out]" in entry["exception"]
    assert TOKEN not in entry["exception"]


def test_a_line_cannot_be_forged(entries: Entries) -> None:
    entries()
    structlog.get_logger("opencodehub").info("request", path='/x\n{"event": "forged"}')
    (entry,) = entries()
    assert entry["path"] == '/x\n{"event": "forged"}'
