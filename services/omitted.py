"""The difference between an input left out (nothing changes) and one that is null (cleared)."""

import enum
from typing import Final, Literal, TypeAlias


class Omitted(enum.Enum):
    """A type of its own with one value, so that a type checker tells it from every other."""

    OMITTED = "omitted"


OMITTED: Final = Omitted.OMITTED
OmittedType: TypeAlias = Literal[Omitted.OMITTED]
