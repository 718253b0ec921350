"""Options, commands and variables in disguise: no word of a client becomes one of the server."""

import tarfile
from pathlib import Path

import pytest

from gitserve.pktline import encode
from tests.support.git import GitRepository
from tests.support.hostile import Objects
from tests.support.hostile_world import PUBLIC, TARGET, World, told
from tests.support.raw_git import (
    CAPABILITIES,
    DELIMITER,
    FLUSH,
    Door,
    HTTPDoor,
    SSHDoor,
    commands,
    packets,
    push,
    read_report,
)

# How git's pretty formats pad: to the right of, around, to the left of what follows.
OPS = (b"<", b"><", b">")
DASH = "a part of the ref name begins with '-'"
NOT_GIT = (
    "this server runs only git-upload-pack, git-receive-pack and git-upload-archive;"
    " use it through git, as in: git clone ssh://git@HOST/OWNER/NAME.git"
)


@pytest.mark.parametrize(
    "ref",
    [
        "refs/heads/--exec=touch",
        "refs/heads/--upload-pack=id",
        "refs/heads/a/-oProxyCommand=id",
        "refs/tags/--output=x",
    ],
)
def test_refs_like_options(world: World, door: Door, ref: str) -> None:
    """CVE-2026-52806, CVE-2024-39933, CVE-2022-42968, CVE-2019-15000."""
    before = world.state(TARGET)
    moves = [(ref, None, world.base)]
    report = push(door, TARGET, world.mallory, moves, Objects().pack())
    assert report.refs == {ref: DASH}
    assert world.state(TARGET) == before


def test_a_default_branch_like_an_option(world: World) -> None:
    """CVE-2026-26194: the rules for names hold where the API makes them."""
    answer = world.hub.graphql(
        "mutation($input: CreateRepositoryInput!)"
        " { createRepository(input: $input) { clientMutationId } }",
        {"input": {"name": "x", "visibility": "PUBLIC", "defaultBranch": "--exec=id"}},
        token=world.mallory.token,
    )
    (error,) = answer["errors"]
    assert (error["extensions"]["code"], error["message"]) == ("INVALID", DASH)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--exec=id", "HEAD"], "archive option '--exec' is not supported over the network"),
        (["--remote=x", "HEAD"], "archive option '--remote' is not supported over the network"),
        (
            ["--output=/tmp/x", "HEAD"],
            "archive option '--output' is not supported over the network",
        ),
        (["-o", "/tmp/x", "HEAD"], "archive option '-o' is not supported over the network"),
        (
            ["--add-file=/etc/passwd", "HEAD"],
            "archive option '--add-file' is not supported over the network",
        ),
        (
            ["--add-virtual-file=x:y", "HEAD"],
            "archive option '--add-virtual-file' is not supported over the network",
        ),
        (["--format=../../x", "HEAD"], "archive formats are tar, tgz, tar.gz, zip"),
        (["--prefix=a\0--exec=id", "HEAD"], "an archive argument has a control character"),
        (["--prefix=a\x1b", "HEAD"], "an archive argument has a control character"),
        (["HEAD", "--exec=id"], "options of an archive come before the tree"),
        (["-l"] * 65, "an archive takes at most 64 arguments of 4096 bytes"),
        (["x" * 5000], "an archive takes at most 64 arguments of 4096 bytes"),
    ],
)
def test_archive_options(world: World, ssh: SSHDoor, arguments: list[str], reason: str) -> None:
    """CVE-2022-36804, CVE-2019-15000, CVE-2025-58355: only harmless options reach git."""
    data = b"".join(encode(f"argument {each}\n".encode()) for each in arguments) + FLUSH
    answer = ssh.run(f"git-upload-archive '{PUBLIC}.git'", world.mallory, data)
    (packet,) = packets(answer.body)
    assert (answer.status, told(packet.decode())) == (1, f"ERR {reason}")


def test_an_archive_by_an_object_id(world: World, ssh: SSHDoor) -> None:
    """Only what a ref names is archived: no object that merely lies in the repository."""
    data = encode(b"argument " + world.secret.encode()) + FLUSH
    answer = ssh.run(f"git-upload-archive '{PUBLIC}.git'", world.mallory, data)
    assert answer.status == 1
    assert b"no such ref" in answer.body or b"not a valid object name" in answer.body


