"""Which object a revision expression names: a safe part of what git's ``rev-parse`` takes.

Nothing a client writes reaches git: names are looked up among the refs in the database, ids and
paths among objects. Expressions that search texts or reflogs name nothing here.
"""

import re

from gitstore.history import HistoryQuery
from gitstore.manifest import BRANCHES
from gitstore.objects import Blob, Commit, GitObject, ObjectKind, Tag, Tree
from gitstore.process import MAX_PATH_BYTES
from models import Repository
from resolvers.context import Info
from resolvers.located import Located
from services.git_reading import state_of

MAX_EXPRESSION_LENGTH = 4096
_STEPS = re.compile(r"~\d{0,7}|\^\d{0,7}(?!\{)|\^\{(?:commit|tree|blob|tag|)\}")
_EXPRESSION = re.compile(rf"(?P<base>[^~^:]+)(?P<steps>(?:{_STEPS.pattern})*)")
_WHOLE_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_PART_OF_ID = re.compile(r"[0-9a-fA-F]{4,40}")
# In the order in which git tries them (gitrevisions).
_NAMES = ("refs/{}", "refs/tags/{}", "refs/heads/{}")


def is_whole_id(text: str) -> bool:
    return _WHOLE_ID.fullmatch(text) is not None


async def resolve(info: Info, repository: Repository, expression: str) -> Located[GitObject] | None:
    """What ``REVISION`` or ``REVISION:PATH`` names. Raises Unavailable."""
    if len(expression) > MAX_EXPRESSION_LENGTH:
        return None
    revision, colon, path = expression.partition(":")
    oid = await resolve_oid(info, repository, revision)
    if oid is None:
        return None
    if colon:
        return await at_path(info, repository, oid, path.encode("utf-8", "surrogateescape"))
    return await load(info, repository, oid)


async def resolve_oid(info: Info, repository: Repository, revision: str) -> str | None:
    """The id that a revision without path names; the object need not exist if it is a whole id."""
    found = _EXPRESSION.fullmatch(revision)
    if found is None or not revision.isprintable():
        return None
    oid = await _base(info, repository, found["base"])
    for step in _STEPS.findall(found["steps"]):
        if oid is None:
            return None
        oid = await _take_step(info, repository, oid, step)
    return oid


async def load(info: Info, repository: Repository, oid: str) -> Located[GitObject] | None:
    """The object with this id, None if there is none."""
    found = await info.context.loaders.git.object_by_oid.load((state_of(repository), oid))
    return None if found is None else Located(repository, found)


async def peel(info: Info, repository: Repository, oid: str, kind: ObjectKind) -> GitObject | None:
    """What an id finally stands for: tags lead to their target, commits to their tree if asked."""
    wanted = {
        ObjectKind.COMMIT: Commit,
        ObjectKind.TREE: Tree,
        ObjectKind.BLOB: Blob,
        ObjectKind.TAG: Tag,
    }[kind]
    located = await load(info, repository, oid)
    while located is not None:
        value = located.value
        if isinstance(value, wanted):
            return value
        if isinstance(value, Tag):
            located = await load(info, repository, value.target_oid)
        elif isinstance(value, Commit) and kind is ObjectKind.TREE:
            located = await load(info, repository, value.tree_oid)
        else:
            return None
    return None


async def at_path(
    info: Info, repository: Repository, oid: str, path: bytes
) -> Located[GitObject] | None:
    """The file or folder at a path below a commit, tag or tree; submodules have no object here."""
    if len(path) > MAX_PATH_BYTES:
        return None
    commit = await peel(info, repository, oid, ObjectKind.COMMIT)
    commit_oid = None if commit is None else commit.oid
    value = await peel(info, repository, commit_oid or oid, ObjectKind.TREE)
    parts = [part for part in path.split(b"/") if part]
    for part in parts:
        entry = value.entry(part) if isinstance(value, Tree) else None
        if entry is None or entry.kind is ObjectKind.COMMIT:
            return None
        located = await load(info, repository, entry.oid)
        value = None if located is None else located.value
    if value is None:
        return None
    return Located(repository, value, commit_oid, b"/".join(parts) if commit_oid else None)


async def _base(info: Info, repository: Repository, name: str) -> str | None:
    if _WHOLE_ID.fullmatch(name):
        return name
    loader = info.context.loaders.ref_by_repository_and_name
    if name in ("HEAD", "@"):
        names = [BRANCHES + repository.default_branch]
    else:
        names = [name] if name.startswith("refs/") else []
        names += [pattern.format(name) for pattern in _NAMES]
    for row in await loader.load_many([(repository.id, each) for each in names]):
        if row is not None:
            return row.oid
    if _PART_OF_ID.fullmatch(name):
        key = (state_of(repository), name.lower())
        oids = await info.context.loaders.git.oids_by_prefix.load(key)
        return await _only_one(info, repository, oids)
    return None


async def _only_one(info: Info, repository: Repository, oids: list[str]) -> str | None:
    """Of several objects whose ids begin alike the only commit, as git decides it."""
    if len(oids) < 2:
        return oids[0] if oids else None
    state = state_of(repository)
    keys = [(state, oid) for oid in oids[:100]]
    found = await info.context.loaders.git.object_by_oid.load_many(keys)
    commits = [each.oid for each in found if isinstance(each, Commit)]
    return commits[0] if len(commits) == 1 else None


async def _take_step(info: Info, repository: Repository, oid: str, step: str) -> str | None:
    if step.startswith("^{"):
        kind = step[2:-1]
        peeled = await _peel_any(info, repository, oid, kind)
        return None if peeled is None else peeled.oid
    commit = await peel(info, repository, oid, ObjectKind.COMMIT)
    if not isinstance(commit, Commit):
        return None
    number = int(step[1:] or "1")
    if number == 0:
        return commit.oid
    if step[0] == "^":
        return commit.parent_oids[number - 1] if number <= len(commit.parent_oids) else None
    query = HistoryQuery(commit.oid, first_parent=True)
    back = await info.context.loaders.git.history.load((state_of(repository), query, number, 1))
    return back[0] if back else None


async def _peel_any(info: Info, repository: Repository, oid: str, kind: str) -> GitObject | None:
    if kind:
        return await peel(info, repository, oid, ObjectKind(kind))
    located = await load(info, repository, oid)
    while located is not None and isinstance(located.value, Tag):
        located = await load(info, repository, located.value.target_oid)
    return None if located is None else located.value
