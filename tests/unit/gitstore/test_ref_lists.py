"""Lists in memory stay within their size, those used last longest."""

from gitstore.ref_lists import RefListCache


def test_the_lists_used_longest_ago_go() -> None:
    lists = RefListCache(max_bytes=10)
    for key in ("a", "b", "c"):
        lists.put(key, b"xxx")
    assert lists.get("a") == b"xxx"
    lists.put("d", b"xxx")
    assert [key for key in "abcd" if lists.get(key)] == ["a", "c", "d"]
    lists.put("d", b"xxxx")
    lists.put("e", b"y" * 11)  # larger than everything together
    assert [key for key in "abcde" if lists.get(key)] == []
    lists.put("f", b"z")
    assert lists.get("f") == b"z"
