"""How types are declared: every field has a description, and a type may show a row as it is."""

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Self, TypeVar

import strawberry
from strawberry.types.field import StrawberryField
from strawberry.types.fields.resolver import StrawberryResolver

Declared = TypeVar("Declared", bound=type[Any])


def field(resolver: Callable[..., Any] | None = None, *, description: str, **options: Any) -> Any:
    """A field that ``resolver`` fetches, or without one the row's attribute of the same name.

    Resolvers return rows; the class's annotation says as which type a row is shown. That is why
    this returns Any: the two types differ on purpose.
    """
    if resolver is None:
        return strawberry.field(description=description, **options)
    if _needs_only_the_row(resolver):
        if "name" in options:
            options["graphql_name"] = options.pop("name")
        return _FieldOfRow(resolver, description=description, **options)
    # Without an override Strawberry would read the row types of the function's own annotation.
    shown = StrawberryResolver(resolver, type_override=object)
    return strawberry.field(resolver=shown, description=description, **options)


class _FieldOfRow(StrawberryField):
    """A field that a plain function reads from the row alone.

    To Strawberry it is a field without resolver, which costs half: no ``Info`` is made, no
    arguments are converted. Lists of hundreds of objects have thousands of such fields.
    """

    def __init__(self, read: Callable[[Any], Any] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.read = read
        self.init = False  # nothing to give when an object of the type is made

    def get_result(self, source: Any, info: Any, args: list[Any], kwargs: Any) -> Any:
        assert self.read is not None
        return self.read(source)

    def __copy__(self) -> Self:
        copied = super().__copy__()
        copied.read = self.read
        return copied


def _needs_only_the_row(resolver: Callable[..., Any]) -> bool:
    return list(inspect.signature(resolver).parameters) == [
        "root"
    ] and not inspect.iscoroutinefunction(resolver)


def mutation(resolver: Callable[..., Awaitable[Any]], *, description: str) -> Any:
    """A field of the mutation root.

    What the request has loaded before may be stale once this returns or fails, so it is forgotten.
    """

    @functools.wraps(resolver)
    async def resolve(info: strawberry.Info[Any, None], **arguments: Any) -> Any:
        try:
            return await resolver(info, **arguments)
        finally:
            info.context.forget_loaded_rows()

    return strawberry.mutation(resolver=resolve, description=description)


def subscription(resolver: Callable[..., Any], *, description: str) -> Any:
    """A field of the subscription root; ``resolver`` yields rows."""
    return strawberry.subscription(
        resolver=StrawberryResolver(resolver, type_override=object), description=description
    )


def view_of(
    row: type[Any], when: Callable[[Any], bool] = lambda _row: True
) -> Callable[[Declared], Declared]:
    """Let the decorated type stand for rows of this class where an interface is declared.

    ``when`` tells apart several types that show the same table.
    """

    def decorate(declared: Declared) -> Declared:
        def is_type_of(value: Any, _info: object) -> bool:
            return isinstance(value, row) and when(value)

        declared.is_type_of = staticmethod(is_type_of)
        return declared

    return decorate
