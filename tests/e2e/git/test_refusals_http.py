"""Who is refused what over HTTP, in which words, and what malformed requests are told."""

import re
from collections.abc import Sequence

import pytest
from sqlalchemy import select

from gitserve.pktline import Special, encode
from models import AccessToken, Collaborator, Repository
from models.base import utc_now
from services.tokens import new_access_token
from tests.e2e.git.conftest import Client, World
from tests.support.git import GitRepository
from tests.support.hostile import gzip_bomb

FLUSH, DELIMITER = Special.FLUSH.value, Special.DELIMITER.value
CREDENTIALS = (
    "fatal: could not read Username for 'http://127.0.0.1:PORT': terminal prompts disabled\n"
)
NOT_FOUND = (
    "remote: repository not found (request ID)\n"
    "fatal: repository 'http://127.0.0.1:PORT/PATH/' not found\n"
)
NEEDS_WRITE = (
    "remote: you need the write role on ann/NAME for this; yours is read (request ID)\n"
    "fatal: unable to access 'http://127.0.0.1:PORT/PATH/': The requested URL returned error: 403\n"
)


def told(text: str, client: Client, path: str = "") -> str:
    """The text with what differs between runs replaced."""
    text = re.sub(r"\(request [0-9a-f]{32}\)", "(request ID)", text)
    text = text.replace(f"127.0.0.1:{client.port}", "127.0.0.1:PORT")
    return text.replace(f"{path}/'", "PATH/'") if path else text


def lines(*texts: str) -> bytes:
    return b"".join(encode(f"{text}\n".encode()) for text in texts)


@pytest.mark.parametrize(
    ("login", "path", "refusal"),
    [
        (None, "ann/demo", None),
        (None, "ann/secret", CREDENTIALS),
        (None, "ann/missing", CREDENTIALS),
        (None, "nobody/demo", CREDENTIALS),
        ("ann", "ann/secret", None),
        ("bob", "ann/secret", None),
        ("cyd", "ann/demo", None),
        ("cyd", "ann/secret", NOT_FOUND),
        ("cyd", "ann/missing", NOT_FOUND),
        ("cyd", "ann/a%00b", NOT_FOUND),
        ("cyd", "ann/%2e%2e", NOT_FOUND),
    ],
)
async def test_who_may_fetch(
    client: Client, world: World, login: str | None, path: str, refusal: str | None
) -> None:
    done = await client.run("ls-remote", client.url(path, login))
    assert told(done.stderr, client, path) == (refusal or "")
    assert done.returncode == (128 if refusal else 0)


@pytest.mark.parametrize(
    ("login", "path", "refusal"),
    [
        (None, "ann/demo", CREDENTIALS),
        (None, "ann/secret", CREDENTIALS),
        (None, "ann/missing", CREDENTIALS),
        ("bob", "ann/demo", NEEDS_WRITE.replace("NAME", "demo")),
        ("bob", "ann/secret", NEEDS_WRITE.replace("NAME", "secret")),
        ("cyd", "ann/secret", NOT_FOUND),
        ("cyd", "ann/missing", NOT_FOUND),
    ],
)
async def test_who_may_push(
    client: Client, history: GitRepository, login: str | None, path: str, refusal: str
) -> None:
    before = await client.git("ls-remote", client.url("ann/demo"))
    url = client.url(path, login)
    done = await client.run("push", url, "main:refs/heads/new", cwd=history.path)
    assert told(done.stderr, client, path) == refusal
    assert done.returncode == 128
    assert await client.git("ls-remote", client.url("ann/demo")) == before


@pytest.mark.parametrize("path", ["ann/secret", "ann/missing"])
async def test_a_wrong_token_is_refused(client: Client, world: World, path: str) -> None:
    world.tokens["eve"] = new_access_token()
    done = await client.run("ls-remote", client.url(path, "eve"))
    assert told(done.stderr, client, path) == (
        "remote: Bad credentials (request ID)\n"
        "fatal: Authentication failed for 'http://127.0.0.1:PORT/PATH/'\n"
    )


