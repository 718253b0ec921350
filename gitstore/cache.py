"""Local bare repositories, filled from the manifest, shared by the processes of one machine.

Truth is elsewhere: any file here may vanish at any moment, and the next ``open`` makes it good.
Layout: ``repositories/<id>/`` is a bare repository with packs only; its file ``generation`` says
what it holds and is written last. ``use.lock`` is held shared by readers and exclusively by
eviction, ``fill.lock`` exclusively by whoever brings it up to date.
"""

import asyncio
import contextlib
import dataclasses
import json
import os
import shutil
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path

from gitstore.derived import fetch_derived, install_derived, is_derived
from gitstore.directory import DirectoryGone, HeldDirectory
from gitstore.errors import RepositoryUnreadable
from gitstore.layout import (
    PACKS,
    SKELETON,
    format_packed_refs,
    make_bare_repository,
    parse_packed_refs,
)
from gitstore.manifest import (
    INDEX_SUFFIX,
    PACK_SUFFIX,
    SUFFIXES_IN_ORDER,
    DerivedRow,
    Manifest,
    PackRow,
    RefRow,
    RepositoryState,
    prune_is_running,
    read_manifest,
    read_state,
)
from gitstore.observer import GitObserver, Unobserved
from gitstore.settings import GitStoreSettings
from models import DerivedKind
from models.database import Database
from storage_adapters.base import ObjectStore
from storage_adapters.errors import ObjectNotFound

_PARALLEL_DOWNLOADS = 4
_ATTEMPTS = 5


@dataclasses.dataclass(frozen=True, slots=True)
class CachedRepository:
    """A local bare repository that is at least as new as the database was when it was opened."""

    repository_id: int
    path: Path
    generation: int
    prune_epoch: int
    object_format: str

    @property
    def objects(self) -> Path:
        return self.path / "objects"

    @property
    def is_being_pruned(self) -> bool:
        """Whether objects that no ref reaches may be gone in a moment; see ``compaction``."""
        return prune_is_running(self.prune_epoch)

    def packed_refs(self) -> list[RefRow]:
        """The refs of ``generation``."""
        return parse_packed_refs((self.path / "packed-refs").read_bytes())


@dataclasses.dataclass(frozen=True, slots=True)
class _Held:
    """What the file ``generation`` says."""

    generation: int
    prune_epoch: int
    packs: frozenset[str]


