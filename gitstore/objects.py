"""Git's objects as values: commits, trees, tags, parsed from what git stores.

The forms are git's own (gitformat-pack, ``Documentation/user-manual`` of git: "Object storage
format"). Histories hold faulty objects for good, so whatever cannot be read becomes a harmless
value here, never an error.
"""

import dataclasses
import datetime as dt
import enum
import re
from collections.abc import Iterator

TREE_MODE, SYMLINK_MODE, SUBMODULE_MODE = 0o040000, 0o120000, 0o160000
_SIGNATURE_HEADERS = (b"gpgsig", b"gpgsig-sha256")
_ACTOR = re.compile(
    rb"(?P<name>[^<]*?) ?<(?P<email>[^>]*)>(?: (?P<time>-?\d+)(?: (?P<zone>\S+))?)?"
)
_ZONE = re.compile(rb"([+-])(\d\d)(\d\d)")
_CO_AUTHOR = re.compile(r"^co-authored-by:\s*(.+>)\s*$", re.IGNORECASE | re.MULTILINE)
_LAST_SECOND = 253_402_300_799  # of the year 9999


class ObjectKind(enum.Enum):
    """The value is git's own name of the type."""

    COMMIT = "commit"
    TREE = "tree"
    BLOB = "blob"
    TAG = "tag"


@dataclasses.dataclass(frozen=True, slots=True)
class Signature:
    """Who wrote something; ``when`` is in the writer's zone, None if it is unreadable."""

    name: str
    email: str
    when: dt.datetime | None

    @property
    def moment(self) -> dt.datetime:
        """``when``, or the beginning of time."""
        return self.when or dt.datetime.fromtimestamp(0, dt.UTC)


_NOBODY = Signature("", "", None)


@dataclasses.dataclass(frozen=True, slots=True)
class Commit:
    """``signature`` is the armoured one over ``signed_payload``, None where nobody signed."""

    oid: str
    tree_oid: str
    parent_oids: tuple[str, ...]
    author: Signature
    committer: Signature
    message: str
    signature: str | None = None
    signed_payload: bytes = b""

    @property
    def authors(self) -> list[Signature]:
        """The author, then those named in ``Co-authored-by`` lines, each address once."""
        found = {self.author.email.lower(): self.author}
        for line in _CO_AUTHOR.findall(self.message):
            other = parse_signature(line.encode())
            if other.email:
                found.setdefault(other.email.lower(), other)
        return list(found.values())

    @property
    def headline(self) -> str:
        return self.message.lstrip("\n").split("\n", 1)[0].strip()

    @property
    def body(self) -> str:
        _, _, rest = self.message.lstrip("\n").partition("\n")
        return rest.strip("\n")


@dataclasses.dataclass(frozen=True, slots=True)
class TreeEntry:
    """``mode`` as git writes it, in octal: 100644, 100755, 120000, 40000 or 160000."""

    mode: int
    raw_name: bytes
    oid: str

    @property
    def name(self) -> str:
        return self.raw_name.decode("utf-8", "replace")

    @property
    def kind(self) -> ObjectKind:
        """A submodule's entry names a commit, of another repository."""
        if self.mode == TREE_MODE:
            return ObjectKind.TREE
        return ObjectKind.COMMIT if self.mode == SUBMODULE_MODE else ObjectKind.BLOB


@dataclasses.dataclass(frozen=True, slots=True)
class Tree:
    """Entries in git's order."""

    oid: str
    entries: tuple[TreeEntry, ...]

    def entry(self, raw_name: bytes) -> TreeEntry | None:
        return next((each for each in self.entries if each.raw_name == raw_name), None)


@dataclasses.dataclass(frozen=True, slots=True)
class Tag:
    """An annotated tag."""

    oid: str
    name: str
    target_oid: str
    target_kind: ObjectKind
    tagger: Signature | None
    message: str


@dataclasses.dataclass(frozen=True, slots=True)
class Blob:
    """``head`` is the beginning of its bytes, as many as the reader was told to keep."""

    oid: str
    size: int
    head: bytes

    @property
    def is_truncated(self) -> bool:
        return len(self.head) < self.size


GitObject = Commit | Tree | Tag | Blob


def parse_object(oid: str, kind: ObjectKind, data: bytes) -> GitObject:
    """The object with these bytes, which must be all of them."""
    if kind is ObjectKind.COMMIT:
        return parse_commit(oid, data)
    if kind is ObjectKind.TREE:
        return parse_tree(oid, data)
    if kind is ObjectKind.TAG:
        return parse_tag(oid, data)
    return Blob(oid, len(data), data)