@pytest.mark.parametrize("service", ["git-upload-pack", "git-receive-pack"])
async def test_a_wrong_token_is_refused_even_where_none_is_needed(
    client: Client, world: World, service: str
) -> None:
    world.tokens["eve"] = new_access_token()
    answer = await client.request(
        f"GET /ann/demo/info/refs?service={service} HTTP/1.1\r\n"
        f"authorization: {client.basic('eve')}"
    )
    assert (answer.status, told(answer.body.decode(), client)) == (
        401,
        "Bad credentials (request ID)\n",
    )


@pytest.mark.parametrize("scheme", ["Bearer", "token"])
async def test_a_token_may_come_without_a_name(
    client: Client, history: GitRepository, world: World, scheme: str
) -> None:
    header = f"http.extraHeader=Authorization: {scheme} {world.tokens['bob']}"
    listed = await client.git("-c", header, "ls-remote", client.url("ann/secret"), "HEAD")
    assert listed == f"{history.oid('main')}\tHEAD"


async def test_revoked_expired_and_narrow_tokens(client: Client, world: World) -> None:
    async with world.runtime.database.write() as session:
        rows = {row.user_id: row for row in await session.scalars(select(AccessToken))}
        rows[world.ids["ann"]].revoked_at = utc_now()
        rows[world.ids["bob"]].expires_at = utc_now()
        rows[world.ids["cyd"]].scopes = "public_repo"
        session.add(
            Collaborator(repository_id=world.ids["secret"], user_id=world.ids["cyd"], role="write")
        )
    for login, text in (
        ("ann", "remote: access token has been revoked (request ID)\n"),
        ("bob", "remote: access token has expired (request ID)\n"),
        (
            "cyd",
            "remote: your token has not been granted the required scopes: this requires one of"
            " the following scopes: ['repo'] (request ID)\n",
        ),
    ):
        done = await client.run("ls-remote", client.url("ann/secret", login))
        assert told(done.stderr, client).split("fatal: ")[0] == text


async def test_a_challenge_names_the_scheme_and_says_the_same_of_all(
    client: Client, world: World
) -> None:
    texts = set()
    for path in ("ann/secret", "ann/missing", "x/y"):
        answer = await client.request(f"GET /{path}.git/info/refs?service=git-upload-pack HTTP/1.1")
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == 'Basic realm="OpenCodeHub"'
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        texts.add(told(answer.body.decode(), client))
    answer = await client.request("GET /ann/demo/info/refs?service=git-receive-pack HTTP/1.1")
    texts.add(told(answer.body.decode(), client))
    assert texts == {"authentication required (request ID)\n"}


async def test_an_archived_repository_can_be_read_but_not_pushed_to(
    client: Client, history: GitRepository, world: World
) -> None:
    async with world.runtime.database.write() as session:
        row = await session.get(Repository, world.ids["demo"])
        assert row is not None
        row.archived_at = utc_now()
    url = client.url("ann/demo", "ann")
    assert await client.git("ls-remote", url)
    done = await client.run("push", url, "main:new", cwd=history.path)
    assert told(done.stderr, client, "ann/demo") == (
        "remote: repository is archived so it is read-only (request ID)\n"
        "fatal: unable to access 'http://127.0.0.1:PORT/PATH/': "
        "The requested URL returned error: 409\n"
    )


async def test_dumb_clients_are_told_so(client: Client) -> None:
    answer = await client.request("GET /ann/demo.git/info/refs HTTP/1.1")
    assert (answer.status, told(answer.body.decode(), client)) == (
        403,
        "dumb HTTP is not supported; use a smart git client (request ID)\n",
    )


