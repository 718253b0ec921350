"""How far the hub's Python processes grow while 500 MB pass through them."""

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.clients import stalled_http, stalled_ssh
from bench.figures import Item, Record, Section, Series
from bench.hub import Hub, wait_until
from bench.processes import MemoryGrowth
from bench.programs import ENVIRONMENT, BenchFailed, last_words
from bench.remotes import HTTPRemote, SSHRemote
from bench.sources import BRANCHES_AND_TAGS, MB
from bench.workbench import Workbench, clone_request, push_all, timed_clone

_LIMIT_MB = 32
_STALL_SECONDS = 8
_STALL_AFTER = 8 * MB
_KINDS = {
    "push": "push of 500 MB over {}",
    "clone": "clone of 500 MB over {}",
    "stalled-push": "push of 500 MB over {}, the client stops in the middle for a while",
    "stalled-clone": "clone of 500 MB over {}, the client stops reading",
}
_ITEMS = tuple(
    Item(f"{kind}-{transport}", f"growth: {text.format(transport.upper())}", _LIMIT_MB, "MB")
    for kind, text in _KINDS.items()
    for transport in ("http", "ssh")
)


def _measure(bench: Workbench, record: Record) -> None:
    hub = bench.start_hub("memory")
    for transport, remote_of in (("http", hub.http), ("ssh", hub.ssh)):
        _warm_up(bench, hub, transport)
        name = hub.create_repository("bulk")
        remote = remote_of(name)
        with _growth(hub, record, f"push-{transport}"):
            push_all(bench.bulk, remote)
        with _growth(hub, record, f"clone-{transport}"):
            timed_clone(remote, bench.new_path("clone"))
        with _growth(hub, record, f"stalled-clone-{transport}"):
            _stalled_clone(bench, remote)
        again = hub.create_repository("bulk")
        with _growth(hub, record, f"stalled-push-{transport}"):
            _stalled_push(bench, hub, remote_of(again))


def _warm_up(bench: Workbench, hub: Hub, transport: str) -> None:
    """Code that is loaded on first use is not growth."""
    name = hub.create_repository("tiny")
    remote = hub.http(name) if transport == "http" else hub.ssh(name)
    push_all(bench.tiny, remote)
    timed_clone(remote, bench.new_path("clone"))


@contextmanager
def _growth(hub: Hub, record: Record, key: str) -> Iterator[None]:
    hub.tree.settle()
    growth = MemoryGrowth(hub.tree)
    yield
    megabytes = growth.megabytes()
    parts = ", ".join(f"{name} {value:.1f}" for name, value in megabytes.items())
    record.put(
        key,
        max(megabytes.values()),
        [Series(name, [value], "MB") for name, value in megabytes.items()],
        f"Peak (VmHWM, reset before) less what was resident before, of the process that grew most; "
        f"MB by process: {parts}. Bytes pass through in pieces of 256 KiB, with back-pressure.",
    )


def _stalled_clone(bench: Workbench, remote: HTTPRemote | SSHRemote) -> None:
    request = clone_request(bench.bulk)
    if isinstance(remote, HTTPRemote):
        stalled = stalled_http(remote.port, remote.path, request, _STALL_AFTER)
    else:
        stalled = stalled_ssh(*remote.upload_pack(), request, _STALL_AFTER)
    with stalled:
        time.sleep(_STALL_SECONDS)


def _stalled_push(bench: Workbench, hub: Hub, remote: HTTPRemote | SSHRemote) -> None:
    """The client's processes are stopped when a quarter has come, and go on after a while."""
    quarantine = hub.folder / "data" / "cache" / "quarantine"
    started = time.monotonic()
    client = subprocess.Popen(
        ["git", "push", "--quiet", remote.url, *BRANCHES_AND_TAGS],
        cwd=bench.bulk.path,
        env=ENVIRONMENT | remote.environment,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        quarter = bench.sized(500 * MB, 100 * MB) // 4

        def has_come() -> bool:
            if client.poll() is not None:
                raise BenchFailed("the push ended before it could be stopped")
            files = quarantine.glob("*/objects/pack/*") if quarantine.is_dir() else ()
            return _sum_of_sizes(files) >= quarter

        wait_until(has_come, at_most=120)
        os.killpg(client.pid, signal.SIGSTOP)
        time.sleep(_STALL_SECONDS)
        os.killpg(client.pid, signal.SIGCONT)
        _, errors = client.communicate()
        if client.returncode:
            took = time.monotonic() - started
            raise BenchFailed(f"the stopped push failed after {took:.0f} s: {last_words(errors)}")
    finally:
        if client.poll() is None:
            os.killpg(client.pid, signal.SIGKILL)
            client.communicate()


def _sum_of_sizes(files: Iterable[Path]) -> int:
    total = 0
    for file in files:
        try:
            total += file.stat().st_size
        except OSError:
            continue
    return total


SECTION = Section("memory", "Memory while 500 MB pass", _ITEMS, _measure)
