"""The folder tree of a local object store: where an object's file is, and how it gets there.

Blocking; ``storage_adapters.local`` calls it in threads. Folders are opened one below the other by
descriptor and no symbolic link is followed, so no path can lead out of the root. Other threads and
processes change the tree at the same time: the kernel decides each race, and nothing is cached.
"""

import contextlib
import datetime as dt
import errno
import heapq
import os
import stat
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

from storage_adapters.base import ObjectInfo
from storage_adapters.errors import InvalidKey, ObjectExists, ObjectNotFound, StorageUnavailable
from storage_adapters.keys import is_key

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FOLDER_MODE = 0o700
# A folder is listed in rounds of so many names: memory stays flat however many it has.
NAMES_PER_ROUND = 10_000
# Each round of a put is lost to a delete that emptied a folder; nobody loses so often.
_PUBLISH_ATTEMPTS = 100
_NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)


class ObjectTree:
    """Safe for use by threads, and by processes that share the root.

    OSErrors other than those named by a method are left to the caller to explain.
    """

    def __init__(self, root: Path) -> None:
        """Make the root, durably, where it is missing."""
        self.root = Path(os.path.abspath(root))
        _make_folder(self.root)
        found = os.stat(self.root)
        if not stat.S_ISDIR(found.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        self._identity = (found.st_dev, found.st_ino)

    def open_root(self) -> int:
        """A descriptor, for the caller to close. Raises StorageUnavailable if the root is gone.

        A disk that was unmounted must not look like a store without objects, nor be written to.
        """
        try:
            fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            fd = -1
        if fd >= 0:
            found = os.fstat(fd)
            if (found.st_dev, found.st_ino) == self._identity:
                return fd
            os.close(fd)
        raise StorageUnavailable(
            f"the storage folder {self.root} was removed, replaced or unmounted while in use; "
            "restore it and restart the server"
        )

    def open_object(self, key: str) -> int:
        """A descriptor for reading, for the caller to close. Raises ObjectNotFound."""
        *folders, name = key.split("/")
        with ExitStack() as stack:
            try:
                parent = self._open_folders(stack, folders)[-1]
                fd = os.open(
                    name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent
                )
            except (FileNotFoundError, NotADirectoryError):
                raise _not_found(key) from None
            except OSError as error:
                if error.errno == errno.ELOOP:
                    raise _symlink_refused(name) from None
                raise
        if stat.S_ISREG(os.fstat(fd).st_mode):
            return fd
        os.close(fd)
        raise _not_found(key)

    def publish(self, key: str, temporary: str, folder_fd: int, *, replace: bool) -> None:
        """Give a synced file its key, durably. The temporary name may remain.

        Raises ObjectExists unless ``replace``, and InvalidKey where a folder is in the way.
        """
        *folders, name = key.split("/")
        for _ in range(_PUBLISH_ATTEMPTS):
            with ExitStack() as stack:
                try:
                    opened = self._open_folders(stack, folders, create=True)
                    placed = _place(temporary, folder_fd, name, opened[-1], key, replace=replace)
                except FileNotFoundError:
                    # A delete took a folder away as empty before our file was in it: make it again.
                    continue
                except NotADirectoryError:
                    raise InvalidKey(f"storage key {key!r} lies beneath another object") from None
                except (OSError, StorageUnavailable):
                    self._remove_empty_folders(folders)
                    raise
                # All of them, not only those made here: another process may have made one a moment
                # ago and not synced it yet. The object just met is made durable in the same way.
                for folder in reversed(opened):
                    os.fsync(folder)
                if not placed:
                    raise ObjectExists(f"there is an object at {key!r} already")
                return
        raise StorageUnavailable(f"the storage folder {self.root} is being emptied by somebody")

    def remove(self, key: str) -> None:
        """Remove the object, if any, durably; then its folders as far as they are empty."""
        *folders, name = key.split("/")
        with ExitStack() as stack:
            try:
                parent = self._open_folders(stack, folders)[-1]
                os.unlink(name, dir_fd=parent)
                os.fsync(parent)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                # A folder is no object either.
                pass
        self._remove_empty_folders(folders)

    def walk(self, prefix: str) -> Generator[ObjectInfo, None, None]:
        """The objects whose keys begin with ``prefix``, ordered by key."""
        folder, _, beginning = prefix.rpartition("/")
        with ExitStack() as stack:
            try:
                opened = self._open_folders(stack, folder.split("/") if folder else [])
            except (FileNotFoundError, NotADirectoryError):
                return
            yield from _walk(opened[-1], f"{folder}/" if folder else "", beginning)

    def _open_folders(
        self, stack: ExitStack, names: list[str], *, create: bool = False
    ) -> list[int]:
        """Descriptors of the root and of each folder in turn. Raises FileNotFoundError."""
        opened = [self.open_root()]
        stack.callback(os.close, opened[0])
        for name in names:
            if create:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, FOLDER_MODE, dir_fd=opened[-1])
            opened.append(_open_folder(name, opened[-1]))
            stack.callback(os.close, opened[-1])
        return opened

    def _remove_empty_folders(self, names: list[str]) -> None:
        """From the deepest upwards, until one is in use.

        A put that has just opened such a folder finds it dead and makes it again.
        """
        with contextlib.suppress(OSError, StorageUnavailable), ExitStack() as stack:
            opened = [self.open_root()]
            stack.callback(os.close, opened[0])
            for name in names:
                try:
                    opened.append(_open_folder(name, opened[-1]))
                except FileNotFoundError:
                    break
                stack.callback(os.close, opened[-1])
            for depth in range(len(opened) - 1, 0, -1):
                os.rmdir(names[depth - 1], dir_fd=opened[depth - 1])


