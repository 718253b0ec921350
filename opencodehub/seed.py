"""``och seed``: a demonstration instance with users, repositories and real history.

Git itself makes the history, and it enters through the same door as any push.
"""

import datetime as dt
import secrets
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from sqlalchemy import select

from gitstore.process import GitProcesses
from models import Owner, User, Visibility
from opencodehub import wiring
from opencodehub.failures import CommandError
from opencodehub.settings import Settings
from services import accounts, git_access, pushes, repositories
from services.actor import OPERATOR, Actor, ActorKind
from services.context import OpContext
from services.git_access import GitService
from services.push_records import Door
from services.pushes import PushRequest, RefCommand

PASSWORD_BYTES = 12
_BEGIN = dt.datetime(2024, 1, 8, 9, 0, tzinfo=dt.UTC)

_USERS = (("ann", "Ann Author"), ("bob", "Bob Builder"), ("cyd", "Cyd Careful"))
# Owner, name, visibility, description, number of commits.
_REPOSITORIES = (
    ("ann", "weather", Visibility.PUBLIC, "Reads a weather station and draws its days", 120),
    ("ann", "diary", Visibility.PRIVATE, "Nobody's business", 12),
    ("bob", "bridge", Visibility.PUBLIC, "Load calculations for small bridges", 300),
    ("cyd", "handbook", Visibility.INTERNAL, "How we work", 40),
)


async def seed(settings: Settings, out: TextIO) -> None:
    """Fill an empty database; prints the accounts and their passwords.

    Raises CommandError where the database has accounts already.
    """
    await wiring.require_migrated(settings)
    async with wiring.open_command_runtime(settings) as runtime:
        op = OpContext(runtime, OPERATOR, f"och-{secrets.token_hex(8)}")
        async with op.read() as tx:
            if await tx.session.scalar(select(Owner.id).limit(1)) is not None:
                raise CommandError("the database is not empty; seed an empty one (--data-dir)")
        users = {login: await _create_user(op, login, out) for login, _ in _USERS}
        for owner, name, visibility, description, commits in _REPOSITORIES:
            await repositories.create_repository(
                op, owner, name, visibility=visibility, description=description
            )
            author = next(full for login, full in _USERS if login == owner)
            await _push(op, users[owner], name, _history(name, author, commits))
            print(f"repository {settings.web_url}/{owner}/{name}: {commits} commits", file=out)


async def _create_user(op: OpContext, login: str, out: TextIO) -> User:
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    user = await accounts.create_user(
        op, login, f"{login}@example.org", password, site_admin=login == "ann"
    )
    role = " (administrator)" if user.is_site_admin else ""
    print(f"user {login}{role}, password {password}", file=out)
    return user


async def _push(op: OpContext, owner: User, name: str, history: bytes) -> None:
    actor = Actor(ActorKind.SESSION, user_id=owner.id, login=owner.login)
    op = op.acting_as(actor)
    repository = await git_access.open_repository(op, f"{owner.login}/{name}", GitService.PUSH)
    with tempfile.TemporaryDirectory(prefix="och-seed-") as folder:
        refs, pack = await _build(op.runtime.git.processes, Path(folder) / "repository", history)
    request = PushRequest([RefCommand(ref, None, oid) for ref, oid in refs])
    outcome = await pushes.receive_push(op, repository, request, _PackBytes(pack), door=Door.API)
    refused = [f"{ref}: {reason}" for ref, reason in outcome.verdicts.items() if reason]
    if outcome.pack_fault or refused:
        raise CommandError(f"{name} was refused: {outcome.pack_fault or '; '.join(refused)}")


