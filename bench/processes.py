"""Processor time and memory of a server with everything it started, read from /proc (proc(5))."""

import os
import threading
import time
from pathlib import Path
from types import TracebackType

_TICKS = os.sysconf("SC_CLK_TCK")
_SAMPLE_SECONDS = 0.05
_PROC = Path("/proc")


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the third, the state, on."""
    try:
        # The second field is the command in parentheses and may itself contain spaces.
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _status(pid: int, field: str) -> int:
    """A field of /proc/PID/status in bytes; 0 for a process that is gone."""
    try:
        for line in (_PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def _arguments(pid: int) -> list[str]:
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return []


class ProcessTree:
    """A process and all its descendants."""

    def __init__(self, root: int) -> None:
        self.root = root

    def pids(self) -> list[int]:
        """Those that run now."""
        children: dict[int, list[int]] = {}
        for entry in os.listdir(_PROC):
            if entry.isdigit() and (fields := _stat(int(entry))) and fields[0] not in "ZX":
                children.setdefault(int(fields[1]), []).append(int(entry))
        found, wave = [self.root], [self.root]
        while wave:
            wave = [child for parent in wave for child in children.get(parent, [])]
            found += wave
        return found

    def cpu_seconds(self) -> float:
        """Processor time of all of them and of the children they have buried.

        Complete only when no child is still running, so read it when the server is at rest.
        """
        ticks = 0
        for pid in self.pids():
            if fields := _stat(pid):
                # utime, stime, cutime, cstime are fields 14 to 17 of the whole line.
                ticks += sum(int(value) for value in fields[11:15])
        return ticks / _TICKS

    def settle(self, quiet_seconds: float = 1.5, at_most: float = 120) -> None:
        """Wait until background work is over: next to no processor time for a while."""
        deadline = time.monotonic() + at_most
        while time.monotonic() < deadline:
            before = self.cpu_seconds()
            time.sleep(quiet_seconds)
            if self.cpu_seconds() - before <= 0.03 * quiet_seconds:
                return

    def python_pids(self) -> dict[int, str]:
        """The Python processes, with a name for each."""
        found = {}
        for pid in self.pids():
            try:
                program = os.path.basename(os.readlink(_PROC / str(pid) / "exe"))
            except OSError:
                continue
            if program.startswith("python"):
                found[pid] = name_of(pid)
        return found

    def pss(self, pids: list[int] | None = None) -> dict[int, int]:
        """Proportional set size in bytes: shared pages count once, divided among their users."""
        sizes = {}
        for pid in self.pids() if pids is None else pids:
            try:
                text = (_PROC / str(pid) / "smaps_rollup").read_text()
            except OSError:
                continue
            for line in text.splitlines():
                if line.startswith("Pss:"):
                    sizes[pid] = int(line.split()[1]) * 1024
        return sizes


def name_of(pid: int) -> str:
    """A short name: the part of the hub it is, or its program."""
    arguments = _arguments(pid)
    if "opencodehub" in arguments:
        after = arguments[arguments.index("opencodehub") + 1 :]
        return after[0] if after else "opencodehub"
    try:
        return (_PROC / str(pid) / "comm").read_text().strip()
    except OSError:
        return "?"


class MemoryGrowth:
    """How far each Python process of a tree rises above where it stood at the start.

    The kernel keeps the peak (VmHWM), which is reset at the start, so no peak is missed.
    """

    def __init__(self, tree: ProcessTree) -> None:
        self._names = tree.python_pids()
        self._before = {}
        for pid in self._names:
            (_PROC / str(pid) / "clear_refs").write_text("5")
            self._before[pid] = _status(pid, "VmRSS")

    def megabytes(self) -> dict[str, float]:
        """Growth by process; a process that has ended since is not among them."""
        growth = {}
        for pid, name in self._names.items():
            if peak := _status(pid, "VmHWM"):
                growth[f"{name} ({pid})"] = max(0, peak - self._before[pid]) / 1e6
        return growth


class PackObjectsCount:
    """Counts the ``git pack-objects`` that a tree starts, by looking every 50 ms.

    Those of at least that length are all seen; the ones of interest take seconds.
    """

    def __init__(self, tree: ProcessTree) -> None:
        self._tree = tree
        self._seen: set[tuple[int, str]] = set()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @property
    def count(self) -> int:
        return len(self._seen)

    def __enter__(self) -> "PackObjectsCount":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(_SAMPLE_SECONDS):
            for pid in self._tree.pids():
                arguments = _arguments(pid)
                # prlimit becomes git by exec and keeps its id, so only git itself counts.
                if "pack-objects" in arguments[:4] and (fields := _stat(pid)):
                    self._seen.add((pid, fields[19]))
