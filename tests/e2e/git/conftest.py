"""Git over HTTP in this process: real uvicorn, real database, real git on both ends."""

import asyncio
import base64
import contextlib
import dataclasses
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import SecretStr

from gitserve.smart_http import GitHTTP
from gitstore.settings import GitStoreSettings
from gitstore.store import GitStore
from models import AccessToken, Collaborator, Repository, User, Visibility
from models.database import Database
from services.bus import MemoryEventBus
from services.event_feed import EventFeed
from services.jobs import MemoryJobQueue
from services.rate_limits import MemoryRateLimiter
from services.runtime import Runtime
from services.settings import ServiceSettings
from services.tokens import TokenSigner, hash_token, new_access_token
from storage_adapters.local import LocalObjectStore
from tests.support.git import CLEAN_ENVIRONMENT, GitRepository
from tests.support.http_server import serving

SECRET = "s" * 32


@pytest.fixture
async def runtime(database: Database, tmp_path: Path) -> AsyncIterator[Runtime]:
    object_store = LocalObjectStore(tmp_path / "storage")
    settings = GitStoreSettings(cache_dir=tmp_path / "cache")
    runtime = Runtime(
        settings=ServiceSettings(secret_key=SecretStr(SECRET)),
        database=database,
        object_store=object_store,
        git=GitStore(database, object_store, settings),
        bus=MemoryEventBus(),
        feed=EventFeed(database, MemoryEventBus()),
        jobs=MemoryJobQueue(),
        rate_limiter=MemoryRateLimiter(),
        passwords=cast(Any, None),
        signer=TokenSigner(SECRET, "http://127.0.0.1"),
    )
    yield runtime
    await runtime.git.close()


@dataclasses.dataclass(frozen=True, slots=True)
class World:
    """Ann owns ``ann/demo`` (public) and ``ann/secret`` (private); Bob reads ``ann/secret``.

    Cyd is a stranger. ``tokens`` are by login.
    """

    runtime: Runtime
    tokens: dict[str, str]
    ids: dict[str, int]


@pytest.fixture
async def world(runtime: Runtime) -> World:
    tokens, ids = {}, {}
    async with runtime.database.write() as session:
        for login in ("ann", "bob", "cyd"):
            user = User(login=login, login_key=login)
            session.add(user)
            await session.flush()
            ids[login] = user.id
            tokens[login] = new_access_token()
            session.add(
                AccessToken(
                    user_id=user.id,
                    name="git",
                    token_hash=hash_token(tokens[login]),
                    token_last_eight=tokens[login][-8:],
                    scopes="repo",
                )
            )
        for name, visibility in (("demo", Visibility.PUBLIC), ("secret", Visibility.PRIVATE)):
            row = Repository(owner_id=ids["ann"], name=name, name_key=name, visibility=visibility)
            session.add(row)
            await session.flush()
            ids[name] = row.id
        session.add(Collaborator(repository_id=ids["secret"], user_id=ids["bob"], role="read"))
    return World(runtime, tokens, ids)


@dataclasses.dataclass(frozen=True, slots=True)
class Completed:
    returncode: int
    stdout: str
    stderr: str


