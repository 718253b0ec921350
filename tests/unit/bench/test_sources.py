from pathlib import Path

from bench.programs import git
from bench.sources import make_project, make_refs, make_small_commits


def test_the_made_up_project_is_the_same_each_time(tmp_path: Path) -> None:
    first = make_project(tmp_path / "one", 1_000_000)
    second = make_project(tmp_path / "two", 1_000_000)

    assert first.tip() == second.tip()
    assert first.description == second.description
    git("fsck", "--strict", cwd=first.path)


def test_small_commits_follow_each_other_from_the_tip(tmp_path: Path) -> None:
    source = make_refs(tmp_path / "source", 3)

    commits = make_small_commits(tmp_path / "client", source, 3)

    parents = [
        git("rev-parse", f"{commit}~1", cwd=tmp_path / "client").decode().strip()
        for commit in commits
    ]
    assert parents == [source.tip(), *commits[:2]]


def test_branches_are_as_many_as_asked_for(tmp_path: Path) -> None:
    source = make_refs(tmp_path / "source", 25)

    assert source.description.startswith("made up: 1,000 commits, 25 branches and tags, ")
