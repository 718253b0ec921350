"""``git archive --remote`` (git's upload-archive), over SSH only.

Git's own server passes every argument on to ``git archive``, where for instance ``--add-file``
tells whether a file exists on the server. So the arguments are read here, those that are known to
be harmless are handed on, and the rest is refused.
"""

import re
from collections.abc import Iterator

from gitserve.answers import BytesReader, answer, relay
from gitserve.pktline import PacketReader, ProtocolError, Special, encode
from gitserve.streams import ByteReader, ByteWriter
from gitstore.queues import Size
from services.context import OpContext
from services.git_access import GitRepository

MAX_ARGUMENTS = 64
MAX_ARGUMENT_BYTES = 4096
FORMATS = ("tar", "tgz", "tar.gz", "zip")
_FLAG = re.compile(r"--list|-l|--verbose|-v|-[0-9]")


async def serve_upload_archive(
    op: OpContext, repository: GitRepository, reader: ByteReader, writer: ByteWriter
) -> bool:
    """Answer one archive request. Git archives only what a ref names, or a folder below that.

    Returns False when the client was told an error (exit status 1). Raises AnswerCut, ClientGone.
    """
    return await answer(op, writer, lambda out: _serve(op, repository, reader, out))


async def _serve(
    op: OpContext, repository: GitRepository, reader: ByteReader, writer: ByteWriter
) -> bool:
    arguments = await _read_arguments(PacketReader(reader))
    check_arguments(arguments)
    packets = b"".join(encode(f"argument {each}\n".encode()) for each in arguments)
    git = op.runtime.git
    async with (
        git.open(repository.id) as cached,
        git.processes.start(["upload-archive", str(cached.path)], size=Size.LARGE) as child,
    ):
        source = BytesReader(packets + Special.FLUSH.value)
        return await relay(op, child, source, writer, banded=True)


async def _read_arguments(packets: PacketReader) -> list[str]:
    arguments: list[str] = []
    while isinstance(packet := await packets.next(), bytes):
        if len(arguments) == MAX_ARGUMENTS or len(packet) > MAX_ARGUMENT_BYTES:
            raise ProtocolError(
                f"an archive takes at most {MAX_ARGUMENTS} arguments of {MAX_ARGUMENT_BYTES} bytes"
            )
        if not packet.startswith(b"argument "):
            raise ProtocolError("an archive request consists of arguments")
        try:
            arguments.append(packet.removeprefix(b"argument ").removesuffix(b"\n").decode())
        except UnicodeDecodeError as error:
            raise ProtocolError("archive arguments must be UTF-8") from error
    if packet is not Special.FLUSH:
        raise ProtocolError("the arguments do not end with a flush packet")
    return arguments


def check_arguments(arguments: list[str]) -> None:
    """Raises ProtocolError for anything but harmless options, then one tree, then paths."""
    for argument in arguments:
        if not argument.isprintable():
            raise ProtocolError("an archive argument has a control character")
    remaining = iter(arguments)
    for argument in remaining:
        if argument == "--":
            continue
        if not argument.startswith("-"):
            break
        _check_option(argument, remaining)
    for path in remaining:
        if path.startswith("-") and path != "--":
            raise ProtocolError("options of an archive come before the tree")


def _check_option(argument: str, remaining: Iterator[str]) -> None:
    if _FLAG.fullmatch(argument):
        return
    name, given, value = argument.partition("=")
    if name not in ("--format", "--prefix"):
        raise ProtocolError(f"archive option {name[:64]!a} is not supported over the network")
    if not given:
        value = next(remaining, "")
    if name == "--format" and value not in FORMATS:
        raise ProtocolError(f"archive formats are {', '.join(FORMATS)}")
