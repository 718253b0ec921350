"""The job queue: Celery's application, and the sending side of it.

Celery moves names and ids (JSON) through Redis, nothing else. What must happen is recorded in
the database and found again by the scheduled sweeps, so losing the queue loses no work (K4).
"""

import asyncio
import functools
import importlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote, urlsplit

from celery import Celery

from opencodehub.settings import Settings
from services.jobs import REGISTRY, Job, JobArgument

QUEUES = ("default", "git", "ci")
# Longer than any job: a job that is still running must not be delivered again.
VISIBILITY_SECONDS = 6 * 3600
ENQUEUE_SECONDS = 5.0
# With the broker away, senders wait in line; this many at most.
MAXIMUM_WAITING = 100
# The modules that register jobs when they are imported.
JOB_MODULES = (
    "services.dispatch",
    "services.git_maintenance",
    "services.last_commits",
    "services.sessions",
)


def register_jobs() -> None:
    """Import every module that defines jobs, so that ``REGISTRY`` is complete."""
    for name in JOB_MODULES:
        importlib.import_module(name)


def broker_url(redis_url: str) -> str:
    """The address of a Redis as Celery writes it; it has a scheme of its own for sockets."""
    parts = urlsplit(redis_url)
    if parts.scheme != "unix":
        return redis_url
    database = f"?virtual_host={quote(parts.query.removeprefix('db='))}" if parts.query else ""
    return f"redis+socket://{parts.path}{database}"


def create_celery(settings: Settings, *, for_sending: bool = False) -> Celery:
    """A Celery application without tasks. ``for_sending``: fails at once where no broker is."""
    app = Celery("opencodehub", broker=broker_url(settings.redis_url.get_secret_value()))
    transport: dict[str, Any] = {
        "visibility_timeout": VISIBILITY_SECONDS,
        "global_keyprefix": "och:jobs:",
        "socket_connect_timeout": 2,
        "socket_timeout": ENQUEUE_SECONDS,
    }
    if for_sending:
        transport |= {"max_retries": 0}
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        result_serializer="json",
        task_ignore_result=True,
        task_acks_late=True,
        task_default_queue="default",
        task_create_missing_queues=True,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options=transport,
        timezone="UTC",
    )
    return app


class CeleryJobQueue:
    """Puts jobs into the queue from a thread, so that a slow broker blocks no event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sender = ThreadPoolExecutor(max_workers=1, thread_name_prefix="job-sender")
        self._waiting = 0

    @functools.cached_property
    def _celery(self) -> Celery:
        # Made at the first use, in the sending thread: it takes a while to load.
        return create_celery(self._settings, for_sending=True)

    async def enqueue(self, name: str, *arguments: JobArgument) -> None:
        """Raises ValueError for an unknown job, ConnectionError or TimeoutError without broker."""
        if name not in REGISTRY:
            raise ValueError(f"no job is named {name!r}")
        if self._waiting >= MAXIMUM_WAITING:
            raise ConnectionError("the job queue does not answer")
        self._waiting += 1
        loop = asyncio.get_running_loop()
        sending = loop.run_in_executor(self._sender, self._send, REGISTRY[name], arguments)
        sending.add_done_callback(self._sent)
        async with asyncio.timeout(ENQUEUE_SECONDS):
            await asyncio.shield(sending)

    def _sent(self, sending: "asyncio.Future[None]") -> None:
        self._waiting -= 1
        if not sending.cancelled():
            sending.exception()  # told to the caller, unless it has stopped waiting

    def _send(self, job: Job, arguments: tuple[JobArgument, ...]) -> None:
        try:
            self._celery.send_task(
                job.name, args=list(arguments), queue=job.queue, retry=False, ignore_result=True
            )
        except Exception as error:
            raise ConnectionError(f"the job queue does not answer: {error}") from error

    async def close(self) -> None:
        self._sender.shutdown(wait=False, cancel_futures=True)
