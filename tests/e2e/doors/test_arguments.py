"""Words of a client never become options, commands or environment of a process.

CVE-2022-36804, CVE-2024-39930, CVE-2024-41956, CVE-2025-58355, CVE-2026-3854, GHSA-8p9h-49rc-qgxj.
"""

import json
from pathlib import Path

import pytest

from gitserve.pktline import encode
from tests.e2e.doors.conftest import Target, get, told

NOT_A_GIT_COMMAND = (
    "this server runs only git-upload-pack, git-receive-pack and git-upload-archive;"
    " use it through git, as in: git clone ssh://git@HOST/OWNER/NAME.git"
)
BAD_PATH = "malformed repository path; it must read OWNER/NAME.git"


@pytest.mark.parametrize(
    ("command", "refusal"),
    [
        ("git-upload-pack '--upload-pack=x'", BAD_PATH),
        ("git-upload-pack 'OWNER/--exec=x'", BAD_PATH),
        ("git-upload-pack 'OWNER/demo.git\n'", BAD_PATH),
        ("git-upload-pack 'OWNER/demo.git' --exec=x", NOT_A_GIT_COMMAND),
        ("git-upload-pack 'OWNER/demo.git'; id", NOT_A_GIT_COMMAND),
        ("git-upload-pack 'OWNER/demo.git'\nid", NOT_A_GIT_COMMAND),
        ("git-upload-pack --strict 'OWNER/demo.git'", NOT_A_GIT_COMMAND),
        ("git-upload-pack $(id)", NOT_A_GIT_COMMAND),
        ("git-upload-pack `id`", NOT_A_GIT_COMMAND),
        ("git -c core.pager=id upload-pack 'OWNER/demo.git'", NOT_A_GIT_COMMAND),
        ("git-upload-pack '$(id)'", "repository not found"),
        ("git-upload-pack 'OWNER/demo.git;id'", "repository not found"),
    ],
)
async def test_ssh_commands(target: Target, command: str, refusal: str) -> None:
    done = await target.openssh.ssh(command.replace("OWNER", target.owner), identity=target.key)
    assert (done.returncode, done.stdout) == (1, b"")
    assert told(done.stderr).splitlines()[0] == f"ERROR: {refusal} (request ID)"


@pytest.mark.parametrize("name", ["--exec=x", "--add-file=/etc/passwd", "--output=x", "--remote=x"])
async def test_archive_options(target: Target, name: str) -> None:
    done = await target.openssh.ssh(
        f"git-upload-archive '{target.public}.git'",
        identity=target.key,
        stdin=encode(f"argument {name}\n".encode()) + encode(b"argument HEAD\n") + b"0000",
    )
    option = name.partition("=")[0]
    assert f"archive option '{option}' is not supported over the network" in (
        done.stdout.decode() + done.stderr
    )


@pytest.mark.parametrize(
    "variable",
    [
        "LD_PRELOAD=/nonexistent.so",
        "GIT_SSH_COMMAND=id",
        "GIT_CONFIG_COUNT=1",
        "GIT_DIR=/etc",
        "GIT_PROTOCOL=version=2:evil",
    ],
)
async def test_environment_of_ssh(target: Target, variable: str) -> None:
    """The session is served as if the variable had not been sent: protocol 0 of the repository."""
    done = await target.openssh.ssh(
        f"git-upload-pack '{target.public}.git'",
        identity=target.key,
        stdin=b"0000",
        SetEnv=variable,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout[4:].startswith(f"{target.tip} HEAD\0".encode())


@pytest.mark.parametrize("value", ["version=2:evil", "version=2;id", "version=$(id)", "\xff", "-x"])
def test_protocol_header(target: Target, value: str) -> None:
    path = f"/{target.public}.git/info/refs?service=git-upload-pack"
    answer = get(target.hub, path, f"Git-Protocol: {value}")
    assert (answer.status, answer.body) == (200, get(target.hub, path).body)
    assert answer.body.split(b"0000", 1)[1][4:].startswith(f"{target.tip} HEAD\0".encode())


def test_push_options_change_nothing(target: Target, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    options = ["repo.private=true", f"; touch {marker}", f"$(touch {marker})", "a b 'c' \"d\""]
    arguments = [each for option in options for each in ("-o", option)]
    url = target.hub.clone_url(target.public, target.token)
    target.project.git("push", "--quiet", *arguments, url, "main:refs/heads/optioned")
    assert target.refs("demo")["refs/heads/optioned"] == target.tip
    assert not marker.exists()
    query = f'{{ repository(owner: {json.dumps(target.owner)}, name: "demo") {{ visibility }} }}'
    assert target.hub.graphql(query) == {"data": {"repository": {"visibility": "PUBLIC"}}}
    target.project.git("push", "--quiet", url, ":refs/heads/optioned")