async def _build(
    git: GitProcesses, git_dir: Path, history: bytes
) -> tuple[Sequence[tuple[str, str]], bytes]:
    """The refs and the one pack of a repository made from a fast-import stream."""
    await git.run(["init", "--quiet", "--bare", str(git_dir)])
    await git.run(["fast-import", "--quiet"], git_dir=git_dir, stdin=history)
    listed = await git.run(["for-each-ref", "--format=%(refname) %(objectname)"], git_dir=git_dir)
    lines = listed.stdout.decode().splitlines()
    refs = [(name, oid) for name, _, oid in (line.partition(" ") for line in lines)]
    packed = await git.run(
        ["pack-objects", "--quiet", "--revs", "--stdout"],
        git_dir=git_dir,
        stdin="".join(f"{oid}\n" for _, oid in refs).encode(),
    )
    return refs, packed.stdout


def _history(name: str, author: str, commits: int) -> bytes:
    """A fast-import stream: a main branch with merged topics, an open topic, and tags."""
    stream = _Stream(author)
    stream.commit("refs/heads/main", f"Begin {name}", {"README.md": f"# {name}\n"})
    topic = 0
    for number in range(1, commits):
        if number % 10 == 0:
            topic += 1
            branch = f"refs/heads/topic-{topic}"
            tip = stream.commit(
                branch,
                f"Try an idea for part {topic}",
                {f"parts/{topic}.txt": f"part {topic}, second thoughts\n"},
                parent=stream.tips["refs/heads/main"],
            )
            stream.commit("refs/heads/main", f"Merge topic-{topic}", {}, merge=tip)
            stream.delete(branch)
        else:
            path = f"parts/{number % 10}.txt"
            content = "".join(f"line {line} of change {number}\n" for line in range(number % 7 + 3))
            stream.commit("refs/heads/main", f"Improve part {number % 10}", {path: content})
        if number % 50 == 0:
            stream.tag(f"v0.{number // 50}")
    stream.commit(
        "refs/heads/next",
        "Prepare what comes next",
        {"NEXT.md": "Ideas.\n"},
        parent=stream.tips["refs/heads/main"],
    )
    return stream.finish()


class _Stream:
    """Writes git-fast-import(1)'s language. Times grow by an hour with each commit."""

    def __init__(self, author: str) -> None:
        self._lines: list[bytes] = []
        self._author = author
        self._marks = 0
        self._time = _BEGIN
        self.tips: dict[str, int] = {}

    def commit(
        self,
        ref: str,
        message: str,
        files: dict[str, str],
        *,
        parent: int | None = None,
        merge: int | None = None,
    ) -> int:
        """Returns the commit's mark."""
        self._marks += 1
        self._time += dt.timedelta(hours=1)
        self._line(f"commit {ref}", f"mark :{self._marks}", f"committer {self._person()}")
        self._data(message)
        source = parent if parent is not None else self.tips.get(ref)
        if source is not None:
            self._line(f"from :{source}")
        if merge is not None:
            self._line(f"merge :{merge}")
        for path, content in files.items():
            self._line(f"M 100644 inline {path}")
            self._data(content)
        self.tips[ref] = self._marks
        return self._marks

    def tag(self, name: str) -> None:
        """An annotated tag of the main branch's tip."""
        self._line(f"tag {name}", f"from :{self.tips['refs/heads/main']}")
        self._line(f"tagger {self._person()}")
        self._data(f"Release {name}\n")

    def delete(self, ref: str) -> None:
        self._line(f"reset {ref}", f"from {'0' * 40}", "")
        del self.tips[ref]

    def finish(self) -> bytes:
        return b"".join(self._lines) + b"done\n"

    def _person(self) -> str:
        email = self._author.split()[0].lower() + "@example.org"
        return f"{self._author} <{email}> {int(self._time.timestamp())} +0000"

    def _line(self, *lines: str) -> None:
        self._lines += [line.encode() + b"\n" for line in lines]

    def _data(self, text: str) -> None:
        data = text.encode()
        self._lines.append(b"data %d\n%s\n" % (len(data), data))


class _PackBytes:
    """A pack in memory as the source of a push."""

    def __init__(self, pack: bytes) -> None:
        self._rest = pack

    async def read(self, limit: int) -> bytes:
        piece, self._rest = self._rest[:limit], self._rest[limit:]
        return piece
