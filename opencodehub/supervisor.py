"""``och serve``: starts the parts of the hub, each its own process, and ends them together.

The parts hold a lifeline to this process (``lifeline.py``); Redis is bound to it by the kernel
(``bound_exec.py``). So nothing survives it, however it dies.
"""

import asyncio
import contextlib
import dataclasses
import fcntl
import json
import os
import shlex
import shutil
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Any, TextIO

from opencodehub import data_directory, embedded_redis, lifeline
from opencodehub.console import say
from opencodehub.settings import Settings, environment_for

# A hub that was killed needs up to 2 s to end its processes; the next one waits for that.
LOCK_SECONDS = 4.0
MAXIMUM_BACKOFF_SECONDS = 10.0
# A part that lived this long had started well; its next failure is a new story.
STEADY_SECONDS = 60.0
STARTING_ATTEMPTS = 4
# What the parts get on top of the drain time to close their connections.
STOP_MARGIN_SECONDS = 5.0


# Comes when whoever started us (make) has died and wants us to end too; then there is no draining.
ORPHANED = signal.SIGUSR2


class CannotServe(Exception):
    """The hub cannot start; the message is for the operator. Empty: a part has told already."""


@dataclasses.dataclass(slots=True)
class Part:
    """One kind of child. ``command`` None: the same program with ``name`` as its command."""

    name: str
    command: list[str] | None = None
    options: tuple[str, ...] = ()
    process: asyncio.subprocess.Process | None = None
    connection: socket.socket | None = None
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)
    ready: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)


