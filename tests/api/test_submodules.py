"""Submodules: what .gitmodules says, and which commits stand at their paths."""

import base64
from pathlib import Path
from typing import Any

import pytest

from models import Repository, User
from services.runtime import Runtime
from tests.support.content import store_content
from tests.support.factories import make_repository, make_user
from tests.support.git import GitRepository
from tests.support.graphql import GraphQLClient

FIELDS = "branch gitUrl name nameRaw path pathRaw subprojectCommitOid"
QUERY = f"""{{ repository(owner: "ann", name: "demo") {{
  submodules(first: 10) {{ totalCount nodes {{ {FIELDS} }} }}
  object(expression: "HEAD") {{ ... on Commit {{ submodules(last: 1) {{ nodes {{ path }} }}
    tree {{ entries {{ name type submodule {{ {FIELDS} }} }} }}
    file(path: "libs/deep") {{ submodule {{ name }} }} }} }} }} }}"""
MODULES = """[submodule "tool"]
\tpath = tool
\turl = https://example.org/tool.git
\tbranch = stable
[submodule "deep one"]
\tpath = libs/deep
\turl = ../sibling.git
[submodule "gone"]
\tpath = gone
\turl = https://example.org/gone.git
[submodule "no address"]
\tpath = x
"""


@pytest.fixture
async def ann(runtime: Runtime) -> User:
    return await make_user(runtime, "ann")


@pytest.fixture
async def demo(runtime: Runtime, ann: User) -> Repository:
    return await make_repository(runtime, ann, "demo")


@pytest.fixture
def source(tmp_path: Path) -> GitRepository:
    return GitRepository.create(tmp_path / "source")


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def shown(name: str, path: str, url: str, oid: str | None, branch: str | None = None) -> Any:
    return {
        "branch": branch,
        "gitUrl": url,
        "name": name,
        "nameRaw": b64(name),
        "path": path,
        "pathRaw": b64(path),
        "subprojectCommitOid": oid,
    }


async def test_submodules(
    runtime: Runtime, ask: GraphQLClient, demo: Repository, source: GitRepository
) -> None:
    source.commit("first", files={".gitmodules": MODULES, "a": "b"})
    for path, oid in (("tool", "1" * 40), ("libs/deep", "2" * 40), ("unnamed", "3" * 40)):
        source.git("update-index", "--add", "--cacheinfo", f"160000,{oid},{path}")
    source.git("commit", "--quiet", "--message", "links")
    await store_content(runtime, demo, source)
    found = (await ask(QUERY)).data["repository"]
    tool = shown("tool", "tool", "https://example.org/tool.git", "1" * 40, "stable")
    sibling = "http://127.0.0.1:8000/ann/sibling.git"
    deep = shown("deep one", "libs/deep", sibling, "2" * 40)
    gone = shown("gone", "gone", "https://example.org/gone.git", None)
    assert found["submodules"] == {"totalCount": 3, "nodes": [gone, deep, tool]}
    assert found["object"]["submodules"]["nodes"] == [{"path": "tool"}]
    assert found["object"]["file"]["submodule"] == {"name": "deep one"}
    entries = {each["name"]: each["submodule"] for each in found["object"]["tree"]["entries"]}
    assert entries == {
        ".gitmodules": None,
        "a": None,
        "libs": None,
        "tool": tool,
        "unnamed": None,
    }


@pytest.mark.parametrize(
    "content", ["", "[submodule", "\0", "[core]\n\tx = 1\n", "[submodule]\n\tpath = a\n\turl = b\n"]
)
async def test_files_that_name_none(
    runtime: Runtime, ask: GraphQLClient, demo: Repository, source: GitRepository, content: str
) -> None:
    source.commit("first", files={".gitmodules": content, "a": "b"})
    await store_content(runtime, demo, source)
    found = (await ask(QUERY)).data["repository"]
    assert found["submodules"] == {"totalCount": 0, "nodes": []}


async def test_an_empty_repository_has_none(ask: GraphQLClient, demo: Repository) -> None:
    found = (await ask(QUERY)).data["repository"]
    assert (found["submodules"], found["object"]) == ({"totalCount": 0, "nodes": []}, None)
