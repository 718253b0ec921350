"""One GraphQL operation from text to answer, for every door that runs some."""

import asyncio
from typing import Any

from graphql import GraphQLError
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError

from graph.context import GraphContext
from graph.errors import LimitExceeded, format_errors, format_fault
from graph.limits import DEADLINE_SECONDS, no_such_operation
from graph.schema import schema


async def run_operation(
    query: str,
    variables: dict[str, Any],
    context: GraphContext,
    operation_name: str | None = None,
) -> dict[str, Any]:
    """The answer as GraphQL has it: ``data`` and, if something failed, ``errors``."""
    try:
        async with asyncio.timeout(None) as context.deadline:
            context.allow_seconds(DEADLINE_SECONDS)
            result = await schema.execute(
                query,
                variable_values=variables,
                context_value=context,
                operation_name=operation_name,
            )
    except TimeoutError:
        context.loaders.cancel()
        too_long = LimitExceeded(
            f"the request took longer than {context.allowed_seconds} seconds and was stopped; "
            "ask for less at once, and after a mutation look whether the change was made"
        )
        return {"data": None, "errors": [format_fault(too_long, context.op)]}
    except (CannotGetOperationTypeError, InvalidOperationTypeError):
        fault = no_such_operation(operation_name)
        return {"data": None, "errors": [format_fault(fault, context.op)]}
    answer: dict[str, Any] = {"data": result.data}
    if result.errors:
        errors = [
            each if isinstance(each, GraphQLError) else GraphQLError(str(each), original_error=each)
            for each in result.errors
        ]
        answer["errors"] = format_errors(errors, context.op)
    return answer