@pytest.mark.parametrize(
    ("head", "status", "text"),
    [
        ("HEAD /ann/demo/info/refs?service=git-upload-pack", 405, ""),
        (
            "POST /ann/demo/info/refs?service=git-upload-pack",
            405,
            "info/refs answers GET (request ID)\n",
        ),
        ("GET /ann/demo/git-upload-pack", 405, "git-upload-pack answers POST (request ID)\n"),
        ("PUT /ann/demo/git-receive-pack", 405, "git-receive-pack answers POST (request ID)\n"),
        (
            "GET /ann/demo/info/refs?service=git-upload-archive",
            403,
            "the service is not git-upload-pack or git-receive-pack (request ID)\n",
        ),
        (
            "GET /ann/demo/info/refs?service=git-upload-pack&service=git-receive-pack",
            403,
            "the service is not git-upload-pack or git-receive-pack (request ID)\n",
        ),
        (
            "POST /ann/demo/git-receive-pack?service=git-upload-pack",
            400,
            "the query names another service than the path (request ID)\n",
        ),
        (
            "POST /ann/demo/git-upload-pack",
            415,
            "the content type is not application/x-git-upload-pack-request (request ID)\n",
        ),
        (
            "POST /ann/demo/git-receive-pack",
            415,
            "the content type is not application/x-git-receive-pack-request (request ID)\n",
        ),
    ],
)
async def test_wrong_methods_and_services(
    client: Client, head: str, status: int, text: str
) -> None:
    answer = await client.request(f"{head} HTTP/1.1")
    assert (answer.status, told(answer.body.decode(), client)) == (status, text)
    if status == 405:
        assert answer.headers["allow"] == ("GET" if "info/refs" in head else "POST")


async def test_other_encodings_than_gzip_are_refused(client: Client) -> None:
    answer = await client.post("ann/demo", "git-upload-pack", b"x", "content-encoding: br")
    assert (answer.status, told(answer.body.decode(), client)) == (
        415,
        "the content encoding is not gzip (request ID)\n",
    )


@pytest.mark.parametrize("service", ["git-upload-pack", "git-receive-pack"])
@pytest.mark.parametrize(
    ("login", "path", "status"),
    [
        ("ann", "ann/secret", 200),
        # What is refused is told where git shows it: in the answer to the push itself.
        ("cyd", "ann/secret", 200),
        ("cyd", "ann/missing", 200),
        (None, "ann/secret", 401),
        (None, "ann/missing", 401),
    ],
)
async def test_the_probe(
    client: Client, service: str, login: str | None, path: str, status: int
) -> None:
    answer = await client.post(path, service, b"0000", login=login)
    assert (answer.status, answer.complete) == (status, True)
    if status == 200:
        assert answer.body == b""
        assert answer.headers["content-type"] == f"application/x-{service}-result"


async def test_headers_are_those_of_gits_own_server(client: Client, history: GitRepository) -> None:
    for service in ("git-upload-pack", "git-receive-pack"):
        answer = await client.request(
            f"GET /ann/demo/info/refs?service={service} HTTP/1.1\r\n"
            f"authorization: {client.basic('ann')}"
        )
        assert answer.status == 200
        assert answer.headers["content-type"] == f"application/x-{service}-advertisement"
        assert answer.headers["cache-control"] == "no-cache, max-age=0, must-revalidate"
        assert answer.headers["pragma"] == "no-cache"
        assert answer.headers["expires"] == "Fri, 01 Jan 1980 00:00:00 GMT"
        assert answer.body.startswith(lines(f"# service={service}") + FLUSH)
    answer = await client.request(
        "GET /ann/demo/info/refs?service=git-upload-pack HTTP/1.1\r\ngit-protocol: version=2"
    )
    assert answer.body.startswith(lines("version 2", "agent=opencodehub"))


@pytest.mark.parametrize("header", ["version=3", "version=2;x", "version=22", "x:version=2", ""])
async def test_an_unknown_protocol_version_means_the_first(
    client: Client, history: GitRepository, header: str
) -> None:
    answer = await client.request(
        f"GET /ann/demo/info/refs?service=git-upload-pack HTTP/1.1\r\ngit-protocol: {header}"
    )
    first = f"{history.oid('main')} HEAD\0".encode()
    assert first in answer.body.split(b"\n")[1]


REFUSED_REQUESTS: Sequence[tuple[str, bytes, str]] = [
    ("2", b"", "the request is empty"),
    ("0", b"", "the request is empty"),
    ("2", b"garbage", "malformed packet length b'garb'"),
    ("2", b"0010command=", "the connection ended in the middle of a packet"),
    ("2", lines("command=fetch"), "the request does not end with a flush packet"),
    ("2", lines("command=nonsense") + FLUSH, "unknown command 'nonsense'"),
    (
        "2",
        lines("command=ls-refs", "object-format=sha256") + FLUSH,
        "mismatched object format: server sha1; client 'sha256'",
    ),
    (
        "2",
        lines("command=ls-refs") + DELIMITER + lines("peel", "pool") + FLUSH,
        "unexpected line 'pool'",
    ),
    ("2", lines("command=ls-refs") + FLUSH + FLUSH, "more than one request at once"),
]


