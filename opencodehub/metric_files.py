"""The files in which the processes of a machine keep their metrics for each other.

``prometheus_client`` maps them into memory. It makes them sparse, so on a full disk the first touch
of a page kills the process (SIGBUS); here their blocks are taken beforehand. And it names them by
process id, so each restart would leave two more; here they belong to a place, the lowest number
that no living process holds, and whoever takes it over counts on from there.
"""

import fcntl
import itertools
import os
from pathlib import Path

# prometheus_client's words for the kinds of metrics we have.
KINDS = ("counter", "histogram")
# More than all our metrics with all their labels take.
FILE_BYTES = 512 * 1024


class MetricPlace:
    """A process's place in the folder, held for as long as it lives. ``name`` is a number."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError where there is no room."""
        for number in itertools.count():
            lock = os.open(folder / f"{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                os.close(lock)
        self.name = str(number)
        self._lock = lock
        try:
            for kind in KINDS:
                _reserve(folder / f"{kind}_{number}.db")
        except OSError:
            self.leave()
            raise

    def leave(self) -> None:
        os.close(self._lock)


def _reserve(path: Path) -> None:
    """All blocks of the file; what stands in it stays."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(file, 0, FILE_BYTES)
    finally:
        os.close(file)
