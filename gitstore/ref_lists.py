"""Lists of refs as they were told to clients, in memory, for as long as they are true.

A list is true for one generation of its repository, which every request reads from the database
anyway. So a crowd that fetches from a repository with many refs makes its list once.
"""

from collections import OrderedDict
from collections.abc import Hashable

MAX_BYTES = 16 * 1024 * 1024


class RefListCache:
    """For one event loop. The lists used longest ago go beyond MAX_BYTES."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._lists: OrderedDict[Hashable, bytes] = OrderedDict()
        self._size = 0

    def get(self, key: Hashable) -> bytes | None:
        """``key`` holds the repository, its generation and all that shapes the list."""
        found = self._lists.get(key)
        if found is not None:
            self._lists.move_to_end(key)
        return found

    def put(self, key: Hashable, value: bytes) -> None:
        self._size += len(value) - len(self._lists.pop(key, b""))
        self._lists[key] = value
        while self._size > self._max_bytes:
            _, dropped = self._lists.popitem(last=False)
            self._size -= len(dropped)
