"""Who may do what, and that knowing an object's id grants nothing.

CVE-2026-28699, CVE-2026-27775, and reads across forks by object id.
"""

import pytest

from gitserve.pktline import encode
from tests.e2e.doors.conftest import Target, basic, post

FETCH = encode(b"command=fetch\n") + b"0001"


@pytest.mark.parametrize("version", [0, 1, 2])
def test_objects_of_another_repository(target: Target, version: int) -> None:
    want = encode(f"want {target.secret_tip}\n".encode())
    end = encode(b"done\n")
    body = FETCH + want + end + b"0000" if version == 2 else want + b"0000" + end
    answer = post(
        target.hub,
        f"/{target.public}.git",
        "git-upload-pack",
        body,
        f"Git-Protocol: version={version}",
        f"Authorization: {basic(target.token)}",
    )
    assert answer.body == encode(f"ERR upload-pack: not our ref {target.secret_tip}".encode())


@pytest.mark.parametrize("actor", ["anonymous", "stranger", "narrow"])
@pytest.mark.parametrize("name", ["demo", "secret"])
def test_pushes_that_change_nothing(target: Target, actor: str, name: str) -> None:
    before = target.refs(name)
    token = None
    if actor == "stranger":
        token = target.hub.create_user(f"{name[0]}y{target.owner[1:]}")
    elif actor == "narrow":
        token = target.hub.create_token(target.owner, "user")
    url = target.hub.clone_url(f"{target.owner}/{name}", token)
    target.project.failure("push", url, "main:refs/heads/new")
    assert target.refs(name) == before