class RepositoryCache:
    """Safe for concurrent use by tasks, and by processes that share ``cache_dir``."""

    def __init__(
        self,
        database: Database,
        store: ObjectStore,
        settings: GitStoreSettings,
        observer: GitObserver | None = None,
    ) -> None:
        self._observer = observer or Unobserved()
        self._database = database
        self._store = store
        self._settings = settings
        self.root = settings.cache_dir.absolute()
        self._filling: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    def path_of(self, repository_id: int) -> Path:
        return self.root / "repositories" / str(repository_id)

    @contextlib.asynccontextmanager
    async def open(
        self, repository_id: int, state: RepositoryState | None = None
    ) -> AsyncIterator[CachedRepository]:
        """Bring the copy up to date and keep it from eviction for the length of the block.

        ``state`` says how new it must be at least; without it, as new as the database now.
        Raises RepositoryGone, RepositoryUnreadable, StorageUnavailable, DatabaseUnavailable.
        """
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(_ATTEMPTS):
                if state is None:
                    async with self._database.read() as session:
                        state = await read_state(session, repository_id)
                try:
                    directory = self._directory(state)
                    stack.callback(directory.close)
                    await stack.enter_async_context(directory.locked("use.lock", exclusive=False))
                    if not directory.has(*SKELETON):
                        # Someone removed a part of it, which no fill brings back: build it anew.
                        await self._set_aside(directory)
                        raise DirectoryGone(f"{directory.path} was damaged")
                    held = _read_held(directory)
                    if held is None or held.generation < state.generation:
                        held = await self._fill(directory, repository_id)
                except (DirectoryGone, FileNotFoundError):
                    # Deleted or evicted under our hands: begin again with a new folder.
                    state = None
                    await stack.aclose()
                    continue
                except OSError as error:
                    raise RepositoryUnreadable(
                        f"the cache folder cannot be written: {error.strerror}"
                    ) from error
                directory.touch("use.lock")
                yield CachedRepository(
                    repository_id=repository_id,
                    path=directory.path,
                    generation=held.generation,
                    prune_epoch=held.prune_epoch,
                    object_format=state.object_format,
                )
                return
        raise RepositoryUnreadable("the repository's local copy keeps vanishing; try again")

    def _directory(self, state: RepositoryState) -> HeldDirectory:
        path = self.path_of(state.repository_id)
        with contextlib.suppress(FileNotFoundError):
            return HeldDirectory(path)
        # Built beside and renamed, so that nobody meets half a repository.
        temporary = self.root / "tmp" / f"{state.repository_id}.{os.getpid()}.{time.monotonic_ns()}"
        make_bare_repository(temporary, state, threads=self._settings.git_threads)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            temporary.rename(path)
        except OSError:  # somebody else's is there already
            shutil.rmtree(temporary, ignore_errors=True)
        return HeldDirectory(path)

    async def _fill(self, directory: HeldDirectory, repository_id: int) -> _Held:
        async with (
            self._filling[repository_id],
            directory.locked("fill.lock", exclusive=True),
        ):
            for attempt in range(1, _ATTEMPTS + 1):
                async with self._database.read() as session:
                    manifest = await read_manifest(session, repository_id)
                held = _read_held(directory)
                if held is not None and held.generation >= manifest.state.generation:
                    return held
                began = time.monotonic()
                try:
                    fetched = await self._fetch_packs(directory, manifest)
                except ObjectNotFound as error:
                    # A compaction replaced this pack after we read the manifest.
                    if attempt == _ATTEMPTS:
                        raise RepositoryUnreadable(
                            "a pack of the repository is missing from the object store"
                        ) from error
                    continue
                derived = await fetch_derived(self._store, directory, manifest)
                held = await _publish_to_the_end(directory, manifest, derived)
                size = sum(sum(pack.sizes.values()) for pack in fetched)
                self._observer.cache_filled(len(fetched), size, time.monotonic() - began)
                return held
        raise AssertionError("unreachable")

    async def _fetch_packs(self, directory: HeldDirectory, manifest: Manifest) -> list[PackRow]:
        """Returns the packs that had to be fetched."""
        present = directory.names(PACKS)
        missing = [pack for pack in manifest.packs if pack.stem + INDEX_SUFFIX not in present]
        slots = asyncio.Semaphore(_PARALLEL_DOWNLOADS)

        async def fetch(pack: PackRow) -> None:
            async with slots:
                await self._fetch_pack(directory, pack)

        try:
            async with asyncio.TaskGroup() as group:
                for pack in missing:
                    group.create_task(fetch(pack))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors
        return missing

    async def _fetch_pack(self, directory: HeldDirectory, pack: PackRow) -> None:
        for suffix in SUFFIXES_IN_ORDER:
            name = f"{PACKS}/{pack.stem}{suffix}"
            temporary = f"{PACKS}/.{pack.stem}{suffix}.tmp"
            directory.unlink(temporary)
            key = pack.storage_key + suffix
            local = self._store.local_path(key)
            if local is None or not _link(local, directory, temporary):
                await directory.write_stream(temporary, self._store.stream(key))
            size = os.stat(temporary, dir_fd=directory.fd).st_size
            if size != pack.sizes[suffix]:
                directory.unlink(temporary)
                raise RepositoryUnreadable(
                    f"the object store holds {size} bytes of {key}, not {pack.sizes[suffix]}"
                )
            os.rename(temporary, name, src_dir_fd=directory.fd, dst_dir_fd=directory.fd)

    async def adopt(self, repository: CachedRepository, stem: str, folder: Path) -> None:
        """Link a pack that was just committed, so that it need not be fetched again.

        Best effort, since the next ``open`` fetches what is missing; refs follow then, too.
        """
        with contextlib.suppress(OSError):
            directory = HeldDirectory(repository.path)
            try:
                async with directory.locked("fill.lock", exclusive=True):
                    for suffix in SUFFIXES_IN_ORDER:
                        with contextlib.suppress(FileExistsError):
                            os.link(
                                folder / f"{stem}{suffix}",
                                f"{PACKS}/{stem}{suffix}",
                                dst_dir_fd=directory.fd,
                            )
            finally:
                directory.close()

    async def evict(self, repository_id: int) -> bool:
        """Remove the local copy unless somebody uses it. Returns whether it is gone."""
        try:
            directory = HeldDirectory(self.path_of(repository_id))
        except FileNotFoundError:
            return True
        try:
            with directory.locked_now("use.lock") as free:
                if not free or not directory.is_current():
                    return False
                await self._set_aside(directory)
        except (DirectoryGone, FileNotFoundError):
            return True
        finally:
            directory.close()
        return True

    async def _set_aside(self, directory: HeldDirectory) -> None:
        """Make way for a new copy: rename at once, then delete."""
        if not directory.is_current():
            return
        doomed = self.root / "tmp" / f"evicted.{directory.path.name}.{time.monotonic_ns()}"
        doomed.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        directory.path.rename(doomed)
        await asyncio.to_thread(shutil.rmtree, doomed, ignore_errors=True)


