"""How every process of the hub runs its event loop."""

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` to its end on asyncio's own loop (uvloop forks for each child and is slower)."""
    use_process_descriptors()
    return asyncio.run(main)


def use_process_descriptors() -> None:
    """Wait for children through pidfds, as Python 3.12 does; 3.11 starts a thread for each."""
    if sys.version_info < (3, 12):
        asyncio.get_event_loop_policy().set_child_watcher(asyncio.PidfdChildWatcher())


def watch_children_in(loop: asyncio.AbstractEventLoop) -> None:
    """Let a loop that does not run in the main thread start children, as Python 3.12 always does.

    After ``use_process_descriptors``; only one loop of a process can.
    """
    if sys.version_info < (3, 12):
        asyncio.get_event_loop_policy().get_child_watcher().attach_loop(loop)
