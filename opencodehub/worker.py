"""The processes that run and schedule background jobs, on Celery (see ``job_queue``)."""

import asyncio
import contextlib
import datetime as dt
import signal
import threading
import warnings
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from celery import Celery, signals
from celery.beat import EmbeddedService, Scheduler, Service
from celery.worker import state

from opencodehub import event_loop, wiring
from opencodehub.job_queue import QUEUES, create_celery, register_jobs
from opencodehub.settings import Settings
from services.actor import OPERATOR
from services.context import OpContext
from services.jobs import REGISTRY, Job, JobArgument
from services.runtime import Runtime


class JobLoop:
    """One event loop and one Runtime in a thread of their own; jobs of all threads run on it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._runtime: Runtime | None = None
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._end = asyncio.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="jobs")

    def __enter__(self) -> "JobLoop":
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def run_job(self, job: Job, arguments: list[JobArgument], task_id: str) -> None:
        """Run one job to its end, from any thread. Raises what the job raises."""
        assert self._runtime is not None
        op = OpContext(runtime=self._runtime, actor=OPERATOR, request_id=task_id)
        work: Callable[..., Coroutine[Any, Any, None]] = job.function  # type: ignore[assignment]
        asyncio.run_coroutine_threadsafe(work(op, *arguments), self._loop).result()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        event_loop.watch_children_in(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:
            self._failure = error
        finally:
            self._started.set()
            self._loop.close()

    async def _serve(self) -> None:
        async with wiring.open_runtime(self._settings) as self._runtime:
            self._started.set()
            await self._end.wait()


def run_worker(settings: Settings, ready: Callable[[], None], *, with_beat: bool = False) -> None:
    """Run jobs until SIGTERM; then finish those that have begun. ``ready`` is called once.

    ``with_beat``: also queue the jobs that have an interval, in a thread.
    """
    register_jobs()
    event_loop.use_process_descriptors()
    warnings.filterwarnings("ignore", message=".*superuser privileges.*")
    app = create_celery(settings)
    with contextlib.ExitStack() as stack:
        jobs = stack.enter_context(JobLoop(settings))
        for job in REGISTRY.values():
            _add_task(app, job, jobs)
        # Celery keeps weak references to receivers.
        receivers = [lambda **_: _started(ready), lambda **_: None]
        signals.worker_ready.connect(receivers[0])
        signals.setup_logging.connect(receivers[1])
        worker = app.Worker(
            pool="threads",
            concurrency=settings.worker_concurrency,
            queues=list(QUEUES),
            quiet=True,
            without_gossip=True,
            without_mingle=True,
        )
        if with_beat:
            _schedule(app)
            beat = EmbeddedService(app, thread=True, scheduler_cls=_MemoryScheduler)
            beat.start()
            stack.callback(beat.stop)
        worker.start()


def _started(ready: Callable[[], None]) -> None:
    # Celery's own handler does the same, but also prints to standard output.
    signal.signal(signal.SIGTERM, lambda *_: setattr(state, "should_stop", 0))
    ready()


def _add_task(app: Celery, job: Job, jobs: JobLoop) -> None:
    log = structlog.get_logger("opencodehub.jobs").bind(job=job.name)

    def task(self: Any, *arguments: JobArgument) -> None:
        try:
            jobs.run_job(job, list(arguments), self.request.id)
        except Exception as error:
            attempt = self.request.retries + 1
            log.warning("job failed", arguments=arguments, attempt=attempt, exc_info=True)
            if attempt <= job.retries:
                raise self.retry(
                    exc=error, countdown=5 * 2**attempt, max_retries=job.retries
                ) from error

    app.task(task, name=job.name, bind=True)


class _MemoryScheduler(Scheduler):  # type: ignore[misc]
    """Keeps the schedule in memory. All jobs are due at the start, since none is remembered."""

    def setup_schedule(self) -> None:
        super().setup_schedule()
        self.merge_inplace(self.app.conf.beat_schedule)
        for entry in self.schedule.values():
            entry.last_run_at = self.app.now() - dt.timedelta(days=366)


def _schedule(app: Celery) -> None:
    app.conf.beat_schedule = {
        job.name: {
            "task": job.name,
            "schedule": job.every,
            # A job that waited longer than its interval has a successor in the queue.
            "options": {"queue": job.queue, "expires": job.every.total_seconds()},
        }
        for job in REGISTRY.values()
        if job.every is not None
    }


def run_beat(settings: Settings, ready: Callable[[], None]) -> None:
    """Queue the jobs that have an interval, until the process is ended. It has nothing to save."""
    register_jobs()
    app = create_celery(settings)
    _schedule(app)
    ready()
    Service(app, scheduler_cls=_MemoryScheduler).start()