def _make_folder(path: Path) -> None:
    missing = []
    while not os.path.lexists(path):
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
        fd = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _open_folder(name: str, parent: int) -> int:
    try:
        return os.open(name, FOLDER_FLAGS, dir_fd=parent)
    except OSError as error:
        # Which of the two a symbolic link gives depends on the system.
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            with contextlib.suppress(FileNotFoundError):
                found = os.stat(name, dir_fd=parent, follow_symlinks=False)
                if stat.S_ISLNK(found.st_mode):
                    raise _symlink_refused(name) from None
        raise


def _place(
    temporary: str, source_fd: int, name: str, target_fd: int, key: str, *, replace: bool
) -> bool:
    """Whether the file is in place now; False where an object was met and not to be replaced."""
    while True:
        try:
            if replace:
                os.rename(temporary, name, src_dir_fd=source_fd, dst_dir_fd=target_fd)
            else:
                # Unlike a rename, a link never replaces: the kernel picks the one winner.
                os.link(
                    temporary,
                    name,
                    src_dir_fd=source_fd,
                    dst_dir_fd=target_fd,
                    follow_symlinks=False,
                )
            return True
        except (FileExistsError, IsADirectoryError):
            if not _is_folder(name, target_fd):
                return False
        except OSError as error:
            if not replace and error.errno in _NO_HARD_LINKS:
                raise StorageUnavailable(
                    "the storage folder's filesystem has no hard links, without which an object "
                    "cannot be put only where none is; move it to another filesystem"
                ) from error
            raise
        try:
            # An empty folder is what a crash left of another put or delete.
            os.rmdir(name, dir_fd=target_fd)
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY):
                raise InvalidKey(f"storage key {key!r} is a folder of other objects") from None
            raise


def _is_folder(name: str, parent: int) -> bool:
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _walk(folder: int, path: str, beginning: str) -> Iterator[ObjectInfo]:
    after = ""
    while True:
        names = _next_names(folder, path, beginning, after)
        for name in names:
            if name.endswith("/"):
                # One that vanished meanwhile has nothing to list.
                with contextlib.suppress(FileNotFoundError, NotADirectoryError), ExitStack() as st:
                    child = _open_folder(name[:-1], folder)
                    st.callback(os.close, child)
                    yield from _walk(child, path + name, "")
                continue
            with contextlib.suppress(FileNotFoundError):
                found = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if stat.S_ISREG(found.st_mode):
                    yield describe(path + name, found)
        if len(names) < NAMES_PER_ROUND:
            return
        after = names[-1]


def _next_names(folder: int, path: str, beginning: str, after: str) -> list[str]:
    """The smallest names above ``after``. Folders end with a slash, which sorts them as keys do."""

    def names() -> Iterator[str]:
        with os.scandir(folder) as entries:
            for entry in entries:
                # Names that no key can have are not ours: incoming files, lost+found and the like.
                if not entry.name.startswith(beginning) or not is_key(path + entry.name):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    yield f"{entry.name}/"
                elif entry.is_file(follow_symlinks=False):
                    yield entry.name

    return heapq.nsmallest(NAMES_PER_ROUND, (name for name in names() if name > after))


def describe(key: str, found: os.stat_result) -> ObjectInfo:
    """What the protocol tells of an object, from its file's status."""
    modified_at = dt.datetime.fromtimestamp(found.st_mtime, dt.UTC)
    return ObjectInfo(key=key, size=found.st_size, modified_at=modified_at)


def _not_found(key: str) -> ObjectNotFound:
    return ObjectNotFound(f"there is no object at {key!r}")


def _symlink_refused(name: str) -> StorageUnavailable:
    return StorageUnavailable(
        f"{name!r} in the storage folder is a symbolic link, which is not followed; "
        "move the files into the storage folder, or the whole storage folder elsewhere"
    )
