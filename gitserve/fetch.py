"""upload-pack for every transport: one fetch path for HTTP and SSH.

Version 2 is stateless everywhere: the capability list and ``ls-refs`` need no process, and each
``fetch`` request is read to its end before ``git upload-pack --stateless-rpc`` answers it from the
local copy. Versions 0 and 1 are git's own from the first byte.

A child lives no longer than the call that started it: to end the work for a client that is gone,
the transport cancels the call.
"""

from gitserve import clone_cache, protocol_v2
from gitserve.answers import BytesReader, answer, relay
from gitserve.clone_cache import NotCached
from gitserve.ls_refs import answer_ls_refs
from gitserve.observing import FetchRecord, observed_fetch
from gitserve.pktline import PacketReader, ProtocolError, Special
from gitserve.protocol_v2 import MAX_REQUEST_BYTES, Request
from gitserve.streams import ByteReader, ByteWriter
from gitstore.process import PIPE_READ_BYTES
from gitstore.queues import Size
from services.context import OpContext
from services.git_access import GitRepository, GitService, open_repository
from services.push_records import Door

_UPLOAD_PACK = ("upload-pack", "--strict")


async def advertise_upload_pack(
    op: OpContext, repository: GitRepository, writer: ByteWriter, *, version: int, door: Door
) -> bool:
    """What ``info/refs`` answers, without the service header: capabilities, before version 2 refs.

    Raises ForgeError and the errors of ``gitstore`` before anything was written, AnswerCut after.
    """
    async with observed_fetch(op, door, writer, "refs") as record:
        if version == 2:
            await record.out.write(protocol_v2.advertise(repository.object_format))
        else:
            args = (*_UPLOAD_PACK, "--stateless-rpc", "--http-backend-info-refs")
            nothing = BytesReader(b"")
            record.good = await _run(op, repository, args, nothing, record.out, version=version)
        return record.good


async def serve_upload_pack(
    op: OpContext,
    repository: GitRepository,
    reader: ByteReader,
    writer: ByteWriter,
    *,
    version: int,
    stateless: bool,
    door: Door,
) -> bool:
    """Serve fetches. ``stateless``: one request, read to the end of the input, no advertisement.

    Otherwise advertise, then serve until the client is done. Errors are told to the client as ERR
    packets. Returns False if there was one (over SSH: exit status 1). Raises AnswerCut, ClientGone.
    """
    if not stateless and version == 2:
        return await _serve_session(op, repository, reader, writer, door)

    async def serve(out: ByteWriter) -> bool:
        if stateless and version == 2:
            return await _serve_request(op, repository, reader, out, door)
        async with observed_fetch(op, door, out, "pack") as record:
            serve_old = _serve_old_request if stateless else _serve_old_session
            record.good = await serve_old(op, repository, reader, record.out, version)
            return record.good

    return await answer(op, writer, serve)


async def _serve_session(
    op: OpContext, repository: GitRepository, reader: ByteReader, writer: ByteWriter, door: Door
) -> bool:
    """Version 2 over a connection that stays: requests until a lone flush or the end."""
    await writer.write(protocol_v2.advertise(repository.object_format))
    packets = PacketReader(reader)
    finished = False

    async def serve_next(out: ByteWriter) -> bool:
        nonlocal finished
        request = await protocol_v2.read_request(packets, repository.object_format)
        if request is None:
            finished = True
            return True
        # The right to read may have ended since the connection began.
        current = await open_repository(op, repository.name_with_owner, GitService.FETCH)
        return await _serve_v2(op, current, request, out, door)

    while not finished:
        if not await answer(op, writer, serve_next):
            return False
    return True


async def _serve_old_session(
    op: OpContext, repository: GitRepository, reader: ByteReader, writer: ByteWriter, version: int
) -> bool:
    return await _run(op, repository, _UPLOAD_PACK, reader, writer, version=version)


async def _serve_old_request(
    op: OpContext, repository: GitRepository, reader: ByteReader, writer: ByteWriter, version: int
) -> bool:
    body = await _read_all(reader)
    if not body:
        raise ProtocolError("the request is empty")
    if body == Special.FLUSH.value:
        return True
    args = (*_UPLOAD_PACK, "--stateless-rpc")
    return await _run(op, repository, args, BytesReader(body), writer, version=version)


async def _serve_request(
    op: OpContext, repository: GitRepository, reader: ByteReader, writer: ByteWriter, door: Door
) -> bool:
    packets = PacketReader(reader)
    if await packets.at_end():
        raise ProtocolError("the request is empty")
    request = await protocol_v2.read_request(packets, repository.object_format)
    # Only a body read to its end lets the transport notice that the client goes away.
    if await _read_all(packets):
        raise ProtocolError("more than one request at once")
    return request is None or await _serve_v2(op, repository, request, writer, door)


async def _serve_v2(
    op: OpContext, repository: GitRepository, request: Request, writer: ByteWriter, door: Door
) -> bool:
    kind = "refs" if request.command == "ls-refs" else "pack"
    async with observed_fetch(op, door, writer, kind) as record:
        if request.command == "ls-refs":
            await answer_ls_refs(op, repository, request.arguments, record.out)
        elif clone_cache.is_clone(request):
            record.good = await _serve_clone(op, repository, request, record)
        else:
            record.good = await _serve_fetch(op, repository, request, record.out, size=Size.SMALL)
        return record.good


async def _serve_clone(
    op: OpContext, repository: GitRepository, request: Request, record: FetchRecord
) -> bool:
    """From a file that all who ask the same share, where that can be."""
    git = op.runtime.git
    key = clone_cache.key_of(repository, request)
    if git.answers.is_enabled and (
        git.answers.has(key) or git.answers.fits(await git.size_in_store(repository.id))
    ):

        async def fill(out: ByteWriter) -> bool:
            return await _serve_fetch(op, repository, request, out, size=Size.LARGE)

        try:
            good, source = await clone_cache.serve_cached(git.answers, key, fill, record.out)
            record.answer = source.value
            return good
        except NotCached as error:
            op.log.warning("a clone is served without the cache", reason=str(error))
    return await _serve_fetch(op, repository, request, record.out, size=Size.LARGE)


async def _serve_fetch(
    op: OpContext, repository: GitRepository, request: Request, writer: ByteWriter, *, size: Size
) -> bool:
    args = (*_UPLOAD_PACK, "--stateless-rpc")
    source = BytesReader(request.packets)
    return await _run(op, repository, args, source, writer, version=2, size=size)


async def _run(
    op: OpContext,
    repository: GitRepository,
    args: tuple[str, ...],
    source: ByteReader,
    writer: ByteWriter,
    *,
    version: int,
    size: Size = Size.SMALL,
) -> bool:
    git = op.runtime.git
    async with (
        git.open(repository.id, repository.state) as cached,
        git.processes.start(
            [*args, str(cached.path)], protocol_version=version, size=size
        ) as child,
    ):
        return await relay(op, child, source, writer)


async def _read_all(reader: ByteReader) -> bytes:
    """The rest of the input. Raises ProtocolError beyond MAX_REQUEST_BYTES."""
    body = bytearray()
    while data := await reader.read(PIPE_READ_BYTES):
        body += data
        if len(body) > MAX_REQUEST_BYTES:
            raise ProtocolError(f"a request may have at most {MAX_REQUEST_BYTES} bytes")
    return bytes(body)
