"""How many git children run at once: a queue for short ones, one for clones and large packs, and
one for those that stay and read objects.

So a fetch of a few commits never waits behind clones. A child that turns out to be large changes
over while it runs (``Place.grow``), and large ones yield the processor to the others.
"""

import asyncio
import contextlib
import enum
import os
import time
from collections.abc import AsyncIterator

from gitstore.errors import QueueFull
from gitstore.observer import GitObserver
from gitstore.settings import GitStoreSettings

# How far large children step back behind everything else on the machine (nice(1)).
LARGE_NICENESS = 10


# A child that moves more than this is no short one.
SMALL_BYTES = 8 * 1024 * 1024


class Size(enum.Enum):
    """Which queue a child waits in, so that clones do not starve the short ones."""

    SMALL = "small"
    LARGE = "large"
    READER = "reader"


class Queues:
    """For one event loop."""

    def __init__(self, settings: GitStoreSettings, observer: GitObserver) -> None:
        self._slots = {
            Size.SMALL: asyncio.Semaphore(settings.git_small_children),
            Size.LARGE: asyncio.Semaphore(settings.git_large_children),
            Size.READER: asyncio.Semaphore(settings.git_readers),
        }
        self._queue_seconds = settings.git_queue_seconds
        self._observer = observer

    @contextlib.asynccontextmanager
    async def place(self, size: Size) -> AsyncIterator["Place"]:
        """A place for one child, for the length of the block. Raises QueueFull."""
        try:
            async with asyncio.timeout(self._queue_seconds):
                await self.take(size)
        except TimeoutError as error:
            raise QueueFull(f"no {size.value} git child could be started in time") from error
        place = Place(self, size)
        try:
            yield place
        finally:
            place.leave()

    async def take(self, size: Size) -> None:
        began = time.monotonic()
        await self._slots[size].acquire()
        self._observer.child_waited(size.value, time.monotonic() - began)

    def give_back(self, size: Size) -> None:
        self._slots[size].release()


class Place:
    """A child's place; ``size`` is the queue it is in now."""

    def __init__(self, queues: Queues, size: Size) -> None:
        self._queues = queues
        self.size = size
        self._held = True

    async def grow(self) -> None:
        """Move to the queue of large children, waiting for a place there.

        The small place is free meanwhile: the child stands still, since nobody moves its bytes.
        """
        if self.size is Size.LARGE:
            return
        self.leave()
        self.size = Size.LARGE
        await self._queues.take(Size.LARGE)
        self._held = True

    def leave(self) -> None:
        if self._held:
            self._held = False
            self._queues.give_back(self.size)


def step_back(group: int) -> None:
    """Let everything else go before this process group, as far as the system allows."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PGRP, group, LARGE_NICENESS)
    # Where the kernel shares out time among sessions first (autogroup, sched(7)), niceness counts
    # only within one; then the session's own niceness decides.
    with contextlib.suppress(OSError), open(f"/proc/{group}/autogroup", "w") as file:
        file.write(str(LARGE_NICENESS))
