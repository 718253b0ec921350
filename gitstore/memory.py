"""What was found out about immutable objects, remembered: an id stands for the same for good.

Keys begin with the repository's id and prune epoch: what a prune dropped is not remembered either.
"""

from collections import OrderedDict
from collections.abc import Hashable, Sized
from typing import Any

MAX_WEIGHT = 400_000
MAX_WEIGHT_OF_ONE = MAX_WEIGHT // 20
_NOTHING: Any = object()


class Memory:
    """For one event loop. What was used longest ago goes beyond MAX_WEIGHT.

    A weight is roughly a hundred bytes: an item of a list, an entry of a tree.
    """

    def __init__(self, max_weight: int = MAX_WEIGHT) -> None:
        self._max_weight = max_weight
        self._found: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._weight = 0

    def get(self, key: Hashable, default: Any = None) -> Any:
        value, _ = self._found.get(key, (_NOTHING, 0))
        if value is _NOTHING:
            return default
        self._found.move_to_end(key)
        return value

    def put(self, key: Hashable, value: Any, weight: int = 1) -> None:
        """Values must never change. One that is too heavy is not kept."""
        if weight > min(MAX_WEIGHT_OF_ONE, self._max_weight):
            return
        self._weight += weight - self._found.pop(key, (None, 0))[1]
        self._found[key] = (value, weight)
        while self._weight > self._max_weight:
            _, (_, dropped) = self._found.popitem(last=False)
            self._weight -= dropped


def weight_of(value: Any) -> int:
    """A guess: some fields, and what a list holds."""
    return 5 + (len(value) if isinstance(value, Sized) else 0)
