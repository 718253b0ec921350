"""The exec request's grammar: what git sends, and nothing else."""

import pytest

from services.errors import Invalid
from services.git_access import GitService
from sshd.commands import BAD_PATH, MAX_COMMAND_LENGTH, NOT_A_GIT_COMMAND, GitCommand, parse


@pytest.mark.parametrize("separator", ["-", " "])
@pytest.mark.parametrize("service", list(GitService))
def test_git_commands_with_dash_or_space(separator: str, service: GitService) -> None:
    name = service.value.removeprefix("git-")
    assert parse(f"git{separator}{name} 'ann/demo.git'") == GitCommand(service, "ann/demo.git")


@pytest.mark.parametrize(
    ("argument", "path"),
    [
        ("'ann/demo'", "ann/demo"),
        ("'/ann/demo.git'", "/ann/demo.git"),
        ("'ann/it'\\''s'", "ann/it's"),
        ("''\\'''", "'"),
        ("'ann/wow'\\!''", "ann/wow!"),
        ("'ann/a b'", "ann/a b"),
        ("'ann/a\"b'", 'ann/a"b'),
        ("'ann/a\\b'", "ann/a\\b"),
        ("'ann/$(id)'", "ann/$(id)"),
        ("'ann/../bob'", "ann/../bob"),
        ("'ann/--x'\\''-'", None),
        ("'ann/größe'", "ann/größe"),
        ("'~ann/demo'", "~ann/demo"),
    ],
)
def test_arguments_are_quoted_as_git_quotes_them(argument: str, path: str | None) -> None:
    if path is None:
        with pytest.raises(Invalid) as refused:
            parse(f"git-upload-pack {argument}")
        assert refused.value.message == BAD_PATH
    else:
        assert parse(f"git-upload-pack {argument}").path == path


@pytest.mark.parametrize(
    "line",
    [
        "",
        " ",
        "ls",
        "git",
        "git-upload-pack",
        "git-upload-pack ",
        "git-upload-pack ann/demo.git",
        'git-upload-pack "ann/demo.git"',
        "git-upload-pack  'ann/demo.git'",
        "git  upload-pack 'ann/demo.git'",
        "git-upload-pack\t'ann/demo.git'",
        " git-upload-pack 'ann/demo.git'",
        "git-upload-pack 'ann/demo.git' ",
        "git-upload-pack 'ann/demo.git'\n",
        "git-upload-pack 'ann/demo.git'; id",
        "git-upload-pack 'ann/demo.git' | id",
        "git-upload-pack 'ann/demo.git' 'bob/demo.git'",
        "git-upload-pack --strict 'ann/demo.git'",
        "git-upload-pack 'ann'/demo.git",
        "git-upload-pack ann'/demo.git'",
        "git-upload-pack 'ann/demo.git",
        "git-upload-pack ann/demo.git'",
        "git-upload-pack 'ann/a'b'",
        "git-upload-pack 'ann/a'\\x'b'",
        "git-upload-pack 'ann/a!b'",
        "git-upload-pack 'ann'\\\\''demo'",
        "git--upload-pack 'ann/demo.git'",
        "git-Upload-Pack 'ann/demo.git'",
        "GIT-UPLOAD-PACK 'ann/demo.git'",
        "/usr/bin/git-upload-pack 'ann/demo.git'",
        "env git-upload-pack 'ann/demo.git'",
        "git-shell -c \"git-upload-pack 'ann/demo.git'\"",
        "git-http-backend 'ann/demo.git'",
        "git-lfs-authenticate 'ann/demo.git' download",
        "git-lfs-transfer 'ann/demo.git' download",
        "git-upload-packs 'ann/demo.git'",
        "scp -t /tmp",
        "sftp-server",
    ],
)
def test_anything_else_is_refused(line: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse(line)
    assert refused.value.message == NOT_A_GIT_COMMAND


CONTROLS = [*range(0x20), *range(0x7F, 0xA0)]


@pytest.mark.parametrize("code", CONTROLS, ids=hex)
def test_control_characters_are_refused(code: int) -> None:
    with pytest.raises(Invalid) as refused:
        parse(f"git-upload-pack 'ann/de{chr(code)}mo.git'")
    assert refused.value.message == BAD_PATH


@pytest.mark.parametrize("path", ["", "-", "-x/demo", "--upload-pack=id", "/-x/demo", "ann/-demo"])
def test_a_path_is_never_an_option(path: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse(f"git-receive-pack '{path}'")
    assert refused.value.message == BAD_PATH


def test_the_length_is_bounded() -> None:
    longest = MAX_COMMAND_LENGTH - len("git-upload-pack ''")
    assert parse(f"git-upload-pack '{'a' * longest}'").path == "a" * longest
    with pytest.raises(Invalid):
        parse(f"git-upload-pack '{'a' * (longest + 1)}'")