def parse_commit(oid: str, data: bytes) -> Commit:
    head, _, message = data.partition(b"\n\n")
    tree, parents, signature = "", [], None
    author = committer = _NOBODY
    encoding = "utf-8"
    for key, value in _headers(head):
        if key == b"tree":
            tree = value.decode("ascii", "replace")
        elif key == b"parent":
            parents.append(value.decode("ascii", "replace"))
        elif key == b"author":
            author = parse_signature(value)
        elif key == b"committer":
            committer = parse_signature(value)
        elif key == b"encoding":
            encoding = value.decode("ascii", "replace")
        elif key in _SIGNATURE_HEADERS and signature is None:
            signature = value.decode("utf-8", "replace")
    return Commit(
        oid=oid,
        tree_oid=tree,
        parent_oids=tuple(parents),
        author=author,
        committer=committer,
        message=_decode(message, encoding),
        signature=signature,
        signed_payload=b"" if signature is None else _without_signature(head, message),
    )


def parse_tree(oid: str, data: bytes) -> Tree:
    size, entries, at = len(oid) // 2, [], 0
    while at < len(data):
        space = data.index(b" ", at)
        end = data.index(b"\0", space)
        mode, name = int(data[at:space], 8), data[space + 1 : end]
        at = end + 1 + size
        entries.append(TreeEntry(mode, name, data[end + 1 : at].hex()))
    return Tree(oid, tuple(entries))


def parse_tag(oid: str, data: bytes) -> Tag:
    head, _, message = data.partition(b"\n\n")
    fields = dict(_headers(head))
    kind = fields.get(b"type", b"commit").decode("ascii", "replace")
    tagger = fields.get(b"tagger")
    return Tag(
        oid=oid,
        name=fields.get(b"tag", b"").decode("utf-8", "replace"),
        target_oid=fields.get(b"object", b"").decode("ascii", "replace"),
        target_kind=ObjectKind(kind) if kind in ("tree", "blob", "tag") else ObjectKind.COMMIT,
        tagger=parse_signature(tagger) if tagger is not None else None,
        message=_decode(message, "utf-8"),
    )


def parse_signature(value: bytes) -> Signature:
    """``NAME <EMAIL> SECONDS ZONE``, as far as it is one."""
    found = _ACTOR.match(value)
    if found is None:
        return Signature(value.decode("utf-8", "replace").strip(), "", None)
    return Signature(
        name=found["name"].decode("utf-8", "replace").strip(),
        email=found["email"].decode("utf-8", "replace").strip(),
        when=_moment(found["time"], found["zone"]),
    )


def _moment(seconds: bytes | None, zone: bytes | None) -> dt.datetime | None:
    if seconds is None or len(seconds) > 20:
        return None
    count = int(seconds)
    if not -62_000_000_000 < count < _LAST_SECOND:
        return None
    offset = dt.timedelta()
    match = _ZONE.fullmatch(zone or b"")
    if match is not None:
        minutes = int(match[2]) * 60 + int(match[3])
        # A zone beyond a day is a known fault of old tools; the moment is still right.
        if minutes < 24 * 60:
            offset = dt.timedelta(minutes=-minutes if match[1] == b"-" else minutes)
    return dt.datetime.fromtimestamp(count, dt.UTC).astimezone(dt.timezone(offset))


def _headers(head: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Lines ``KEY VALUE``; one that begins with a space continues the line before."""
    key, value = b"", b""
    for line in head.split(b"\n"):
        if line.startswith(b" "):
            value += b"\n" + line[1:]
            continue
        if key:
            yield key, value
        key, _, value = line.partition(b" ")
    if key:
        yield key, value


def _without_signature(head: bytes, message: bytes) -> bytes:
    kept, dropping = [], False
    for line in head.split(b"\n"):
        if line.startswith(b" ") and dropping:
            continue
        dropping = line.partition(b" ")[0] in _SIGNATURE_HEADERS
        if not dropping:
            kept.append(line)
    return b"\n".join(kept) + b"\n\n" + message


def _decode(text: bytes, encoding: str) -> str:
    try:
        return text.decode(encoding, "replace")
    except (LookupError, ValueError):
        return text.decode("utf-8", "replace")
