"""What the operating system's errors mean to whoever runs the server."""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from storage_adapters.errors import StorageUnavailable

_CURES = {
    errno.ENOSPC: "its disk is full; make room",
    errno.EDQUOT: "its disk quota is used up; make room",
    errno.EROFS: "its disk is mounted read-only",
    errno.EACCES: "permission denied; the user the server runs as must own it and all in it",
    errno.EPERM: "permission denied; the user the server runs as must own it and all in it",
    errno.EXDEV: "all of it must lie on one filesystem",
    errno.EMFILE: "the server has too many files open; raise its limit (ulimit -n)",
    errno.ENFILE: "the system has too many files open; raise its limit (fs.file-max)",
}


def unavailable(root: Path, deed: str, error: OSError) -> StorageUnavailable:
    """The error to raise. ``deed`` completes "cannot ...", such as ``read 'a/b'``."""
    reason = _CURES.get(error.errno or 0) or (error.strerror or str(error)).lower()
    return StorageUnavailable(f"the storage folder {root} cannot {deed}: {reason}")


@contextlib.contextmanager
def faults_explained(root: Path, deed: str) -> Iterator[None]:
    """Turn OSErrors of the block into StorageUnavailable."""
    try:
        yield
    except OSError as error:
        raise unavailable(root, deed, error) from error
