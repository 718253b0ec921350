"""Prometheus metrics of all processes of a machine, on ``prometheus_client``'s multiprocess mode.

Each process writes its numbers to memory-mapped files in one folder (``metric_files``); whoever is
asked for ``/metrics`` adds them up. They stay until ``och serve`` starts anew, so that totals never
go down. Labels come from closed sets: none is ever a user's word.
"""

import os
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from models.database import Database
from opencodehub.metric_files import MetricPlace

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_GIT_COMMANDS = frozenset(
    (
        "archive",
        "cat-file",
        "commit-graph",
        "fsck",
        "index-pack",
        "merge-base",
        "multi-pack-index",
        "pack-objects",
        "rev-list",
        "upload-archive",
        "upload-pack",
    )
)
_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SLOW = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
# Read by prometheus_client when it is imported.
_FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


class HubMetrics:
    """Implements ``services.observer.HubObserver``, and counts storage and SQL.

    ``folder`` is shared by all processes of the machine; None keeps the numbers in this process.
    One per process, since it decides how the library keeps its values.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = None if folder is None else _join(folder)
        # Only now: the library looks at the variable when it is imported.
        from prometheus_client import CollectorRegistry

        self._registry = CollectorRegistry()
        make = _Maker(self._registry)
        self.pushes = make.counter("git_pushes", "Pushes by how they ended.", "door", "outcome")
        self.push_bytes = make.counter("git_push_bytes", "Bytes that pushes sent.", "door")
        self.push_seconds = make.histogram("git_push_seconds", "Duration of pushes.", _SLOW, "door")
        self.fetches = make.counter(
            "git_fetches", "Answers to fetching clients.", "door", "outcome", "answer"
        )
        self.fetch_bytes = make.counter("git_fetch_bytes", "Bytes that fetches got.", "door")
        self.fetch_seconds = make.histogram(
            "git_fetch_seconds", "Duration of answers to fetching clients.", _SLOW, "answer"
        )
        self.children = make.counter(
            "git_children", "Git processes that ended.", "command", "queue", "outcome"
        )
        self.child_seconds = make.histogram(
            "git_child_seconds", "Lifetime of git processes.", _SLOW, "command"
        )
        self.queue_wait = make.histogram(
            "git_queue_wait_seconds", "Wait of a git process for its place.", _FAST, "queue"
        )
        self.fills = make.counter("cache_fills", "Times a local copy was brought up to date.")
        self.fill_packs = make.counter("cache_fill_packs", "Packs fetched for local copies.")
        self.fill_bytes = make.counter("cache_fill_bytes", "Bytes fetched for local copies.")
        self.fill_seconds = make.histogram("cache_fill_seconds", "Duration of fills.", _SLOW)
        self.storage_calls = make.counter(
            "storage_calls", "Calls of the object store.", "operation", "outcome"
        )
        self.storage_seconds = make.histogram(
            "storage_call_seconds", "Duration of calls of the object store.", _FAST, "operation"
        )
        self.storage_bytes = make.counter(
            "storage_bytes", "Bytes to (write) and from (read) the object store.", "direction"
        )
        self.sql_statements = make.counter("sql_statements", "SQL statements.", "engine")
        self.sql_seconds = make.histogram(
            "sql_seconds", "Duration of SQL statements.", _FAST, "engine"
        )
        self.sql_errors = make.counter(
            "sql_errors", "SQL statements and connections that failed.", "engine"
        )

    def render(self) -> bytes:
        """The exposition text, of all processes. Reads files: call it off the event loop."""
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        if self._folder is None:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(self._folder))  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    def push_ended(self, door: str, outcome: str, byte_count: int, seconds: float) -> None:
        self.pushes.labels(door, outcome).inc()
        self.push_bytes.labels(door).inc(byte_count)
        self.push_seconds.labels(door).observe(seconds)

    def fetch_ended(
        self, door: str, outcome: str, answer: str, byte_count: int, seconds: float
    ) -> None:
        self.fetches.labels(door, outcome, answer).inc()
        self.fetch_bytes.labels(door).inc(byte_count)
        self.fetch_seconds.labels(answer).observe(seconds)

    def child_waited(self, size: str, seconds: float) -> None:
        self.queue_wait.labels(size).observe(seconds)

    def child_ended(self, command: str, size: str, seconds: float, outcome: str) -> None:
        command = command if command in _GIT_COMMANDS else "other"
        self.children.labels(command, size, outcome).inc()
        self.child_seconds.labels(command).observe(seconds)

    def cache_filled(self, packs: int, byte_count: int, seconds: float) -> None:
        self.fills.inc()
        self.fill_packs.inc(packs)
        self.fill_bytes.inc(byte_count)
        self.fill_seconds.observe(seconds)

    def storage_called(self, operation: str, outcome: str, seconds: float) -> None:
        self.storage_calls.labels(operation, outcome).inc()
        self.storage_seconds.labels(operation).observe(seconds)

    def storage_moved(self, direction: str, byte_count: int) -> None:
        self.storage_bytes.labels(direction).inc(byte_count)

    def watch(self, database: Database) -> None:
        """Count the statements of both engines from now on."""
        self._watch_engine(database.read_engine, "read")
        self._watch_engine(database.write_engine, "write")

    def _watch_engine(self, engine: AsyncEngine, name: str) -> None:
        statements, seconds = self.sql_statements.labels(name), self.sql_seconds.labels(name)
        errors = self.sql_errors.labels(name)

        def before(_c: Any, _cursor: Any, _sql: str, _args: Any, context: Any, _many: Any) -> None:
            if context is not None:
                context._och_began = time.perf_counter()

        def after(_c: Any, _cursor: Any, _sql: str, _args: Any, context: Any, _many: Any) -> None:
            statements.inc()
            if context is not None:
                seconds.observe(time.perf_counter() - context._och_began)

        def failed(_context: Any) -> None:
            errors.inc()

        event.listen(engine.sync_engine, "before_cursor_execute", before)
        event.listen(engine.sync_engine, "after_cursor_execute", after)
        event.listen(engine.sync_engine, "handle_error", failed)


def _join(folder: Path) -> Path | None:
    """Let the library keep this process's numbers in ``folder``; None where that cannot be."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        place = MetricPlace(folder)
    except OSError as error:
        structlog.get_logger("opencodehub").warning(
            "no room for metrics; this process counts for itself", error=error.strerror
        )
        return None
    os.environ[_FOLDER_VARIABLE] = str(folder)
    # The library keeps its files open as long as the process lives.
    warnings.filterwarnings("ignore", message=r"unclosed file .*_\d+\.db", category=ResourceWarning)
    from prometheus_client import values

    values.ValueClass = values.MultiProcessValue(lambda: place.name)  # type: ignore[no-untyped-call]
    return folder


class _Maker:
    """Makes metrics named ``och_...`` in one registry."""

    def __init__(self, registry: "CollectorRegistry") -> None:
        self._registry = registry

    def counter(self, name: str, words: str, *labels: str) -> Any:
        from prometheus_client import Counter

        return Counter(f"och_{name}", words, labels, registry=self._registry)

    def histogram(self, name: str, words: str, buckets: tuple[float, ...], *labels: str) -> Any:
        from prometheus_client import Histogram

        return Histogram(f"och_{name}", words, labels, registry=self._registry, buckets=buckets)
