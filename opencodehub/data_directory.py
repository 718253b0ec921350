"""The data directory: where things lie in it, and the secret key it keeps."""

import dataclasses
import hashlib
import os
import secrets
import stat
import tempfile
from pathlib import Path

# sockaddr_un holds 108 bytes with the closing NUL.
MAXIMUM_SOCKET_PATH_BYTES = 107


class Unusable(Exception):
    """The directory cannot serve; the message says why and what to do."""


@dataclasses.dataclass(frozen=True, slots=True)
class Places:
    """The paths below one data directory. ``root`` is absolute."""

    root: Path

    @property
    def database(self) -> Path:
        return self.root / "opencodehub.db"

    @property
    def storage(self) -> Path:
        return self.root / "storage"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def secret_key(self) -> Path:
        return self.root / "secret_key"

    @property
    def serve_lock(self) -> Path:
        return self.root / "serve.lock"

    @property
    def metrics(self) -> Path:
        """What the processes of this machine count; ``och serve`` begins with an empty one."""
        return self.root / "metrics"

    @property
    def redis_socket(self) -> Path:
        """The embedded Redis's socket, in a folder of its own that only this user may enter."""
        path = self.root / "run" / "redis.sock"
        if len(os.fsencode(path)) <= MAXIMUM_SOCKET_PATH_BYTES:
            return path
        # Every process must find the same place, so its name follows from the data directory.
        name = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"och-{os.getuid()}-{name}" / "redis.sock"


def prepare(places: Places) -> None:
    """Make the directory with mode 0700 if it is missing. Raises Unusable."""
    try:
        places.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unusable(f"{places.root} cannot be made: {error.strerror}") from error
    if not os.access(places.root, os.R_OK | os.W_OK | os.X_OK):
        raise Unusable(f"{places.root} is not writable for this user")


def private_folder(path: Path) -> None:
    """Make a folder that only this user may enter; raises Unusable if it is somebody else's.

    The folder may lie in a directory everybody writes to, so what is found there is not trusted.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise Unusable(f"{path} must be a folder that belongs to this user; remove it")
    if stat.S_IMODE(found.st_mode) != 0o700:
        path.chmod(0o700)


def secret_key(places: Places) -> str:
    """The key in the directory; made at the first call, whoever races. Raises Unusable."""
    path = places.secret_key
    try:
        if not path.exists():
            _write_secret_key(path)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise Unusable(f"{path} is open to other users; run: chmod 600 {path}")
        key = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Unusable(f"{path} cannot be read: {error}") from error
    if len(key) < 32:
        raise Unusable(f"{path} is cut short; remove it to have a new one made (signs users out)")
    return key


def _write_secret_key(path: Path) -> None:
    # A link appears whole or not at all, and fails where another process was faster: then that
    # process's key counts.
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        draft.unlink()
