"""Hostile names of refs: each is refused in words, by itself, and changes nothing."""

import pytest

from tests.support.hostile_hub import Target, mallory, refusing, shared_target, target
from tests.support.raw_git import NULL

__all__ = ["mallory", "refusing", "shared_target", "target"]

FORM = "ref name is not of the form refs/heads/NAME or refs/tags/NAME"
INVISIBLE = "ref name has a control or invisible character"
FORBIDDEN = "ref name has a character or sequence that git does not allow"
DOT_OR_LOCK = "a part of the ref name begins with '.' or ends with '.lock'"
DASH = "a part of the ref name begins with '-'"
RESERVED = "refs of this namespace are written by the hub alone"
OBJECT_ID = "a branch or tag cannot be named like an object id"
STANDS_FOR = "ref name has a character that stands for others, such as a full-width letter"

# Names that git's own client sends as they are.
BY_GIT = {
    "full hash": ("refs/heads/" + "0a" * 20, OBJECT_ID),
    "full hash in capitals": ("refs/heads/" + "0A" * 20, OBJECT_ID),
    "sha256 hash of a tag": ("refs/tags/" + "dE" * 32, OBJECT_ID),
    "HEAD": ("refs/heads/HEAD", "HEAD cannot be the name of a branch or tag"),
    "CVE-2021-42574 right to left": ("refs/heads/\u202egpj.exe", INVISIBLE),
    "CVE-2021-42574 isolate": ("refs/heads/a\u2066b", INVISIBLE),
    "zero width": ("refs/heads/ma\u200bin", INVISIBLE),
    "byte order mark": ("refs/heads/\ufeffmain", INVISIBLE),
    "full width": ("refs/heads/\uff4d\uff41\uff49\uff4e", STANDS_FOR),
    "ligature": ("refs/heads/\ufb01x", STANDS_FOR),
    "decomposed": ("refs/heads/cafe\u0301", "ref name is not in Unicode's normal form NFC"),
    "CVE-2021-42694 mixed scripts": (
        "refs/heads/m\u0430in",
        "a part of the ref name mixes Latin letters with Cyrillic or Greek ones",
    ),
    "pull request": ("refs/pull/1/head", RESERVED),
    "the hub's own": ("refs/och/x", RESERVED),
    "CVE-2018-17456 option": ("refs/heads/-x", DASH),
    "CVE-2017-1000117 option": ("refs/heads/--upload-pack=x", DASH),
    "option in a folder": ("refs/heads/a/--upload-pack=x", DASH),
    "too long": ("refs/heads/" + "a" * 245, "ref name is longer than 255 bytes"),
}

# Names that it would not send.
BY_HAND = {
    "option": ("-x", FORM),
    "CVE-2017-1000117 option": ("--upload-pack=x", FORM),
    "HEAD": ("HEAD", FORM),
    "path": ("../../config", FORM),
    "absolute path": ("/etc/passwd", FORM),
    "dot dot": ("refs/heads/../../config", FORBIDDEN),
    "no name": ("refs/heads/", FORM),
    "empty part": ("refs/heads//x", FORM),
    "hook": ("hooks/post-receive", FORM),
    "backslash": ("refs/heads/a\\b", FORBIDDEN),
    "glob": ("refs/heads/*", FORBIDDEN),
    "reflog": ("refs/heads/a@{1}", FORBIDDEN),
    "escape": ("refs/heads/\x1b[31mred", INVISIBLE),
    "carriage return": ("refs/heads/a\r", INVISIBLE),
    "lock": ("refs/heads/main.lock", DOT_OR_LOCK),
    "dot": ("refs/heads/.git/config", DOT_OR_LOCK),
    "60000 bytes": ("refs/heads/" + "a/" * 30000 + "a", "ref name is longer than 255 bytes"),
}


@pytest.mark.parametrize("case", BY_GIT)
def test_a_name_is_refused_to_git(refusing: Target, case: str) -> None:
    name, reason = BY_GIT[case]
    done = refusing.mallory.source.run("push", "--porcelain", refusing.url, f"main:{name}")
    assert done.returncode == 1
    shown = f"!\trefs/heads/main:{name}\t[remote rejected] ({reason})\n"
    assert shown in done.stdout.decode()


@pytest.mark.parametrize("case", BY_HAND)
def test_a_name_is_refused_by_hand(refusing: Target, case: str) -> None:
    name, reason = BY_HAND[case]
    report = refusing.move([(name, None, refusing.base)], refusing.mallory.source.pack("main"))
    assert (report.unpack, report.refs) == ("ok", {name: reason})


def test_a_refused_name_does_not_hold_up_the_others(target: Target) -> None:
    report = target.move(
        [("refs/heads/-x", None, target.base), ("refs/heads/x", None, target.base)],
        target.mallory.source.pack("main"),
    )
    assert report.refs == {"refs/heads/-x": DASH, "refs/heads/x": "ok"}


@pytest.mark.parametrize(
    ("first", "second"), [("a", "a/b"), ("a/b", "a")], ids=["below a ref", "above a ref"]
)
def test_a_ref_cannot_be_a_folder_too(target: Target, first: str, second: str) -> None:
    first, second = f"refs/heads/{first}", f"refs/heads/{second}"
    pack = target.mallory.source.pack("main")
    report = target.move([(first, None, target.base)], pack)
    assert report.refs == {first: "ok"}
    before = target.state()
    report = target.move([(second, None, target.base)], pack)
    assert report.refs == {second: f"conflicts with the existing ref {first}"}
    assert target.state() == before


def test_a_ref_and_a_folder_in_one_push(refusing: Target) -> None:
    one, two = "refs/heads/a", "refs/heads/a/b"
    report = refusing.move(
        [(one, None, refusing.base), (two, None, refusing.base)],
        refusing.mallory.source.pack("main"),
    )
    assert report.refs == {
        one: f"conflicts with the existing ref {two}",
        two: f"conflicts with the existing ref {one}",
    }


def test_a_ref_named_twice(refusing: Target) -> None:
    name = "refs/heads/twice"
    report = refusing.move(
        [(name, None, refusing.base), (name, None, refusing.base)],
        refusing.mallory.source.pack("main"),
    )
    assert report.refs == {}
    assert report.error.startswith(f"ref {name} is named twice in one push (request ")


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"refs/heads/a\nrefs/heads/b", "malformed ref name"),
        (b"refs/heads/\xff", "ref names and options must be UTF-8"),
        (b"", "malformed ref name"),
    ],
    ids=ascii,
)
def test_a_name_that_breaks_the_protocol(refusing: Target, line: bytes, error: str) -> None:
    report = refusing.raw(f"{NULL} {refusing.base} ".encode() + line)
    assert report.error.startswith(f"{error} (request ")
