"""From settings to the ``Runtime`` that every operation is handed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import redis.asyncio as redis
import structlog
from sqlalchemy.exc import ArgumentError

from gitstore.store import GitStore
from models.database import Database
from models.dialect import UnsupportedDatabase
from models.migrations import runner
from opencodehub.job_queue import CeleryJobQueue, register_jobs
from opencodehub.metered_store import MeteredObjectStore
from opencodehub.metrics import HubMetrics
from opencodehub.settings import ConfigurationError, Settings
from services.bus import EventBus, MemoryEventBus, RedisEventBus
from services.event_feed import EventFeed
from services.jobs import JobQueue, MemoryJobQueue
from services.observer import UnobservedHub
from services.password_hashing import PasswordHasher
from services.rate_limits import MemoryRateLimiter, RateLimiter, RedisRateLimiter
from services.runtime import Runtime
from services.shared_cache import MemorySharedCache, RedisSharedCache, SharedCache
from services.tokens import TokenSigner
from storage_adapters.base import ObjectStore
from storage_adapters.errors import InvalidStorageURL, StorageUnavailable
from storage_adapters.factory import create_object_store

REDIS_CONNECT_SECONDS = 2
REDIS_ANSWER_SECONDS = 5
# Soon after the start, since a crash may have left something, but not while the doors open.
CACHE_FIRST_TENDED_SECONDS = 90.0
CACHE_TENDED_EVERY_SECONDS = 300.0

log = structlog.get_logger("opencodehub")


class MigrationsPending(Exception):
    """The database is older than the program."""

    def __init__(self, revisions: list[str]) -> None:
        super().__init__(
            f"the database lacks {len(revisions)} migration{'s' if len(revisions) > 1 else ''}; "
            "run: och migrate"
        )


async def require_migrated(settings: Settings) -> None:
    """Raises MigrationsPending, DatabaseUnavailable, UnknownRevision."""
    pending = await runner.pending(settings.database_url.get_secret_value())
    if pending:
        raise MigrationsPending(pending)


@contextlib.asynccontextmanager
async def open_runtime(settings: Settings) -> AsyncIterator[Runtime]:
    """The runtime of a server process, closed at the end. It connects when it is first used.

    Raises ConfigurationError when a part cannot serve.
    """
    register_jobs()
    jobs = CeleryJobQueue(settings)
    bus = RedisEventBus(create_redis(settings))
    rate_limiter = RedisRateLimiter(create_redis(settings))
    cache = RedisSharedCache(create_redis(settings))
    try:
        metrics = HubMetrics(settings.places.metrics)
        async with _runtime(settings, bus, jobs, rate_limiter, cache, metrics) as runtime:
            tending = asyncio.create_task(_tend_cache(runtime))
            try:
                yield runtime
            finally:
                tending.cancel()
                await asyncio.gather(tending, return_exceptions=True)
    finally:
        await jobs.close()
        await cache.close()
        await rate_limiter.close()
        await bus.close()


async def _tend_cache(runtime: Runtime) -> None:
    """Keep this machine's local copies within their size, in every process that makes them.

    No job of the worker's: a cache belongs to a machine, and the worker may run on another.
    """
    pause = CACHE_FIRST_TENDED_SECONDS
    while True:
        await asyncio.sleep(pause)
        pause = CACHE_TENDED_EVERY_SECONDS
        try:
            await runtime.git.tend_cache()
        except Exception:
            log.warning("the cache could not be tended", exc_info=True)


@contextlib.asynccontextmanager
async def open_command_runtime(settings: Settings) -> AsyncIterator[Runtime]:
    """The runtime of one command: it needs no Redis, since the sweep finds what it leaves to do."""
    register_jobs()
    async with _runtime(
        settings, MemoryEventBus(), MemoryJobQueue(), MemoryRateLimiter(), MemorySharedCache()
    ) as runtime:
        yield runtime


def create_redis(settings: Settings) -> redis.Redis:
    """A client whose waits are bounded; connections are made when needed."""
    client: redis.Redis = redis.Redis.from_url(
        settings.redis_url.get_secret_value(),
        socket_connect_timeout=REDIS_CONNECT_SECONDS,
        socket_timeout=REDIS_ANSWER_SECONDS,
        health_check_interval=30,
    )
    return client


@contextlib.asynccontextmanager
async def _runtime(
    settings: Settings,
    bus: EventBus,
    jobs: JobQueue,
    rate_limiter: RateLimiter,
    cache: SharedCache,
    metrics: HubMetrics | None = None,
) -> AsyncIterator[Runtime]:
    database = open_database(settings)
    object_store = open_object_store(settings)
    if metrics is not None:
        metrics.watch(database)
        object_store = MeteredObjectStore(object_store, metrics)
    observer = metrics or UnobservedHub()
    passwords = PasswordHasher()
    git = GitStore(database, object_store, settings, observer)
    feed = EventFeed(database, bus)
    try:
        yield Runtime(
            settings=settings,
            database=database,
            object_store=object_store,
            git=git,
            bus=bus,
            feed=feed,
            jobs=jobs,
            rate_limiter=rate_limiter,
            cache=cache,
            passwords=passwords,
            signer=TokenSigner(settings.secret_key.get_secret_value(), settings.web_url),
            observer=observer,
        )
    finally:
        await feed.close()
        passwords.close()
        await git.close()
        await object_store.close()
        await database.close()


def open_database(settings: Settings) -> Database:
    """Raises ConfigurationError; does not connect."""
    try:
        return Database(
            settings.database_url.get_secret_value(), pool_size=settings.database_pool_size
        )
    except (ArgumentError, UnsupportedDatabase) as error:
        # SQLAlchemy's text may repeat the address with its password; ours does not.
        words = str(error) if isinstance(error, UnsupportedDatabase) else "cannot be read as a URL"
        raise ConfigurationError([f"OCH_DATABASE_URL: {words}"]) from None


def open_object_store(settings: Settings) -> ObjectStore:
    """The configured store. Raises ConfigurationError where it cannot serve as ours (K11)."""
    assert settings.storage_url is not None
    try:
        store = create_object_store(settings.storage_url)
    except (InvalidStorageURL, StorageUnavailable) as error:
        raise ConfigurationError([f"OCH_STORAGE_URL: {error}"]) from error
    missing = [
        words
        for promised, words in (
            (store.capabilities.put_if_absent, "write without overwriting"),
            (store.capabilities.consistent_list, "list what was just written"),
        )
        if not promised
    ]
    if missing:
        raise ConfigurationError(
            [f"OCH_STORAGE_URL: this store cannot {' nor '.join(missing)}; choose another"]
        )
    return store
