"""The command line: measure, print the report, and write it to bench/results.

``make bench`` runs everything; ``make bench ARGS='--quick --only refs,idle'`` a part, to try it.
"""

import argparse
import datetime as dt
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import report, sections
from bench.figures import Record, Section
from bench.programs import BenchFailed, git, missing_programs
from bench.workbench import Workbench

_RESULTS = Path(__file__).parent / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if missing := missing_programs():
        _say(f"these Debian packages are missing: {' '.join(missing)}")
        _say(f"install them: apt-get install --no-install-recommends {' '.join(missing)}")
        return 1
    try:
        chosen = _choose(options.only)
        repository = _bare(options.repository) if options.repository else None
    except BenchFailed as error:
        _say(str(error))
        return 2
    # Whoever ends the bench must not leave its servers behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    started, commit = time.monotonic(), report.current_commit()
    with ExitStack() as stack:
        parent = str(options.work_dir) if options.work_dir else None
        # Not removed before the servers that use it have ended: they were started later.
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="och-bench-", dir=parent))
        bench = Workbench(Path(folder).resolve(), stack, repository=repository, quick=options.quick)
        records = [(section, _measure(bench, section)) for section in chosen]
        used = [source.description for source in bench.used_sources()]
    facts = report.Facts(
        date=dt.datetime.now(dt.UTC).date().isoformat(),
        commit=commit,
        quick=options.quick,
        minutes=(time.monotonic() - started) / 60,
        sources=used,
    )
    text = report.render(facts, records)
    print(text, end="")
    # A part of the figures, or small sizes, must not stand for a run.
    whole = not options.only and not options.quick
    if out := options.out or (_RESULTS / f"{facts.date}.md" if whole else None):
        out.write_text(text)
        _say(f"written to {out}")
    return 0


def _measure(bench: Workbench, section: Section) -> Record:
    """Whatever goes wrong with one section is told in its rows, and the others go on."""
    record = Record(section.items)
    started = time.monotonic()
    try:
        section.measure(bench, record)
    except (BenchFailed, OSError) as error:
        record.unavailable(str(error))
    except Exception as error:  # a fault of the bench itself must not cost an hour's figures
        record.unavailable(f"{type(error).__name__}: {error}")
    # The report may be published; where this machine keeps things is nobody's business.
    record.replace(str(bench.folder), "WORK")
    record.replace(str(Path(__file__).parents[1]), "HERE")
    _say(f"{section.name}: {time.monotonic() - started:.0f} s")
    return record


def _choose(names: str | None) -> list[Section]:
    if names is None:
        return list(sections.ALL)
    wanted = names.split(",")
    known = {section.name: section for section in sections.ALL}
    if unknown := [name for name in wanted if name not in known]:
        raise BenchFailed(f"no section {', '.join(unknown)}; there are: {', '.join(known)}")
    return [section for section in sections.ALL if section.name in wanted]


def _bare(path: Path) -> Path:
    """The repository's git folder. Raises BenchFailed."""
    return Path(git("rev-parse", "--absolute-git-dir", cwd=path.resolve()).decode().strip())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.run", description="Measure the hub against plain git."
    )
    parser.add_argument(
        "--repository",
        type=Path,
        help="a repository of about 300 MB to use; default: a made-up one",
    )
    names = ", ".join(section.name for section in sections.ALL)
    parser.add_argument("--only", metavar="NAME[,NAME]", help=f"some sections of: {names}")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, one round; to see that the bench works"
    )
    parser.add_argument(
        "--out", type=Path, help="where to write the report; default: bench/results/<date>.md"
    )
    parser.add_argument(
        "--work-dir", type=Path, help="where to put repositories; needs about 10 GB; default: /tmp"
    )
    return parser


def _say(words: str) -> None:
    print(f"bench: {words}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
