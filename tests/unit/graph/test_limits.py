"""What a document may ask for, and what it costs."""

from typing import Any

import pytest
from graphql import GraphQLError, parse

from graph.errors import LimitExceeded
from graph.limits import (
    MAX_ALIASES,
    MAX_DEPTH,
    MAX_DIRECTIVES,
    MAX_FIELDS,
    MAX_MUTATIONS,
    QueryCost,
    check_shape,
    check_text,
    find_operation,
    measure_cost,
)
from graph.schema import schema
from services.errors import Invalid


def nested(levels: int) -> str:
    return "{" + "a{" * (levels - 1) + "b" + "}" * levels


def shape_fault(text: str) -> str:
    with pytest.raises(LimitExceeded) as caught:
        check_shape(parse(text))
    return caught.value.message


def test_depth() -> None:
    check_shape(parse(nested(MAX_DEPTH)))
    assert shape_fault(nested(MAX_DEPTH + 1)) == (
        "the document has more than 25 levels of nesting; ask for less at once"
    )


def test_depth_through_fragments() -> None:
    chain = "".join(f"fragment F{n} on T {{ a {{ ...F{n + 1} }} }} " for n in range(MAX_DEPTH))
    end = f"fragment F{MAX_DEPTH} on T {{ b }}"
    assert "levels of nesting" in shape_fault(f"{{ ...F0 }} {chain} {end}")


def test_unused_fragments_count_too() -> None:
    assert "levels" in shape_fault("{ a } fragment F on T " + nested(MAX_DEPTH + 1))


def test_aliases() -> None:
    check_shape(parse("{" + " ".join(f"r{n}: a" for n in range(MAX_ALIASES)) + "}"))
    assert shape_fault("{" + " ".join(f"r{n}: a" for n in range(MAX_ALIASES + 1)) + "}") == (
        "the document has more than 500 aliases; ask for less at once"
    )


def test_fields() -> None:
    check_shape(parse("{" + "a " * MAX_FIELDS + "}"))
    assert "5000 fields" in shape_fault("{" + "a " * (MAX_FIELDS + 1) + "}")


def test_fragments_that_multiply() -> None:
    """Two spreads a level double the fields: 2 ** 20 of them from 20 short fragments."""
    bomb = " ".join(
        f"fragment F{n} on T {{ a {{ ...F{n + 1} }} b {{ ...F{n + 1} }} }}" for n in range(20)
    )
    assert "5000 fields" in shape_fault(f"{{ ...F0 }} {bomb} fragment F20 on T {{ c }}")


def test_directives() -> None:
    check_shape(parse("{ a " + "@x " * MAX_DIRECTIVES + "}"))
    assert "200 directives" in shape_fault("{ a " + "@x " * (MAX_DIRECTIVES + 1) + "}")


@pytest.mark.parametrize(
    "text",
    [
        "{ ...F } fragment F on T { ...F }",
        "{ ...F } fragment F on T { a { ...G } } fragment G on T { ...F }",
        "{ a } fragment F on T { ...G } fragment G on T { ...F }",
    ],
)
def test_fragments_within_themselves(text: str) -> None:
    with pytest.raises(GraphQLError, match=r"Cannot spread fragment '[FG]' within itself"):
        check_shape(parse(text))


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ('{ a(b: "\\u0000") }', {}),
        ('{ a(b: ["x", {c: "\\uD83D"}]) }', {}),
        ("{ a }", {"x": [{"y": "\x00"}]}),
        ("{ a }", {"x": {"\ud800": 1}}),
    ],
)
def test_text_that_cannot_be_stored(text: str, variables: dict[str, Any]) -> None:
    try:
        document = parse(text)
    except GraphQLError:  # the parser already refuses lone surrogates
        return
    with pytest.raises(Invalid) as caught:
        check_text(document, variables)
    assert caught.value.message == (
        "a text in the request holds a NUL character or a lone surrogate"
    )


def test_ordinary_text_passes() -> None:
    check_text(parse('{ a(b: "grün 🦊\\n") }'), {"x": "🦊", "y": [1, None, True]})


def cost(text: str, **variables: Any) -> QueryCost:
    document = parse(text)
    operation = find_operation(document, None)
    assert operation is not None
    return measure_cost(schema._schema, document, operation, variables)


def test_a_plain_query_costs_a_point() -> None:
    assert cost("{ viewer { login } }") == QueryCost(nodes=0, requests=1)
    assert cost("{ viewer { login } }").points == 1


def test_githubs_example_of_nested_connections() -> None:
    text = """{ viewer { repositories(first: 50) { edges { node {
        refs(refPrefix: "refs/heads/", first: 20) { nodes { name
          repository { deployKeys(last: 10) { totalCount } } } } } } } } }"""
    assert cost(text) == QueryCost(nodes=50 + 50 * 20 + 50 * 20 * 10, requests=1 + 1 + 50 + 50 * 20)
    assert cost(text).points == 11


def test_variables_and_defaults_count() -> None:
    text = """query($n: Int = 30, $skip: Boolean = false, $ids: [ID!] = []) {
        viewer { repositories(first: $n) @skip(if: $skip) { nodes { id } } }
        nodes(ids: $ids) { id } }"""
    assert cost(text).nodes == 30
    assert cost(text, n=80).nodes == 80
    assert cost(text, skip=True).nodes == 0
    assert cost(text, n="x").nodes == 0
    assert cost(text, ids=["a"] * 70).nodes == 100


def test_pages_count_no_more_than_they_may_hold() -> None:
    assert cost("{ viewer { repositories(first: 100000) { totalCount } } }").nodes == 100
    assert cost("{ viewer { repositories(first: -5) { totalCount } } }").nodes == 0


def test_too_many_nodes_in_githubs_words() -> None:
    text = "{ viewer { " + "repositories(first: 100) { nodes { owner { " * 3
    text += "login " + "} } } " * 3 + "} }"
    with pytest.raises(LimitExceeded) as caught:
        cost(text)
    assert caught.value.error_type == "MAX_NODE_LIMIT_EXCEEDED"
    assert caught.value.message == (
        "This query requests up to 1,010,100 possible nodes which exceeds the maximum limit of "
        "500,000."
    )


def test_mutations() -> None:
    many = " ".join(
        f"m{n}: signOut(input: {{}}) {{ clientMutationId }}" for n in range(MAX_MUTATIONS + 1)
    )
    with pytest.raises(LimitExceeded, match="a request may hold 100 mutations at most"):
        cost(f"mutation {{ {many} }}")


def test_introspection() -> None:
    from graphql import get_introspection_query

    assert cost(get_introspection_query(input_value_deprecation=True, type_depth=9)).points == 1
    many = " ".join(
        f"s{n}: __schema {{ types {{ fields {{ args {{ name }} }} }} }}" for n in range(100)
    )
    with pytest.raises(LimitExceeded, match="introspection asks for too much"):
        cost(f"{{ {many} }}")
