"""The version 2 command ``ls-refs``, answered from the database alone: no process, no cache."""

import bisect
import dataclasses
from collections.abc import Iterable, Sequence

from gitserve.pktline import ProtocolError, Special, encode
from gitserve.streams import ByteWriter
from gitstore.manifest import RefRow
from services.context import OpContext
from services.git_access import GitRepository

# With more prefixes than this a query per prefix costs more than reading all refs.
MAX_QUERIED_PREFIXES = 64
_LINES_PER_WRITE = 2000


class PrefixFilter:
    """Tells in O(log n) whether a name begins with any of n prefixes. No prefixes: all names do."""

    def __init__(self, prefixes: Iterable[str]) -> None:
        # A prefix that another one covers is dropped; then the only candidate for a name is the
        # last prefix that sorts before it.
        self.prefixes: list[str] = []
        for prefix in sorted(set(prefixes)):
            if not self.prefixes or not prefix.startswith(self.prefixes[-1]):
                self.prefixes.append(prefix)

    def matches(self, name: str) -> bool:
        if not self.prefixes:
            return True
        index = bisect.bisect_right(self.prefixes, name) - 1
        return index >= 0 and name.startswith(self.prefixes[index])


@dataclasses.dataclass(frozen=True, slots=True)
class LsRefs:
    """The arguments of one ``ls-refs``."""

    peel: bool
    symrefs: bool
    unborn: bool
    filter: PrefixFilter

    @classmethod
    def parse(cls, arguments: Sequence[bytes]) -> "LsRefs":
        """Raises ProtocolError for an unknown argument."""
        flags = {b"peel": False, b"symrefs": False, b"unborn": False}
        prefixes: list[str] = []
        for argument in arguments:
            if argument in flags:
                flags[argument] = True
            elif argument.startswith(b"ref-prefix "):
                # Ref names are UTF-8 without NUL, which not every database takes either. Other
                # bytes match no ref, but must not vanish: no prefixes would mean all refs.
                prefix = argument.removeprefix(b"ref-prefix ").decode("utf-8", "replace")
                prefixes.append(prefix.replace("\0", "\ufffd"))
            else:
                raise ProtocolError(f"unexpected line {argument[:64].decode('latin-1')!a}")
        return cls(flags[b"peel"], flags[b"symrefs"], flags[b"unborn"], PrefixFilter(prefixes))


async def answer_ls_refs(
    op: OpContext, repository: GitRepository, arguments: Sequence[bytes], writer: ByteWriter
) -> None:
    """Write HEAD and the refs asked for, then a flush packet.

    Raises ProtocolError, RepositoryGone, Unavailable before anything was written.
    """
    query = LsRefs.parse(arguments)
    git = op.runtime.git
    async with op.read() as tx:
        head = await git.head(tx.session, repository.id)
        prefixes = query.filter.prefixes
        if prefixes and query.filter.matches("HEAD"):
            prefixes = [*prefixes, head]  # to know what HEAD points to
        if len(prefixes) > MAX_QUERIED_PREFIXES:
            prefixes = []
        refs = await git.list_refs(tx.session, repository.id, prefixes)
    lines = _lines(query, head, refs)
    for start in range(0, len(lines), _LINES_PER_WRITE):
        await writer.write(b"".join(map(encode, lines[start : start + _LINES_PER_WRITE])))
    await writer.write(Special.FLUSH.value)


def _lines(query: LsRefs, head: str, refs: Sequence[RefRow]) -> list[bytes]:
    lines = []
    if query.filter.matches("HEAD"):
        target = f" symref-target:{head}" if query.symrefs else ""
        oid = next((ref.oid for ref in refs if ref.name == head), None)
        if oid is not None:
            lines.append(f"{oid} HEAD{target}\n".encode())
        elif query.unborn and query.symrefs:
            lines.append(f"unborn HEAD{target}\n".encode())
    for ref in refs:
        if query.filter.matches(ref.name):
            peeled = f" peeled:{ref.peeled_oid}" if query.peel and ref.peeled_oid else ""
            lines.append(f"{ref.oid} {ref.name}{peeled}\n".encode())
    return lines