class Client:
    """Runs git without blocking the event loop, which the server shares."""

    def __init__(self, port: int, folder: Path, tokens: dict[str, str]) -> None:
        self.port = port
        self.folder = folder
        self._tokens = tokens

    def url(self, path: str, login: str | None = None) -> str:
        """With the login's token; without one for anonymous."""
        credentials = f"x-access-token:{self._tokens[login]}@" if login else ""
        return f"http://{credentials}127.0.0.1:{self.port}/{path}"

    def basic(self, login: str) -> str:
        """The value of an Authorization header."""
        pair = f"{login}:{self._tokens[login]}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"

    async def run(self, *args: str, cwd: Path | None = None, **environment: str) -> Completed:
        """Run git, whatever its outcome."""
        process = await asyncio.create_subprocess_exec(
            "git",
            *args,
            cwd=cwd or self.folder,
            env=CLEAN_ENVIRONMENT | environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            stdout, stderr = await process.communicate()
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.communicate()
            raise
        assert process.returncode is not None
        return Completed(process.returncode, stdout.decode(), stderr.decode("utf-8", "replace"))

    async def git(self, *args: str, cwd: Path | None = None, **environment: str) -> str:
        """Run git and return its output; fails the test if git fails."""
        done = await self.run(*args, cwd=cwd, **environment)
        assert done.returncode == 0, done.stderr
        return done.stdout.rstrip("\n")

    async def clone(self, *args: str, url: str, name: str = "clone") -> GitRepository:
        """Clone and check every object that came."""
        path = self.folder / name
        await self.git(*args, "clone", "--quiet", url, str(path))
        return await self.checked(path)

    async def checked(self, path: Path) -> GitRepository:
        done = await self.run("fsck", "--full", "--strict", cwd=path)
        assert (done.returncode, done.stdout) == (0, ""), done
        return GitRepository(path)

    async def request(self, head: str, body: bytes = b"") -> "Response":
        """One request, given without ``host``; its answer to the connection's end."""
        lines = [head, "host: 127.0.0.1", "connection: close", "", ""]
        return Response.parse(await self.raw("\r\n".join(lines).encode() + body))

    async def raw(self, data: bytes) -> bytes:
        """Send bytes as they are and return all that comes back."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        answer = b""
        try:
            # The server may close before it has read everything.
            with contextlib.suppress(ConnectionError):
                while piece := await reader.read(1 << 16):
                    answer += piece
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        return answer

    async def post(
        self, path: str, service: str, body: bytes, *headers: str, login: str | None = None
    ) -> "Response":
        lines = [
            f"POST /{path}/{service} HTTP/1.1",
            f"content-type: application/x-{service}-request",
            f"content-length: {len(body)}",
            *headers,
        ]
        if login:
            lines.append(f"authorization: {self.basic(login)}")
        return await self.request("\r\n".join(lines), body)


@dataclasses.dataclass(frozen=True, slots=True)
class Response:
    """``complete``: the body has its proper end. ``body`` is freed of chunks."""

    status: int
    headers: dict[str, str]
    body: bytes
    complete: bool

    @classmethod
    def parse(cls, data: bytes) -> "Response":
        head, _, rest = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        if headers.get("transfer-encoding") != "chunked":
            complete = len(rest) == int(headers.get("content-length", 0))
            return cls(int(first.split()[1]), headers, rest, complete)
        body = b""
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            count = int(size, 16)
            body += rest[:count]
            rest = rest[count + 2 :]
            if count == 0:
                return cls(int(first.split()[1]), headers, body, True)
        return cls(int(first.split()[1]), headers, body, False)


@pytest.fixture
def application(world: World) -> GitHTTP:
    return GitHTTP(world.runtime)


@pytest.fixture
async def client(world: World, application: GitHTTP, tmp_path: Path) -> AsyncIterator[Client]:
    async def routed(scope: Any, receive: Any, send: Any) -> None:
        assert application.matches(scope), scope["path"]
        await application(scope, receive, send)

    folder = tmp_path / "work"
    folder.mkdir()
    async with serving(routed) as port:
        yield Client(port, folder, world.tokens)


@pytest.fixture
async def history(client: Client, tmp_path: Path) -> GitRepository:
    """Ten commits, a branch, a merge, a plain and an annotated tag, in both repositories."""
    source = GitRepository.create(tmp_path / "source")
    for number in range(8):
        source.environment["GIT_COMMITTER_DATE"] = f"{1700000000 + number * 86400} +0000"
        source.commit(f"change {number}", files={f"file{number}.txt": f"{number}\n" * 100})
    source.git("tag", "v0.1", "HEAD~5")
    source.git("checkout", "--quiet", "-b", "topic", "HEAD~2")
    source.environment["GIT_COMMITTER_DATE"] = "1701000000 +0000"
    source.commit("topic", files={"docs/topic.txt": "topic\n"})
    source.git("checkout", "--quiet", "main")
    source.git("merge", "--quiet", "--no-ff", "-m", "merge topic", "topic")
    source.git("tag", "-a", "v1.0", "-m", "release 1.0")
    for name in ("demo", "secret"):
        url = client.url(f"ann/{name}.git", "ann")
        await client.git("push", "--quiet", "--mirror", url, cwd=source.path)
    return source
