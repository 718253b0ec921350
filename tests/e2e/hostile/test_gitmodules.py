"""A ``.gitmodules`` that would harm who clones it is refused ref by ref, in first pushes too."""

import pytest

from tests.support.hostile import Objects
from tests.support.hostile_hub import Mallory, Target, mallory, target
from tests.support.raw_git import CAPABILITIES, HTTPDoor, commands, read_report

__all__ = ["mallory", "target"]

EVIL = b'[submodule "x"]\n\tpath = "x\r"\n\turl = ../x\n'
GOOD_REF, EVIL_REF = "refs/heads/good", "refs/heads/evil"


def refusal(commit: str) -> str:
    return (
        ".gitmodules is not safe: the path of submodule 'x' has a control character"
        f" (commit {commit[:12]})"
    )


@pytest.fixture
def empty(mallory: Mallory) -> Target:
    """A repository without a commit: index-pack itself finds its first pack whole."""
    return Target(mallory, mallory.create())


@pytest.mark.parametrize("kind", ["target", "empty"])
def test_other_refs_of_the_push_still_move(kind: str, request: pytest.FixtureRequest) -> None:
    """CVE-2025-48384."""
    repository: Target = request.getfixturevalue(kind)
    objects = Objects()
    good, evil = objects.files(README=b"good"), objects.files(_gitmodules=EVIL)
    report = repository.push(objects.pack(), good=good, evil=evil)
    assert (report.unpack, report.refs) == ("ok", {GOOD_REF: "ok", EVIL_REF: refusal(evil)})
    # The pack was kept for the other ref, and with it the commit that no ref may lead to.
    before = repository.state()
    assert f"{good}\t{GOOD_REF}" in before.refs
    assert evil not in before.refs
    child = Objects()
    tip = child.files(evil, README=b"clean")
    report = repository.push(child.pack(), again=evil, child=tip)
    assert report.refs == {
        "refs/heads/again": refusal(evil),
        "refs/heads/child": refusal(evil),
    }
    assert repository.state() == before


def test_nothing_of_a_refused_first_push_is_kept(empty: Target) -> None:
    """CVE-2025-48384: its pack was uploaded while the file was searched for."""
    before = empty.state()
    assert (before.packs, before.uploads) == ([], [])
    objects = Objects()
    evil = objects.files(_gitmodules=EVIL)
    report = empty.push(objects.pack(), evil=evil)
    assert (report.unpack, report.refs) == ("ok", {EVIL_REF: refusal(evil)})
    assert empty.state() == before


@pytest.mark.parametrize("kind", ["target", "empty"])
def test_an_atomic_push_moves_nothing(kind: str, request: pytest.FixtureRequest) -> None:
    repository: Target = request.getfixturevalue(kind)
    before = repository.state()
    objects = Objects()
    good, evil = objects.files(README=b"good"), objects.files(_gitmodules=EVIL)
    moves = [(GOOD_REF, None, good), (EVIL_REF, None, evil)]
    data = commands(moves, capabilities=f"{CAPABILITIES} atomic") + objects.pack()
    door = HTTPDoor(repository.mallory.hub)
    answer = door.exchange("receive-pack", repository.path, repository.mallory.person, data)
    assert read_report(answer.body).refs == {
        GOOD_REF: "atomic push failed",
        EVIL_REF: refusal(evil),
    }
    assert repository.state() == before
