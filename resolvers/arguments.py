"""The arguments every connection field takes, and the page they ask for."""

from typing import Annotated, Any

import strawberry

from resolvers.pagination import PageArguments

First = Annotated[
    int | None,
    strawberry.argument(description="Returns the first _n_ elements from the list; at most 100."),
]
After = Annotated[
    str | None,
    strawberry.argument(
        description="Returns the elements in the list that come after the specified cursor."
    ),
]
Last = Annotated[
    int | None,
    strawberry.argument(description="Returns the last _n_ elements from the list; at most 100."),
]
Before = Annotated[
    str | None,
    strawberry.argument(
        description="Returns the elements in the list that come before the specified cursor."
    ),
]
# An argument without default value in the schema; ``given`` reads it.
OPTIONAL: Any = strawberry.UNSET


def given(value: Any) -> Any:
    """The argument's value, None if it was left out."""
    return None if value is strawberry.UNSET else value


def page_arguments(
    connection: str, first: int | None, after: str | None, last: int | None, before: str | None
) -> PageArguments:
    """Raises PaginationFault, naming the connection field."""
    return PageArguments(
        connection=connection,
        first=given(first),
        last=given(last),
        after=given(after),
        before=given(before),
    )
