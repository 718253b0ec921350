"""The REST routes: a method, a path, and what asks the contract and reshapes its answer."""

import dataclasses
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from graph.rest import documents, shapes
from resolvers import ids
from resolvers.ids import IdKind

# GitHub Enterprise's version whose features gh may ask for: without classic projects, and without
# the search that came later.
GITHUB_VERSION = "3.17.0"
_SCOPES = re.compile(r"[a-z_:]+")

Variables = dict[str, Any]
Ask = Callable[[str, Variables], Awaitable[Any]]


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """One request. ``base`` is the address of the REST root, ``body`` the JSON object that came."""

    base: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Mapping[str, Any]

    @property
    def repository(self) -> Variables:
        return {"owner": self.path["owner"], "name": self.path["name"]}


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
    """``next_page``: the query of the page that follows."""

    status: int
    body: Any = None
    next_page: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class RestFault(Exception):
    """What the client is told instead of an answer; ``errors`` as GitHub lists them."""

    status: int
    message: str
    errors: tuple[Mapping[str, Any], ...] = ()
    accepted_scopes: tuple[str, ...] = ()
    code: str | None = None


Handler = Callable[[Ask, Call], Awaitable[Reply]]


async def root(_ask: Ask, call: Call) -> Reply:
    return Reply(200, {"current_user_url": f"{call.base}/user", "emojis_url": ""})


async def meta(_ask: Ask, call: Call) -> Reply:
    return Reply(200, shapes.meta(call.base, GITHUB_VERSION))


async def viewer(ask: Ask, call: Call) -> Reply:
    row = (await ask(documents.VIEWER, {}))["viewer"]
    return Reply(200, shapes.user(row, call.base) | {"email": row["email"] or None})


async def user(ask: Ask, call: Call) -> Reply:
    row = (await ask(documents.USER, {"login": call.path["login"]}))["user"]
    return Reply(200, shapes.user(row, call.base))


async def get_repository(ask: Ask, call: Call) -> Reply:
    row = (await ask(documents.GET_REPOSITORY, call.repository))["repository"]
    return Reply(200, shapes.repository(row, call.base))


async def create_repository(ask: Ask, call: Call) -> Reply:
    given = {
        "name": call.body.get("name"),
        "description": call.body.get("description"),
        "visibility": _visibility(call.body) or "PUBLIC",
    }
    row = (await ask(documents.CREATE_REPOSITORY, {"input": given}))["createRepository"]
    return Reply(201, shapes.repository(row["repository"], call.base))


async def update_repository(ask: Ask, call: Call) -> Reply:
    node_id = await _repository_id(ask, call)
    given: Variables = {"repositoryId": node_id}
    for name, field in (("name", "name"), ("default_branch", "defaultBranch")):
        if call.body.get(name) is not None:
            given[field] = call.body[name]
    if "description" in call.body:
        given["description"] = call.body["description"]
    if visibility := _visibility(call.body):
        given["visibility"] = visibility
    row = None
    if len(given) > 1 or "archived" not in call.body:
        row = (await ask(documents.UPDATE_REPOSITORY, {"input": given}))["updateRepository"]
    if "archived" in call.body:
        name = "archiveRepository" if call.body["archived"] else "unarchiveRepository"
        document = {
            "archiveRepository": documents.ARCHIVE_REPOSITORY,
            "unarchiveRepository": documents.UNARCHIVE_REPOSITORY,
        }[name]
        row = (await ask(document, {"input": {"repositoryId": node_id}}))[name]
    assert row is not None
    return Reply(200, shapes.repository(row["repository"], call.base))


async def delete_repository(ask: Ask, call: Call) -> Reply:
    given = {"repositoryId": await _repository_id(ask, call)}
    await ask(documents.DELETE_REPOSITORY, {"input": given})
    return Reply(204)


async def fork_repository(ask: Ask, call: Call) -> Reply:
    if call.body.get("organization"):
        raise RestFault(422, "there are no organizations on this server")
    given: Variables = {"repositoryId": await _repository_id(ask, call)}
    if call.body.get("name"):
        given["name"] = call.body["name"]
    row = (await ask(documents.FORK_REPOSITORY, {"input": given}))["forkRepository"]
    return Reply(202, shapes.repository(row["repository"], call.base))


async def merge_upstream(ask: Ask, call: Call) -> Reply:
    given = {
        "repositoryId": await _repository_id(ask, call),
        "branchName": call.body.get("branch"),
    }
    try:
        merged = (await ask(documents.MERGE_UPSTREAM, {"input": given}))["mergeUpstream"]
    except RestFault as fault:
        if fault.code == "CONFLICT":
            raise RestFault(409, fault.errors[0]["message"]) from fault
        raise
    base = merged["baseBranch"]
    is_new = merged["mergeType"] != "NONE"
    shown = {
        "message": f"Successfully fetched and fast-forwarded from upstream {base}."
        if is_new
        else f"This branch is not behind the upstream {base}.",
        "merge_type": "fast-forward" if is_new else "none",
        "base_branch": base,
    }
    return Reply(200, shown)


async def readme(ask: Ask, call: Call) -> Reply:
    given = call.repository | {"expression": call.query.get("ref") or "HEAD"}
    row = (await ask(documents.README, given))["repository"]
    if row["readme"] is None:
        raise RestFault(404, "Not Found")
    return Reply(200, shapes.readme(row, call.base))


