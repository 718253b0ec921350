"""The parts a running hub is made of, handed to every operation explicitly."""

import dataclasses

from gitstore.store import GitStore
from models.database import Database
from services.bus import EventBus
from services.event_feed import EventFeed
from services.jobs import JobQueue
from services.mail import Mailer, NoMailer
from services.observer import HubObserver, UnobservedHub
from services.password_hashing import PasswordHasher
from services.rate_limits import RateLimiter
from services.settings import ServiceSettings
from services.shared_cache import MemorySharedCache, SharedCache
from services.tokens import TokenSigner
from storage_adapters.base import ObjectStore


@dataclasses.dataclass(frozen=True, slots=True)
class Runtime:
    """Built once per process by ``opencodehub.wiring``; tests build one with memory parts."""

    settings: ServiceSettings
    database: Database
    object_store: ObjectStore
    git: GitStore
    bus: EventBus
    feed: EventFeed
    jobs: JobQueue
    rate_limiter: RateLimiter
    passwords: PasswordHasher
    signer: TokenSigner
    cache: SharedCache = dataclasses.field(default_factory=MemorySharedCache)
    mailer: Mailer = dataclasses.field(default_factory=NoMailer)
    observer: HubObserver = dataclasses.field(default_factory=UnobservedHub)
