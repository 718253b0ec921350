"""The steps of one operation that Strawberry calls: limits, caches, price; then the fields."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
)
from strawberry.extensions import ParserCache, SchemaExtension, ValidationCache

from graph.limits import (
    MAX_TOKENS,
    check_operation,
    check_shape,
    check_text,
    find_operation,
    measure_cost,
)
from graph.validation import VALIDATION_RULES

# Parsed documents take some 500 bytes a token; so many, so large, stay below 100 MiB.
CACHED_DOCUMENTS = 128
CACHED_DOCUMENT_CHARACTERS = 8 * 1024


class Limits(SchemaExtension):
    """Refuses what asks for too much, in the order of what it costs to find out."""

    def on_operation(self) -> Iterator[None]:
        self.execution_context.parse_options = {"max_tokens": MAX_TOKENS}
        self.execution_context.validation_rules = VALIDATION_RULES
        yield

    def on_validate(self) -> Iterator[None]:
        document = self.execution_context.graphql_document
        assert document is not None
        check_operation(document, self.execution_context.context.operation_name)
        check_shape(document)
        check_text(document, self.execution_context.variables)
        yield

    async def on_execute(self) -> AsyncIterator[None]:
        execution = self.execution_context
        document = execution.graphql_document
        assert document is not None
        operation = find_operation(document, execution.operation_name)
        assert operation is not None
        if operation.operation is OperationType.SUBSCRIPTION:
            execution.context.allow_any_time()
        cost = measure_cost(
            execution.schema._schema, document, operation, execution.variables or {}
        )
        if dry_run := _dry_run(document, operation, execution.variables or {}):
            # The price is asked for, not the answer: everything else is left out.
            execution.graphql_document = dry_run
            execution.context.charge.cost = cost
        else:
            await execution.context.charge.pay_for(execution.context.op, cost)
        yield


class SmallParserCache(ParserCache):
    """Remembers small documents; large ones would let strangers fill the memory."""

    def on_parse(self) -> Iterator[None]:
        if _is_small(self.execution_context.query):
            yield from super().on_parse()
        else:
            yield


class SmallValidationCache(ValidationCache):
    """Remembers the outcome for small documents, as ``SmallParserCache`` does."""

    def on_validate(self) -> Iterator[None]:
        if _is_small(self.execution_context.query):
            yield from super().on_validate()
        else:
            yield


def _is_small(query: str | None) -> bool:
    return query is not None and len(query) <= CACHED_DOCUMENT_CHARACTERS


def _dry_run(
    document: DocumentNode, operation: OperationDefinitionNode, variables: dict[str, Any]
) -> DocumentNode | None:
    """If ``rateLimit(dryRun: true)`` is among the root fields: a document of those fields alone."""
    fragments = {
        each.name.value: each
        for each in document.definitions
        if isinstance(each, FragmentDefinitionNode)
    }
    kept = [
        field
        for field in _root_fields(operation.selection_set, fragments)
        if field.name.value == "rateLimit"
    ]
    if not any(_is_true(field, "dryRun", variables) for field in kept):
        return None
    narrowed = OperationDefinitionNode(
        **{
            **{key: getattr(operation, key) for key in operation.keys},
            "selection_set": SelectionSetNode(selections=tuple(kept)),
        }
    )
    return DocumentNode(definitions=(narrowed, *fragments.values()))


def _root_fields(
    selection_set: SelectionSetNode, fragments: dict[str, FragmentDefinitionNode]
) -> Iterator[FieldNode]:
    for node in selection_set.selections:
        if isinstance(node, FieldNode):
            yield node
        elif isinstance(node, InlineFragmentNode):
            yield from _root_fields(node.selection_set, fragments)
        elif isinstance(node, FragmentSpreadNode):
            yield from _root_fields(fragments[node.name.value].selection_set, fragments)


def _is_true(field: FieldNode, name: str, variables: dict[str, Any]) -> bool:
    for argument in field.arguments or ():
        if argument.name.value == name:
            value: Any = argument.value
            if hasattr(value, "name"):
                return variables.get(value.name.value) is True
            return getattr(value, "value", None) is True
    return False
