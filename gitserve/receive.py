"""receive-pack for every transport (git's gitprotocol-pack): commands in, pack through, report out.

No hook script and no ``git receive-pack`` exist: ``services.pushes`` judges each ref and commits.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Sequence

from gitserve.errors import judge
from gitserve.observing import CountingReader
from gitserve.pktline import Band, PacketReader, ProtocolError, Special, encode, encode_band
from gitserve.streams import ByteReader, ByteWriter, ClientGone
from gitstore.manifest import RefRow
from services import pushes
from services.context import OpContext
from services.git_access import GitRepository
from services.push_records import Door
from services.pushes import PushOutcome, PushRequest, RefCommand

KEEP_ALIVE_SECONDS = 5
MAX_PUSH_OPTIONS = 64
MAX_PUSH_OPTION_BYTES = 4096
_CAPABILITIES = (
    "report-status report-status-v2 delete-refs side-band-64k quiet atomic ofs-delta push-options"
)
_OID = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


async def advertise_receive(
    op: OpContext, repository: GitRepository
) -> tuple[GitRepository, bytes]:
    """The ref advertisement of a push: branches, tags and other refs, but no ``.have`` lines.

    Also returns the repository with the counters as they were when the refs were read: the client
    may send a pack that builds on what it saw, so the push is to be judged by no older copy.
    """
    lists = op.runtime.git.ref_lists
    answer = lists.get(("receive-pack", repository.id, repository.generation))
    if answer is None:
        async with op.read() as tx:
            state = await op.runtime.git.state(tx.session, repository.id)
            refs = await op.runtime.git.list_refs(tx.session, repository.id)
        repository = repository.at(state)
        answer = _advertisement(repository, refs)
        lists.put(("receive-pack", repository.id, repository.generation), answer)
    return repository, answer


def _advertisement(repository: GitRepository, refs: Sequence[RefRow]) -> bytes:
    capabilities = f"{_CAPABILITIES} object-format={repository.object_format} agent=opencodehub"
    if not refs:
        null = "0" * _oid_length(repository)
        return encode(f"{null} capabilities^{{}}\0{capabilities}\n".encode()) + Special.FLUSH.value
    lines = [f"{oid} {name}\n" for name, oid, _ in refs]
    lines[0] = f"{lines[0][:-1]}\0{capabilities}\n"
    return b"".join(encode(line.encode()) for line in lines) + Special.FLUSH.value


async def serve_receive_pack(
    op: OpContext, repository: GitRepository, reader: ByteReader, writer: ByteWriter, *, door: Door
) -> None:
    """Read one push after the advertisement, carry it out, and report to the client.

    Expected errors are reported in git's own way. Raises ClientGone when the client left before
    its input was complete. A push whose input is complete is finished even when the client leaves
    or this task is cancelled; then the cancellation takes effect afterwards.
    """
    counted, began = CountingReader(reader), time.monotonic()
    packets = PacketReader(counted)
    try:
        limit = op.runtime.git.settings.push_max_refs
        request, capabilities = await _read_request(packets, repository, max_refs=limit)
    except _RequestRefused as refusal:
        text = f"{refusal} (request {op.request_id})\n"
        await writer.write(_error_packet(refusal.capabilities, text) + Special.FLUSH.value)
        return
    if request is None:
        return
    session = _Session(op, repository, packets, writer, capabilities)
    work = asyncio.create_task(session.run(request, door))
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        if not session.input_complete:
            work.cancel()
        with contextlib.suppress(asyncio.CancelledError, ClientGone):
            await work
        raise
    finally:
        seconds = time.monotonic() - began
        op.runtime.observer.push_ended(door.value, session.outcome, counted.size, seconds)


async def refuse_push(reader: ByteReader, writer: ByteWriter, text: str) -> None:
    """Say why a push is not even looked at, when its client is past the advertisement already.

    Raises ClientGone.
    """
    try:
        first = await PacketReader(reader).next()
    except ProtocolError:
        first = None
    after = first.partition(b"\0")[2] if isinstance(first, bytes) else b""
    capabilities = frozenset(after.decode("utf-8", "replace").split())
    await writer.write(_error_packet(capabilities, text) + Special.FLUSH.value)


def _error_packet(capabilities: frozenset[str], text: str) -> bytes:
    """An error where the client looks for it: once it asked for bands, git reads nothing else."""
    if "side-band-64k" in capabilities:
        return encode_band(Band.ERROR, text.encode())
    return encode(f"ERR {text}".encode())


class _RequestRefused(Exception):
    """The push cannot be read; ``capabilities`` are those that had been by then."""

    def __init__(self, text: str, capabilities: frozenset[str]) -> None:
        super().__init__(text)
        self.capabilities = capabilities


class _Session:
    """What one push says to its client."""

    def __init__(
        self,
        op: OpContext,
        repository: GitRepository,
        packets: PacketReader,
        writer: ByteWriter,
        capabilities: frozenset[str],
    ) -> None:
        self.op = op
        self.repository = repository
        self.packets = packets
        self.writer = writer
        self.side_band = "side-band-64k" in capabilities
        self.quiet = "quiet" in capabilities
        self.reports = bool(capabilities & {"report-status", "report-status-v2"})
        self.input_complete = False
        # In the words of HubObserver.push_ended; nobody is left to be told unless it is changed.
        self.outcome = "gone"
        self._writing = asyncio.Lock()

    async def run(self, request: PushRequest, door: Door) -> None:
        async with self._keep_alive():
            outcome = await self._carry_out(request, door)
            if any(outcome.verdicts.values()):
                self.outcome = "failed" if self.outcome == "failed" else "refused"
                # So that an operator who is told of a refusal finds it in the log.
                await self._say(f"refused in request {self.op.request_id}")
            else:
                self.outcome = "ok"
        await self._send(self._report(request, outcome))

    async def _carry_out(self, request: PushRequest, door: Door) -> PushOutcome:
        progress = self._progress if self.side_band and not self.quiet else None
        if self.repository.moved_from:
            await self._say(f"this repository moved; use {self.repository.name_with_owner} instead")
        try:
            return await pushes.receive_push(
                self.op,
                self.repository,
                request,
                self.packets,
                door=door,
                progress=progress,
                input_ended=self._mark_complete,
            )
        except ClientGone:
            raise
        except Exception as error:
            self.outcome = "failed"
            return _refusal(request, judge(self.op, error).message)

    def _mark_complete(self) -> None:
        self.input_complete = True

    async def _progress(self, text: bytes) -> None:
        await self._send(encode_band(Band.PROGRESS, text))

    async def _say(self, text: str) -> None:
        if self.side_band:
            await self._send(encode_band(Band.PROGRESS, f"{text}\n".encode()))

    async def _send(self, data: bytes) -> None:
        """Once the input is complete nobody needs to be there for the push to succeed."""
        try:
            async with self._writing:
                await self.writer.write(data)
        except ConnectionError:
            if not self.input_complete:
                raise

    @contextlib.asynccontextmanager
    async def _keep_alive(self) -> AsyncIterator[None]:
        """Empty data packets while the server works silently, so that no proxy gives up."""

        async def tick() -> None:
            while True:
                await asyncio.sleep(KEEP_ALIVE_SECONDS)
                if self.input_complete and self.side_band and not self.quiet:
                    await self._send(encode_band(Band.DATA, b""))

        ticker = asyncio.create_task(tick())
        try:
            yield
        finally:
            ticker.cancel()
            await asyncio.gather(ticker, return_exceptions=True)

    def _report(self, request: PushRequest, outcome: PushOutcome) -> bytes:
        if not self.reports:
            return Special.FLUSH.value if self.side_band else b""
        lines = [f"unpack {outcome.pack_fault or 'ok'}"]
        for command in request.commands:
            reason = outcome.verdicts[command.name]
            lines.append(f"ok {command.name}" if reason is None else f"ng {command.name} {reason}")
        report = b"".join(encode(f"{line}\n".encode()) for line in lines) + Special.FLUSH.value
        if not self.side_band:
            return report
        return encode_band(Band.DATA, report) + Special.FLUSH.value


def _refusal(request: PushRequest, message: str) -> PushOutcome:
    """Nothing was changed; each ref says why."""
    return PushOutcome({command.name: message for command in request.commands})


async def _read_request(
    packets: PacketReader, repository: GitRepository, *, max_refs: int
) -> tuple[PushRequest | None, frozenset[str]]:
    """Commands, capabilities and push options. None when the client has nothing to push.

    Raises _RequestRefused.
    """
    capabilities: set[str] = set()
    try:
        request = await _read_packets(packets, repository, capabilities, max_refs=max_refs)
    except ProtocolError as error:
        raise _RequestRefused(str(error), frozenset(capabilities)) from error
    return request, frozenset(capabilities)


async def _read_packets(
    packets: PacketReader, repository: GitRepository, capabilities: set[str], *, max_refs: int
) -> PushRequest | None:
    """See ``_read_request``; fills ``capabilities`` as soon as they are known."""
    commands: dict[str, RefCommand] = {}
    shallow = False
    while isinstance(packet := await packets.next(), bytes):
        line, _, after = packet.partition(b"\0")
        text = _decode(line).removesuffix("\n")
        if text.startswith("shallow "):
            shallow = True
            continue
        if not commands:
            capabilities.update(_decode(after).split())
        command = _parse_command(text, _oid_length(repository))
        if command.name in commands:
            raise ProtocolError(f"ref {command.name} is named twice in one push")
        if len(commands) >= max_refs:
            raise ProtocolError(f"a push may change at most {max_refs} refs")
        commands[command.name] = command
    if not commands:
        return None
    if packet is not Special.FLUSH:
        raise ProtocolError("the list of commands does not end with a flush packet")
    formats = [each for each in capabilities if each.startswith("object-format=")]
    if formats and formats != [f"object-format={repository.object_format}"]:
        raise ProtocolError(f"this repository uses the object format {repository.object_format}")
    options = await _read_options(packets) if "push-options" in capabilities else ()
    return PushRequest(
        commands=tuple(commands.values()),
        atomic="atomic" in capabilities,
        is_shallow=shallow,
        options=options,
    )


async def _read_options(packets: PacketReader) -> tuple[str, ...]:
    options: list[str] = []
    while isinstance(packet := await packets.next(), bytes):
        option = _decode(packet).removesuffix("\n")
        if len(options) >= MAX_PUSH_OPTIONS or len(packet) > MAX_PUSH_OPTION_BYTES:
            raise ProtocolError(
                f"a push may carry at most {MAX_PUSH_OPTIONS} options"
                f" of {MAX_PUSH_OPTION_BYTES} bytes"
            )
        if not option.isprintable():
            raise ProtocolError("a push option has a control character")
        options.append(option)
    return tuple(options)


def _parse_command(text: str, oid_length: int) -> RefCommand:
    parts = text.split(" ", 2)
    if len(parts) != 3 or not all(
        len(oid) == oid_length and _OID.fullmatch(oid) for oid in parts[:2]
    ):
        raise ProtocolError("malformed push command")
    old, new, name = parts
    null = "0" * oid_length
    if old == new == null:
        raise ProtocolError(f"ref {name} would move from nothing to nothing")
    if not name or "\n" in name:
        raise ProtocolError("malformed ref name")
    return RefCommand(name, None if old == null else old, None if new == null else new)


def _decode(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ProtocolError("ref names and options must be UTF-8") from error


def _oid_length(repository: GitRepository) -> int:
    return 64 if repository.object_format == "sha256" else 40
