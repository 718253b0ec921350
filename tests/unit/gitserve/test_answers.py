"""How an answer of git's is followed, so that an error can be added at the right place."""

import pytest

from gitserve.answers import PacketFollower
from gitserve.pktline import Band, Special, encode, encode_band

PACK = (
    encode(b"acknowledgments\n")
    + encode(b"ready\n")
    + Special.DELIMITER.value
    + encode(b"packfile\n")
    + encode_band(Band.DATA, b"PACK" * 20000)
)


def follow(data: bytes, size: int = 1 << 20) -> PacketFollower:
    follower = PacketFollower()
    for start in range(0, len(data), size):
        follower.feed(data[start : start + size])
    return follower


def test_nothing_yet() -> None:
    follower = follow(b"")
    assert not follower.begun
    assert follower.between_packets


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1 << 20])
def test_a_pack_is_recognised_however_the_data_is_cut(size: int) -> None:
    follower = follow(PACK, size)
    assert (follower.begun, follower.in_pack, follower.between_packets) == (True, True, True)
    assert not follower.refused


@pytest.mark.parametrize("cut", [1, 100, 4000, len(PACK) - 66000])
def test_the_middle_of_a_packet_is_no_place_for_an_error(cut: int) -> None:
    assert not follow(PACK[:-cut]).between_packets


def test_an_error_of_gits_own_is_recognised() -> None:
    assert follow(encode(b"ERR upload-pack: not our ref 1234")).refused
    assert follow(PACK + encode_band(Band.ERROR, b"aborting")).refused


def test_file_content_is_not_taken_for_an_error() -> None:
    assert not follow(PACK + encode_band(Band.DATA, b"ERR x")).refused
    assert not follow(encode(b"\x03 before any pack")).refused


def test_a_bare_pack_is_left_alone() -> None:
    follower = follow(encode(b"NAK\n") + b"PACK" + b"\0" * 100)
    assert not follower.between_packets
    assert not follower.in_pack
