"""What a page of the window asks for, in one GraphQL query each, over a connection that stays."""

import http.client
import json
import time
from typing import Any

from bench.figures import Item, Record, Section, median
from bench.hub import USER, Hub
from bench.programs import BenchFailed, git, seconds
from bench.sources import BLAMED, make_wide
from bench.workbench import Workbench, milliseconds, push_all

_REPOSITORIES, _QUICK_REPOSITORIES = 3, 1
_ROUNDS, _QUICK_ROUNDS = 30, 10
_MANY = 100
_ITEMS = (
    Item(
        "cold", "repository page (root of 600 entries, 20,000 commits), never asked for", 300, "ms"
    ),
    Item("warm", "the same, asked for before", 40, "ms"),
    Item("history", "first page of history, 30 commits, never asked for", 50, "ms"),
    Item("blame", "blame of a file of 3,000 lines, never asked for, vs git blame", 1.5),
    Item("small", "small query, at the client", 5, "ms"),
    Item("many", "100 repositories with 15 fields each", 25, "ms"),
)
_PAGE = """query($owner: String!, $name: String!) { repository(owner: $owner, name: $name) {
  nameWithOwner description visibility forkCount viewerPermission isArchived
  defaultBranchRef { name target { oid ... on Commit { messageHeadline committedDate
    author { name user { login } } } } }
  branches: refs(refPrefix: "refs/heads/", first: 1) { totalCount }
  tags: refs(refPrefix: "refs/tags/", first: 1) { totalCount }
  object(expression: "HEAD:") { ... on Tree { entries { name type mode oid
    lastCommit { oid messageHeadline committedDate } } } }
  readme { name object { ... on Blob { text isTruncated } } } } }"""
_HISTORY = """query($owner: String!, $name: String!) { repository(owner: $owner, name: $name) {
  object(expression: "HEAD") { ... on Commit { history(first: 30) {
    nodes { oid messageHeadline committedDate author { name user { login } } }
    pageInfo { hasNextPage endCursor } } } } } }"""
_BLAME = """query($owner: String!, $name: String!) { repository(owner: $owner, name: $name) {
  object(expression: "HEAD") { ... on Commit { blame(path: "%s") { ranges {
    startingLine endingLine age commit { oid messageHeadline author { name } } } } } } } }"""
_SMALL = "{ viewer { login } }"
_CREATE = """mutation { createRepository(input: {name: "many-%d", visibility: PUBLIC}) {
  clientMutationId } }"""
_LIST = """{ viewer { repositories(first: 100) { nodes {
  id databaseId name nameWithOwner description url sshUrl visibility isPrivate isArchived isFork
  createdAt updatedAt pushedAt viewerPermission } } } }"""


class Client:
    """Asks over one connection."""

    def __init__(self, hub: Hub) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", hub.port)
        self._headers = {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {hub.tokens[USER]}",
        }

    def ask(self, query: str, repository: str = "/") -> Any:
        owner, name = repository.split("/")
        variables = {"owner": owner, "name": name} if name else {}
        body = json.dumps({"query": query, "variables": variables})
        self._connection.request("POST", "/graphql", body, self._headers)
        answer = json.loads(self._connection.getresponse().read())
        if "errors" in answer:
            raise BenchFailed(f"the hub answered {answer['errors'][0]['message']}")
        return answer["data"]

    def time(self, query: str, repository: str = "/") -> float:
        start = time.perf_counter()
        self.ask(query, repository)
        return time.perf_counter() - start


def _measure(bench: Workbench, record: Record) -> None:
    hub = bench.start_hub("pages")
    source = make_wide(
        bench.new_path("wide"), bench.sized(20_000, 1_000), entries=bench.sized(600, 60)
    )
    names = []
    for _ in range(bench.sized(_REPOSITORIES, _QUICK_REPOSITORIES)):
        names.append(hub.create_repository("pages"))
        push_all(source, hub.ssh(names[-1]))
        # What follows a push in the background has ended.
        hub.tree.settle()
    client = Client(hub)
    client.ask(_SMALL)
    cold = {"page": [], "history": [], "blame": []}  # type: dict[str, list[float]]
    for name in names:
        cold["page"].append(client.time(_PAGE, name))
        cold["history"].append(client.time(_HISTORY, name))
        cold["blame"].append(client.time(_BLAME % BLAMED, name))
    plain = hub.cache_of(names[0])
    blamed = [
        seconds(lambda: git("blame", "--incremental", source.branch, "--", BLAMED, cwd=plain))
        for _ in names
    ]
    rounds = range(bench.sized(_ROUNDS, _QUICK_ROUNDS))
    warm = [client.time(_PAGE, names[0]) for _ in rounds]
    small = [client.time(_SMALL) for _ in rounds]
    for number in range(_MANY - len(names)):
        client.ask(_CREATE % number)
    if len(client.ask(_LIST)["viewer"]["repositories"]["nodes"]) != _MANY:
        raise BenchFailed("the list of repositories is not complete")
    many = [client.time(_LIST) for _ in rounds]
    for key, values, why in (
        ("cold", cold["page"], "The job that follows a push has found the last commits; this "
         "process reads them from Redis, and commits, trees and the README from git."),
        ("warm", warm, "Some 5,000 fields: what is left is GraphQL's execution and JSON."),
        ("history", cold["history"], "One rev-list on the commit-graph, one question to a git "
         "child that stays."),
        ("small", small, "HTTP, the token and the user in SQL, cached parsing and validation."),
        ("many", many, "Two statements, 1,500 fields."),
    ):  # fmt: skip
        series = [milliseconds("hub", values)]
        record.put(key, median(series[0].values), series, why)
    record.ratio(
        "blame",
        milliseconds("hub", cold["blame"]),
        milliseconds("git blame", blamed),
        "git blame itself, then the commits of its ranges and JSON.",
    )


SECTION = Section("pages", "Pages of the window, in GraphQL", _ITEMS, _measure)
