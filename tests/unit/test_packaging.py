"""The wheel: what it installs, and that nobody else installs the same names."""

import importlib.metadata
import json
import tomllib
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names of the files in the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    (path,) = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def test_the_wheel_installs_our_packages_and_nothing_else(wheel: list[str]) -> None:
    """Hatchling skips a name it does not find without a word."""
    top = {name.partition("/")[0] for name in wheel}
    assert {name for name in top if not name.endswith(".dist-info")} == PACKAGES


def test_the_wheel_has_the_migrations_and_the_license(wheel: list[str]) -> None:
    assert "models/migrations/versions/0001_first_tables.py" in wheel
    assert [name for name in wheel if name.endswith("/licenses/LICENSE")] != []


def test_no_other_distribution_installs_one_of_our_names() -> None:
    owners = importlib.metadata.packages_distributions()
    assert {
        package: [owner for owner in owners.get(package, []) if owner != "opencodehub"]
        for package in PACKAGES
    } == {package: [] for package in PACKAGES}


def test_tools_know_the_same_packages() -> None:
    tools = PROJECT["tool"]
    # The bench is typed, but no part of the program.
    assert set(tools["mypy"]["packages"]) == PACKAGES | {"bench"}
    assert set(tools["importlinter"]["root_packages"]) == PACKAGES
    # What is not a package of ours must not shadow a library when run from the checkout.
    shadowing = {"alembic", "docker", "redis", "celery", "graphql"}
    assert not shadowing & {path.name for path in ROOT.iterdir()}


def test_the_version_is_told_once_everywhere() -> None:
    from opencodehub import __version__

    assert PROJECT["project"]["version"] == __version__


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_locks_have_hashes_and_no_addresses(name: str) -> None:
    lines = (ROOT / name).read_text().splitlines()
    assert [line for line in lines if "://" in line or "/" in line.partition("#")[0]] == []
    pinned = [line for line in lines if line and not line.startswith((" ", "#"))]
    assert [line for line in pinned if "==" not in line or not line.endswith("\\")] == []


def test_the_npm_lock_has_hashes_and_no_addresses() -> None:
    text = (ROOT / "tests/npm/package-lock.json").read_text()
    packages: dict[str, dict[str, str]] = json.loads(text)["packages"]
    del packages[""]  # the project itself
    assert [name for name, entry in packages.items() if "resolved" in entry] == []
    assert [name for name, entry in packages.items() if "integrity" not in entry] == []


def test_the_development_lock_pins_what_runs() -> None:
    def pins(name: str) -> set[str]:
        lines = (ROOT / name).read_text().splitlines()
        return {line.rstrip(" \\") for line in lines if "==" in line and line[0] != " "}

    assert pins("requirements.lock") - pins("requirements-dev.lock") == set()
