"""One session: who asks is looked up anew, one git command runs, its status is the end."""

import asyncio
import contextlib
import dataclasses
import secrets
import time
from collections.abc import AsyncIterator

import asyncssh

from gitserve.errors import AnswerCut
from gitserve.streams import ClientGone
from services import access
from services.access import Action
from services.actor import ANONYMOUS, ActorKind
from services.authentication import authenticate_ssh_key
from services.context import OpContext
from services.errors import ForgeError, NotFound, Unavailable
from services.git_access import GitRepository, GitService, open_repository
from services.runtime import Runtime
from sshd import commands
from sshd.commands import GitCommand
from sshd.errors import error_line, line
from sshd.flow_control import ChannelReader, ChannelWriter, GitChannel
from sshd.settings import SSHSettings


@dataclasses.dataclass(slots=True, eq=False)
class Client:
    """What the sessions of one signed-in connection share.

    ``fingerprint`` is of the key that signed. It stands for an identity only at the moment it is
    looked up: each session does so anew. ``writable`` is clear while the connection is congested.
    """

    fingerprint: str
    address: str
    writable: asyncio.Event
    sessions: "set[GitSession]" = dataclasses.field(default_factory=set)
    last_active: float = dataclasses.field(default_factory=time.monotonic)

    def touch(self) -> None:
        self.last_active = time.monotonic()


def new_operation(runtime: Runtime, address: str) -> OpContext:
    """An operation of somebody not yet known."""
    return OpContext(runtime, ANONYMOUS, request_id=secrets.token_hex(8), address=address)


class GitSession(asyncssh.SSHServerSession[bytes]):
    """``running`` holds the tasks of all sessions that began; a push may outlive its client."""

    def __init__(
        self,
        runtime: Runtime,
        settings: SSHSettings,
        client: Client,
        channel: GitChannel,
        running: "dict[asyncio.Task[None], GitSession]",
    ) -> None:
        self._runtime = runtime
        self._settings = settings
        self._client = client
        self._channel = channel
        self._running = running
        self._reader = ChannelReader(channel)
        self._writer = _TouchingWriter(channel, client)
        self._command: str | None = None
        self._task: asyncio.Task[None] | None = None
        self._outlives_client = False
        self._ended_by: ForgeError | ClientGone | None = None
        self._writes_before_end = 0
        client.sessions.add(self)

    # What asyncssh calls. A pty, variables, subsystems (sftp) and signals are refused by default.

    def shell_requested(self) -> bool:
        return True

    def exec_requested(self, command: str) -> bool:
        self._command = command
        return True

    def session_started(self) -> None:
        self._task = asyncio.create_task(self._run())
        self._running[self._task] = self
        self._task.add_done_callback(self._running.pop)

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self._client.touch()
        self._reader.feed(data)

    def eof_received(self) -> bool:
        self._reader.feed_eof()
        return True  # the answer may go on

    def pause_writing(self) -> None:
        self._writer.pause()

    def resume_writing(self) -> None:
        self._writer.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        self._client.sessions.discard(self)
        self._reader.lose()
        self._writer.lose()
        # A fetch may be silent for minutes, so only this tells it that nobody listens any more.
        # A push learns it from its input, and goes on if that is complete.
        if not self._outlives_client:
            self._cancel(ClientGone("the client left"))

    def end(self, reason: ForgeError) -> None:
        """Stop, and tell the client why. A push whose input is complete is carried out first."""
        self._cancel(reason)

    def _cancel(self, reason: ForgeError | ClientGone) -> None:
        if self._task is not None and not self._task.done() and self._ended_by is None:
            self._ended_by = reason
            self._writes_before_end = self._writer.writes
            self._task.cancel()

    async def _run(self) -> None:
        op = new_operation(self._runtime, self._client.address)
        status = 1
        try:
            status = 0 if await self._serve(op) else 1
        except (ClientGone, AnswerCut):
            pass
        except asyncio.CancelledError:
            if self._ended_by is None:
                raise
            if self._writer.writes > self._writes_before_end:
                status = 0  # the input of a push was complete: it went on, and reported
            elif isinstance(self._ended_by, ForgeError):
                self._say(error_line(op, self._ended_by))
        except Exception as error:
            self._say(error_line(op, error))
        finally:
            self._client.touch()
            self._channel.exit(status)

    async def _serve(self, op: OpContext) -> bool:
        """Whether all went well. Raises ForgeError, ClientGone, AnswerCut and the unexpected."""
        fingerprint = self._client.fingerprint
        if self._command is None:
            op = op.acting_as(await authenticate_ssh_key(op, fingerprint))
            self._say(line(await _greeting(op)))
            return False
        async with op.one_snapshot() as shared:
            op = op.acting_as(await authenticate_ssh_key(shared, fingerprint))
            command = commands.parse(self._command)
            repository = await open_repository(
                shared.acting_as(op.actor), command.path, command.service
            )
        self._outlives_client = command.service is GitService.PUSH
        if repository.moved_from and command.service is not GitService.PUSH:
            self._say(line(f"this repository moved; use {repository.name_with_owner} instead"))
        version = self._channel.protocol_version
        async with self._rechecking(op, command, repository):
            return await commands.run(
                op, command.service, repository, self._reader, self._writer, version=version
            )

    @contextlib.asynccontextmanager
    async def _rechecking(
        self, op: OpContext, command: GitCommand, repository: GitRepository
    ) -> AsyncIterator[None]:
        """Look at key and rights again while the block runs: a clone may take an hour (K10)."""

        async def recheck() -> None:
            while True:
                await asyncio.sleep(self._settings.ssh_recheck_seconds)
                try:
                    # This looks at the credential as well, as every judgement of rights does.
                    again = await open_repository(op, command.path, command.service)
                    if again.id != repository.id:
                        raise NotFound("repository not found")
                except Unavailable:
                    continue  # nothing is known; the next look will tell
                except ForgeError as error:
                    self._cancel(error)
                    return

        task = asyncio.create_task(recheck())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _say(self, text: bytes) -> None:
        with contextlib.suppress(OSError):  # nobody is left to read it
            self._channel.write_stderr(text)


class _TouchingWriter(ChannelWriter):
    """Counts output that the client took as activity. ``writes`` is how often that was."""

    def __init__(self, channel: GitChannel, client: Client) -> None:
        super().__init__(channel, client.writable)
        self._client = client
        self.writes = 0

    async def write(self, data: bytes) -> None:
        await super().write(data)
        self.writes += 1
        self._client.touch()


async def _greeting(op: OpContext) -> str:
    """GitHub's words, which tools look for. A deploy key is greeted by its repository's name."""
    name = op.actor.login
    if op.actor.kind is ActorKind.DEPLOY_KEY and op.actor.repository_ids:
        (repository_id,) = op.actor.repository_ids
        async with op.read() as tx:
            repository = await access.get_repository(tx, repository_id, Action.REPOSITORY_READ)
            name = await access.name_with_owner(tx, repository)
    return (
        f"Hi {name}! You've successfully authenticated,"
        " but OpenCodeHub does not provide shell access."
    )