async def _publish_to_the_end(
    directory: HeldDirectory, manifest: Manifest, derived: dict[DerivedKind, DerivedRow]
) -> _Held:
    """Publish in a thread and wait for it even when cancelled.

    A thread cannot be cancelled, and whoever awaits it would release the lock and close the folder
    while it writes: its file descriptor may then belong to another repository.
    """
    thread = asyncio.create_task(asyncio.to_thread(_publish, directory, manifest, derived))
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        await asyncio.wait({thread})
        raise


def _link(source: Path, directory: HeldDirectory, name: str) -> bool:
    """Hard-link a local object; False where that is impossible and its bytes must be copied."""
    try:
        os.link(source, name, dst_dir_fd=directory.fd)
    except FileNotFoundError as error:
        if not directory.is_current():
            raise DirectoryGone(f"{directory.path} was deleted") from error
        raise ObjectNotFound(f"{source.name} is missing") from error
    except OSError:
        return False
    return True


def _publish(
    directory: HeldDirectory, manifest: Manifest, derived: dict[DerivedKind, DerivedRow]
) -> _Held:
    """Refs and HEAD after the packs, then the file ``generation``, then old packs go.

    Derived files come before the refs, since a stale one may be wrong about them.
    """
    install_derived(directory, manifest, derived)
    state = manifest.state
    directory.replace("packed-refs", format_packed_refs(manifest.refs))
    directory.replace("HEAD", f"ref: {state.head}\n".encode())
    packs = sorted(pack.stem for pack in manifest.packs)
    directory.replace(
        "generation",
        json.dumps(
            {"generation": state.generation, "prune_epoch": state.prune_epoch, "packs": packs}
        ).encode(),
    )
    for name in directory.names(PACKS):
        # "pack-<name>.idx" and temporary names alike: what no pack of the manifest accounts for.
        if name.split(".")[0] not in packs and not is_derived(name):
            directory.unlink(f"{PACKS}/{name}")
    return _Held(state.generation, state.prune_epoch, frozenset(packs))


def _read_held(directory: HeldDirectory) -> _Held | None:
    """What the copy holds, or None when it is new or any of its packs has vanished."""
    data = directory.read("generation")
    if data is None:
        return None
    try:
        content = json.loads(data)
        held = _Held(content["generation"], content["prune_epoch"], frozenset(content["packs"]))
    except (ValueError, KeyError, TypeError):
        return None
    present = directory.names(PACKS)
    needed = (stem + suffix for stem in held.packs for suffix in (PACK_SUFFIX, INDEX_SUFFIX))
    return held if all(name in present for name in needed) else None
