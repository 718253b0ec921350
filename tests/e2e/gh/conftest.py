"""One hub for all of these tests; each has people of its own."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gh import Enterprise, GitHubCLI, running_enterprise

SCOPES = "repo,user,read:org,admin:public_key,delete_repo"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def enterprise(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Enterprise]:
    with running_enterprise(tmp_path_factory.mktemp("enterprise")) as running:
        yield running


@pytest.fixture
def ann(enterprise: Enterprise) -> str:
    """The login of somebody new."""
    login = f"ann-{next(_numbers)}"
    enterprise.hub.create_user(login, scopes=SCOPES)
    return login


@pytest.fixture
def gh(enterprise: Enterprise, ann: str, tmp_path: Path) -> GitHubCLI:
    """gh with a token of ann's."""
    return enterprise.gh(tmp_path / "ann", enterprise.hub.create_token(ann, SCOPES))


@pytest.fixture
def bobs(enterprise: Enterprise, tmp_path: Path) -> tuple[str, GitHubCLI]:
    """Another person's login and gh."""
    login = f"bob-{next(_numbers)}"
    token = enterprise.hub.create_user(login, scopes=SCOPES)
    return login, enterprise.gh(tmp_path / "bob", token)
