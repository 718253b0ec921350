"""What an operator may want to count. Given from above, so that nothing here knows who counts.

Methods are called on the event loop, must not block and must not raise.
"""

from typing import Protocol


class GitObserver(Protocol):
    def child_waited(self, size: str, seconds: float) -> None:
        """A git child got a place in its queue (``small`` or ``large``) after this long."""
        ...

    def child_ended(self, command: str, size: str, seconds: float, outcome: str) -> None:
        """``outcome``: ``ok``, ``failed`` (an exit status other than 0), ``timed_out`` or
        ``killed`` (its work was given up). ``size`` is that of the queue it ended in."""
        ...

    def cache_filled(self, packs: int, byte_count: int, seconds: float) -> None:
        """A local copy was brought up to date; counts what had to be fetched."""
        ...


class Unobserved:
    """Counts nothing."""

    def child_waited(self, size: str, seconds: float) -> None:
        return None

    def child_ended(self, command: str, size: str, seconds: float, outcome: str) -> None:
        return None

    def cache_filled(self, packs: int, byte_count: int, seconds: float) -> None:
        return None
