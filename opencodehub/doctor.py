"""``och doctor``: looks at everything the hub stands on, and tells a cure for each fault."""

import asyncio
import datetime as dt
import re
import secrets
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TextIO

import redis.exceptions

from gitstore.process import GitNotFound, GitProcesses
from models.database import Database, DatabaseUnavailable
from models.dialect import database_now
from models.migrations import runner
from opencodehub import embedded_redis, wiring
from opencodehub.settings import ConfigurationError, Settings, unknown_variables
from services.errors import ForgeError
from storage_adapters.base import ObjectStore
from storage_adapters.errors import ObjectExists, ObjectNotFound, StorageError

CHECK_SECONDS = 15.0
MINIMUM_GIT = (2, 39)
MINIMUM_REDIS = (6, 2)
MAXIMUM_CLOCK_DIFFERENCE = dt.timedelta(seconds=5)
MINIMUM_FREE_BYTES = 1024**3


class Fault(Exception):
    """Something is wrong; ``cure`` says what to do about it."""

    def __init__(self, words: str, cure: str) -> None:
        super().__init__(words)
        self.cure = cure


async def examine(settings: Settings, out: TextIO) -> int:
    """Print one line a check. Returns the exit code: 1 if there is any fault."""
    checks: list[tuple[str, Callable[[Settings], Awaitable[str]]]] = [
        ("settings", _settings),
        ("database", _database),
        ("migrations", _migrations),
        ("redis", _redis),
        ("storage", _storage),
        ("git", _git),
        ("clock", _clock),
        ("disk", _disk),
    ]
    faults = 0
    for name, check in checks:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                print(f"ok     {name}: {await check(settings)}", file=out, flush=True)
        except Exception as error:
            faults += 1
            fault = as_fault(error)
            print(f"FAULT  {name}: {fault}", file=out)
            print(f"       cure: {fault.cure}", file=out, flush=True)
    return 1 if faults else 0


def as_fault(error: Exception) -> Fault:
    """Say what went wrong in words of ours, with a cure."""
    match error:
        case Fault():
            return error
        case TimeoutError():
            return Fault(
                f"no answer within {CHECK_SECONDS:.0f} seconds", "see whether the server is busy"
            )
        case ConfigurationError():
            return Fault(str(error), "correct the setting; see docs/configuration.md")
        case DatabaseUnavailable():
            return Fault(str(error), "start the database, or correct OCH_DATABASE_URL")
        case StorageError():
            return Fault(str(error), "correct OCH_STORAGE_URL, or the rights of the folder")
        case ForgeError() | runner.UnknownRevision():
            return Fault(str(error), "see the message")
        case _:
            return Fault(f"{type(error).__name__}: {error}", "see the message")


async def _settings(settings: Settings) -> str:
    unknown = unknown_variables()
    if unknown:
        raise Fault("; ".join(unknown), "correct or unset these environment variables")
    if settings.base_url.scheme == "http" and settings.host not in ("127.0.0.1", "::1"):
        raise Fault(
            f"{settings.web_url} sends passwords and tokens in the clear to other machines",
            "serve https: set OCH_TLS_CERT and OCH_TLS_KEY, or see docs/deployment.md, "
            "and set OCH_BASE_URL to the https address",
        )
    return f"{settings.web_url}, data in {settings.data_dir}"


async def _database(settings: Settings) -> str:
    database = wiring.open_database(settings)
    try:
        await database.ping()
        if database.dialect_name == "sqlite":
            return "sqlite (right for one machine; use PostgreSQL for several)"
        return str(database.dialect_name)
    finally:
        await database.close()


async def _migrations(settings: Settings) -> str:
    try:
        await wiring.require_migrated(settings)
    except wiring.MigrationsPending as error:
        raise Fault(str(error).partition(";")[0], "run: och migrate") from error
    except runner.UnknownRevision as error:
        raise Fault(str(error), "run the newer version of OpenCodeHub") from error
    return "up to date"


async def _redis(settings: Settings) -> str:
    if settings.has_own_redis and not settings.places.redis_socket.exists():
        try:
            server = embedded_redis.find_server()
        except embedded_redis.NoRedisServer as error:
            raise Fault(
                "no redis-server was found",
                "install one (Debian: apt-get install redis-server), or set OCH_REDIS_URL",
            ) from error
        return f"och serve will start {server}"
    client = wiring.create_redis(settings)
    try:
        version = str((await client.info("server"))["redis_version"])
    except (redis.exceptions.RedisError, OSError) as error:
        cure = "start it with och serve" if settings.has_own_redis else "correct OCH_REDIS_URL"
        raise Fault(f"does not answer: {error}", f"start Redis, or {cure}") from error
    finally:
        await client.aclose()
    if _numbers(version) < MINIMUM_REDIS:
        raise Fault(f"version {version} is too old", "install Redis 6.2 or newer")
    return f"version {version}"


async def _storage(settings: Settings) -> str:
    store = wiring.open_object_store(settings)
    try:
        await _round_trip(store)
    finally:
        await store.close()
    assert settings.storage_url is not None
    if settings.storage_url.startswith("memory:"):
        raise Fault(
            "objects are kept in memory and lost when the process ends",
            "set OCH_STORAGE_URL to a lasting place such as file:///srv/opencodehub",
        )
    return "wrote, read and deleted an object"


async def _round_trip(store: ObjectStore) -> None:
    key, content = f"doctor/{secrets.token_hex(8)}", secrets.token_bytes(1024)
    cure = "choose another store; this one does not keep its promises"
    try:
        await store.put(key, content)
        if await store.get(key) != content:
            raise Fault("other bytes came back than were written", cure)
        try:
            await store.put_if_absent(key, b"other")
        except ObjectExists:
            pass
        else:
            raise Fault("an object was overwritten that must not be", cure)
    finally:
        await store.delete(key)
    try:
        await store.head(key)
    except ObjectNotFound:
        return
    raise Fault("an object is still there after it was deleted", cure)


async def _git(settings: Settings) -> str:
    try:
        version = await GitProcesses(settings).version()
    except GitNotFound as error:
        raise Fault(str(error).partition(";")[0], f"{str(error).partition('; ')[2]}") from error
    words = "version " + ".".join(map(str, version))
    if version < MINIMUM_GIT:
        raise Fault(f"{words} is too old", "install git 2.39 or newer")
    return f"{words}, with its limits by prlimit"


async def _clock(settings: Settings) -> str:
    database: Database = wiring.open_database(settings)
    try:
        async with database.read() as session:
            theirs = await database_now(session)
    finally:
        await database.close()
    difference = abs(theirs - dt.datetime.now(dt.UTC))
    if difference > MAXIMUM_CLOCK_DIFFERENCE:
        raise Fault(
            f"this machine and the database differ by {difference.total_seconds():.0f} seconds",
            "set both clocks by NTP (Debian: apt-get install chrony)",
        )
    return "agrees with the database's"


async def _disk(settings: Settings) -> str:
    words = []
    for name, folder in (("data", settings.data_dir), ("cache", settings.cache_dir)):
        free = shutil.disk_usage(_existing(folder)).free
        if free < MINIMUM_FREE_BYTES:
            raise Fault(
                f"only {free // 1024**2} MiB are free for {folder}",
                "make room, or move it with "
                + ("OCH_CACHE_DIR or OCH_CACHE_MAX_BYTES" if name == "cache" else "OCH_DATA_DIR"),
            )
        words.append(f"{free // 1024**3} GiB free for {name}")
    return ", ".join(words)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists already."""
    while not folder.exists():
        folder = folder.parent
    return folder


def _numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"(\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2])) if match else (0, 0)
