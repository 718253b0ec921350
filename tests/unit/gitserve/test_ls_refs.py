"""Which refs ``ls-refs`` picks; what it answers is tested with real git in tests/e2e/git."""

import random

import pytest

from gitserve.ls_refs import LsRefs, PrefixFilter
from gitserve.pktline import ProtocolError


def test_without_prefixes_every_name_matches() -> None:
    assert PrefixFilter([]).matches("refs/heads/main")


def test_the_empty_prefix_matches_every_name() -> None:
    prefix_filter = PrefixFilter(["refs/heads/", ""])
    assert prefix_filter.prefixes == ("",)
    assert prefix_filter.matches("HEAD")


def test_prefixes_that_others_cover_are_dropped() -> None:
    names = ["refs/tags/", "refs/heads/main", "refs/heads/", "HEAD", "refs/heads/"]
    assert PrefixFilter(names).prefixes == ("HEAD", "refs/heads/", "refs/tags/")


def test_the_filter_agrees_with_the_plain_definition() -> None:
    rng = random.Random(7)

    def word() -> str:
        return "".join(rng.choice("ab/é\U0001f600") for _ in range(rng.randrange(6)))

    for _ in range(500):
        prefixes = [word() or "a" for _ in range(rng.randrange(1, 8))]
        name = word()
        assert PrefixFilter(prefixes).matches(name) == name.startswith(tuple(prefixes))


def test_arguments_are_parsed() -> None:
    query = LsRefs.parse([b"peel", b"symrefs", b"ref-prefix refs/heads/", b"ref-prefix HEAD"])
    assert (query.peel, query.symrefs, query.unborn) == (True, True, False)
    assert query.filter.prefixes == ("HEAD", "refs/heads/")


@pytest.mark.parametrize("prefix", [b"refs/heads/\xff", b"refs/heads/\0"])
def test_a_prefix_no_name_can_have_does_not_mean_all_names(prefix: bytes) -> None:
    query = LsRefs.parse([b"ref-prefix " + prefix])
    assert query.filter.prefixes == ("refs/heads/\ufffd",)
    assert not query.filter.matches("refs/heads/main")


def test_an_unknown_argument_is_refused() -> None:
    with pytest.raises(ProtocolError, match=r"^unexpected line 'peeel\\x00'$"):
        LsRefs.parse([b"peeel\0"])
