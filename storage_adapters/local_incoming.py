"""Objects on their way into a local store: temporary files that no key can reach.

Each store object has a folder of its own, ``.incoming/<id>/``, and holds a lock on
``.incoming/<id>.lock`` for as long as it lives. The kernel drops the lock with the process, however
that ends; so a lock that can be had means leftovers, which the next store to open sweeps. Neither
clocks nor process ids matter, and the folder may be shared by machines whose locks reach so far.
"""

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import threading

from storage_adapters.local_tree import FOLDER_FLAGS, FOLDER_MODE, ObjectTree
from storage_adapters.sources import SourceFile

INCOMING = ".incoming"
_LOCK_SUFFIX = ".lock"
_FILE_MODE = 0o400
# The file cannot be linked from where it is, or was moved: its bytes are copied instead.
_NOT_LINKABLE = frozenset(
    {
        errno.EXDEV,
        errno.EPERM,
        errno.EACCES,
        errno.EMLINK,
        errno.EOPNOTSUPP,
        errno.ENOSYS,
        errno.ENOENT,
    }
)


class IncomingFolder:
    """Safe for use by threads. Raises StorageUnavailable if the root is gone, and OSError."""

    def __init__(self, tree: ObjectTree) -> None:
        """Sweep what ended processes left, and make a folder of our own."""
        self._tree = tree
        self._guard = threading.Lock()
        self._held: list[int] = []
        self._name = ""
        self._fd = -1
        self._begin()

    def folder_fd(self) -> int:
        """The folder's descriptor, valid until ``close``; made again if somebody removed it."""
        with self._guard:
            if os.fstat(self._fd).st_nlink == 0:
                self._begin()
            return self._fd

    def close(self) -> None:
        """Remove the folder and give up the lock. May be called again."""
        with self._guard:
            if self._held:
                parent = self._tree.root / INCOMING
                shutil.rmtree(parent / self._name, ignore_errors=True)
                with contextlib.suppress(OSError):
                    os.unlink(parent / (self._name + _LOCK_SUFFIX))
            while self._held:
                os.close(self._held.pop())

    def _begin(self) -> None:
        root = self._tree.open_root()
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(INCOMING, FOLDER_MODE, dir_fd=root)
            parent = os.open(INCOMING, FOLDER_FLAGS, dir_fd=root)
        finally:
            os.close(root)
        try:
            _sweep(parent)
            name, lock = _take_new_lock(parent)
            # An earlier folder's descriptor stays open, since a put may be using it.
            self._held.append(lock)
            os.mkdir(name, FOLDER_MODE, dir_fd=parent)
            self._fd = os.open(name, FOLDER_FLAGS, dir_fd=parent)
            self._held.append(self._fd)
            self._name = name
        finally:
            os.close(parent)


def _take_new_lock(parent: int) -> tuple[str, int]:
    while True:
        name = secrets.token_hex(8)
        fd = os.open(
            name + _LOCK_SUFFIX,
            os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC,
            0o600,
            dir_fd=parent,
        )
        # A sweep may have met the file before we locked it; then it is lost, and we take another.
        if _try_lock(fd) and os.fstat(fd).st_nlink:
            return name, fd
        os.close(fd)


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sweep(parent: int) -> None:
    """Remove the folders whose owners are gone; what resists is left to the next sweep."""
    for entry in os.listdir(parent):
        if not entry.endswith(_LOCK_SUFFIX):
            continue
        with contextlib.suppress(OSError):
            fd = os.open(entry, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
            try:
                if _try_lock(fd):
                    # The lock file goes last: without it, nobody would find the folder.
                    with contextlib.suppress(FileNotFoundError):
                        shutil.rmtree(entry.removesuffix(_LOCK_SUFFIX), dir_fd=parent)
                    os.unlink(entry, dir_fd=parent)
            finally:
                os.close(fd)


class TemporaryObject:
    """One object's bytes before they have a key. Used by one caller, one call at a time.

    ``discard`` must be called in the end, whatever happened; nothing is left then but what
    ``publish`` put in place.
    """

    def __init__(self, incoming: IncomingFolder) -> None:
        self._incoming = incoming
        self._folder = -1
        self._name = ""
        self._fd = -1
        self.size = 0

    def link(self, source: SourceFile) -> bool:
        """Take the file itself. Returns False where it cannot be had without a copy."""
        self._choose_name()
        try:
            os.link(source.path, self._name, dst_dir_fd=self._folder, follow_symlinks=False)
        except OSError as error:
            if error.errno in _NOT_LINKABLE:
                return False
            raise
        opened = os.fstat(source.fd)
        linked = os.stat(self._name, dir_fd=self._folder, follow_symlinks=False)
        try:
            if (linked.st_dev, linked.st_ino) != (opened.st_dev, opened.st_ino):
                raise PermissionError(errno.EPERM, "the source was replaced")
            # An object is as old as its put, not as the file it came from.
            os.utime(source.fd)
        except PermissionError:
            os.unlink(self._name, dir_fd=self._folder)
            return False
        os.fsync(source.fd)
        self.size = opened.st_size
        return True

    def create(self) -> None:
        """Begin an empty file."""
        self._choose_name()
        self._fd = os.open(
            self._name,
            os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC,
            _FILE_MODE,
            dir_fd=self._folder,
        )

    def write(self, data: bytes) -> None:
        """Append, after ``create``."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._fd, rest) :]
        self.size += len(data)

    def publish(self, tree: ObjectTree, key: str, *, replace: bool) -> None:
        """Sync the bytes and give them their key. Raises as ``ObjectTree.publish``."""
        if self._fd >= 0:
            os.fsync(self._fd)
        tree.publish(key, self._name, self._folder, replace=replace)

    def discard(self) -> None:
        """Close the file and remove its temporary name. Never fails: a sweep comes after."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            # What could fail here was synced before, or is thrown away.
            with contextlib.suppress(OSError):
                os.close(fd)
        if self._name:
            # Also after a rename: between two links of one file it succeeds and does nothing.
            with contextlib.suppress(OSError):
                os.unlink(self._name, dir_fd=self._folder)

    def _choose_name(self) -> None:
        self._folder = self._incoming.folder_fd()
        self._name = secrets.token_hex(16)
