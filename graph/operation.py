"""One GraphQL operation from text to answer, or to answers, for every door that runs some."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from graphql import GraphQLError
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types.execution import ExecutionResult, PreExecutionError
from strawberry.types.graphql import OperationType
from strawberry.utils.aio import aclosing

from graph.context import GraphContext
from graph.errors import LimitExceeded, format_errors, format_fault
from graph.limits import DEADLINE_SECONDS, no_such_operation
from graph.schema import schema
from services.errors import Invalid

_ONE_ANSWER = frozenset((OperationType.QUERY, OperationType.MUTATION))
_SUBSCRIBE = (
    "a subscription is asked over a WebSocket at this address, with the subprotocol "
    "graphql-transport-ws"
)


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
                allowed_operation_types=_ONE_ANSWER,
            )
    except TimeoutError:
        context.loaders.cancel()
        return {"data": None, "errors": [format_fault(_too_long(context), context.op)]}
    except InvalidOperationTypeError:
        return {"data": None, "errors": [format_fault(Invalid(_SUBSCRIBE), context.op)]}
    except CannotGetOperationTypeError:
        fault = no_such_operation(operation_name)
        return {"data": None, "errors": [format_fault(fault, context.op)]}
    answer: dict[str, Any] = {"data": result.data}
    if result.errors:
        answer["errors"] = format_errors(_as_graphql(result.errors), context.op)
    return answer


class OperationFailed(Exception):
    """A streamed operation came to its end with these errors, in the form of an answer."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__()
        self.errors = errors


async def stream_operation(
    query: str,
    variables: dict[str, Any],
    context: GraphContext,
    operation_name: str | None = None,
) -> AsyncGenerator[dict[str, Any], None]:
    """The answers of a subscription as they come, or the one answer of any other operation.

    Raises OperationFailed.
    """
    try:
        async with asyncio.timeout(None) as context.deadline:
            # A subscription lifts it: see ``graph.execution.Limits``.
            context.allow_seconds(DEADLINE_SECONDS)
            results = await schema.stream(
                query,
                variable_values=variables,
                context_value=context,
                operation_name=operation_name,
            )
            async with aclosing(results):
                async for result in results:
                    assert isinstance(result, PreExecutionError | ExecutionResult)
                    # A client that reads slowly takes no time of the server's.
                    context.allow_any_time()
                    errors = format_errors(_as_graphql(result.errors or ()), context.op)
                    is_over = result.data is None and not any("path" in each for each in errors)
                    if errors and (isinstance(result, PreExecutionError) or is_over):
                        raise OperationFailed(errors)
                    yield {"data": result.data, **({"errors": errors} if errors else {})}
    except TimeoutError:
        raise OperationFailed([format_fault(_too_long(context), context.op)]) from None
    except GraphQLError as error:  # raised by a step before execution, such as the parser's cache
        raise OperationFailed(format_errors([error], context.op)) from error
    finally:
        context.loaders.cancel()


def _too_long(context: GraphContext) -> LimitExceeded:
    return LimitExceeded(
        f"the request took longer than {context.allowed_seconds} seconds and was stopped; "
        "ask for less at once, and after a mutation look whether the change was made"
    )


def _as_graphql(errors: Sequence[Exception]) -> list[GraphQLError]:
    return [
        each if isinstance(each, GraphQLError) else GraphQLError(str(each), original_error=each)
        for each in errors
    ]
