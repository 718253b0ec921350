"""pkt-line framing, as git's gitprotocol-common states it."""

import pytest

from gitserve.pktline import (
    MAX_BAND_PAYLOAD,
    MAX_PAYLOAD,
    Band,
    PacketReader,
    ProtocolError,
    Special,
    encode,
    encode_band,
)


class Pieces:
    """A ByteReader that delivers its input in pieces of a given size."""

    def __init__(self, data: bytes, size: int = 1 << 20) -> None:
        self._data = data
        self._size = size

    async def read(self, limit: int) -> bytes:
        count = min(limit, self._size)
        piece, self._data = self._data[:count], self._data[count:]
        return piece


def test_a_packet_states_its_length_with_the_length() -> None:
    assert encode(b"hello\n") == b"000ahello\n"
    assert encode(b"") == b"0004"


def test_the_largest_packet_is_65520_bytes() -> None:
    assert encode(b"x" * MAX_PAYLOAD)[:4] == b"fff0"
    with pytest.raises(ValueError, match="a packet holds at most 65516 bytes, not 65517"):
        encode(b"x" * (MAX_PAYLOAD + 1))


def test_side_band_splits_what_one_packet_cannot_hold() -> None:
    assert encode_band(Band.PROGRESS, b"hi") == b"0007\x02hi"
    assert encode_band(Band.DATA, b"") == b"0005\x01"
    data = encode_band(Band.DATA, b"x" * (MAX_BAND_PAYLOAD + 1))
    assert data == b"fff0\x01" + b"x" * MAX_BAND_PAYLOAD + b"0006\x01x"


@pytest.mark.parametrize("size", [1, 3, 4, 5, 1000])
async def test_packets_come_out_whole_however_the_input_is_cut(size: int) -> None:
    data = encode(b"one\n") + Special.DELIMITER.value + encode(b"") + Special.FLUSH.value
    data += Special.RESPONSE_END.value + b"PACK...."
    packets = PacketReader(Pieces(data, size))
    assert [await packets.next() for _ in range(5)] == [
        b"one\n",
        Special.DELIMITER,
        b"",
        Special.FLUSH,
        Special.RESPONSE_END,
    ]
    rest = b""
    while piece := await packets.read(3):
        assert len(piece) <= 3
        rest += piece
    assert rest == b"PACK...."
    assert await packets.at_end()
    assert await packets.next() is None


async def test_upper_case_lengths_are_accepted_as_git_accepts_them() -> None:
    assert await PacketReader(Pieces(b"000Ahello\n")).next() == b"hello\n"


@pytest.mark.parametrize(
    "head",
    [b"0003", b"fff1", b"ffff", b"zzzz", b"+00a", b" 00a", b"0x0a", b"1_00", b"\xff\xfe\x00\x01"],
)
async def test_a_malformed_length_is_refused(head: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        await PacketReader(Pieces(head + b"x" * 70000)).next()
    assert str(caught.value) == f"malformed packet length {head!r}"


async def test_an_input_that_ends_within_a_packet_is_refused() -> None:
    with pytest.raises(ProtocolError, match=r"^the connection ended in the middle of a packet$"):
        await PacketReader(Pieces(b"000ahel")).next()
    with pytest.raises(
        ProtocolError, match=r"^the connection ended in the middle of a packet's length$"
    ):
        await PacketReader(Pieces(b"00")).next()
