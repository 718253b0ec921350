"""Fixtures that every suite shares: databases with the schema in place, and Redis.

A test marked ``databases`` runs on each system, one marked ``databases("mariadb")`` on those named.
``OCH_TEST_DATABASES=sqlite`` keeps a run to the systems it names, for the quick loop. A server that
is not installed skips its tests; under ``CI=true`` it fails them.
"""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from models.database import Database
from tests.support.databases import KINDS, MAKERS, Databases
from tests.support.servers import MissingServer, TestRun

Result = TypeVar("Result")

RUN = pytest.StashKey[TestRun]()


def pytest_configure(config: pytest.Config) -> None:
    workerinput = getattr(config, "workerinput", None)
    if workerinput is None:
        config.stash[RUN] = TestRun.begin()
    else:
        config.stash[RUN] = TestRun(Path(workerinput["run_folder"]), workerinput["workerid"])


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: pytest.Config) -> None:
    """Tell a pytest-xdist worker which run it belongs to."""
    node.workerinput["run_folder"] = str(node.config.stash[RUN].folder)  # type: ignore[attr-defined]


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[RUN].end()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    mark = metafunc.definition.get_closest_marker("databases")
    if mark is not None and "database_kind" in metafunc.fixturenames:
        wanted = os.environ.get("OCH_TEST_DATABASES", ",".join(KINDS)).split(",")
        kinds = [kind for kind in mark.args or KINDS if kind in wanted]
        metafunc.parametrize("database_kind", kinds)


@pytest.fixture(scope="session")
def run(pytestconfig: pytest.Config) -> TestRun:
    """This run's throw-away servers."""
    return pytestconfig.stash[RUN]


def _or_skip(start: Callable[[], Result]) -> Result:
    try:
        return start()
    except MissingServer as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture
def database_kind() -> str:
    """``sqlite``; for tests marked ``databases`` each of the three in turn."""
    return "sqlite"


@pytest.fixture(scope="session")
def databases_of(run: TestRun) -> Callable[[str], Databases]:
    made: dict[str, Databases] = {}

    def databases(kind: str) -> Databases:
        if kind not in made:
            made[kind] = _or_skip(lambda: MAKERS[kind](run))
        return made[kind]

    return databases


@pytest.fixture
def empty_database_url(
    databases_of: Callable[[str], Databases], database_kind: str, tmp_path: Path
) -> Iterator[str]:
    """The address of a database of this test alone, before the first migration."""
    with databases_of(database_kind).fresh(tmp_path, migrated=False) as url:
        yield url


@pytest.fixture
def database_url(
    databases_of: Callable[[str], Databases], database_kind: str, tmp_path: Path
) -> Iterator[str]:
    """The address of a database of this test alone, with the schema in place."""
    with databases_of(database_kind).fresh(tmp_path, migrated=True) as url:
        yield url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A ``Database`` on ``database_url``, closed when the test ends."""
    database = Database(database_url)
    yield database
    await database.close()


@pytest.fixture
def redis_url(run: TestRun) -> str:
    """The address of an empty Redis that no other test uses meanwhile."""
    return f"unix://{_or_skip(run.redis_socket)}"
