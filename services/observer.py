"""What an operator may want to count of git's traffic; see ``gitstore.observer`` for the rules."""

from typing import Protocol

from gitstore.observer import GitObserver, Unobserved


class HubObserver(GitObserver, Protocol):
    def push_ended(self, door: str, outcome: str, byte_count: int, seconds: float) -> None:
        """``outcome``: ``ok``, ``refused`` (at least one ref was), ``failed`` or ``gone`` (the
        client left). ``byte_count``: what the client sent."""
        ...

    def fetch_ended(
        self, door: str, outcome: str, answer: str, byte_count: int, seconds: float
    ) -> None:
        """``answer``: ``refs``, ``pack`` (made for this client alone), or of the clone cache
        ``hit``, ``joined`` (another client's answer, read as it grew) and ``miss``.
        ``byte_count``: what the client was sent."""
        ...


class UnobservedHub(Unobserved):
    """Counts nothing."""

    def push_ended(self, door: str, outcome: str, byte_count: int, seconds: float) -> None:
        return None

    def fetch_ended(
        self, door: str, outcome: str, answer: str, byte_count: int, seconds: float
    ) -> None:
        return None
