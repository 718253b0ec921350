"""HTML of READMEs, messages, descriptions and bios, through the contract."""

from pathlib import Path
from typing import Any

import pytest

from models import Repository, User, Visibility
from services import profiles, repositories
from services.profiles import ProfileChanges
from services.repositories import RepositoryChanges
from services.runtime import Runtime
from tests.support.content import store_content
from tests.support.factories import make_repository, make_token, make_user
from tests.support.git import GitRepository
from tests.support.graphql import GraphQLClient
from tests.support.runtime import operator

QUERY = """query($owner: String!, $name: String!, $at: String = "HEAD") {
  repository(owner: $owner, name: $name) { descriptionHTML owner { ... on User { bioHTML } }
    readme(expression: $at) { name contentHTML }
    object(expression: "HEAD") { ... on Commit { oid messageHeadlineHTML messageBodyHTML
      tree { entries { name contentHTML } } } } } }"""
REL = 'rel="nofollow noopener noreferrer"'


@pytest.fixture
async def ann(runtime: Runtime) -> User:
    return await make_user(runtime, "ann")


@pytest.fixture
async def demo(runtime: Runtime, ann: User, tmp_path: Path) -> Repository:
    repository = await make_repository(runtime, ann, "demo", visibility=Visibility.PRIVATE)
    source = GitRepository.create(tmp_path / "source")
    source.commit(
        "Use <b> of https://a.example\n\nBody & more\nlines",
        files={
            "README.md": "# Demo\n\n[guide](docs/guide.md)\n\n" + "words " * 1000,
            "docs/README.md": "![x](x.png) <script>alert(1)</script>",
            "notes.txt": "<b>\n",
            "big.md": "x" * (600 * 1024),
        },
    )
    (source.path / "image.bin").write_bytes(b"\x00\x01")
    source.git("add", "image.bin")
    source.git("commit", "--quiet", "--amend", "--no-edit")
    await store_content(runtime, repository, source)
    return repository


async def ask_for(
    ask: GraphQLClient, runtime: Runtime, ann: User, **variables: Any
) -> dict[str, Any]:
    token = (await make_token(runtime, ann, "repo")).token
    answer = await ask(QUERY, {"owner": "ann", "name": "demo", **variables}, token=token)
    found: dict[str, Any] = answer.data["repository"]
    return found


async def test_a_readme_is_rendered_with_its_links(
    ask: GraphQLClient, runtime: Runtime, ann: User, demo: Repository
) -> None:
    for _ in "from git, then from the cache":
        found = await ask_for(ask, runtime, ann)
        oid = found["object"]["oid"]
        html = found["readme"]["contentHTML"]
        assert html.startswith(
            '<h1 id="user-content-demo">Demo</h1>\n'
            f'<p><a href="/ann/demo/blob/{oid}/docs/guide.md" {REL}>guide</a></p>'
        )
    below = await ask_for(ask, runtime, ann, at="HEAD:docs")
    assert below["readme"]["contentHTML"] == (
        f'<p><img src="/ann/demo/raw/{oid}/docs/x.png" alt="x"> '
        "&lt;script&gt;alert(1)&lt;/script&gt;</p>\n"
    )


async def test_files_that_are_no_markdown(
    ask: GraphQLClient, runtime: Runtime, ann: User, demo: Repository
) -> None:
    found = await ask_for(ask, runtime, ann)
    entries = {each["name"]: each["contentHTML"] for each in found["object"]["tree"]["entries"]}
    assert entries.pop("README.md").startswith("<h1")
    assert entries == {
        "docs": None,  # a folder
        "notes.txt": "<pre>&lt;b&gt;\n</pre>",
        "big.md": None,  # beyond the limit
        "image.bin": None,
    }


async def test_messages_descriptions_and_bios(
    ask: GraphQLClient, runtime: Runtime, ann: User, demo: Repository
) -> None:
    await repositories.update_repository(
        operator(runtime), demo.id, RepositoryChanges(description="<i> http://b.example")
    )
    await profiles.update_profile(operator(runtime), ann.id, ProfileChanges(bio="a & b"))
    found = await ask_for(ask, runtime, ann)
    commit = found["object"]
    assert commit["messageHeadlineHTML"] == (
        f'Use &lt;b&gt; of <a href="https://a.example" {REL}>https://a.example</a>'
    )
    assert commit["messageBodyHTML"] == "<pre>Body &amp; more\nlines</pre>"
    assert found["descriptionHTML"] == (
        f'<div>&lt;i&gt; <a href="http://b.example" {REL}>http://b.example</a></div>'
    )
    assert found["owner"]["bioHTML"] == "<div>a &amp; b</div>"


async def test_strangers_get_none_of_it(
    ask: GraphQLClient, runtime: Runtime, ann: User, demo: Repository
) -> None:
    await ask_for(ask, runtime, ann)  # it is in the cache now
    answer = await ask(QUERY, {"owner": "ann", "name": "demo"})
    assert answer.body["data"] == {"repository": None}
    assert answer.error["type"] == "NOT_FOUND"
