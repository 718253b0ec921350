"""Objects and packs made by hand, since git itself would not make them (git's gitformat-pack)."""

import hashlib
import struct
import zlib
from collections.abc import Iterable, Sequence

COMMIT, TREE, BLOB, TAG, OFS_DELTA = 1, 2, 3, 4, 6
_NAMES = {COMMIT: "commit", TREE: "tree", BLOB: "blob", TAG: "tag"}
PERSON = b"Mal <mal@example.com> 1700000000 +0000"
FILE, LINK, FOLDER, SUBMODULE = b"100644", b"120000", b"40000", b"160000"
FIRST_BYTES = 64 * 1024
_COPY_BYTES = 0xFFFFFF
_BOMB_PIECE_BYTES = 1024 * 1024


def gzip_bomb(piece: bytes, times: int, *, head: bytes = b"") -> bytes:
    """``head`` and ``piece`` again and again, folded without ever being all there."""
    folder = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    together = max(1, _BOMB_PIECE_BYTES // len(piece))
    pieces = [piece * together] * (times // together) + [piece * (times % together)]
    return b"".join([*(folder.compress(each) for each in (head, *pieces)), folder.flush()])


class Objects:
    """Hand-made objects of one test; each method returns the id of what it made."""

    def __init__(self) -> None:
        self.by_oid: dict[str, tuple[int, bytes]] = {}

    def add(self, kind: int, data: bytes) -> str:
        oid = oid_of(kind, data)
        self.by_oid[oid] = (kind, data)
        return oid

    def blob(self, data: bytes) -> str:
        return self.add(BLOB, data)

    def tree(self, *entries: tuple[bytes, bytes, str]) -> str:
        """Entries are mode, name and id, written as they come."""
        parts = [mode + b" " + name + b"\0" + bytes.fromhex(oid) for mode, name, oid in entries]
        return self.add(TREE, b"".join(parts))

    def commit(self, tree: str, *parents: str, message: bytes = b"hostile\n") -> str:
        lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents)]
        head = "".join(f"{line}\n" for line in lines).encode()
        return self.add(
            COMMIT, head + b"author " + PERSON + b"\ncommitter " + PERSON + b"\n\n" + message
        )

    def commit_of(self, *entries: tuple[bytes, bytes, str], parents: Sequence[str] = ()) -> str:
        return self.commit(self.tree(*entries), *parents)

    def files(self, *parents: str, **contents: bytes) -> str:
        """A commit of plain files; ``_`` in a name stands for a dot."""
        names = sorted((name.replace("_", ".").encode(), data) for name, data in contents.items())
        entries = [(FILE, name, self.blob(data)) for name, data in names]
        return self.commit_of(*entries, parents=parents)

    def pack(self) -> bytes:
        """All of them, whole and without deltas."""
        return pack(entry(kind, data) for kind, data in self.by_oid.values())


def oid_of(kind: int, data: bytes) -> str:
    return hashlib.sha1(f"{_NAMES[kind]} {len(data)}\0".encode() + data).hexdigest()


def pack(entries: Iterable[bytes], *, count: int | None = None) -> bytes:
    """A pack of encoded entries; ``count`` is what its head says where that is a lie."""
    listed = list(entries)
    number = len(listed) if count is None else count
    data = struct.pack(">4sLL", b"PACK", 2, number) + b"".join(listed)
    return data + hashlib.sha1(data).digest()


def entry(kind: int, data: bytes, *, offset: int | None = None, size: int | None = None) -> bytes:
    """One object of a pack; ``offset`` leads back to a delta's base.

    ``size`` is that of ``data`` where it is compressed already.
    """
    compressed = zlib.compress(data, 9) if size is None else data
    size = len(data) if size is None else size
    head = [kind << 4 | size & 15]
    size >>= 4
    while size:
        head[-1] |= 0x80
        head.append(size & 0x7F)
        size >>= 7
    back = b""
    if offset is not None:
        digits = [offset & 0x7F]
        while offset := offset >> 7:
            offset -= 1
            digits.insert(0, offset & 0x7F | 0x80)
        back = bytes(digits)
    return bytes(head) + back + compressed


def varint(number: int) -> bytes:
    digits = []
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*digits, number])


def delta_bomb(levels: int, *, times: int = 64) -> tuple[bytes, int]:
    """A pack of 64 KiB of zeros and of deltas that each repeat their base; the last one's size."""
    entries = [entry(BLOB, bytes(FIRST_BYTES))]
    size = FIRST_BYTES
    for _ in range(levels):
        copies = b"".join(
            b"\xff" + struct.pack("<L", start) + struct.pack("<L", part)[:3]
            for start in range(0, size, _COPY_BYTES)
            if (part := min(_COPY_BYTES, size - start))
        )
        delta = varint(size) + varint(size * times) + copies * times
        entries.append(entry(OFS_DELTA, delta, offset=len(entries[-1])))
        size *= times
    return pack(entries), size


def zeros(size: int) -> tuple[bytes, str]:
    """A pack with a single blob of zeros, and the blob's id; never in memory as a whole."""
    piece = bytes(1024 * 1024)
    digest = hashlib.sha1(f"blob {size}\0".encode())
    deflate = zlib.compressobj(9)
    parts = []
    for start in range(0, size, len(piece)):
        data = piece[: size - start]
        digest.update(data)
        parts.append(deflate.compress(data))
    compressed = b"".join(parts) + deflate.flush()
    return pack([entry(BLOB, compressed, size=size)]), digest.hexdigest()
