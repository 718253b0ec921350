"""The version 2 command ``ls-refs``, answered from the database alone: no process, no cache."""

import bisect
import dataclasses
from collections.abc import Iterable, Iterator, Sequence

from gitserve.pktline import ProtocolError, Special, encode
from gitserve.streams import ByteWriter
from gitstore.manifest import RefRow
from services.context import OpContext
from services.git_access import GitRepository

# With more prefixes than this a query per prefix costs more than reading all refs.
MAX_QUERIED_PREFIXES = 64
# Characters of prefixes in a question whose answer is kept in memory.
MAX_REMEMBERED_PREFIXES = 4096
_BYTES_PER_WRITE = 256 * 1024


class PrefixFilter:
    """Tells in O(log n) whether a name begins with any of n prefixes. No prefixes: all names do."""

    def __init__(self, prefixes: Iterable[str]) -> None:
        # A prefix that another one covers is dropped; then the only candidate for a name is the
        # last prefix that sorts before it.
        kept: list[str] = []
        for prefix in sorted(set(prefixes)):
            if not kept or not prefix.startswith(kept[-1]):
                kept.append(prefix)
        self.prefixes = tuple(kept)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PrefixFilter) and other.prefixes == self.prefixes

    def __hash__(self) -> int:
        return hash(self.prefixes)

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

    @property
    def is_small(self) -> bool:
        """Whether the question may be remembered along with its answer."""
        return sum(map(len, self.filter.prefixes)) <= MAX_REMEMBERED_PREFIXES

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
    lists = op.runtime.git.ref_lists
    key = (repository.id, repository.generation, repository.head, query)
    answer = lists.get(key)
    if answer is None:
        generation, answer = await _make_answer(op, repository, query)
        if generation == repository.generation and query.is_small:
            lists.put(key, answer)
    for start in range(0, len(answer), _BYTES_PER_WRITE):
        await writer.write(answer[start : start + _BYTES_PER_WRITE])


async def _make_answer(
    op: OpContext, repository: GitRepository, query: LsRefs
) -> tuple[int, bytes]:
    """The whole answer, with the generation it shows."""
    async with op.read() as tx:
        state = await op.runtime.git.state(tx.session, repository.id)
        prefixes = query.filter.prefixes
        if prefixes and query.filter.matches("HEAD"):
            prefixes = (*prefixes, state.head)  # to know what HEAD points to
        if len(prefixes) > MAX_QUERIED_PREFIXES:
            prefixes = ()
        refs = await op.runtime.git.list_refs(tx.session, repository.id, prefixes)
    return state.generation, b"".join(_lines(query, state.head, refs)) + Special.FLUSH.value


def _lines(query: LsRefs, head: str, refs: Sequence[RefRow]) -> Iterator[bytes]:
    if query.filter.matches("HEAD"):
        target = f" symref-target:{head}" if query.symrefs else ""
        oid = next((ref.oid for ref in refs if ref.name == head), None)
        if oid is not None:
            yield encode(f"{oid} HEAD{target}\n".encode())
        elif query.unborn and query.symrefs:
            yield encode(f"unborn HEAD{target}\n".encode())
    peel, everything, matches = query.peel, not query.filter.prefixes, query.filter.matches
    for name, oid, peeled_oid in refs:
        if everything or matches(name):
            peeled = f" peeled:{peeled_oid}" if peel and peeled_oid else ""
            yield encode(f"{oid} {name}{peeled}\n".encode())
