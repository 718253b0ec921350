"""The contract as a whole: committed, described, and GitHub's where GitHub has the concept."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLUnionType,
    get_nullable_type,
    is_leaf_type,
    is_specified_directive,
    parse,
    print_ast,
    print_type,
)

from graph.schema import print_sdl, schema

ROOT = Path(__file__).parents[3]
TYPES: dict[str, Any] = {
    name: each for name, each in schema._schema.type_map.items() if not name.startswith("__")
}
BUILT_IN = {"Boolean", "Float", "ID", "Int", "String"}

# What is ours in types that GitHub has too. Everything else there is exactly as GitHub has it.
OURS = {
    "CreateRepositoryInput.defaultBranch",
    "DeployKey.fingerprint",
    "DeployKey.lastUsedAt",
    "PublicKey.title",
    "Query.serverMetadata",
    "UpdateRepositoryInput.defaultBranch",
    "UpdateRepositoryInput.visibility",
    "User.accessTokens",
    "User.emails",
    "User.sessions",
}


def test_the_committed_sdl_is_current() -> None:
    committed = (ROOT / "graph" / "schema.graphql").read_text()
    assert committed == print_sdl(), "run: python -m graph.schema > graph/schema.graphql"


def described() -> Iterator[tuple[str, str | None]]:
    for name, each in TYPES.items():
        if name in BUILT_IN:
            continue
        yield name, each.description
        if isinstance(each, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType):
            for field_name, field in each.fields.items():
                yield f"{name}.{field_name}", field.description
                for argument_name, argument in getattr(field, "args", {}).items():
                    yield f"{name}.{field_name}({argument_name})", argument.description
        elif isinstance(each, GraphQLEnumType):
            for value_name, value in each.values.items():
                yield f"{name}.{value_name}", value.description


def test_everything_is_described() -> None:
    assert [name for name, text in described() if not (text and text.strip())] == []


def test_names_follow_the_conventions() -> None:
    for name, each in TYPES.items():
        if name.endswith("Payload"):
            assert "clientMutationId" in each.fields, name
        if name.endswith("Input"):
            assert isinstance(each, GraphQLInputObjectType), name
            assert "clientMutationId" in each.fields, name
        if name.endswith("Connection"):
            assert {"edges", "nodes", "pageInfo", "totalCount"} <= set(each.fields), name
        assert not any(word in name for word in ("Repo_", "PR")), name


def test_every_mutation_takes_one_input_and_gives_a_nullable_payload() -> None:
    mutation = TYPES["Mutation"]
    for name, field in mutation.fields.items():
        kind = f"{name[0].upper()}{name[1:]}"
        assert {key: str(each.type) for key, each in field.args.items()} == {
            "input": f"{kind}Input!"
        }
        assert str(field.type) == f"{kind}Payload"


def flattened() -> dict[str, str]:
    """``Type.field`` and ``Type.field(argument)`` with their types and defaults."""
    found: dict[str, str] = {}
    definitions: list[Any] = list(parse(print_sdl()).definitions)
    for definition in definitions:
        for value in getattr(definition, "values", None) or ():
            found[f"{definition.name.value}.{value.name.value}"] = "enum value"
        for field in getattr(definition, "fields", None) or ():
            name = f"{definition.name.value}.{field.name.value}"
            found[name] = _typed(field)
            for argument in getattr(field, "arguments", None) or ():
                found[f"{name}({argument.name.value})"] = _typed(argument)
    return found


def _typed(node: Any) -> str:
    default = getattr(node, "default_value", None)
    return f"{print_ast(node.type)}{f' = {print_ast(default)}' if default else ''}"


def test_shared_types_are_githubs() -> None:
    lines = (Path(__file__).parent / "github_fields.txt").read_text().splitlines()
    expected = dict(line.split(": ", 1) for line in lines)
    actual = flattened()
    assert {key: actual.get(key) for key in expected} == expected
    shared = {key.split(".")[0] for key in expected} - {"Mutation"}
    extra = {
        key.split("(")[0] for key in actual if key.split(".")[0] in shared and key not in expected
    }
    assert extra == OURS


@pytest.mark.parametrize(
    ("name", "interfaces"),
    [
        ("User", ["Actor", "Node", "RepositoryOwner", "UniformResourceLocatable"]),
        ("Repository", ["Node", "UniformResourceLocatable"]),
        ("Ref", ["Node"]),
        ("PublicKey", ["Node"]),
        ("DeployKey", ["Node"]),
    ],
)
def test_interfaces(name: str, interfaces: list[str]) -> None:
    assert sorted(each.name for each in TYPES[name].interfaces) == interfaces


def test_secrets_are_in_no_object() -> None:
    """Row 56: hashes and tokens can be asked for nowhere but where they are made."""
    words = ("token", "hash", "secret", "password")
    shown = sorted(
        f"{name}.{field}"
        for name, each in TYPES.items()
        if isinstance(each, GraphQLObjectType)
        for field, declared in each.fields.items()
        if any(word in field.lower() for word in words)
        and is_leaf_type(get_nullable_type(declared.type))
    )
    assert shown == [
        "AccessToken.tokenLastEight",
        "CreateAccessTokenPayload.token",
        "RevokeAccessTokenPayload.revokedAccessTokenId",
        "SignInPayload.token",
    ]


def test_there_are_no_unions_and_no_directives_of_our_own() -> None:
    assert not [each for each in TYPES.values() if isinstance(each, GraphQLUnionType)]
    assert all(is_specified_directive(each) for each in schema._schema.directives)


def test_the_relay_shape_of_a_connection() -> None:
    assert "nodes: [Repository]" in print_type(TYPES["RepositoryConnection"])
    assert "edges: [RepositoryEdge]" in print_type(TYPES["RepositoryConnection"])