class Supervisor:
    """One per ``och serve``. ``flags`` are the command line's, to be handed on to the parts."""

    def __init__(self, settings: Settings, flags: Mapping[str, Any], out: TextIO) -> None:
        self._settings = settings
        self._environment = environment_for(settings, flags)
        self._out = out
        self._stopping = asyncio.Event()
        self._stop_seconds = settings.drain_seconds + STOP_MARGIN_SECONDS
        self._may_start = False
        self._lock: int | None = None
        self._web, self._sshd = Part("web"), Part("sshd")
        # One process for both spares the memory of another Python with the whole program in it.
        self._worker = Part("worker", options=("--beat",))
        self._redis: Part | None = None
        self._keepers: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Serve until SIGINT, SIGTERM or SIGHUP. Raises CannotServe."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._stop_requested)
        loop.add_signal_handler(ORPHANED, self._orphaned)
        self._lock = await self._take_lock()
        shutil.rmtree(self._settings.places.metrics, ignore_errors=True)
        try:
            await self._until_stopped(self._start())
            if not self._stopping.is_set():
                self._announce()
                await self._until_stopped(self._watch_keepers())
        finally:
            await self._stop()
            os.close(self._lock)

    def _stop_requested(self) -> None:
        if self._stopping.is_set():  # the second time is impatience
            for part in self._parts():
                self._signal(part, signal.SIGKILL)
        self._stopping.set()

    def _orphaned(self) -> None:
        self._stop_seconds = lifeline.ORPHAN_GRACE_SECONDS
        self._stopping.set()

    async def _until_stopped(self, work: Awaitable[None]) -> None:
        """Wait for the work or the request to stop, whichever is first; the other is dropped."""
        task = asyncio.ensure_future(work)
        stop = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
        finally:
            for each in (task, stop):
                each.cancel()
            await asyncio.gather(task, stop, return_exceptions=True)

    async def _take_lock(self) -> int:
        # The parts inherit the open file, so the lock lasts until the last of them is gone: when
        # we have it, their ports, sockets and files are free. A pid in a file could not tell that.
        path = self._settings.places.serve_lock
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return descriptor
            except BlockingIOError:
                if time.monotonic() > deadline or self._stopping.is_set():
                    os.close(descriptor)
                    raise CannotServe(
                        f"another och serve uses {self._settings.data_dir}; "
                        "stop it, or choose another folder with --data-dir"
                    ) from None
            await asyncio.sleep(0.05)

    async def _start(self) -> None:
        """Bring all parts up. The doors load their code while the database is migrated."""
        redis_ready = await self._start_redis()
        for part in (self._web, self._sshd):
            self._keep(part)
        await asyncio.gather(self._migrate(), redis_ready)
        self._may_start = True
        for part in (self._web, self._sshd):
            self._allow_start(part)
        await self._unless_a_keeper_fails(self._web.ready.wait(), self._sshd.ready.wait())
        # It waits until the doors are open, so that it does not take processor time from them.
        self._keep(self._worker)

    async def _start_redis(self) -> Awaitable[None]:
        if not self._settings.has_own_redis:
            return asyncio.sleep(0)
        try:
            server = embedded_redis.find_server()
            path = embedded_redis.prepare_socket(self._settings.places)
        except (embedded_redis.NoRedisServer, data_directory.Unusable, OSError) as error:
            raise CannotServe(str(error)) from error
        self._redis = Part("redis", embedded_redis.command(server, path))
        self._keep(self._redis)
        return self._redis_ready(path)

    async def _redis_ready(self, path: Path) -> None:
        try:
            await self._unless_a_keeper_fails(embedded_redis.wait_until_ready(path))
        except TimeoutError:
            raise CannotServe(
                f"the embedded redis-server does not answer; see {embedded_redis.log_file(path)}"
            ) from None

    async def _migrate(self) -> None:
        part = Part("migrate", options=("--quiet",))
        process = await self._spawn(part)
        self._allow_start(part)
        try:
            if await process.wait() != 0:
                raise CannotServe("")
        finally:
            if process.returncode is None:
                self._signal(part, signal.SIGTERM)
                await process.wait()
            self._hang_up(part)

    async def _unless_a_keeper_fails(self, *waits: Awaitable[Any]) -> None:
        all_done = asyncio.gather(*waits)
        watched: set[asyncio.Future[Any]] = {all_done, *self._keepers}
        try:
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            for keeper in self._keepers:
                if keeper.done():
                    keeper.result()
            await all_done
        finally:
            all_done.cancel()
            await asyncio.gather(all_done, return_exceptions=True)

    async def _watch_keepers(self) -> None:
        await asyncio.gather(*self._keepers)

    def _keep(self, part: Part) -> None:
        self._keepers.append(asyncio.create_task(self._keep_running(part), name=part.name))

    async def _keep_running(self, part: Part) -> None:
        """Start the part again whenever it ends. Raises CannotServe if it never comes up."""
        backoff, attempts = 0.2, 0
        while True:
            began = time.monotonic()
            process = await self._spawn(part)
            if self._may_start:
                self._allow_start(part)
            listening = asyncio.create_task(self._listen(part))
            # When this is cancelled the lifeline stays whole: its end would hurry the part, which
            # has yet to drain.
            try:
                code = await process.wait()
            finally:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)
            self._hang_up(part)
            attempts += 1
            if not self._has_started(part):
                if code == lifeline.EXIT_HOPELESS:
                    raise CannotServe("")
                if attempts == STARTING_ATTEMPTS:
                    raise CannotServe(f"{part.name} ended {attempts} times while starting")
            if time.monotonic() - began > STEADY_SECONDS:
                backoff = 0.2
            say(f"{part.name} ended ({_how_it_ended(code)}); starting it again")
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, MAXIMUM_BACKOFF_SECONDS)
            if part is self._redis:
                embedded_redis.prepare_socket(self._settings.places)

    def _has_started(self, part: Part) -> bool:
        return part.ready.is_set() or (part is self._redis and self._may_start)

    async def _spawn(self, part: Part) -> asyncio.subprocess.Process:
        assert self._lock is not None
        environment, descriptors, theirs = dict(self._environment), [self._lock], None
        command = part.command
        if command is None:
            command = [sys.executable, "-m", "opencodehub", part.name, *part.options]
            part.connection, theirs = socket.socketpair()
            part.connection.setblocking(False)
            descriptors.append(theirs.fileno())
            environment[lifeline.ENVIRONMENT_VARIABLE] = str(theirs.fileno())
        try:
            part.process = await asyncio.create_subprocess_exec(
                *command,
                env=environment,
                pass_fds=descriptors,
                stdin=asyncio.subprocess.DEVNULL,
                # Ctrl-C in a terminal is for this process, which then stops the others in order.
                start_new_session=True,
            )
        finally:
            if theirs is not None:
                theirs.close()
        return part.process

    def _allow_start(self, part: Part) -> None:
        if part.connection is not None:
            with contextlib.suppress(OSError):
                part.connection.send(lifeline.GO)

    def _hang_up(self, part: Part) -> None:
        if part.connection is not None:
            part.connection.close()
            part.connection = None

    async def _listen(self, part: Part) -> None:
        """Take the part's one report. Cancelled when the part ends."""
        if part.connection is None:
            return
        loop, received = asyncio.get_running_loop(), b""
        while not received.endswith(b"\n"):
            piece = await loop.sock_recv(part.connection, 65536)
            if not piece:
                return
            received += piece
        part.facts = json.loads(received)
        part.ready.set()

    def _announce(self) -> None:
        lines = [
            "OpenCodeHub is running.",
            f"  Web  {self._web.facts['address']}",
            f"  SSH  {self._sshd.facts['address']}",
        ]
        if not self._web.facts["has_administrator"]:
            lines += [
                "There is no administrator yet. Make the first one in another terminal:",
                f"  {_own_program()} create-user LOGIN --email EMAIL --site-admin"
                f"{_data_dir_flag(self._settings)}",
            ]
        lines.append("Ctrl-C stops it.")
        print("\n".join(lines), file=self._out, flush=True)

    def _parts(self) -> list[Part]:
        parts = [self._web, self._sshd, self._worker]
        return parts + ([self._redis] if self._redis else [])

    def _signal(self, part: Part, number: int) -> None:
        if part.process is not None and part.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                part.process.send_signal(number)

    async def _stop(self) -> None:
        """End all parts, Redis last; they get the drain time, then are killed."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        # A job that is still queued when Redis goes is found again by the sweep.
        parts = (self._web, self._sshd, self._worker)
        await self._end(parts, self._stop_seconds)
        if self._redis:
            await self._end((self._redis,), STOP_MARGIN_SECONDS)

    async def _end(self, parts: tuple[Part, ...], limit: float) -> None:
        running = {
            asyncio.create_task(part.process.wait()): part
            for part in parts
            if part.process is not None and part.process.returncode is None
        }
        if not running:
            return
        for part in running.values():
            self._signal(part, signal.SIGTERM)
        _, late = await asyncio.wait(running, timeout=limit)
        for task in late:
            part = running[task]
            assert part.process is not None
            lifeline.kill_descendants(part.process.pid)
            self._signal(part, signal.SIGKILL)
        if late:
            await asyncio.wait(late)
        for part in parts:
            self._hang_up(part)


def _how_it_ended(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _own_program() -> str:
    program = Path(sys.argv[0]).absolute()
    with contextlib.suppress(ValueError):
        return shlex.quote(str(program.relative_to(Path.cwd())))
    return shlex.quote(str(program))


def _data_dir_flag(settings: Settings) -> str:
    if settings.data_dir == Path("data").absolute():
        return ""
    return f" --data-dir {shlex.quote(str(settings.data_dir))}"