async def list_keys(ask: Ask, call: Call) -> Reply:
    """Pages are numbered in REST, and an account has 200 keys at most: read from the first on."""
    size = min(100, max(1, _number(call.query.get("per_page"), 30)))
    wanted = max(1, _number(call.query.get("page"), 1))
    after, page = None, None
    for _ in range(wanted):
        if page is not None and not page["pageInfo"]["hasNextPage"]:
            return Reply(200, [])
        data = await ask(documents.LIST_KEYS, {"first": size, "after": after})
        page = data["viewer"]["publicKeys"]
        after = page["pageInfo"]["endCursor"]
    assert page is not None
    more = page["pageInfo"]["hasNextPage"]
    shown = [shapes.key(row, call.base) for row in page["nodes"]]
    return Reply(200, shown, f"per_page={size}&page={wanted + 1}" if more else None)


async def get_key(ask: Ask, call: Call) -> Reply:
    row = (await ask(documents.GET_KEY, {"id": _key_id(call)}))["node"]
    if not row or row["title"] is None:  # somebody else's
        raise RestFault(404, "Not Found")
    return Reply(200, shapes.key(row, call.base))


async def create_key(ask: Ask, call: Call) -> Reply:
    given = {"key": call.body.get("key"), "title": call.body.get("title")}
    row = (await ask(documents.CREATE_KEY, {"input": given}))["createSshKey"]
    return Reply(201, shapes.key(row["publicKey"], call.base))


async def delete_key(ask: Ask, call: Call) -> Reply:
    await ask(documents.DELETE_KEY, {"input": {"publicKeyId": _key_id(call)}})
    return Reply(204)


_REPOSITORY = r"/repos/(?P<owner>[^/]+)/(?P<name>[^/]+)"
ROUTES: tuple[tuple[str, re.Pattern[str], Handler], ...] = tuple(
    (method, re.compile(path), handler)
    for method, path, handler in (
        ("GET", r"/?", root),
        ("GET", r"/meta", meta),
        ("GET", r"/user", viewer),
        ("GET", r"/users/(?P<login>[^/]+)", user),
        ("POST", r"/user/repos", create_repository),
        ("GET", _REPOSITORY, get_repository),
        ("PATCH", _REPOSITORY, update_repository),
        ("DELETE", _REPOSITORY, delete_repository),
        ("POST", _REPOSITORY + "/forks", fork_repository),
        ("POST", _REPOSITORY + "/merge-upstream", merge_upstream),
        ("GET", _REPOSITORY + "/readme", readme),
        ("GET", r"/user/keys", list_keys),
        ("POST", r"/user/keys", create_key),
        ("GET", r"/user/keys/(?P<key>\d{1,10})", get_key),
        ("DELETE", r"/user/keys/(?P<key>\d{1,10})", delete_key),
    )
)


def find_route(method: str, path: str) -> tuple[Handler, Mapping[str, str]]:
    """The handler and the parts of the path. Raises RestFault (404, 405)."""
    wanted = "GET" if method == "HEAD" else method
    allowed = set()
    for route_method, pattern, handler in ROUTES:
        if match := pattern.fullmatch(path):
            if route_method == wanted:
                return handler, match.groupdict()
            allowed.add(route_method)
    if allowed:
        raise RestFault(405, f"use {', '.join(sorted(allowed))} here")
    raise RestFault(404, "Not Found")


def fault_of(error: Mapping[str, Any]) -> RestFault:
    """A GraphQL error as REST has it."""
    extensions = error["extensions"]
    code, message = extensions["code"], error["message"]
    match code:
        case "NOT_FOUND":
            return RestFault(404, "Not Found")
        case "UNAUTHENTICATED":
            return RestFault(401, "Requires authentication")
        case "INSUFFICIENT_SCOPES":
            scopes = extensions.get("details", {}).get("scopes", ())
            return RestFault(403, message, accepted_scopes=tuple(scopes))
        case "FORBIDDEN" | "FAILED_PRECONDITION":
            return RestFault(403, message)
        case "INVALID" | "CONFLICT":
            field = next(iter(extensions.get("fields", ())), None)
            shown = {"resource": "", "field": field, "code": "custom", "message": message}
            return RestFault(422, "Validation Failed", (shown,), code=code)
        case "RATE_LIMITED":
            return RestFault(429, message)
        case "QUOTA_EXCEEDED":
            return RestFault(422, message)
        case "UNAVAILABLE":
            return RestFault(503, message)
    return RestFault(500, message)


async def _repository_id(ask: Ask, call: Call) -> str:
    node_id: str = (await ask(documents.REPOSITORY_ID, call.repository))["repository"]["id"]
    return node_id


def _visibility(body: Mapping[str, Any]) -> str | None:
    if isinstance(body.get("visibility"), str):
        return str(body["visibility"]).upper()
    if isinstance(body.get("private"), bool):
        return "PRIVATE" if body["private"] else "PUBLIC"
    return None


def _key_id(call: Call) -> str:
    return ids.encode(IdKind.PUBLIC_KEY, int(call.path["key"]))


def _number(text: str | None, default: int) -> int:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 7 else default
