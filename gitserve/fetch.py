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
from gitserve.pktline import PacketReader, ProtocolError, Special
from gitserve.protocol_v2 import MAX_REQUEST_BYTES, Request
from gitserve.streams import ByteReader, ByteWriter
from gitstore.process import PIPE_READ_BYTES
from gitstore.queues import Size
from services.context import OpContext
from services.git_access import GitRepository, GitService, open_repository

_UPLOAD_PACK = ("upload-pack", "--strict")


async def advertise_upload_pack(
    op: OpContext, repository: GitRepository, writer: ByteWriter, *, version: int
) -> bool:
    """What ``info/refs`` answers, without the service header: capabilities, before version 2 refs.

    Raises ForgeError and the errors of ``gitstore`` before anything was written, AnswerCut after.
    """
    if version == 2:
        await writer.write(protocol_v2.advertise(repository.object_format))
        return True
    args = (*_UPLOAD_PACK, "--stateless-rpc", "--http-backend-info-refs")
    return await _run(op, repository, args, BytesReader(b""), writer, version=version)


async def serve_upload_pack(
    op: OpContext,
    repository: GitRepository,
    reader: ByteReader,
    writer: ByteWriter,
    *,
    version: int,
    stateless: bool,
) -> bool:
    """Serve fetches. ``stateless``: one request, read to the end of the input, no advertisement.

    Otherwise advertise, then serve until the client is done. Errors are told to the client as ERR
    packets. Returns False if there was one (over SSH: exit status 1). Raises AnswerCut, ClientGone.
    """
    if stateless:
        return await answer(
            op, writer, lambda out: _serve_request(op, repository, reader, out, version)
        )
    if version == 2:
        return await _serve_session(op, repository, reader, writer)
    return await answer(
        op,
        writer,
        lambda out: _run(op, repository, _UPLOAD_PACK, reader, out, version=version),
    )


async def _serve_session(
    op: OpContext, repository: GitRepository, reader: ByteReader, writer: ByteWriter
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
        return await _serve_v2(op, current, request, out)

    while not finished:
        if not await answer(op, writer, serve_next):
            return False
    return True


async def _serve_request(
    op: OpContext, repository: GitRepository, reader: ByteReader, writer: ByteWriter, version: int
) -> bool:
    if version != 2:
        body = await _read_all(reader)
        if not body:
            raise ProtocolError("the request is empty")
        if body == Special.FLUSH.value:
            return True
        args = (*_UPLOAD_PACK, "--stateless-rpc")
        return await _run(op, repository, args, BytesReader(body), writer, version=version)
    packets = PacketReader(reader)
    if await packets.at_end():
        raise ProtocolError("the request is empty")
    request = await protocol_v2.read_request(packets, repository.object_format)
    # Only a body read to its end lets the transport notice that the client goes away.
    if await _read_all(packets):
        raise ProtocolError("more than one request at once")
    return request is None or await _serve_v2(op, repository, request, writer)


async def _serve_v2(
    op: OpContext, repository: GitRepository, request: Request, writer: ByteWriter
) -> bool:
    if request.command == "ls-refs":
        await answer_ls_refs(op, repository, request.arguments, writer)
        return True
    if clone_cache.is_clone(request):
        return await _serve_clone(op, repository, request, writer)
    return await _serve_fetch(op, repository, request, writer, size=Size.SMALL)


async def _serve_clone(
    op: OpContext, repository: GitRepository, request: Request, writer: ByteWriter
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
            good, _ = await clone_cache.serve_cached(git.answers, key, fill, writer)
            return good
        except NotCached as error:
            op.log.warning("a clone is served without the cache", reason=str(error))
    return await _serve_fetch(op, repository, request, writer, size=Size.LARGE)


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
        git.open(repository.id) as cached,
        git.processes.start([*args, str(cached.path)], protocol=version, size=size) as child,
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
