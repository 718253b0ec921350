"""A ``Runtime`` of memory parts around a real database and real git."""

import tempfile
from pathlib import Path

import argon2
from pydantic import SecretStr

from gitstore.settings import GitStoreSettings
from gitstore.store import GitStore
from models.database import Database
from services import dispatch, git_maintenance, last_commits  # noqa: F401  # They register jobs.
from services.actor import ANONYMOUS, OPERATOR, Actor
from services.bus import MemoryEventBus
from services.context import OpContext
from services.event_feed import EventFeed
from services.jobs import MemoryJobQueue
from services.mail import Mailer, NoMailer
from services.password_hashing import PasswordHasher
from services.rate_limits import MemoryRateLimiter
from services.runtime import Runtime
from services.settings import ServiceSettings
from services.tokens import TokenSigner
from storage_adapters.base import ObjectStore
from storage_adapters.memory import MemoryObjectStore

SECRET_KEY = "a secret key of tests, 32 or more characters"
# The real algorithm with as little work as it allows.
WEAK_HASHING = argon2.Parameters(
    type=argon2.Type.ID,
    version=19,
    salt_len=16,
    hash_len=32,
    time_cost=1,
    memory_cost=8,
    parallelism=1,
)


def make_runtime(
    database: Database,
    *,
    settings: ServiceSettings | None = None,
    object_store: ObjectStore | None = None,
    cache_dir: Path | None = None,
    mailer: Mailer | None = None,
) -> Runtime:
    """Parts are passed in or made here; the caller closes the database."""
    settings = settings or ServiceSettings(secret_key=SecretStr(SECRET_KEY))
    store = object_store or MemoryObjectStore()
    if cache_dir is None:
        cache_dir = _beside(database)
    bus = MemoryEventBus()
    return Runtime(
        settings=settings,
        database=database,
        object_store=store,
        git=GitStore(database, store, GitStoreSettings(cache_dir=cache_dir)),
        bus=bus,
        feed=EventFeed(database, bus),
        jobs=MemoryJobQueue(),
        rate_limiter=MemoryRateLimiter(),
        passwords=PasswordHasher(parameters=WEAK_HASHING),
        signer=TokenSigner(settings.secret_key.get_secret_value(), settings.web_url),
        mailer=mailer or NoMailer(),
    )


def make_op(
    runtime: Runtime, actor: Actor = ANONYMOUS, *, address: str | None = "192.0.2.1"
) -> OpContext:
    """One request of this actor."""
    return OpContext(runtime, actor, request_id="test-request", address=address)


def operator(runtime: Runtime) -> OpContext:
    """A command on the server itself, which may do everything."""
    return make_op(runtime, OPERATOR, address=None)


def _beside(database: Database) -> Path:
    """A folder in the test's own place where the database has one, else one of its own."""
    if database.dialect_name == "sqlite" and database.url.database:
        return Path(database.url.database).parent / "cache"
    return Path(tempfile.mkdtemp(prefix="och-test-cache-"))
