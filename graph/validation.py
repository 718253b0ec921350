"""Validation rules that differ from the GraphQL specification's, because GitHub's do.

GitHub lets fields of one name have different types in fragments that exclude each other, and its
own command line relies on that. The rest of "overlapping fields can be merged" is kept, in linear
time: the specification's algorithm is quadratic in fields of one name.
"""

import dataclasses
from typing import Any

from graphql import (
    ASTValidationRule,
    FieldNode,
    FieldsOnCorrectTypeRule,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLUnionType,
    InlineFragmentNode,
    OperationDefinitionNode,
    OverlappingFieldsCanBeMergedRule,
    SelectionSetNode,
    ValidationContext,
    ValidationRule,
    get_named_type,
    is_object_type,
    print_ast,
    specified_rules,
)

# Documents that merge fields in so many combinations are not written by people or tools.
MAX_MERGED_FIELDS = 20_000


@dataclasses.dataclass(frozen=True, slots=True)
class _Selected:
    """A field with the type it is selected on."""

    node: FieldNode
    parent: Any
    returns: Any


class FieldsMergeRule(ValidationRule):
    """Fields that answer under one name on one object must be the same field, same arguments.

    Relies on ``graph.limits`` having refused fragments that contain themselves.
    """

    def __init__(self, context: ValidationContext) -> None:
        super().__init__(context)
        self._budget = MAX_MERGED_FIELDS

    def enter_operation_definition(self, node: OperationDefinitionNode, *_: Any) -> None:
        root = self.context.schema.get_root_type(node.operation)
        if root is not None:
            self._check([(node.selection_set, root)])

    def _check(self, selections: list[tuple[SelectionSetNode, Any]]) -> None:
        by_name: dict[str, list[_Selected]] = {}
        visited: set[str] = set()
        for selection_set, parent in selections:
            self._collect(selection_set, parent, by_name, visited)
        for name, fields in by_name.items():
            abstract = [field for field in fields if not is_object_type(field.parent)]
            concrete: dict[str, list[_Selected]] = {}
            for field in fields:
                if is_object_type(field.parent):
                    concrete.setdefault(field.parent.name, []).append(field)
            # Fields on an interface meet those on each object type; object types exclude each
            # other, whatever their fields are.
            for group in [abstract + own for own in concrete.values()] or [abstract]:
                self._check_group(name, group)

    def _check_group(self, name: str, group: list[_Selected]) -> None:
        first = group[0].node
        arguments = _arguments(first)
        for field in group[1:]:
            if field.node is first:
                continue
            reason = None
            if field.node.name.value != first.name.value:
                reason = f"'{first.name.value}' and '{field.node.name.value}' are different fields"
            elif _arguments(field.node) != arguments:
                reason = "they have differing arguments"
            if reason:
                self.report_error(
                    GraphQLError(
                        f"Fields '{name}' conflict because {reason}. Use different aliases on "
                        "the fields to fetch both if this was intentional.",
                        [first, field.node],
                    )
                )
                return
        below = [
            (field.node.selection_set, field.returns)
            for field in group
            if field.node.selection_set and field.returns is not None
        ]
        if below:
            self._check(below)

    def _collect(
        self,
        selection_set: SelectionSetNode,
        parent: Any,
        by_name: dict[str, list[_Selected]],
        visited: set[str],
    ) -> None:
        for node in selection_set.selections:
            self._budget -= 1
            if self._budget < 0:
                raise GraphQLError(
                    f"The document merges more than {MAX_MERGED_FIELDS} fields; select fewer at "
                    "once.",
                    [node],
                )
            if isinstance(node, FieldNode):
                key = node.alias.value if node.alias else node.name.value
                field = _Selected(node, parent, _returned_type(parent, node))
                by_name.setdefault(key, []).append(field)
            elif isinstance(node, InlineFragmentNode):
                condition = node.type_condition.name.value if node.type_condition else None
                on = self.context.schema.get_type(condition) if condition else parent
                self._collect(node.selection_set, on, by_name, visited)
            elif isinstance(node, FragmentSpreadNode) and node.name.value not in visited:
                visited.add(node.name.value)
                fragment = self.context.get_fragment(node.name.value)
                if fragment is not None:
                    on = self.context.schema.get_type(fragment.type_condition.name.value)
                    self._collect(fragment.selection_set, on, by_name, visited)


class KnownFieldsRule(FieldsOnCorrectTypeRule):
    """Fields must exist; worded as GitHub does, since its tools compare the text."""

    def report_error(self, error: GraphQLError) -> None:
        node = error.nodes[0] if error.nodes else None
        parent = self.context.get_parent_type()
        if isinstance(node, FieldNode) and parent is not None:
            text = f"Field '{node.name.value}' doesn't exist on type '{parent.name}'"
            error = GraphQLError(text, error.nodes)
        super().report_error(error)


def _arguments(node: FieldNode) -> dict[str, str]:
    return {argument.name.value: print_ast(argument.value) for argument in node.arguments or ()}


def _returned_type(
    parent: GraphQLObjectType | GraphQLInterfaceType | GraphQLUnionType | None, node: FieldNode
) -> GraphQLOutputType | None:
    if not isinstance(parent, GraphQLObjectType | GraphQLInterfaceType):
        return None
    declared = parent.fields.get(node.name.value)
    return get_named_type(declared.type) if declared else None


_REPLACED: dict[type[ASTValidationRule], type[ASTValidationRule]] = {
    OverlappingFieldsCanBeMergedRule: FieldsMergeRule,
    FieldsOnCorrectTypeRule: KnownFieldsRule,
}
VALIDATION_RULES: tuple[type[ASTValidationRule], ...] = tuple(
    _REPLACED.get(rule, rule) for rule in specified_rules
)
