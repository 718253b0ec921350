"""What one request may ask for: the document's shape before validation, its cost before execution.

The limits are documented for users in docs/graphql.md; a test compares the figures.
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from graphql import (
    BooleanValueNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    Node,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    StringValueNode,
    ValueNode,
    VariableNode,
    get_named_type,
    value_from_ast_untyped,
    visit,
)
from graphql.language import Visitor

from graph.errors import LimitExceeded
from resolvers.pagination import MAX_PAGE_SIZE
from services.errors import Invalid

MAX_BODY_BYTES = 1024 * 1024
MAX_TOKENS = 10_000
MAX_DEPTH = 25
MAX_FIELDS = 5_000
MAX_ALIASES = 500
MAX_DIRECTIVES = 200
MAX_MUTATIONS = 100
MAX_NODES = 500_000
# The standard introspection asks for about 850 for each type, whatever the schema's size.
MAX_INTROSPECTED_PER_TYPE = 1_500
DEADLINE_SECONDS = 10
# A fork packs the whole repository.
FORK_DEADLINE_SECONDS = 600
REQUESTS_PER_POINT = 100

# How long the lists of introspection are, about; the list of types is counted exactly.
_INTROSPECTION_LISTS = {
    "fields": 15,
    "inputFields": 8,
    "enumValues": 6,
    "possibleTypes": 6,
    "interfaces": 3,
    "args": 3,
    "directives": 8,
    "locations": 4,
}


@dataclasses.dataclass(frozen=True, slots=True)
class Shape:
    """Levels of nesting, and fields and aliases with every fragment written out."""

    depth: int = 0
    fields: int = 0
    aliases: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class QueryCost:
    """``nodes``: most objects that connections can return. ``points``: what the caller pays."""

    nodes: int
    requests: int

    @property
    def points(self) -> int:
        return max(1, math.ceil(self.requests / REQUESTS_PER_POINT))


def check_shape(document: DocumentNode) -> None:
    """Raises LimitExceeded; GraphQLError for a fragment that contains itself.

    Takes time linear in the document: a fragment is measured once, however often it is spread.
    """
    shape = _Measure(document).document()
    for actual, most, what in (
        (shape.depth, MAX_DEPTH, "levels of nesting"),
        (shape.fields, MAX_FIELDS, "fields"),
        (shape.aliases, MAX_ALIASES, "aliases"),
        (_count_directives(document), MAX_DIRECTIVES, "directives"),
    ):
        if actual > most:
            raise LimitExceeded(f"the document has more than {most} {what}; ask for less at once")


class _Measure:
    def __init__(self, document: DocumentNode) -> None:
        self._document = document
        self._fragments = _fragments(document)
        self._measured: dict[str, Shape] = {}
        self._open: set[str] = set()

    def document(self) -> Shape:
        depth = fields = aliases = 0
        for definition in self._document.definitions:
            if isinstance(definition, OperationDefinitionNode):
                shape = self._selections(definition.selection_set)
            elif isinstance(definition, FragmentDefinitionNode):
                shape = self._fragment(definition.name.value, definition)
                shape = Shape(shape.depth)
            else:
                continue
            depth = max(depth, shape.depth)
            fields += shape.fields
            aliases += shape.aliases
        return Shape(depth, fields, aliases)

    def _selections(self, selection_set: SelectionSetNode | None) -> Shape:
        depth = fields = aliases = 0
        for node in selection_set.selections if selection_set else ():
            if isinstance(node, FieldNode):
                inner = self._selections(node.selection_set)
                inner = Shape(
                    inner.depth + 1, inner.fields + 1, inner.aliases + (node.alias is not None)
                )
            elif isinstance(node, InlineFragmentNode):
                inner = self._selections(node.selection_set)
            elif isinstance(node, FragmentSpreadNode):
                inner = self._fragment(node.name.value, node)
            else:
                continue
            depth = max(depth, inner.depth)
            fields += inner.fields
            aliases += inner.aliases
        return Shape(depth, fields, aliases)

    def _fragment(self, name: str, node: Node) -> Shape:
        if name in self._measured:
            return self._measured[name]
        fragment = self._fragments.get(name)
        if fragment is None:  # validation says so in its own words
            return Shape()
        if name in self._open:
            raise GraphQLError(f"Cannot spread fragment '{name}' within itself.", [node])
        self._open.add(name)
        shape = self._measured[name] = self._selections(fragment.selection_set)
        self._open.discard(name)
        return shape


def check_text(document: DocumentNode, variables: Mapping[str, Any] | None) -> None:
    """Raises Invalid for characters that no database column holds: NUL and lone surrogates."""
    if any(map(_is_unstorable, _texts(variables))) or any(
        map(_is_unstorable, _string_literals(document))
    ):
        raise Invalid("a text in the request holds a NUL character or a lone surrogate")


def measure_cost(
    schema: GraphQLSchema,
    document: DocumentNode,
    operation: OperationDefinitionNode,
    variables: Mapping[str, Any],
) -> QueryCost:
    """The cost of a valid operation, as GitHub computes it. Raises LimitExceeded.

    Every root field and every connection of every possible parent is one request; a hundred
    requests are a point. Nodes are counted with the pages full.
    """
    measured = _Cost(schema, document, operation, variables)
    measured.root()
    if measured.nodes > MAX_NODES:
        raise LimitExceeded(
            f"This query requests up to {measured.nodes:,} possible nodes which exceeds the "
            f"maximum limit of {MAX_NODES:,}.",
            "MAX_NODE_LIMIT_EXCEEDED",
        )
    if measured.introspected > MAX_INTROSPECTED_PER_TYPE * len(schema.type_map):
        raise LimitExceeded("the introspection asks for too much at once; split it")
    return QueryCost(measured.nodes, measured.requests)


class _Cost:
    def __init__(
        self,
        schema: GraphQLSchema,
        document: DocumentNode,
        operation: OperationDefinitionNode,
        variables: Mapping[str, Any],
    ) -> None:
        self._schema = schema
        self._operation = operation
        self._fragments = _fragments(document)
        defaults = {
            each.variable.name.value: value_from_ast_untyped(each.default_value)
            for each in operation.variable_definitions or ()
            if each.default_value is not None
        }
        self._variables = {**defaults, **variables}
        self.nodes = self.requests = self.introspected = 0

    def root(self) -> None:
        root = self._schema.get_root_type(self._operation.operation)
        fields = list(self._fields(self._operation.selection_set, root))
        if self._operation.operation is OperationType.MUTATION and len(fields) > MAX_MUTATIONS:
            raise LimitExceeded(f"a request may hold {MAX_MUTATIONS} mutations at most")
        for node, parent in fields:
            self.requests += 1
            self._field(node, parent, 1)

    def _field(self, node: FieldNode, parent: Any, times: int) -> None:
        name = node.name.value
        declared = self._declared(node, parent)
        if declared is None or node.selection_set is None:
            return
        returned = get_named_type(declared.type)
        if returned.name.startswith("__"):
            length = self._introspection_length(name)
            times *= length
            self.introspected += times
        elif "first" in declared.args and "last" in declared.args:
            self.requests += times
            size = self._argument(node, "first") or self._argument(node, "last") or 0
            size = max(0, min(size, MAX_PAGE_SIZE)) if isinstance(size, int) else 0
            self.nodes += times * size
            times *= max(1, size)
        elif "ids" in declared.args:
            ids = self._argument(node, "ids")
            size = len(ids) if isinstance(ids, list) else 1
            self.nodes += times * size
            times *= max(1, size)
        for child, on in self._fields(node.selection_set, returned):
            self._field(child, on, times)

    def _declared(self, node: FieldNode, parent: Any) -> Any:
        name = node.name.value
        if name.startswith("__"):
            return self._schema.get_field(parent, name)
        if isinstance(parent, GraphQLObjectType | GraphQLInterfaceType):
            return parent.fields.get(name)
        return None

    def _introspection_length(self, name: str) -> int:
        if name == "types":
            return len(self._schema.type_map)
        return _INTROSPECTION_LISTS.get(name, 1)

    def _fields(self, selection_set: SelectionSetNode, on: Any) -> Iterator[tuple[FieldNode, Any]]:
        """Fields with their parent types; fragments are written out, skipped fields left out."""
        for node in selection_set.selections:
            if self._is_skipped(node):
                continue
            if isinstance(node, FieldNode):
                yield node, on
            elif isinstance(node, InlineFragmentNode):
                condition = node.type_condition
                type_ = self._schema.get_type(condition.name.value) if condition else on
                yield from self._fields(node.selection_set, type_)
            elif isinstance(node, FragmentSpreadNode):
                fragment = self._fragments[node.name.value]
                type_ = self._schema.get_type(fragment.type_condition.name.value)
                yield from self._fields(fragment.selection_set, type_)

    def _is_skipped(self, node: Any) -> bool:
        for directive in node.directives or ():
            if directive.name.value in ("skip", "include"):
                condition = self._value(directive.arguments[0].value)
                if condition is (directive.name.value == "skip"):
                    return True
        return False

    def _argument(self, node: FieldNode, name: str) -> Any:
        for argument in node.arguments or ():
            if argument.name.value == name:
                return self._value(argument.value)
        return None

    def _value(self, node: ValueNode) -> Any:
        if isinstance(node, VariableNode):
            return self._variables.get(node.name.value)
        if isinstance(node, IntValueNode):
            return int(node.value)
        if isinstance(node, BooleanValueNode):
            return node.value
        return list(node.values) if isinstance(node, ListValueNode) else None


def find_operation(document: DocumentNode, name: str | None) -> OperationDefinitionNode | None:
    """The operation that will be executed; None if the name does not tell which."""
    operations = [
        each
        for each in document.definitions
        if isinstance(each, OperationDefinitionNode)
        and (name is None or (each.name is not None and each.name.value == name))
    ]
    return operations[0] if len(operations) == 1 else None


def check_operation(document: DocumentNode, name: str | None) -> None:
    """Raises Invalid unless it is clear which operation is meant."""
    if find_operation(document, name) is None:
        raise no_such_operation(name)


def no_such_operation(name: str | None) -> Invalid:
    """What a name that is wrong or missing is answered with."""
    text = "the document has several operations or none; give operationName"
    if name is not None:
        text = f"the document has no single operation named '{name[:100]}'"
    return Invalid(text, fields=("operationName",))


def _fragments(document: DocumentNode) -> dict[str, FragmentDefinitionNode]:
    return {
        each.name.value: each
        for each in document.definitions
        if isinstance(each, FragmentDefinitionNode)
    }


class _Collector(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.directives = 0
        self.literals: list[str] = []

    def enter_directive(self, *_: Any) -> None:
        self.directives += 1

    def enter_string_value(self, node: StringValueNode, *_: Any) -> None:
        self.literals.append(node.value)


def _count_directives(document: DocumentNode) -> int:
    collector = _Collector()
    visit(document, collector)
    return collector.directives


def _string_literals(document: DocumentNode) -> list[str]:
    collector = _Collector()
    visit(document, collector)
    return collector.literals


def _texts(value: Any) -> Iterable[str]:
    """Every text in a JSON value, keys included."""
    ahead = [value]
    while ahead:
        each = ahead.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, Mapping):
            ahead.extend(each)
            ahead.extend(each.values())
        elif isinstance(each, list):
            ahead.extend(each)


def _is_unstorable(text: str) -> bool:
    if "\x00" in text:
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
