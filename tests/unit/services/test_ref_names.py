"""Which names of refs the hub accepts, and in which words it refuses the others."""

import pytest

from services.errors import Invalid
from services.ref_names import check_branch_name, ref_name_fault

INVISIBLE = "ref name has a control or invisible character"
FORM = "ref name is not of the form refs/heads/NAME or refs/tags/NAME"
FORBIDDEN = "ref name has a character or sequence that git does not allow"
DOT_OR_LOCK = "a part of the ref name begins with '.' or ends with '.lock'"
DASH = "a part of the ref name begins with '-'"
RESERVED = "refs of this namespace are written by the hub alone"
OBJECT_ID = "a branch or tag cannot be named like an object id"
NOT_NFC = "ref name is not in Unicode's normal form NFC"
COMPATIBILITY = "ref name has a character that stands for others, such as a full-width letter"
MIXED = "a part of the ref name mixes Latin letters with Cyrillic or Greek ones"


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("HEAD", FORM),
        ("main", FORM),
        ("refs/heads", FORM),
        ("refs/heads/", FORM),
        ("refs/heads//main", FORM),
        ("refs/heads/../main", FORBIDDEN),
        ("refs/heads/a b", INVISIBLE),
        ("refs/heads/a\nb", INVISIBLE),
        ("refs/heads/a\x7fb", INVISIBLE),
        ("refs/heads/a\\b", FORBIDDEN),
        ("refs/heads/a@{1}", FORBIDDEN),
        ("refs/heads/a*", FORBIDDEN),
        ("refs/heads/.a", DOT_OR_LOCK),
        ("refs/heads/a.lock/b", DOT_OR_LOCK),
        ("refs/heads/-x", DASH),
        ("refs/heads/a/--upload-pack=x", DASH),
        ("refs/pull/1/head", RESERVED),
        ("refs/och/x", RESERVED),
        ("refs/heads/HEAD", "HEAD cannot be the name of a branch or tag"),
        ("refs/tags/@", "@ cannot be the name of a branch or tag"),
        ("refs/heads/" + "a" * 245, "ref name is longer than 255 bytes"),
        ("refs/heads/" + "0a" * 20, OBJECT_ID),
        ("refs/heads/" + "0A" * 20, OBJECT_ID),
        ("refs/tags/" + "0a" * 19 + "Fb", OBJECT_ID),
        ("refs/tags/" + "DE" * 32, OBJECT_ID),
        ("refs/heads/\u202egpj.exe", INVISIBLE),
        ("refs/heads/ma\u200bin", INVISIBLE),
        ("refs/heads/ma\u200cin", INVISIBLE),
        ("refs/heads/\ufeffmain", INVISIBLE),
        ("refs/heads/cafe\u0301", NOT_NFC),
        ("refs/heads/\u212bngstrom", NOT_NFC),
        ("refs/heads/\uff4d\uff41\uff49\uff4e", COMPATIBILITY),
        ("refs/heads/\ufb01x", COMPATIBILITY),
        ("refs/heads/x\u00b2", COMPATIBILITY),
        ("refs/heads/m\u0430in", MIXED),
        ("refs/heads/release/\u0440aypal", MIXED),
        ("refs/tags/v\u03bf1", MIXED),
        ("refs/heads/fix-\u0441\u043e\u0440", MIXED),
        ("refs/heads/\u0391.b", MIXED),
    ],
    ids=ascii,
)
def test_a_name_is_refused_in_these_words(name: str, fault: str) -> None:
    assert ref_name_fault(name) == fault


@pytest.mark.parametrize(
    "name",
    [
        "refs/heads/main",
        "refs/heads/a-b/c--d",
        "refs/tags/v1.0",
        "refs/notes/commits",
        "refs/heads/" + "a" * 244,
        "refs/heads/" + "0a" * 19 + "0",
        "refs/heads/" + "0a" * 20 + "0",
        "refs/heads/" + "0g" * 20,
        "refs/heads/fix/" + "0a" * 20,
        "refs/heads/café",
        "refs/heads/naïve-ß",
        "refs/heads/ABC-1-\u0437\u0430\u0434\u0430\u0447\u0430",
        "refs/heads/fix_\u03bb",
        "refs/heads/\u0441\u043e\u0440",
        "refs/heads/ветка",
        "refs/heads/fix/ветка-1",
        "refs/heads/κλάδος",
        "refs/heads/分支",
        "refs/heads/日本語-main",
        "refs/heads/🚀",
    ],
    ids=ascii,
)
def test_a_name_is_accepted(name: str) -> None:
    assert ref_name_fault(name) is None


def test_a_branch_is_checked_under_its_full_name() -> None:
    check_branch_name("main")
    with pytest.raises(Invalid) as refusal:
        check_branch_name("m\u0430in")
    assert str(refusal.value) == MIXED
    assert refusal.value.details == {"name": "refs/heads/m\u0430in"}
