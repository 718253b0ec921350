"""Everything of ours that GitHub's public schema names too is as it is there.

GitHub's schema comes from the npm package ``@octokit/graphql-schema``. It is not valid itself (some
fields are declared twice), so it is read as a document, not built.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from graphql import (
    DocumentNode,
    InputObjectTypeDefinitionNode,
    Node,
    NonNullTypeNode,
    TypeDefinitionNode,
    parse,
    print_ast,
)

from graph.schema import print_sdl

GITHUBS = Path(__file__).parents[2] / "npm/node_modules/@octokit/graphql-schema/schema.graphql"
# What is ours in types that GitHub has too.
OURS = {
    "BlameRange.path",
    "BlameRange.previousCommit",
    "BlameRange.previousPath",
    "Commit.files",
    "Commit.history(followRenames)",
    "Comparison.files",
    "Comparison.mergeBase",
    "CreateRepositoryInput.defaultBranch",
    "DeployKey.fingerprint",
    "DeployKey.lastUsedAt",
    "PublicKey.databaseId",
    "PublicKey.title",
    "Repository.lastEventNumber",
    "TreeEntry.contentHTML",
    "Repository.compare",
    "Repository.defaultBranchName",
    "Repository.readme",
    "Query.serverMetadata",
    "TreeEntry.lastCommit",
    "UpdateRepositoryInput.defaultBranch",
    "UpdateRepositoryInput.visibility",
    "User.accessTokens",
    "User.emails",
    "User.sessions",
}
# Arguments of GitHub's that fields of ours do not take; a query that gives one is refused.
LACKING = {
    "Repository.collaborators(affiliation)",
    "Repository.collaborators(login)",
    "Repository.collaborators(query)",
}

Members = dict[str, Node]


@pytest.fixture(scope="module")
def githubs() -> dict[str, TypeDefinitionNode]:
    if not GITHUBS.exists():
        text = "GitHub's schema is not installed: run make test, or npm ci in tests/npm"
        if os.environ.get("CI") == "true":
            pytest.fail(text)
        pytest.skip(text)
    return by_name(parse(GITHUBS.read_text()))


@pytest.fixture(scope="module")
def ours() -> dict[str, TypeDefinitionNode]:
    return by_name(parse(print_sdl()))


def by_name(document: DocumentNode) -> dict[str, TypeDefinitionNode]:
    return {
        each.name.value: each
        for each in document.definitions
        if isinstance(each, TypeDefinitionNode)
    }


def members(definition: Node) -> Members:
    """Fields, values of enums, arguments: whatever has a name within it."""
    found = [
        *(getattr(definition, "fields", None) or ()),
        *(getattr(definition, "values", None) or ()),
        *(getattr(definition, "arguments", None) or ()),
    ]
    return {each.name.value: each for each in found}


def typed(node: Any) -> str:
    """The type with its default value, as SDL; nothing for a value of an enum."""
    if not hasattr(node, "type"):
        return ""
    default = getattr(node, "default_value", None)
    return f"{print_ast(node.type)}{f' = {print_ast(default)}' if default else ''}"


def is_required(node: Any) -> bool:
    return isinstance(node.type, NonNullTypeNode) and node.default_value is None


def compare(name: str, mine: Node, theirs: Node) -> Iterator[tuple[str, str]]:
    """What differs, as (name, fault); ``ours`` and ``lacking`` are faults only if not meant."""
    known = members(theirs)
    for key, member in members(mine).items():
        # Arguments are written in parentheses: Type.field(argument).
        path = f"{name}({key})" if "." in name else f"{name}.{key}"
        if key not in known:
            yield path, "ours"
            is_given = isinstance(mine, InputObjectTypeDefinitionNode) or path.endswith(")")
            if is_given and is_required(member):
                yield path, "is required, and GitHub's tools do not know it"
        else:
            if typed(member) != typed(known[key]):
                yield path, f"is {typed(member)}, on GitHub {typed(known[key])}"
            yield from compare(path, member, known[key])
    for key in known.keys() - members(mine).keys():
        if "." in name:
            yield f"{name}({key})", "lacking"
        elif isinstance(mine, InputObjectTypeDefinitionNode) and is_required(known[key]):
            yield f"{name}.{key}", "is required on GitHub"


def faults(
    ours: dict[str, TypeDefinitionNode], githubs: dict[str, TypeDefinitionNode]
) -> Iterator[tuple[str, str]]:
    for name in ours.keys() & githubs.keys():
        mine, theirs = ours[name], githubs[name]
        if mine.kind != theirs.kind:
            yield name, f"is a {mine.kind}, on GitHub a {theirs.kind}"
            continue
        yield from compare(name, mine, theirs)
        for each in getattr(mine, "interfaces", None) or ():
            if each.name.value not in {one.name.value for one in theirs.interfaces}:  # type: ignore[attr-defined]
                yield f"{name} implements {each.name.value}", "ours"


def test_what_github_names_is_as_on_github(
    ours: dict[str, TypeDefinitionNode], githubs: dict[str, TypeDefinitionNode]
) -> None:
    found = list(faults(ours, githubs))
    assert [each for each in found if each[1] not in ("ours", "lacking")] == []
    # Mutations for what GitHub does elsewhere have names of their own.
    added = {name for name, fault in found if fault == "ours" and not name.startswith("Mutation.")}
    assert added == OURS
    assert {name for name, fault in found if fault == "lacking"} == LACKING


def test_how_much_of_githubs_schema_there_is(
    ours: dict[str, TypeDefinitionNode],
    githubs: dict[str, TypeDefinitionNode],
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fields(schema: dict[str, TypeDefinitionNode]) -> set[str]:
        return {
            f"{name}.{key}"
            for name, each in schema.items()
            for key in members(each)
            if "object_type" in each.kind or "interface_type" in each.kind
        }

    offered, all_of_them = fields(ours) & fields(githubs), fields(githubs)
    types = ours.keys() & githubs.keys()
    with capsys.disabled():
        print(
            f"\n{len(offered)} of {len(all_of_them)} fields and {len(types)} of {len(githubs)} "
            "types of GitHub's schema are offered"
        )
    assert len(offered) > 200


def test_interfaces_of_githubs_types_are_kept(
    ours: dict[str, TypeDefinitionNode], githubs: dict[str, TypeDefinitionNode]
) -> None:
    """Whoever asks ``... on Node`` of a type that has one on GitHub finds it here."""
    # GitHub's Query is a Node for Relay's sake alone.
    for name in ours.keys() & githubs.keys() - {"Query"}:
        theirs = {each.name.value for each in getattr(githubs[name], "interfaces", None) or ()}
        mine = {each.name.value for each in getattr(ours[name], "interfaces", None) or ()}
        assert theirs & ours.keys() <= mine, name
