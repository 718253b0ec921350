"""Web servers as processes of their own on one data folder, which may crash or race.

Each serves git over HTTP with the real parts (``crashing_web``); several may share a database and
an object store, with caches of their own, as on several machines.
"""

import asyncio
import dataclasses
import datetime as dt
import os
import subprocess
import sys
from pathlib import Path

from sqlalchemy import select

from gitstore.maintenance import sweep_uploads, tend_cache
from gitstore.manifest import SUFFIXES_IN_ORDER
from gitstore.settings import GitStoreSettings
from gitstore.store import GitStore
from models import Event, GitPack, PackUpload, Push, RefChange
from models.database import Database
from storage_adapters.local import LocalObjectStore

ROOT = Path(__file__).parents[2]


@dataclasses.dataclass
class Server:
    process: subprocess.Popen[str]
    port: int


class WebServers:
    """One data folder, and servers on it that may crash."""

    def __init__(self, folder: Path, *, database_url: str | None = None) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.database_url = database_url or f"sqlite:///{self.data}/opencodehub.db"
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "OCH_DATA_DIR": str(self.data),
            "OCH_DATABASE_URL": self.database_url,
            # Nothing listens there: pushes must not need Redis.
            "OCH_REDIS_URL": f"unix://{folder}/no-redis.sock",
        }
        self.servers: list[Server] = []
        self.token = ""

    def start(self, spec: str = "-", *, cache: str = "cache") -> Server:
        """A new server; ``spec`` says where it crashes, ``cache`` names its cache folder."""
        with (self.folder / "server.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.crashing_web", spec],
                cwd=self.folder,
                env=self.environment | {"OCH_CACHE_DIR": str(self.data / cache)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (self.folder / "server.log").read_text()[-3000:]
        server = Server(process, int(line))
        self.servers.append(server)
        return server

    def stop(self, server: Server) -> None:
        server.process.terminate()
        server.process.wait()
        assert server.process.stdout is not None
        server.process.stdout.close()
        self.servers.remove(server)

    def died(self, server: Server) -> bool:
        """Whether the server was killed by its crash point; waits for its end."""
        code = server.process.wait(timeout=60)
        assert server.process.stdout is not None
        server.process.stdout.close()
        self.servers.remove(server)
        return code == -9

    def admin(self, *args: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "opencodehub", *args],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    def url(self, server: Server) -> str:
        return f"http://ann:{self.token}@127.0.0.1:{server.port}/ann/demo.git"

    def inspect(self) -> "Leftovers":
        return asyncio.run(self._inspect())

    async def _inspect(self) -> "Leftovers":
        database = Database(self.database_url)
        store = LocalObjectStore(self.data / "storage")
        cache = GitStoreSettings(cache_dir=self.data / "cache")
        try:
            await sweep_uploads(database, store, older_than=dt.timedelta(seconds=-60))
            git = GitStore(database, store, cache)
            for folder in (git.cache.root / "quarantine").glob("*"):
                os.utime(folder, (0, 0))
            await tend_cache(git.cache, database, max_bytes=1 << 40)
            async with database.read() as session:
                packs = (await session.scalars(select(GitPack.storage_key))).all()
                intents = (await session.scalars(select(PackUpload.storage_key))).all()
                pushes = (await session.scalars(select(Push.id))).all()
                changes = (await session.scalars(select(RefChange.new_oid))).all()
                events = await session.scalars(
                    select(Event.payload).where(Event.name == "PushReceived")
                )
                told = [payload["push_id"] for payload in events]
            stored = [info.key async for info in store.list("packs/")]
        finally:
            await store.close()
            await database.close()
        return Leftovers(
            named=sorted(key + suffix for key in packs for suffix in SUFFIXES_IN_ORDER),
            stored=stored,
            intents=list(intents),
            quarantines=[path.name for path in (self.data / "cache" / "quarantine").glob("*")],
            pushes=list(pushes),
            events=told,
            changes=list(changes),
        )


@dataclasses.dataclass
class Leftovers:
    named: list[str]
    stored: list[str]
    intents: list[str]
    quarantines: list[str]
    pushes: list[int]
    events: list[int]
    changes: list[str | None]
