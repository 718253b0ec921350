"""Background jobs: async functions named ``area.verb`` that may run twice; arguments are ids.

A job is marked ``@job("area.verb", ...)`` beside the rules it runs; ``opencodehub.worker`` makes
Celery tasks of all of them. A job claims its row before it acts, since a broker may deliver twice.
"""

import dataclasses
import datetime as dt
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from services.context import OpContext

JobArgument = int | str
JobFunction = Callable[..., Awaitable[None]]


@dataclasses.dataclass(frozen=True, slots=True)
class Job:
    """``every``: the scheduler also starts it at this interval. ``queue``: default, git or ci."""

    name: str
    function: "Callable[..., Awaitable[None]]"
    queue: str
    retries: int
    every: dt.timedelta | None


REGISTRY: dict[str, Job] = {}


def job(
    name: str, *, queue: str = "default", retries: int = 3, every: dt.timedelta | None = None
) -> Callable[[JobFunction], JobFunction]:
    """Register ``async def f(op: OpContext, *ids)`` as a job."""

    def register(function: JobFunction) -> JobFunction:
        if name in REGISTRY:
            raise ValueError(f"two jobs are named {name!r}")
        REGISTRY[name] = Job(name, function, queue, retries, every)
        return function

    return register


class JobQueue(Protocol):
    """Where jobs are put. Must not block the event loop; may raise when the broker is away."""

    async def enqueue(self, name: str, *arguments: JobArgument) -> None: ...


class MemoryJobQueue:
    """Collects jobs; ``run_all`` runs them here and now. For tests and the command line."""

    def __init__(self) -> None:
        self.queued: list[tuple[str, tuple[JobArgument, ...]]] = []

    async def enqueue(self, name: str, *arguments: JobArgument) -> None:
        if name not in REGISTRY:
            raise ValueError(f"no job is named {name!r}")
        self.queued.append((name, arguments))

    async def run_all(self, op: "OpContext") -> None:
        while self.queued:
            name, arguments = self.queued.pop(0)
            await REGISTRY[name].function(op, *arguments)
