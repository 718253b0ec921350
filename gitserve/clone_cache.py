"""Clones answered from files (``gitstore.answers``): who asks what others ask reads along.

Only requests whose answer depends on nothing but the repository's objects qualify: version 2, a
whole set of wants, nothing the client has. Access is judged for each client before it comes here.
"""

import hashlib

from gitserve.errors import AnswerCut
from gitserve.protocol_v2 import Request
from gitserve.streams import ByteWriter
from gitstore.answers import AnswerBroken, AnswerCache, Fill, Source
from services.git_access import GitRepository

_ATTEMPTS = 3
# What makes an answer the client's own, or a negotiation.
_PERSONAL = (b"have ", b"shallow ", b"deepen", b"want-ref ", b"wait-for-done")


class NotCached(Exception):
    """The answer cannot be had by way of a file; make it for this client alone."""


def is_clone(request: Request) -> bool:
    """Whether the request asks for everything that its wants reach, and is the last of its kind."""
    arguments = request.arguments
    return (
        request.command == "fetch"
        and b"done" in arguments
        and any(line.startswith(b"want ") for line in arguments)
        and not any(line.startswith(_PERSONAL) for line in arguments)
    )


def key_of(repository: GitRepository, request: Request) -> str:
    """The same for requests with the same answer; another one after each prune."""
    lines = sorted({line for line in request.arguments if not line.startswith(b"server-option")})
    digest = hashlib.sha256()
    for part in (repository.object_format.encode(), *lines):
        digest.update(b"%d:%s" % (len(part), part))
    return f"{repository.id}-{repository.prune_epoch}-{digest.hexdigest()[:40]}"


async def serve_cached(
    cache: AnswerCache, key: str, fill: Fill, writer: ByteWriter
) -> tuple[bool, Source]:
    """Write the whole answer; returns whether it is good, and where it came from.

    Raises AnswerCut, NotCached before anything was written, ClientGone, and what ``fill`` raises
    before it has written anything.
    """
    for _ in range(_ATTEMPTS):
        try:
            async with cache.open(key, fill) as answer:
                while data := await answer.read():
                    await writer.write(data)
                return not answer.is_refusal, answer.source
        except AnswerBroken as error:
            if error.begun:
                raise AnswerCut("the answer broke off while it was made") from error
        except ConnectionError:
            raise
        except OSError as error:
            raise NotCached(str(error)) from error
    raise NotCached("the answer broke off again and again")
