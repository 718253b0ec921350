"""What a git client is told about each fault; nothing of the server's inside reaches it."""

from typing import Any, cast

import pytest

from gitserve.errors import HTTP_STATUS, judge, text_for
from gitserve.pktline import ProtocolError
from gitstore.errors import GitFailed, GitTimedOut, RepositoryGone, RepositoryUnreadable
from models.database import DatabaseUnavailable
from services.actor import ANONYMOUS
from services.context import OpContext
from services.errors import ErrorCode, Forbidden, NotFound, RateLimited
from storage_adapters.errors import StorageUnavailable

OP = OpContext(cast(Any, None), ANONYMOUS, request_id="r1")


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (NotFound("no repository a/b"), 404, "repository not found (request r1)"),
        (RepositoryGone("the repository 7 is gone"), 404, "repository not found (request r1)"),
        (Forbidden("not you"), 403, "not you (request r1)"),
        (RateLimited("too often"), 429, "too often (request r1)"),
        (ProtocolError("malformed packet"), 422, "malformed packet (request r1)"),
        (
            DatabaseUnavailable("/srv/hub.sqlite3"),
            503,
            "the database does not answer; try again in a moment (request r1)",
        ),
        (
            StorageUnavailable("/srv/storage: no space"),
            503,
            "the object store does not answer; try again in a moment (request r1)",
        ),
        (
            RepositoryUnreadable("packs/7/x.pack is missing"),
            503,
            "the repository cannot be read from storage at the moment (request r1)",
        ),
        (
            GitTimedOut("upload-pack", -9, ""),
            503,
            "the request took longer than this server allows (request r1)",
        ),
        (GitFailed("upload-pack", 128, "fatal: /srv/x"), 500, "internal error (request r1)"),
        (RuntimeError("/srv/secret"), 500, "internal error (request r1)"),
    ],
)
def test_each_fault_has_its_status_and_words(error: Exception, code: int, text: str) -> None:
    shown = judge(OP, error)
    assert (HTTP_STATUS[shown.code], text_for(OP, shown)) == (code, text)


def test_every_code_has_a_status() -> None:
    assert set(HTTP_STATUS) == set(ErrorCode)
