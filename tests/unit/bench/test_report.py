import pytest

from bench import report
from bench.figures import Item, Record, Section, Series
from bench.programs import BenchFailed, run


def _section(*items: Item) -> Section:
    return Section("demo", "Demo", items, lambda bench, record: None)


def _render(section: Section, record: Record) -> list[str]:
    facts = report.Facts(
        date="2026-01-02", commit="0123", quick=False, minutes=1.0, sources=["made up"]
    )
    return report.render(facts, [(section, record)]).splitlines()


def test_a_ratio_shows_both_sides_its_limit_and_that_it_is_met() -> None:
    section = _section(Item("clone", "clone", 1.05))
    record = Record(section.items)

    record.ratio("clone", Series("hub", [2.0, 1.0, 3.0]), Series("plain", [2.0]), "Why.")

    lines = _render(section, record)
    assert "| clone | 2 s | 2 s | 1.00 | 1.05 | met |" in lines
    assert "1 met, 0 not met, 0 not available." in lines
    assert "- **clone: 1.00.** Why." in lines
    assert "  - hub: 2, 1, 3 s" in lines


def test_a_figure_above_its_limit_is_not_met() -> None:
    section = _section(Item("idle", "idle hub", 350, "MB"))
    record = Record(section.items)

    record.put("idle", 350.5, [Series("sum", [350.5], "MB")], "Why.")

    assert "| idle hub |  |  | 350.5 MB | 350 MB | **not met** |" in _render(section, record)


def test_a_failed_command_tells_neither_paths_nor_tokens() -> None:
    command = ["/usr/bin/git", "ls-remote", "http://ann:secret@127.0.0.1:1/x.git"]

    with pytest.raises(BenchFailed) as failure:
        run(command)

    words = str(failure.value)
    assert words.startswith("git ls-remote http://127.0.0.1:1/x.git ended with 128: fatal: ")
    assert "secret" not in words


def test_what_could_not_be_measured_keeps_its_row_and_says_why() -> None:
    section = _section(Item("one", "first", 1.0), Item("two", "second", 1.0))
    record = Record(section.items)
    record.put("one", 0.5, [Series("hub", [0.5])], "Why.")

    record.unavailable("no such command")

    lines = _render(section, record)
    assert "| second |  |  | - | 1.00 | not available |" in lines
    assert "- second: not available: no such command" in lines
    assert "1 met, 0 not met, 1 not available." in lines
