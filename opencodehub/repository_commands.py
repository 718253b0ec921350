"""``och repository``: upkeep of one repository, as the server's operator."""

import argparse
import sys

from gitstore.compaction import CompactionReport
from gitstore.errors import GitStoreError
from gitstore.fsck import fsck_repository
from gitstore.manifest import Manifest, read_manifest
from opencodehub.failures import CommandError
from services import access, forks, repositories
from services.context import OpContext

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")
_BUSY = "another process is compacting this repository; try again when it has finished"


async def compact(op: OpContext, options: argparse.Namespace) -> None:
    """Roll up packs, make derived files; with ``--prune`` drop what no ref reaches."""
    repository_id = await _repository_id(op, options.path)
    compactor = op.runtime.git.compactor
    try:
        if options.prune:
            report = await compactor.prune(repository_id)
        else:
            report = await compactor.compact(repository_id, everything=options.all)
    except GitStoreError as error:
        raise CommandError(str(error)) from error
    if report is None:
        raise CommandError(_BUSY)
    _write(_told(report))
    if options.prune:
        hours = op.runtime.git.settings.retired_seconds / 3600
        _write(
            f"dropped {report.objects_dropped} objects; replaced packs leave the object store"
            f" in {hours:g} h"
        )


async def fsck(op: OpContext, options: argparse.Namespace) -> None:
    """Check a fresh copy out of the object store with git fsck; prints what git says."""
    repository_id = await _repository_id(op, options.path)
    runtime = op.runtime
    try:
        result = await fsck_repository(
            runtime.database, runtime.object_store, runtime.git.settings, repository_id
        )
    except GitStoreError as error:
        raise CommandError(str(error)) from error
    for line in result.lines:
        _write(line)
    if not result.healthy:
        raise CommandError(f"{options.path} is damaged; restore it from a backup")
    _write(f"{options.path} is whole")


async def fork(op: OpContext, options: argparse.Namespace) -> None:
    """Copy a repository into an account; prints the name of the fork there."""
    source_id = await _repository_id(op, options.path)
    owner, name = _parts(options.fork)
    row = await forks.fork_repository(op, source_id, owner, name)
    async with op.read() as tx:
        path = await access.name_with_owner(tx, row)
    _write(f"{path} is a fork of {options.path}")


async def stats(op: OpContext, options: argparse.Namespace) -> None:
    """Print what a repository consists of."""
    repository_id = await _repository_id(op, options.path)
    try:
        async with op.read() as tx:
            manifest = await read_manifest(tx.session, repository_id)
    except GitStoreError as error:
        raise CommandError(str(error)) from error
    for name, value in _figures(manifest):
        _write(f"{name:<14}{value}")


def _figures(manifest: Manifest) -> list[tuple[str, str]]:
    sizes = [sum(pack.sizes.values()) for pack in manifest.packs]
    figures = [
        ("id", str(manifest.state.repository_id)),
        ("head", manifest.state.head),
        ("generation", str(manifest.state.generation)),
        ("prune epoch", str(manifest.state.prune_epoch)),
        ("refs", str(len(manifest.refs))),
        ("objects", str(sum(pack.object_count for pack in manifest.packs))),
        ("packs", str(len(manifest.packs))),
        ("size", _size(sum(sizes))),
        ("largest pack", _size(max(sizes, default=0))),
    ]
    for kind, row in sorted(manifest.derived.items(), key=lambda each: each[0].value):
        covers = f", covers {len(row.packs)} packs" if row.packs else ""
        parts = " + ".join(suffix.lstrip(".") for suffix in row.sizes)
        figures.append((parts, f"{_size(sum(row.sizes.values()))} ({kind.value}{covers})"))
    return figures


def _told(report: CompactionReport) -> str:
    made = f"; made {' and '.join(report.derived)}" if report.derived else ""
    if report.packs_before == report.packs_after and not made:
        return f"nothing to do: {report.packs_after} packs, {_size(report.bytes_after)}"
    return (
        f"{report.packs_before} packs ({_size(report.bytes_before)}) became"
        f" {report.packs_after} ({_size(report.bytes_after)}){made}"
    )


async def _repository_id(op: OpContext, path: str) -> int:
    owner, name = _parts(path)
    async with op.read() as tx:
        return (await repositories.get_repository(tx, owner, name)).id


def _parts(path: str) -> tuple[str, str]:
    owner, slash, name = path.partition("/")
    if not slash or not owner or not name or "/" in name:
        raise CommandError(f"{path!r} is not of the form OWNER/NAME")
    return owner, name


def _size(count: float) -> str:
    for unit in _UNITS[:-1]:
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} {_UNITS[-1]}"


def _write(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
