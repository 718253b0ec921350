"""``och doctor --deep`` and ``och repository fork`` on a running hub."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.git import GitRepository
from tests.support.hub import Hub, running_hub

RESTORE = "restore it from a backup of the object store; see docs/operations.md"


@pytest.fixture
def own_hub(tmp_path: Path) -> Iterator[Hub]:
    """A hub whose object store can be damaged."""
    with running_hub(tmp_path / "hub") as running:
        yield running


def look(hub: Hub) -> tuple[int, list[str]]:
    """The exit code, and what was said after the usual checks."""
    done = hub.och_result("doctor", "--deep")
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    usual = [number for number, line in enumerate(lines) if line.startswith("ok     disk: ")]
    return done.returncode, lines[usual[0] + 1 :]


def test_a_fork_and_a_damaged_store(own_hub: Hub, tmp_path: Path) -> None:
    token = own_hub.create_user("ann")
    own_hub.create_user("bob")
    own_hub.och("create-repository", "ann/demo")
    work = GitRepository.create(tmp_path / "work")
    tip = work.commit("first")
    work.git("push", "--quiet", own_hub.clone_url("ann/demo", token), "main")

    said = own_hub.och("repository", "fork", "ann/demo", "bob/mine")

    assert said == "bob/mine is a fork of ann/demo\n"
    copy = GitRepository.clone(own_hub.clone_url("bob/mine"), tmp_path / "copy")
    assert copy.oid("HEAD") == tip
    whole = "deep: repositories 2, packs 2, derived files 0, objects 6; faults"
    assert look(own_hub) == (0, [f"ok     {whole} 0, notes 0"])

    storage = own_hub.data / "storage"
    (fork,) = storage.glob("packs/forks/*/*.pack")
    content = fork.read_bytes()
    # Objects may share their bytes with copies in the cache, so they are replaced, not changed.
    fork.unlink()
    key = fork.relative_to(storage)
    missing = f"FAULT  bob/mine: {key} is missing from the object store; cure: {RESTORE}"
    assert look(own_hub) == (
        1,
        [
            missing,
            "FAULT  deep: repositories 2, packs 2, derived files 0, objects 5; faults 1, notes 0",
        ],
    )
    fork.write_bytes(content[:-3])
    size = len(content)
    cut = f"{key} has {size - 3} bytes in the object store, not {size}"
    assert look(own_hub) == (
        1,
        [f"FAULT  bob/mine: {cut}; cure: {RESTORE}", f"FAULT  {whole} 1, notes 0"],
    )
