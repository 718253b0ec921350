"""Node ids: one spelling per object, and nothing else is one."""

import base64

import pytest

from resolvers import ids
from resolvers.ids import IdKind
from services.errors import NotFound

NAMED = {IdKind.REF: "refs/heads/grün"} | dict.fromkeys(
    (IdKind.COMMIT, IdKind.TREE, IdKind.BLOB, IdKind.TAG, IdKind.COMPARISON), "a" * 40
)


@pytest.mark.parametrize("kind", [each for each in IdKind if each not in NAMED])
@pytest.mark.parametrize("number", [1, 255, 2**31 - 1])
def test_round_trip(kind: IdKind, number: int) -> None:
    node_id = ids.encode(kind, number)
    assert node_id.startswith(f"{kind.value}_")
    assert ids.decode(node_id) == (kind, number, "")
    assert ids.decode_as(node_id, kind) == number


@pytest.mark.parametrize(("kind", "name"), NAMED.items())
def test_named_round_trip(kind: IdKind, name: str) -> None:
    node_id = ids.encode_named(kind, 7, name)
    assert ids.decode(node_id) == (kind, 7, name)


def test_githubs_prefixes() -> None:
    assert ids.encode(IdKind.REPOSITORY, 1) == "R_AAAAAAAAAAAB"
    assert ids.encode(IdKind.USER, 1) == "U_AAAAAAAAAAAB"


def spelled(prefix: str, raw: bytes) -> str:
    return f"{prefix}_{base64.urlsafe_b64encode(raw).rstrip(b'=').decode()}"


@pytest.mark.parametrize(
    "forged",
    [
        "",
        "R",
        "R_",
        "_AAAAAAAAAAAB",
        "X_AAAAAAAAAAAB",
        "r_AAAAAAAAAAAB",
        "R_AAAAAAAAAAA",
        "R_AAAAAAAAAAAB=",
        "R_AAAAAAAAAAAB\n",
        "R_AAAAAAAAAAA+",
        "R_ÄAAAAAAAAAAB",
        "MDQ6VXNlcjE=",
        "1",
        spelled("R", bytes(9)),
        spelled("R", b"\x01" + bytes(7) + b"\x01"),
        spelled("R", b"\x00" + b"\xff" * 8),
        spelled("R", b"\x00" + bytes(7) + b"\x01extra"),
        spelled("REF", b"\x00" + bytes(7) + b"\x01"),
        spelled("REF", b"\x00" + bytes(7) + b"\x01\xff\xfe"),
        spelled("U", (2**31).to_bytes(9, "big")),
    ],
)
def test_anything_else_is_not_found(forged: str) -> None:
    with pytest.raises(NotFound) as caught:
        ids.decode(forged)
    assert caught.value.message == f"Could not resolve to a node with the global id of '{forged}'"


def test_spare_bits_make_no_second_spelling() -> None:
    # 10 bytes leave four spare bits in the last character.
    node_id = ids.encode_named(IdKind.REF, 1, "x")
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".index(node_id[-1])
    other = (
        node_id[:-1] + "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[last + 1]
    )
    with pytest.raises(NotFound):
        ids.decode(other)


def test_another_type_is_not_found() -> None:
    with pytest.raises(NotFound):
        ids.decode_as(ids.encode(IdKind.USER, 1), IdKind.REPOSITORY)
