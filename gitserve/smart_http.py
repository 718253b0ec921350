"""Git over HTTP: ``info/refs``, ``git-upload-pack`` and ``git-receive-pack``, and nothing else.

A raw ASGI application beside the hub's other routes. The route alone decides which right a request
needs. Clients show our text only for failing ``info/refs`` and within a 200 answer, so everything
that is refused later is told in git's own packets.
"""

import asyncio
import dataclasses
import enum
import re
import urllib.parse
import uuid

from gitserve.errors import (
    HTTP_STATUS,
    AnswerCut,
    judge,
    text_for,
)
from gitserve.fetch import advertise_upload_pack, serve_upload_pack
from gitserve.http_exchange import (
    FETCH_BODY_IDLE_SECONDS,
    FETCH_BODY_SECONDS,
    ClientTooSlow,
    Message,
    Receive,
    RequestBody,
    Response,
    Send,
    send_text,
)
from gitserve.pktline import ProtocolError, Special, encode
from gitserve.receive import advertise_receive, refuse_push, serve_receive_pack
from gitserve.streams import ClientGone
from services.actor import ANONYMOUS
from services.authentication import authenticate_authorization
from services.context import OpContext
from services.errors import ErrorCode, Forbidden, ForgeError, NotFound, Unavailable
from services.git_access import GitRepository, GitService, open_repository
from services.push_records import Door
from services.runtime import Runtime

RETRY_AFTER_SECONDS = 5
CHALLENGE = (b"www-authenticate", b'Basic realm="OpenCodeHub"')
NO_CREDENTIALS = "authentication required"
_NO_CACHE = (
    (b"expires", b"Fri, 01 Jan 1980 00:00:00 GMT"),
    (b"pragma", b"no-cache"),
    (b"cache-control", b"no-cache, max-age=0, must-revalidate"),
)
_PROBE = Special.FLUSH.value
_PATH = re.compile(r"/(?P<repository>[^/]+/[^/]+)/(?P<endpoint>info/refs|git-[a-z-]+-pack)")
_TOO_SLOW = "the request's body came too slowly"
_DUMB = "dumb HTTP is not supported; use a smart git client"
# How soon a fetch that is still running ends when the right to it does (K10).
RECHECK_SECONDS = 30


class _Endpoint(enum.Enum):
    INFO_REFS = "info/refs"
    UPLOAD_PACK = "git-upload-pack"
    RECEIVE_PACK = "git-receive-pack"


@dataclasses.dataclass(frozen=True, slots=True)
class _Route:
    repository: str
    endpoint: _Endpoint

    @property
    def method(self) -> str:
        return "GET" if self.endpoint is _Endpoint.INFO_REFS else "POST"


