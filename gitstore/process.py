"""The one place that starts ``git``: safe arguments, an environment from scratch, limits, an end.

A child runs in its own session, under ``prlimit``, and its whole process group is killed when the
block that started it is left, however that happens. User text never reaches argv: callers pass
constants and object ids, paths only after ``--`` and below MAX_PATH_BYTES, and ref names only on
standard input.
"""

import asyncio
import contextlib
import dataclasses
import fcntl
import os
import shutil
import signal
import time
from asyncio.subprocess import SubprocessStreamProtocol
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from gitstore.errors import GitFailed, GitTimedOut
from gitstore.observer import GitObserver, Unobserved
from gitstore.queues import Place, Queues, Size, step_back
from gitstore.settings import GitStoreSettings

PIPE_READ_BYTES = 256 * 1024
GATHER_SECONDS = 0.0005
LARGE_PIPE_BYTES = 1024 * 1024
STDERR_TAIL_BYTES = 64 * 1024
# A longer path within a repository is not handed to git: the system bounds arguments (execve(2)).
MAX_PATH_BYTES = 4096
_FALLBACK_PATH = "/usr/local/bin:/usr/bin:/bin"


class GitNotFound(RuntimeError):
    """No ``git`` or no ``prlimit`` on PATH."""


@dataclasses.dataclass(frozen=True, slots=True)
class Completed:
    returncode: int
    stdout: bytes
    stderr: str


class GitChild:
    """A running git. ``stderr`` is a stream only if asked for; else it is kept for the log."""

    def __init__(
        self,
        command: str,
        process: asyncio.subprocess.Process,
        place: Place,
        transport: asyncio.SubprocessTransport,
    ) -> None:
        self.command = command
        self.process = process
        self._place = place
        self._transport = transport
        self.timed_out = False
        self._tail = bytearray()

    @property
    def stdin(self) -> asyncio.StreamWriter:
        assert self.process.stdin is not None
        return self.process.stdin

    @property
    def stdout(self) -> asyncio.StreamReader:
        assert self.process.stdout is not None
        return self.process.stdout

    @property
    def stderr(self) -> asyncio.StreamReader:
        assert self.process.stderr is not None
        return self.process.stderr

    @property
    def stderr_tail(self) -> str:
        return self._tail.decode("utf-8", "replace")

    def feed(self, data: bytes) -> "asyncio.Task[None]":
        """Write all of standard input beside the caller, who cancels the task at the end."""
        return asyncio.create_task(_feed(self, data))

    def keep_stderr(self, data: bytes) -> None:
        self._tail += data
        del self._tail[:-STDERR_TAIL_BYTES]

    async def wait(self) -> int:
        """The exit status. Read standard output to its end first."""
        return await self.process.wait()

    async def grow(self) -> None:
        """Say that this child moves more than a short one does: it changes queues, which may wait.

        To be called between two reads or writes of its pipes.
        """
        if self._place.size is Size.SMALL:
            await self._place.grow()
            self.settle_as_large()

    def settle_as_large(self) -> None:
        """Let others go first, and move more bytes at a time."""
        step_back(self.process.pid)
        for number in (0, 1):
            if pipe := self._transport.get_pipe_transport(number):
                _widen(pipe.get_extra_info("pipe"))

    async def let_output_gather(self) -> None:
        """Wait a moment in which the output stays in the pipe.

        A child that writes a little at a time would otherwise wake us each time, which takes more
        of the processor than the bytes do. Where the stream has itself stopped reading, since its
        buffer is full, nothing is done: to resume would fill the buffer without bound.
        """
        pipe = self._transport.get_pipe_transport(1)
        if isinstance(pipe, asyncio.ReadTransport) and pipe.is_reading():
            pipe.pause_reading()
            try:
                await asyncio.sleep(GATHER_SECONDS)
            finally:
                pipe.resume_reading()

    @property
    def size(self) -> Size:
        return self._place.size

    @property
    def outcome(self) -> str:
        """How it ended, in the words of ``GitObserver``; ``killed`` while it runs."""
        if self.timed_out:
            return "timed_out"
        code = self.process.returncode
        if code is None or code == -signal.SIGKILL:
            return "killed"
        return "failed" if code else "ok"

    def failure(self) -> GitFailed:
        kind = GitTimedOut if self.timed_out else GitFailed
        return kind(self.command, self.process.returncode or 0, self.stderr_tail)

    def kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)


