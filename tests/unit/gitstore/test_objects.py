"""Git's objects parsed: what git writes, and what faulty histories hold."""

import datetime as dt
from pathlib import Path

import pytest

from gitstore.objects import (
    Blob,
    Commit,
    ObjectKind,
    Signature,
    Tag,
    Tree,
    TreeEntry,
    parse_object,
    parse_signature,
)
from tests.support.git import GitRepository

A, B = "a" * 40, "b" * 40
WHEN = dt.datetime(2023, 11, 14, 22, 13, 20, tzinfo=dt.UTC)


def read(repository: GitRepository, revision: str, kind: ObjectKind) -> object:
    oid = repository.oid(revision)
    data = repository.run("cat-file", kind.value, oid).stdout
    return parse_object(oid, kind, data)


def test_a_commit_of_git(tmp_path: Path) -> None:
    source = GitRepository.create(tmp_path / "source")
    first = source.commit("one")
    second = source.commit("two\n\nWhy it was done.\n\nCo-authored-by: Bob B <bob@example.com>")
    assert read(source, "main", ObjectKind.COMMIT) == Commit(
        oid=second,
        tree_oid=source.oid("main^{tree}"),
        parent_oids=(first,),
        author=Signature("Ann Author", "ann@example.com", WHEN),
        committer=Signature("Carl Committer", "carl@example.com", WHEN),
        message="two\n\nWhy it was done.\n\nCo-authored-by: Bob B <bob@example.com>\n",
    )


def test_headline_body_and_authors() -> None:
    commit = parse_object(
        A,
        ObjectKind.COMMIT,
        b"tree %b\nauthor Ann <ann@example.com> 1 +0000\ncommitter C <c@example.com> 1 +0000\n\n"
        b"\n  Fix it  \n\nAs told.\n\nco-authored-by: Bob <bob@example.com>\n"
        b"Co-Authored-By: Ann Again <ANN@example.com>\nCo-authored-by: nobody\n" % B.encode(),
    )
    assert isinstance(commit, Commit)
    assert commit.headline == "Fix it"
    assert commit.body.startswith("As told.\n\nco-authored-by: Bob")
    assert [author.name for author in commit.authors] == ["Ann", "Bob"]


def test_a_signed_commit_and_what_was_signed() -> None:
    unsigned = (
        b"tree %b\nauthor A <a@example.com> 1 +0000\ncommitter A <a@example.com> 1 +0000\n\nx\n"
        % B.encode()
    )
    head, message = unsigned.split(b"\n\n", 1)
    armour = b"-----BEGIN SSH SIGNATURE-----\n U1NI\n -----END SSH SIGNATURE-----"
    commit = parse_object(A, ObjectKind.COMMIT, head + b"\ngpgsig " + armour + b"\n\n" + message)
    assert isinstance(commit, Commit)
    assert commit.signature == armour.replace(b"\n ", b"\n").decode()
    assert commit.signed_payload == unsigned


def test_messages_in_other_encodings() -> None:
    def message(encoding: bytes, text: bytes) -> str:
        data = b"tree %b\nencoding %b\n\n%b" % (B.encode(), encoding, text)
        commit = parse_object(A, ObjectKind.COMMIT, data)
        assert isinstance(commit, Commit)
        return commit.message

    assert message(b"ISO-8859-1", b"caf\xe9") == "café"
    assert message(b"UTF-8", b"caf\xe9") == "caf\ufffd"
    assert message(b"no-such", "café".encode()) == "café"
    # A codec of Python's that is no encoding of text.
    assert message(b"base64", b"caf\xc3\xa9") == "café"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"A B <a@b> 0 +0000", Signature("A B", "a@b", dt.datetime(1970, 1, 1, tzinfo=dt.UTC))),
        (b"A <a@b>", Signature("A", "a@b", None)),
        (b"<a@b> x", Signature("", "a@b", None)),
        (b"A <> 99999999999999999999 +0000", Signature("A", "", None)),
        (b"A <a@b> 999999999999999999999999999999 +0000", Signature("A", "a@b", None)),
        (b"nothing of it", Signature("nothing of it", "", None)),
        (b"\xff <\xff> 0", Signature("\ufffd", "\ufffd", dt.datetime(1970, 1, 1, tzinfo=dt.UTC))),
    ],
)
def test_signatures(value: bytes, expected: Signature) -> None:
    assert parse_signature(value) == expected


@pytest.mark.parametrize(
    ("zone", "minutes"),
    [(b"+0530", 330), (b"-0800", -480), (b"+051800", 0), (b"+9999", 0), (b"UTC", 0)],
)
def test_time_zones(zone: bytes, minutes: int) -> None:
    when = parse_signature(b"A <a@b> 1700000000 " + zone).when
    assert when == WHEN
    assert when.utcoffset() == dt.timedelta(minutes=minutes)


def test_a_tree_of_git(tmp_path: Path) -> None:
    source = GitRepository.create(tmp_path / "source")
    source.commit("one", files={"a": "1", "b/c": "2", "ü 7": "7"})
    source.git("update-index", "--chmod=+x", "a")
    source.git("update-index", "--add", "--cacheinfo", f"160000,{A},sub")
    source.git("commit", "--quiet", "--message", "more")
    tree = read(source, "main^{tree}", ObjectKind.TREE)
    assert isinstance(tree, Tree)
    assert tree.entries == (
        TreeEntry(0o100755, b"a", source.oid("main:a")),
        TreeEntry(0o040000, b"b", source.oid("main:b")),
        TreeEntry(0o160000, b"sub", A),
        TreeEntry(0o100644, "ü 7".encode(), source.oid("main:ü 7")),
    )
    assert [entry.kind.value for entry in tree.entries] == ["blob", "tree", "commit", "blob"]
    assert tree.entry(b"b") == tree.entries[1]
    assert tree.entry(b"c") is None


def test_tags(tmp_path: Path) -> None:
    source = GitRepository.create(tmp_path / "source")
    tip = source.commit("one")
    source.git("tag", "--annotate", "--message", "first", "v1")
    tag = read(source, "v1", ObjectKind.TAG)
    assert tag == Tag(
        oid=source.oid("v1"),
        name="v1",
        target_oid=tip,
        target_kind=ObjectKind.COMMIT,
        tagger=Signature("Carl Committer", "carl@example.com", WHEN),
        message="first\n",
    )
    # Linux's first tag has no tagger.
    old = parse_object(A, ObjectKind.TAG, b"object %b\ntype tree\ntag v0\n\nx" % B.encode())
    assert old == Tag(A, "v0", B, ObjectKind.TREE, None, "x")


def test_a_blob() -> None:
    assert parse_object(A, ObjectKind.BLOB, b"x") == Blob(A, 1, b"x")