class _Refused(Exception):
    """The request is wrong as HTTP, whoever asks and whatever for."""

    def __init__(self, status: int, text: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = headers


def _parse_route(path: str) -> _Route | None:
    match = _PATH.fullmatch(path)
    if match is None or match["endpoint"] not in {each.value for each in _Endpoint}:
        return None
    return _Route(match["repository"], _Endpoint(match["endpoint"]))


class GitHTTP:
    """The application. Route a request here where ``matches`` says so, whatever its method.

    Takes the request id from ``scope["state"]["request_id"]`` (and makes one where there is none)
    and the address from ``scope["client"]``, which must be freed of proxies. ``drain`` at shutdown.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._pushes: set[asyncio.Task[None]] = set()
        self._draining = False

    def matches(self, scope: Message) -> bool:
        """Whether the path is one of git's."""
        return scope["type"] == "http" and _parse_route(scope["path"]) is not None

    async def drain(self, timeout: float) -> int:
        """Refuse new pushes and let the running ones finish, for at most ``timeout`` seconds.

        Returns how many are still running.
        """
        self._draining = True
        if not self._pushes:
            return 0
        _, running = await asyncio.wait(self._pushes, timeout=timeout)
        return len(running)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        route = _parse_route(scope["path"])
        assert route is not None, "only what matches is routed here"
        exchange = _Exchange(self, self._context(scope), route, scope, receive, send)
        await exchange.run()

    def _context(self, scope: Message) -> OpContext:
        state = scope.get("state") or {}
        client = scope.get("client")
        return OpContext(
            runtime=self._runtime,
            actor=ANONYMOUS,
            request_id=state.get("request_id") or uuid.uuid4().hex,
            address=client[0] if client else None,
        )

    async def run_push(self, work: "asyncio.Task[None]") -> None:
        """Wait for a push, which goes on to its end even if this wait is cancelled."""
        self._pushes.add(work)
        work.add_done_callback(self._end_push)
        await asyncio.shield(work)

    def _end_push(self, work: "asyncio.Task[None]") -> None:
        self._pushes.discard(work)
        if not work.cancelled():
            work.exception()  # nobody else may be left to take notice of it

    @property
    def running_pushes(self) -> int:
        return len(self._pushes)

    @property
    def draining(self) -> bool:
        return self._draining


class _Exchange:
    """One request."""

    def __init__(
        self,
        app: GitHTTP,
        op: OpContext,
        route: _Route,
        scope: Message,
        receive: Receive,
        send: Send,
    ) -> None:
        self.app = app
        self.op = op
        self.route = route
        self.scope = scope
        self.receive = receive
        self.send = send
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.body: RequestBody | None = None
        self.response: Response | None = None
        self.is_identified = False

    async def run(self) -> None:
        try:
            await self._serve()
        except ClientGone as error:
            self.op.log.info("git client gone", reason=str(error))
            if isinstance(error, ClientTooSlow) and not (self.response and self.response.started):
                # Nothing more of its body is wanted, and the connection cannot be used again.
                self.body = None
                await self._send_error(408, _TOO_SLOW, (b"connection", b"close"))
        except AnswerCut:
            pass  # logged where it happened; not finishing the answer is what cuts it off
        except _Refused as refusal:
            await self._send_error(refusal.status, refusal.text, *refusal.headers)
        except Exception as error:
            if self.response is not None and self.response.started:
                judge(self.op, error)
                return
            await self._send_forge_error(judge(self.op, error))

    async def _serve(self) -> None:
        if self.scope["method"] != self.route.method:
            allow = (b"allow", self.route.method.encode())
            raise _Refused(405, f"{self.route.endpoint.value} answers {self.route.method}", allow)
        service = self._service()
        if self.route.endpoint is _Endpoint.INFO_REFS:
            await self._advertise(service)
            return
        self._open_body(service)
        await self._serve_post(service)

    def _service(self) -> GitService:
        """The service that the route stands for. A query that says something else is refused."""
        query = self.scope["query_string"].decode("latin-1")
        given = urllib.parse.parse_qs(query, keep_blank_values=True).get("service", [])
        known = {each.value: each for each in (GitService.FETCH, GitService.PUSH)}
        if self.route.endpoint is not _Endpoint.INFO_REFS:
            if given not in ([], [self.route.endpoint.value]):
                raise _Refused(400, "the query names another service than the path")
            return known[self.route.endpoint.value]
        if not given:
            raise _Refused(403, _DUMB)
        if len(given) != 1 or given[0] not in known:
            raise _Refused(403, "the service is not git-upload-pack or git-receive-pack")
        return known[given[0]]

    def _open_body(self, service: GitService) -> None:
        expected = f"application/x-{service.value}-request".encode()
        content_type = self.headers.get(b"content-type", b"").partition(b";")[0].strip()
        if content_type.lower() != expected:
            raise _Refused(415, f"the content type is not {expected.decode()}")
        encoding = self.headers.get(b"content-encoding", b"identity").strip().lower()
        if encoding not in (b"identity", b"gzip", b"x-gzip"):
            raise _Refused(415, "the content encoding is not gzip")
        gzipped = encoding != b"identity"
        if service is GitService.PUSH:
            self.body = RequestBody(self.receive, gzipped=gzipped)
        else:
            self.body = RequestBody(
                self.receive,
                gzipped=gzipped,
                idle_seconds=FETCH_BODY_IDLE_SECONDS,
                seconds=FETCH_BODY_SECONDS,
            )

    async def _open(self, service: GitService) -> GitRepository:
        """Find out who asks, then open the repository; ``is_identified`` tells how far it came.

        Raises Unauthenticated for a credential that is wrong, even where none is needed, and as
        ``open_repository``.
        """
        header = self.headers.get(b"authorization")
        text = None if header is None else header.decode("latin-1")
        async with self.op.one_snapshot() as op:
            actor = await authenticate_authorization(op, text)
            self.op = self.op.acting_as(actor)
            self.is_identified = True
            return await open_repository(op.acting_as(actor), self.route.repository, service)

    @property
    def version(self) -> int:
        match = re.fullmatch(rb"version=([012])", self.headers.get(b"git-protocol", b""))
        return int(match[1]) if match else 0

    def _respond(self, content_type: str) -> Response:
        headers = [(b"content-type", content_type.encode()), *_NO_CACHE]
        self.response = Response(self.send, self.body, headers)
        return self.response

    async def _advertise(self, service: GitService) -> None:
        repository = await self._open(service)
        response = self._respond(f"application/x-{service.value}-advertisement")
        if service is GitService.PUSH:
            self._refuse_when_draining()
            _, refs = await advertise_receive(self.op, repository)
            await response.write(_service_header(service) + refs)
        elif self.version == 2:
            await advertise_upload_pack(self.op, repository, response, version=2, door=Door.HTTP)
        else:
            headed = _Headed(response, _service_header(service))
            await advertise_upload_pack(
                self.op, repository, headed, version=self.version, door=Door.HTTP
            )
        await response.finish()

    def _refuse_when_draining(self) -> None:
        if self.app.draining:
            raise Unavailable("the server is about to stop; push again in a moment")

    async def _serve_post(self, service: GitService) -> None:
        assert self.body is not None
        response = self._respond(f"application/x-{service.value}-result")
        try:
            repository = await self._open(service)
            if service is GitService.PUSH:
                self._refuse_when_draining()
        except ForgeError as error:
            if self._asks_for_credentials(error):
                raise
            if not self.is_identified and not isinstance(error, Unavailable):
                raise  # about the credential, whatever it was to be used for
            await self._refuse_in_packets(service, judge(self.op, error), response)
            return
        if await self._is_probe():
            await response.finish()
        elif service is GitService.PUSH:
            push = self._push(repository, self.body, response)
            await self.app.run_push(asyncio.create_task(push))
        else:
            await self._fetch(repository, self.body, response)

    async def _fetch(
        self, repository: GitRepository, body: RequestBody, response: Response
    ) -> None:
        work = asyncio.create_task(
            serve_upload_pack(
                self.op,
                repository,
                body,
                response,
                version=self.version,
                stateless=True,
                door=Door.HTTP,
            )
        )
        others = [
            asyncio.create_task(body.disconnected()),
            asyncio.create_task(self._right_ended(repository)),
        ]
        try:
            await asyncio.wait({work, *others}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise ClientGone("the client left, or its right to read ended")
            await work
        finally:
            for task in (work, *others):
                task.cancel()
            await asyncio.gather(work, *others, return_exceptions=True)
        await response.finish()

    async def _right_ended(self, repository: GitRepository) -> None:
        """Returns when this client may no longer read the repository: a clone may take an hour."""
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            try:
                again = await open_repository(self.op, self.route.repository, GitService.FETCH)
            except Unavailable:
                continue  # nothing is known; the next look will tell
            except ForgeError:
                return
            if again.id != repository.id:
                return

    async def _push(self, repository: GitRepository, body: RequestBody, response: Response) -> None:
        await serve_receive_pack(self.op, repository, body, response, door=Door.HTTP)
        await response.finish()

    async def _refuse_in_packets(
        self, service: GitService, error: ForgeError, response: Response
    ) -> None:
        assert self.body is not None
        if not await self._is_probe():
            text = text_for(self.op, error)
            if service is GitService.PUSH:
                await refuse_push(self.body, response, text)
            else:
                await response.write(encode(f"ERR {text}".encode()))
        await response.finish()

    async def _is_probe(self) -> bool:
        """Before a chunked body git sends a flush packet alone, to ask whether it may."""
        assert self.body is not None
        try:
            return await self.body.peek(len(_PROBE) + 1) == _PROBE
        except ProtocolError:
            return False  # whoever reads the body meets the same error and tells it

    def _asks_for_credentials(self, error: ForgeError) -> bool:
        """Whether somebody else might be allowed: then git is to ask its user who that is."""
        return error.code is ErrorCode.UNAUTHENTICATED or (
            b"authorization" not in self.headers and isinstance(error, NotFound | Forbidden)
        )

    async def _send_forge_error(self, error: ForgeError) -> None:
        if self._asks_for_credentials(error):
            # One text for what is private, what does not exist and what is not writable (K9).
            given = b"authorization" in self.headers
            await self._send_error(401, error.message if given else NO_CREDENTIALS, CHALLENGE)
            return
        headers = []
        if error.code in (ErrorCode.RATE_LIMITED, ErrorCode.UNAVAILABLE):
            seconds = error.details.get("retry_after", RETRY_AFTER_SECONDS)
            headers.append((b"retry-after", str(seconds).encode()))
        await self._send_error(HTTP_STATUS[error.code], error.message, *headers)

    async def _send_error(self, status: int, text: str, *headers: tuple[bytes, bytes]) -> None:
        text = f"{text} (request {self.op.request_id})"
        await send_text(self.send, status, text, (*headers, *_NO_CACHE), body=self.body)


class _Headed:
    """Puts the service header before the first byte, and not before it is known to come."""

    def __init__(self, response: Response, header: bytes) -> None:
        self._response = response
        self._header = header

    async def write(self, data: bytes) -> None:
        data, self._header = self._header + data, b""
        await self._response.write(data)


def _service_header(service: GitService) -> bytes:
    return encode(f"# service={service.value}\n".encode()) + Special.FLUSH.value
