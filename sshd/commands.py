"""What a client may ask for: three git commands, quoted as git quotes them, and nothing else."""

import dataclasses
import re

from gitserve.archive import serve_upload_archive
from gitserve.fetch import serve_upload_pack
from gitserve.receive import advertise_receive, serve_receive_pack
from gitserve.streams import ByteReader, ByteWriter
from services.context import OpContext
from services.errors import Invalid
from services.git_access import GitRepository, GitService
from services.push_records import Door

MAX_COMMAND_LENGTH = 1024
# A name of git's, with its dash or as a subcommand, one space, and one argument in single quotes
# within which git's sq_quote writes ' as '\'' and ! as '\!'.
_COMMAND = re.compile(
    r"git[- ](?P<name>upload-pack|receive-pack|upload-archive)"
    r" '(?P<path>(?:[^'!]|'\\''|'\\!')*)'"
)
_QUOTED = re.compile(r"'\\(['!])'")
# C0, DEL and C1.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

NOT_A_GIT_COMMAND = (
    "this server runs only git-upload-pack, git-receive-pack and git-upload-archive;"
    " use it through git, as in: git clone ssh://git@HOST/OWNER/NAME.git"
)
BAD_PATH = "malformed repository path; it must read OWNER/NAME.git"


@dataclasses.dataclass(frozen=True, slots=True)
class GitCommand:
    """``path`` is the client's own word for the repository; ``services.git_access`` reads it."""

    service: GitService
    path: str


def parse(line: str) -> GitCommand:
    """The git command in an exec request. Raises Invalid for everything else.

    Stricter than a shell on purpose: what git never sends is refused, not interpreted.
    """
    match = _COMMAND.fullmatch(line) if len(line) <= MAX_COMMAND_LENGTH else None
    if match is None:
        raise Invalid(NOT_A_GIT_COMMAND)
    path = _QUOTED.sub(r"\1", match["path"])
    if not path or _CONTROL.search(path):
        raise Invalid(BAD_PATH)
    if any(part.startswith("-") for part in path.split("/")):
        raise Invalid(BAD_PATH)
    return GitCommand(GitService(f"git-{match['name']}"), path)


async def run(
    op: OpContext,
    service: GitService,
    repository: GitRepository,
    reader: ByteReader,
    writer: ByteWriter,
    *,
    version: int,
) -> bool:
    """Serve one git command over a session's streams, to its end.

    Returns False when the client was told an error in git's own way. Raises as ``gitserve`` does.
    """
    match service:
        case GitService.FETCH:
            return await serve_upload_pack(
                op, repository, reader, writer, version=version, stateless=False, door=Door.SSH
            )
        case GitService.ARCHIVE:
            return await serve_upload_archive(op, repository, reader, writer)
        case GitService.PUSH:
            repository, refs = await advertise_receive(op, repository)
            await writer.write(refs)
            await serve_receive_pack(op, repository, reader, writer, door=Door.SSH)
            return True