@pytest.mark.parametrize(
    "command",
    [
        "id",
        "git",
        "git-shell",
        "git-lfs-authenticate 'hostile-ann/public.git' upload",
        "git-lfs-transfer 'hostile-ann/public.git' download",
        "git-upload-packs 'hostile-ann/public.git'",
        "git-upload-pack --exec=id 'hostile-ann/public.git'",
        "git-upload-pack 'hostile-ann/public.git' 'x'",
        "git-upload-pack 'hostile-ann/public.git'; id",
        "git-upload-pack 'hostile-ann/public.git'\nid",
        "git-upload-pack $(id)",
        "git -c core.sshCommand=id upload-pack 'hostile-ann/public.git'",
        "git --exec-path=/tmp upload-pack 'hostile-ann/public.git'",
        "LD_PRELOAD=/tmp/x git-upload-pack 'hostile-ann/public.git'",
        "/usr/bin/git-upload-pack 'hostile-ann/public.git'",
        "scp -t /tmp",
        "repo create x",
        "git-upload-pack '" + "x" * 2000 + "'",
    ],
)
def test_other_commands(world: World, ssh: SSHDoor, command: str) -> None:
    """CVE-2026-58423, CVE-2025-58355, CVE-2026-54591: an unknown verb is refused, for all alike."""
    answer = ssh.run(command, world.mallory)
    assert (answer.status, answer.body) == (1, b"")
    assert told(answer.told) == f"ERROR: {NOT_GIT}\n"


def test_variables_of_the_client(world: World, ssh: SSHDoor, tmp_path: Path) -> None:
    """CVE-2024-39930, CVE-2024-41956: a variable that ssh sends reaches no process of the hub."""
    traces = [tmp_path / name for name in ("trace", "packets", "hook", "setup")]
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {traces[2]}\n")
    program.chmod(0o755)
    variables = {
        "LD_PRELOAD": "/nonexistent/evil.so",
        "PATH": str(tmp_path),
        "GIT_TRACE": str(traces[0]),
        "GIT_TRACE_PACKET": str(traces[1]),
        "GIT_TRACE_SETUP": str(traces[3]),
        "GIT_SSH_COMMAND": str(program),
        "GIT_EXTERNAL_DIFF": str(program),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "uploadpack.packObjectsHook",
        "GIT_CONFIG_VALUE_0": str(program),
        "GIT_CONFIG_PARAMETERS": f"'uploadpack.packObjectsHook={program}'",
        "GIT_DIR": "/",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(world.hub.data),
    }
    settings = " ".join(f"{name}={value}" for name, value in variables.items())
    answer = ssh.run(
        f"git-upload-pack '{PUBLIC}.git'",
        world.mallory,
        encode(f"want {world.base} no-progress\n".encode()) + FLUSH + encode(b"done\n"),
        *("-o", f"SetEnv={settings}"),
    )
    assert (answer.status, answer.told) == (0, "")
    assert f"{world.base} refs/heads/main".encode() in answer.body
    assert b"PACK" in answer.body
    assert [trace for trace in traces if trace.exists()] == []


@pytest.mark.parametrize(
    "value", ["version=2:x", "version=3", "version=2 --upload-pack=id", "x", "version=02"]
)
def test_an_unknown_protocol_is_the_oldest(world: World, http: HTTPDoor, value: str) -> None:
    """CVE-2024-41956: of GIT_PROTOCOL only ``version=`` and 0, 1 or 2 is passed on."""
    answer = http.request(
        "GET",
        f"/{PUBLIC}.git/info/refs?service=git-upload-pack",
        world.stranger,
        headers={"Git-Protocol": value},
    )
    assert answer.status == 200
    assert packets(answer.body)[2].startswith(f"{world.base} HEAD\0".encode())


OPTIONS = f"{CAPABILITIES} push-options"


def push_with(world: World, door: Door, path: str, options: list[bytes]) -> tuple[str, str]:
    """Push a new branch with these options; the error and the verdict it is told."""
    data = commands([("refs/heads/optional", None, world.base)], capabilities=OPTIONS)
    data += b"".join(encode(option) for option in options) + FLUSH + Objects().pack()
    answer = door.exchange("receive-pack", path, world.mallory, data)
    report = read_report(answer.body)
    return told(report.error), report.refs.get("refs/heads/optional", "")


TOO_MANY = "a push may carry at most 64 options of 4096 bytes"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ([b"a\nrepo.private=true"], "a push option has a control character"),
        ([b"a\0b"], "a push option has a control character"),
        ([b"\xff\xfe"], "ref names and options must be UTF-8"),
        ([b"x" * 4097], TOO_MANY),
        ([b"x"] * 65, TOO_MANY),
        ([b"x"] * 10_000, TOO_MANY),
    ],
    ids=["newline", "zero", "not text", "too long", "too many", "ten thousand"],
)
def test_push_options(world: World, door: Door, options: list[bytes], error: str) -> None:
    """CVE-2026-3854: options are few, short, and plain text."""
    before = world.state(TARGET)
    assert push_with(world, door, TARGET, options) == (error, "")
    assert world.state(TARGET) == before


