"""Which keys there are, and how they are built."""

import pytest

from storage_adapters.errors import InvalidKey
from storage_adapters.keys import check_key, check_prefix, is_key, pack_stem

VALID = ["a", "0", "a.b", "a-b_c.D", "packs/1/01ARZ3NDEKTSV4RRFFQ69G5FAV/pack-0f.pack", "a" * 255]
INVALID = ["", "/a", "a/", "a//b", "..", "a/../b", "a..b", ".a", "-a", "_a", "A", "a/-b", "a\0"]
INVALID += ["a\n", "a b", "a\\b", "a:b", "a%2e", "\u0430", "a/\u0660", "a" * 256]


@pytest.mark.parametrize("key", VALID)
def test_valid_keys(key: str) -> None:
    assert is_key(key)
    assert check_key(key) == key


@pytest.mark.parametrize("key", INVALID)
def test_invalid_keys(key: str) -> None:
    assert not is_key(key)
    with pytest.raises(InvalidKey) as refused:
        check_key(key)
    assert str(refused.value) == f"invalid storage key {key!r}"
    assert isinstance(refused.value, ValueError)


@pytest.mark.parametrize("key", VALID)
def test_each_beginning_of_a_key_is_a_prefix(key: str) -> None:
    for length in range(len(key) + 1):
        assert check_prefix(key[:length]) == key[:length]


@pytest.mark.parametrize("prefix", ["/", "a//", ".", "-", "a/../", "a..", "a\0", "a" * 257])
def test_invalid_prefixes(prefix: str) -> None:
    with pytest.raises(InvalidKey) as refused:
        check_prefix(prefix)
    assert str(refused.value) == f"invalid storage key prefix {prefix!r}"


def test_pack_stem() -> None:
    assert pack_stem(7, "01ARZ3NDEKTSV4RRFFQ69G5FAV", "ab" * 20) == (
        "packs/7/01ARZ3NDEKTSV4RRFFQ69G5FAV/pack-" + "ab" * 20
    )
    with pytest.raises(InvalidKey):
        pack_stem(7, "../8", "ab" * 20)
