"""The contract as a whole: committed, described, and GitHub's where GitHub has the concept."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLUnionType,
    get_nullable_type,
    is_leaf_type,
    is_specified_directive,
    print_type,
)

from graph.schema import print_sdl, schema

ROOT = Path(__file__).parents[3]
TYPES: dict[str, Any] = {
    name: each for name, each in schema._schema.type_map.items() if not name.startswith("__")
}
BUILT_IN = {"Boolean", "Float", "ID", "Int", "String"}


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
        # GitHub's own counts by kind: repositoryCount, userCount.
        if name.endswith("Connection") and name != "SearchResultItemConnection":
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
        "GitHubMetadata.isPasswordAuthenticationVerifiable",
        "RevokeAccessTokenPayload.revokedAccessTokenId",
        "SignInPayload.token",
    ]


def test_there_is_one_union_and_no_directive_of_our_own() -> None:
    unions = [each.name for each in TYPES.values() if isinstance(each, GraphQLUnionType)]
    assert unions == ["SearchResultItem"]  # it is GitHub's
    assert all(is_specified_directive(each) for each in schema._schema.directives)


def test_the_relay_shape_of_a_connection() -> None:
    assert "nodes: [Repository]" in print_type(TYPES["RepositoryConnection"])
    assert "edges: [RepositoryEdge]" in print_type(TYPES["RepositoryConnection"])
