"""What runs on this machine, read from /proc (proc(5))."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE_SECONDS = 60


def group_members(group: int) -> list[int]:
    """Ids of the running processes of a process group; the dead that nobody buried do not count."""
    members = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # The second field is the command in parentheses and may itself contain spaces.
            state, _, pgrp = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
        except (OSError, ValueError):
            continue
        if int(pgrp) == group and state not in ("Z", "X"):
            members.append(int(entry.name))
    return members


def descendants(root: int) -> list[int]:
    """Ids of all running processes that ``root`` started, directly or not."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
        except (OSError, ValueError):
            continue
        if state not in ("Z", "X"):
            children.setdefault(int(parent), []).append(int(entry.name))
    found: list[int] = []
    wave = [root]
    while wave:
        wave = [child for parent in wave for child in children.get(parent, [])]
        found += wave
    return found


def python_peaks(supervisor: int) -> dict[int, int]:
    """Most bytes of memory (VmHWM) that each of a hub's own processes ever held.

    Its parts are the supervisor's children. A git child is Python too for the moment between fork
    and exec, and is none of them.
    """
    peaks = {}
    parts = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    for pid in [supervisor, *map(int, parts)]:
        with contextlib.suppress(OSError, KeyError):
            if "python" in Path(f"/proc/{pid}/exe").readlink().name:
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                fields = dict(line.split(":", 1) for line in lines)
                peaks[pid] = int(fields["VmHWM"].split()[0]) * 1024
    return peaks


def wait_until_gone(find: Callable[[], list[int]]) -> None:
    """What was killed takes the kernel a moment to take down. Raises AssertionError if it stays."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while left := find():
        assert time.monotonic() < deadline, f"processes stayed: {left}"
        time.sleep(0.01)
