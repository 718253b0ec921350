"""Where our validation differs from the specification's: GitHub's choice, and linear time."""

import pytest
from graphql import FieldNode, GraphQLError, build_schema, parse, validate

from graph import validation
from graph.schema import schema
from graph.validation import MAX_MERGED_FIELDS, VALIDATION_RULES, FieldsMergeRule

STATES = build_schema("""
  enum IssueState { OPEN } enum PullRequestState { MERGED }
  interface Node { id: ID! other: ID! next: Node }
  type Issue implements Node {
    id: ID! other: ID! next: Node state: IssueState! title(upper: Boolean): String
  }
  type PullRequest implements Node {
    id: ID! other: ID! next: Node state: PullRequestState! title: String
  }
  union IssueOrPullRequest = Issue | PullRequest
  type Query { it: IssueOrPullRequest node: Node issue: Issue }
""")


def conflicts(text: str) -> list[str]:
    return [error.message for error in validate(STATES, parse(text), [FieldsMergeRule])]


@pytest.mark.parametrize(
    "text",
    [
        # What gh sends; the specification forbids it.
        "{ it { ... on Issue { state } ... on PullRequest { state } } }",
        "{ node { ... on Issue { a: id } ... on PullRequest { a: other } } }",
        "{ issue { title(upper: true) title(upper: true) } }",
        "{ issue { id } issue { id } ...F } fragment F on Query { issue { id } }",
    ],
)
def test_fields_that_merge(text: str) -> None:
    assert conflicts(text) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{ issue { a: id a: other } }", "'id' and 'other' are different fields"),
        ("{ issue { title(upper: true) title } }", "they have differing arguments"),
        ("{ node { a: id ... on Issue { a: other } } }", "'id' and 'other' are different fields"),
        (
            "{ node { ... on Issue { a: other } ...F } } fragment F on Node { a: id }",
            "'id' and 'other' are different fields",
        ),
        ("{ issue { a: id } issue { a: other } }", "'id' and 'other' are different fields"),
    ],
)
def test_fields_that_do_not_merge(text: str, reason: str) -> None:
    (message,) = conflicts(text)
    assert message.endswith(
        f"conflict because {reason}. Use different aliases on the fields to fetch both if this "
        "was intentional."
    )


def test_fields_of_one_name_are_looked_at_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """CVE-2023-26144: the usual algorithm compares each with each."""
    looks = 0
    original = validation._arguments

    def counted(node: FieldNode) -> dict[str, str]:
        nonlocal looks
        looks += 1
        return original(node)

    monkeypatch.setattr(validation, "_arguments", counted)
    document = parse("{ issue {" + "id " * 4000 + "} }")
    assert validate(STATES, document, [FieldsMergeRule]) == []
    assert looks == 4001


def test_combinations_are_bounded() -> None:
    level = "next { %s } ... on Issue { next { %s } } ... on PullRequest { next { %s } }"
    text = "id"
    for _ in range(8):
        text = level % (text, text, text)
    with pytest.raises(GraphQLError, match=f"merges more than {MAX_MERGED_FIELDS} fields"):
        validate(STATES, parse("{ node { " + text + " } }"), [FieldsMergeRule])


def test_unknown_fields_are_worded_as_github_does() -> None:
    errors = validate(schema._schema, parse("{ viewer { nope } }"), VALIDATION_RULES)
    assert [each.message for each in errors] == ["Field 'nope' doesn't exist on type 'User'"]