class GitProcesses:
    """Starts git children for one event loop. Raises GitNotFound at once when git is missing."""

    def __init__(self, settings: GitStoreSettings, observer: GitObserver | None = None) -> None:
        git, prlimit = shutil.which("git"), shutil.which("prlimit")
        if git is None:
            raise GitNotFound("git is not installed; install the package git")
        if prlimit is None:
            raise GitNotFound("prlimit is not installed; install the package util-linux")
        self._git = git
        self._prlimit = [
            prlimit,
            f"--data={settings.git_data_bytes}",
            f"--cpu={settings.git_cpu_seconds}",
            "--core=0",
            "--",
        ]
        self._wall_seconds = settings.git_wall_seconds
        self.threads = settings.git_threads
        self._observer = observer or Unobserved()
        self._queues = Queues(settings, self._observer)

    def environment(self, git_dir: Path | None, protocol_version: int | None) -> dict[str, str]:
        """What a child sees: nothing of ours, no configuration but the repository's own."""
        environment = {
            "PATH": f"{Path(self._git).parent}:{_FALLBACK_PATH}",
            "LC_ALL": "C.UTF-8",
            "HOME": "/nonexistent",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ALLOW_PROTOCOL": "none",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_ADVICE": "0",
        }
        if git_dir is not None:
            environment["GIT_DIR"] = str(git_dir)
        if protocol_version:
            environment["GIT_PROTOCOL"] = f"version={protocol_version}"
        return environment

    @contextlib.asynccontextmanager
    async def start(
        self,
        args: Sequence[str],
        *,
        git_dir: Path | None = None,
        stdin: bool = True,
        read_stderr: bool = False,
        protocol_version: int | None = None,
        environment: Mapping[str, str] | None = None,
        size: Size = Size.SMALL,
        wall_seconds: float | None = None,
    ) -> AsyncIterator[GitChild]:
        """Run git for the length of the block; its process group is dead when the block is left.

        Raises QueueFull when too many run already.
        """
        command = next(arg for arg in args if not arg.startswith("-") and "=" not in arg)
        async with self._queues.place(size) as place:
            began = time.monotonic()
            # As asyncio.create_subprocess_exec, which keeps the transport to itself.
            loop = asyncio.get_running_loop()
            transport, protocol = await loop.subprocess_exec(
                lambda: SubprocessStreamProtocol(limit=PIPE_READ_BYTES, loop=loop),
                *self._prlimit,
                self._git,
                *args,
                stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=self.environment(git_dir, protocol_version) | dict(environment or {}),
                cwd="/",
                start_new_session=True,
            )
            process = asyncio.subprocess.Process(transport, protocol, loop)
            child = GitChild(command, process, place, transport)
            if size is Size.LARGE:
                child.settle_as_large()
            collector = None if read_stderr else asyncio.create_task(_collect_stderr(child))
            watchdog = asyncio.get_running_loop().call_later(
                wall_seconds or self._wall_seconds, _time_out, child
            )
            try:
                yield child
            finally:
                watchdog.cancel()
                outcome = child.outcome
                child.kill_group()
                # Shielded: a cancelled caller must not leave a zombie or an open pipe behind.
                await asyncio.shield(_bury(child, collector))
                self._observer.child_ended(
                    command, child.size.value, time.monotonic() - began, outcome
                )

    async def run(
        self,
        args: Sequence[str],
        *,
        git_dir: Path | None = None,
        stdin: bytes | None = None,
        environment: Mapping[str, str] | None = None,
        size: Size = Size.SMALL,
        accept: Sequence[int] = (0,),
    ) -> Completed:
        """Run git to its end. For answers that fit in memory. Raises GitFailed, GitTimedOut."""
        async with self.start(
            args, git_dir=git_dir, stdin=stdin is not None, environment=environment, size=size
        ) as child:
            feeder = None
            if stdin is not None:
                feeder = child.feed(stdin)
            try:
                stdout = await child.stdout.read()
                returncode = await child.wait()
            finally:
                if feeder is not None:
                    feeder.cancel()
        if returncode not in accept:
            raise child.failure()
        return Completed(returncode, stdout, child.stderr_tail)

    async def version(self) -> tuple[int, ...]:
        """Git's version as numbers, for instance (2, 39, 5)."""
        completed = await self.run(["version"])
        words = completed.stdout.decode().split()
        return tuple(int(part) for part in words[2].split(".")[:3] if part.isdigit())


def _widen(pipe: IO[bytes]) -> None:
    """Linux gives a pipe 64 KiB: for each, both ends take turns, which costs as much as the bytes.

    It may be refused, to a user who has many of them (pipe(7)), and a pipe may be closed already.
    """
    with contextlib.suppress(OSError, ValueError):
        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, LARGE_PIPE_BYTES)


def _time_out(child: GitChild) -> None:
    child.timed_out = True
    child.kill_group()


async def _feed(child: GitChild, data: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        child.stdin.write(data)
        await child.stdin.drain()
    child.stdin.close()


async def _collect_stderr(child: GitChild) -> None:
    while data := await child.stderr.read(PIPE_READ_BYTES):
        child.keep_stderr(data)


async def _bury(child: GitChild, collector: asyncio.Task[None] | None) -> None:
    if child.process.stdin is not None:
        child.process.stdin.close()
    # asyncio may report the end only once the pipes are closed, and a paused pipe never closes.
    while await child.stdout.read(PIPE_READ_BYTES):
        pass
    if collector is not None:
        await collector
    else:
        while await child.stderr.read(PIPE_READ_BYTES):
            pass
    await child.process.wait()