def test_push_options_change_nothing(world: World, door: Door) -> None:
    """GHSA-8p9h-49rc-qgxj, CVE-2026-3854: an option is data, whatever it looks like."""
    options = [b"repo.private=true", b"x;y=1", b"$(id)", b"'; id", b"-x", b"--exec=id", b"ci.skip"]
    path = world.create(world.mallory, f"optional-{door.name}")
    source = GitRepository.create(world.hub.folder / f"optional-{door.name}")
    world_base = source.commit("base")
    source.git("push", "--quiet", world.hub.clone_url(path, world.mallory.token), "main")
    data = commands([("refs/heads/optional", None, world_base)], capabilities=OPTIONS)
    data += b"".join(encode(option) for option in options) + FLUSH + Objects().pack()
    answer = door.exchange("receive-pack", path, world.mallory, data)
    assert read_report(answer.body).refs == {"refs/heads/optional": "ok"}
    owner, name = path.split("/")
    seen = world.hub.graphql(
        "query($o: String!, $n: String!) { repository(owner: $o, name: $n) { visibility } }",
        {"o": owner, "n": name},
        token=world.ann.token,
    )
    assert seen["data"]["repository"] == {"visibility": "PUBLIC"}


def v2(*keys: bytes, arguments: tuple[bytes, ...] = ()) -> bytes:
    head = b"".join(encode(key + b"\n") for key in (*keys, b"object-format=sha1"))
    return head + DELIMITER + b"".join(encode(line + b"\n") for line in arguments) + FLUSH


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (v2(b"command=bundle-uri"), "unknown command 'bundle-uri'"),
        (v2(b"command=object-info"), "unknown command 'object-info'"),
        (v2(b"command=--exec=id"), "unknown command '--exec=id'"),
        (v2(b"command=ls-refs", b"x-evil=1"), "unknown capability 'x-evil'"),
        (
            v2(b"command=ls-refs", arguments=(b"--upload-pack=id",)),
            "unexpected line '--upload-pack=id'",
        ),
        (
            v2(b"command=fetch", arguments=(b"filter sparse:oid=HEAD:x", b"done")),
            "filter 'sparse:oid' not supported",
        ),
    ],
    ids=["bundle-uri", "object-info", "option", "capability", "argument", "filter"],
)
def test_requests_of_version_2(world: World, door: Door, request_: bytes, reason: str) -> None:
    """CVE-2025-48385 (bundle-uri) and its like: what is not offered is not done."""
    answer = door.exchange("upload-pack", PUBLIC, world.mallory, request_, version=2)
    (packet,) = packets(answer.body)
    assert told(packet.decode()) == f"ERR {reason}"


def test_an_archive_whose_substitutions_overflow(
    world: World, http: HTTPDoor, fresh: str, tmp_path: Path
) -> None:
    """CVE-2022-41903: paddings of a format in a file that ``export-subst`` tells git to fill in."""
    paddings = b"".join(b"$Format:%%%s(2147483647)%%an%%>>(2147483646)%%s$\n" % one for one in OPS)
    objects = Objects()
    tip = objects.files(_gitattributes=b"x export-subst\n", x=paddings)
    ref = "refs/heads/main"
    report = push(http, fresh, world.mallory, [(ref, None, tip)], objects.pack())
    assert report.refs == {ref: "ok"}
    repository = GitRepository.create(tmp_path / "any")
    repository.environment |= world.hub.ssh_environment(world.mallory.key)
    archive = tmp_path / "x.tar"
    remote = f"--remote={world.hub.ssh_url(fresh)}"
    repository.git("archive", remote, "--format=tar", f"--output={archive}", "main")
    with tarfile.open(archive) as members:
        content = members.extractfile("x")
        assert content is not None
        # Git leaves paddings beyond its limit as they are.
        assert len(content.read()) < 2 * len(paddings)
    world.still_serves_ann()


@pytest.mark.parametrize("length", [b"0003", b"ffff", b"zzzz", b"-001", b"\0\0\0\0"])
def test_lengths_that_are_none(world: World, door: Door, length: bytes) -> None:
    """The first packet's length is checked before anything is read or reserved for it."""
    answer = door.exchange("upload-pack", PUBLIC, world.mallory, length, version=2)
    (packet,) = packets(answer.body)
    assert told(packet.decode()) == f"ERR malformed packet length {length!r}"
    world.still_serves_ann()