@pytest.mark.parametrize(("version", "body", "text"), REFUSED_REQUESTS)
async def test_malformed_fetch_requests(
    client: Client, version: str, body: bytes, text: str
) -> None:
    answer = await client.post(
        "ann/demo", "git-upload-pack", body, f"git-protocol: version={version}"
    )
    assert (answer.status, answer.complete) == (200, True)
    packet = told(answer.body[4:].decode(), client)
    assert packet == f"ERR {text} (request ID)"
    assert int(answer.body[:4], 16) == len(answer.body)


async def test_requests_git_itself_refuses_come_with_its_words(
    client: Client, history: GitRepository
) -> None:
    body = lines("command=fetch") + DELIMITER + lines("want " + "1" * 40, "done") + FLUSH
    answer = await client.post("ann/demo", "git-upload-pack", body, "git-protocol: version=2")
    assert answer.body == encode(b"ERR upload-pack: not our ref " + b"1" * 40)
    assert (answer.status, answer.complete) == (200, True)


async def test_a_request_git_gives_up_on_is_an_internal_error_without_paths(
    client: Client, history: GitRepository
) -> None:
    body = lines("command=fetch") + DELIMITER + lines("nonsense") + FLUSH
    answer = await client.post("ann/demo", "git-upload-pack", body, "git-protocol: version=2")
    assert told(answer.body[4:].decode(), client) == "ERR internal error (request ID)"


async def test_gzip_that_is_none_and_gzip_that_unfolds(client: Client) -> None:
    encoded = ("git-protocol: version=2", "content-encoding: gzip")
    answer = await client.post(
        "ann/demo", "git-upload-pack", b"0014command=ls-refs\n0000", *encoded
    )
    assert told(answer.body[4:].decode(), client) == (
        "ERR the request body is not gzip as its header says (request ID)"
    )
    line = encode(b"want " + b"1" * 40)
    bomb = gzip_bomb(line, 2_000_000, head=lines("command=fetch") + DELIMITER)
    assert len(bomb) < 2_000_000
    for body in (bomb, gzip_bomb(b"0", 500_000_000)):
        answer = await client.post("ann/demo", "git-upload-pack", body, *encoded)
        assert told(answer.body[4:].decode(), client) in (
            "ERR a request may have at most 8388608 bytes (request ID)",
            "ERR malformed packet length b'0000' (request ID)",
            "ERR more than one request at once (request ID)",
        )


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"POST /ann/demo/git-upload-pack HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /ann/demo/git-upload-pack HTTP/1.1\r\ncontent-length: 5\r\n"
        b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /ann/demo/git-upload-pack HTTP/1.1\r\n"
        b"content-type: application/x-git-upload-pack-request\r\n"
        b"transfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_what_is_not_http_ends_the_connection(client: Client, garbage: bytes) -> None:
    answer = await client.raw(garbage)
    assert answer.startswith(b"HTTP/1.1 4") or answer == b""
    assert b"Traceback" not in answer


async def test_a_refused_push_is_told_in_the_band_that_git_shows(
    client: Client, history: GitRepository, world: World
) -> None:
    """The right to push may end between the advertisement and the push."""
    command = f"{'0' * 40} {history.oid('main')} refs/heads/new\0".encode()
    for capabilities, expected in (
        (b"report-status side-band-64k", b"\x03repository not found (request ID)"),
        (b"report-status", b"ERR repository not found (request ID)"),
    ):
        body = encode(command + capabilities) + FLUSH + history.pack("main")
        answer = await client.post("ann/secret", "git-receive-pack", body, login="cyd")
        assert (answer.status, answer.complete) == (200, True)
        assert told(answer.body[4:-4].decode(), client).encode() == expected
        assert answer.body.endswith(FLUSH)
