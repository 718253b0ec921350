"""The report: one table of figures with limits and verdicts, then what lies behind each."""

import dataclasses
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.baselines import CONFIG
from bench.figures import Item, Outcome, Record, Section, Series, median
from bench.programs import BenchFailed, find_sshd, git, run
from bench.remotes import SSH_ALGORITHMS


@dataclasses.dataclass(frozen=True)
class Facts:
    """What a reader must know of a run beside its figures."""

    date: str
    commit: str
    quick: bool
    minutes: float
    sources: Sequence[str]


def verdict(item: Item, outcome: Outcome | None) -> str:
    if outcome is None:
        return "not available"
    if item.limit is None:
        return ""
    return "met" if outcome.value <= item.limit else "**not met**"


def render(facts: Facts, sections: Sequence[tuple[Section, Record]]) -> str:
    """The whole report as Markdown."""
    lines = [f"# Measured on {facts.date}", ""]
    if facts.quick:
        lines += [
            "A quick run with small sizes: it shows that the bench works. Its figures say nothing.",
            "",
        ]
    lines += ["[README.md](README.md) tells how to read and to reproduce this.", ""]
    lines += _table(sections)
    lines += ["## Where", "", *_environment(facts), ""]
    lines += ["## Settings of the two sides", "", *_settings(), ""]
    lines += ["## What lies behind each figure", ""]
    for section, record in sections:
        lines += [f"### {section.title} (`{section.name}`)", ""]
        for item in section.items:
            lines += _details(item, record)
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _table(sections: Sequence[tuple[Section, Record]]) -> list[str]:
    lines = [
        "| Measured | Hub | Plain git | Figure | At most | Verdict |",
        "|---|---|---|---|---|---|",
    ]
    counts = {"met": 0, "**not met**": 0, "not available": 0}
    for section, record in sections:
        for item in section.items:
            outcome = record.outcomes.get(item.key)
            if outcome is None and item.key not in record.reasons:
                continue
            told = verdict(item, outcome)
            if item.limit is not None:
                counts[told] += 1
            sides = ["", ""]
            if outcome and outcome.two_sided:
                sides = [_median(series) for series in outcome.series[:2]]
            figure = _figure(item, outcome.value) if outcome else "-"
            limit = "-" if item.limit is None else _figure(item, item.limit)
            lines.append(f"| {item.text} | {sides[0]} | {sides[1]} | {figure} | {limit} | {told} |")
    met, missed, open_ones = counts.values()
    lines += ["", f"{met} met, {missed} not met, {open_ones} not available.", ""]
    return lines


def _details(item: Item, record: Record) -> list[str]:
    outcome = record.outcomes.get(item.key)
    if outcome is None:
        reason = record.reasons.get(item.key)
        return [f"- {item.text}: not available: {reason}"] if reason else []
    lines = [f"- **{item.text}: {_figure(item, outcome.value)}.** {outcome.why}"]
    lines += [f"  - {each.name}: {_values(each)}" for each in outcome.series]
    return lines


def _figure(item: Item, value: float) -> str:
    if item.is_ratio:
        return f"{value:.2f}"
    return f"{_number(value)} {item.unit}"


def _number(value: float) -> str:
    if value == int(value):
        return f"{int(value):,}"
    for below, digits in ((1, 3), (100, 2), (10_000, 1)):
        if abs(value) < below:
            return f"{value:.{digits}f}"
    return f"{value:,.0f}"


def _median(series: Series) -> str:
    return f"{_number(median(series.values))} {series.unit}".strip()


def _values(series: Series) -> str:
    return f"{', '.join(_number(value) for value in series.values)} {series.unit}".strip()


def _environment(facts: Facts) -> list[str]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    lines = [
        f"- Processor: {_processor()}, {os.cpu_count()} of them visible; "
        f"{memory:.0f} GiB of memory",
        f"- Kernel {platform.release()}, Python {platform.python_version()}, "
        f"{git('version').decode().strip()}, {_openssh()}",
        f"- OpenCodeHub at commit {facts.commit}",
        "- Server and client share the machine and talk over the loopback.",
        f"- The run took {facts.minutes:.0f} minutes.",
    ]
    return lines + [f"- Repository: {words}" for words in facts.sources]


def _settings() -> list[str]:
    plain = ", ".join(f"`{key}={value}`" for key, value in CONFIG.items())
    ssh = ", ".join(f"`{key}={value}`" for key, value in SSH_ALGORITHMS.items())
    return [
        "- Hub: `och serve` with SQLite, the local object store and its own Redis, as it comes. "
        "Where an answer must not be cached: `OCH_CLONE_CACHE_MAX_BYTES=0`. It checks packs with "
        "`index-pack --strict` and the same tolerated faults, and makes them durable before it "
        "says ok.",
        f"- Plain git: {plain}. For clones its repository is a copy of the hub's local one: the "
        "same packs, and the same multi-pack-index, bitmap and commit-graph if there are "
        "any.",
        "- `git daemon` and OpenSSH's `sshd`, as the same user as the hub, on the loopback, "
        "without PAM and without any user's shell configuration.",
        f"- The OpenSSH client on both sides: {ssh}; a new connection each time.",
    ]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _openssh() -> str:
    done = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=False)
    try:
        find_sshd()
    except BenchFailed:
        return f"{done.stderr.strip()} (no sshd)"
    return done.stderr.strip()


def current_commit() -> str:
    """The checkout that is measured; asked at the start, since the checkout may move on."""
    try:
        at = Path(__file__).parents[1]
        commit = git("rev-parse", "--short=12", "HEAD", cwd=at).decode().strip()
        changed = run(["git", "status", "--porcelain", "--untracked-files=no"], cwd=at)
    except BenchFailed:
        return "unknown"
    return f"{commit}, with changes" if changed else commit
