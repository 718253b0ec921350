"""Which arguments of ``git archive --remote`` are handed on."""

import pytest

from gitserve.archive import check_arguments
from gitserve.pktline import ProtocolError


@pytest.mark.parametrize(
    "arguments",
    [
        ["HEAD"],
        ["--format=tar", "v1.0"],
        ["--format", "zip", "-9", "--prefix", "demo-1.0/", "v1.0:docs"],
        ["--prefix=Übung 1/", "-v", "main", "src", "docs/a b"],
        ["--list"],
        ["--", "main", "src"],
        ["main", "--", "src"],
    ],
)
def test_harmless_arguments_pass(arguments: list[str]) -> None:
    check_arguments(arguments)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["--add-file=/etc/passwd", "HEAD"],
            "archive option '--add-file' is not supported over the network",
        ),
        (
            ["--output=/tmp/x", "HEAD"],
            "archive option '--output' is not supported over the network",
        ),
        (["--exec=sh", "HEAD"], "archive option '--exec' is not supported over the network"),
        (["--form=zip", "HEAD"], "archive option '--form' is not supported over the network"),
        (["-o", "x", "HEAD"], "archive option '-o' is not supported over the network"),
        (["--format=../x", "HEAD"], "archive formats are tar, tgz, tar.gz, zip"),
        (["--format"], "archive formats are tar, tgz, tar.gz, zip"),
        (["HEAD", "--add-file=/etc/passwd"], "options of an archive come before the tree"),
        (["HEAD", "--", "-x"], "options of an archive come before the tree"),
        (["HEAD\0--exec=sh"], "an archive argument has a control character"),
        (["--prefix=a\nb", "HEAD"], "an archive argument has a control character"),
    ],
)
def test_everything_else_is_refused(arguments: list[str], text: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        check_arguments(arguments)
    assert str(caught.value) == text
