"""Counts what a fetch or push moves and how it ends, for ``services.observer``."""

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import AsyncIterator

from gitserve.errors import as_forge_error
from gitserve.streams import ByteReader, ByteWriter, ClientGone
from services.context import OpContext
from services.errors import ErrorCode
from services.push_records import Door


class CountingReader:
    """``size``: bytes read so far."""

    def __init__(self, reader: ByteReader) -> None:
        self._reader = reader
        self.size = 0

    async def read(self, limit: int) -> bytes:
        data = await self._reader.read(limit)
        self.size += len(data)
        return data


class CountingWriter:
    """``size``: bytes written so far."""

    def __init__(self, writer: ByteWriter) -> None:
        self._writer = writer
        self.size = 0

    async def write(self, data: bytes) -> None:
        await self._writer.write(data)
        self.size += len(data)


@dataclasses.dataclass(slots=True)
class FetchRecord:
    """``answer`` is one of ``HubObserver.fetch_ended``'s; ``out`` is where to write it."""

    out: CountingWriter
    answer: str
    good: bool = True


@contextlib.asynccontextmanager
async def observed_fetch(
    op: OpContext, door: Door, writer: ByteWriter, answer: str
) -> AsyncIterator[FetchRecord]:
    """Observe one answer to a fetching client, made within the block."""
    record, began, outcome = FetchRecord(CountingWriter(writer), answer), time.monotonic(), "failed"
    try:
        yield record
        outcome = "ok" if record.good else "refused"
    except (ClientGone, asyncio.CancelledError):
        outcome = "gone"
        raise
    except Exception as error:
        # What the client can mend is no failure of ours.
        known = as_forge_error(error)
        if known is not None and known.code not in (ErrorCode.UNAVAILABLE, ErrorCode.INTERNAL):
            outcome = "refused"
        raise
    finally:
        seconds = time.monotonic() - began
        op.runtime.observer.fetch_ended(
            door.value, outcome, record.answer, record.out.size, seconds
        )
