"""Blocking calls off the event loop, in threads of their own, with cancellation that waits.

A thread cannot be stopped. So a cancelled caller stays until its call has ended: afterwards nothing
goes on behind its back, and the clean-up in its ``finally`` meets a state that no longer changes.
"""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


class BlockingCalls:
    """A pool of threads apart from asyncio's, so that a slow disk holds up nothing else."""

    def __init__(self, name: str, threads: int) -> None:
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix=name)

    async def run(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """What the call returns or raises. Raises CancelledError only after the call has ended."""
        job = self._pool.submit(call, *args, **kwargs)
        ended = asyncio.wrap_future(job)
        try:
            return await asyncio.shield(ended)
        except asyncio.CancelledError:
            # A call still queued is simply taken back.
            job.cancel()
            while not ended.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([ended])
            if not ended.cancelled():
                ended.exception()  # Marked as seen: the cancellation is what the caller gets.
            raise

    async def close(self) -> None:
        """Wait for running calls; later ones raise RuntimeError. May be called again."""
        await asyncio.to_thread(self._pool.shutdown)
