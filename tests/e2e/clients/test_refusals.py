"""What each client tells its user when the hub says no, and that nothing has changed then.

Over HTTP only git shows the hub's own words; the libraries keep the status and drop the text.
"""

import dataclasses
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.clients.clients import JGIT, Client, Remote
from tests.e2e.clients.conftest import World, need_client
from tests.support.git import GitRepository, run_git
from tests.support.ssh import generate_key

RemoteOf = Callable[..., Remote]

ACCESS = (
    "fatal: Could not read from remote repository.\n\n"
    "Please make sure you have the correct access rights\nand the repository exists."
)
JGIT_ERROR = "org.eclipse.jgit.api.errors.TransportException: http://HUB/clients-ann/NAME.git"

# A push begins alike in all versions of the protocol, so one of them stands for git here.
WRONG_CREDENTIAL = {
    "git-v2-http": "remote: Bad credentials (request ID)\n"
    "fatal: Authentication failed for 'http://HUB/clients-ann/library.git/'",
    "git-v2-ssh": f"git@127.0.0.1: Permission denied (publickey).\n{ACCESS}",
    "dulwich-http": "HTTPUnauthorized: No valid credentials provided",
    "dulwich-ssh": "HangupException: git@127.0.0.1: Permission denied (publickey).",
    "pygit2-http": "GitError: the server did not accept the credential",
    "pygit2-ssh": "GitError: the server did not accept the credential",
    "isomorphic-http": "HttpError: HTTP Error: 401 Unauthorized",
    "jgit-http": JGIT_ERROR.replace("NAME", "library") + ": not authorized",
}
ROLE = "you need the write role on clients-ann/library for this; yours is read (request ID)"
READ_ONLY = {
    "git-v2-http": f"remote: {ROLE}\n"
    "fatal: unable to access 'http://HUB/clients-ann/library.git/': "
    "The requested URL returned error: 403",
    "git-v2-ssh": f"ERROR: {ROLE}\n{ACCESS}",
    "dulwich-http": "GitProtocolError: unexpected http resp 403 for "
    "http://HUB/clients-ann/library.git/info/refs?service=git-receive-pack",
    "dulwich-ssh": f"GitProtocolError: {ROLE}",
    "pygit2-http": "GitError: unexpected http status code: 403",
    "pygit2-ssh": f"GitError: ERROR: {ROLE}",
    "isomorphic-http": "HttpError: HTTP Error: 403 Forbidden",
    "jgit-http": JGIT_ERROR.replace("NAME", "library")
    + ": git-receive-pack not permitted on 'http://HUB/clients-ann/library.git/'",
}
MISSING = {
    "git-v2-http": "remote: repository not found (request ID)\n"
    "fatal: repository 'http://HUB/clients-ann/missing.git/' not found",
    "git-v2-ssh": f"ERROR: repository not found (request ID)\n{ACCESS}",
    "dulwich-http": "NotGitRepository:",
    "dulwich-ssh": "GitProtocolError: repository not found (request ID)",
    "pygit2-http": "GitError: unexpected http status code: 404",
    "pygit2-ssh": "GitError: ERROR: repository not found (request ID)",
    "isomorphic-http": "HttpError: HTTP Error: 404 Not Found",
    "jgit-http": JGIT_ERROR.replace("NAME", "missing") + ": http://HUB/clients-ann/missing.git"
    "/info/refs?service=git-receive-pack not found",
}
RULE = "the default branch cannot be deleted; choose another one first"
BY_REF = {
    f"git-v2-{transport}": "remote: refused in request ID        \n"
    f"To {scheme}://HUB/clients-ann/library.git\n"
    f" ! [remote rejected] main ({RULE})\n"
    f"error: failed to push some refs to '{scheme}://HUB/clients-ann/library.git'"
    for transport, scheme in (("http", "http"), ("ssh", "ssh"))
} | {
    "dulwich-http": f"RuntimeError: refs/heads/main: {RULE}",
    "dulwich-ssh": f"RuntimeError: refs/heads/main: {RULE}",
    "pygit2-http": f"RuntimeError: refs/heads/main: {RULE}",
    "pygit2-ssh": f"RuntimeError: refs/heads/main: {RULE}",
    "isomorphic-http": "GitPushError: One or more branches were not updated:"
    f" \n  - refs/heads/main: {RULE}",
    "jgit-http": "remote: refused in request ID\nTo http://HUB/clients-ann/library.git\n"
    f" ! [remote rejected] main ({RULE})",
}


def each(texts: dict[str, str]) -> pytest.MarkDecorator:
    """The test runs for each client and transport named, with the text that is expected of it."""
    return pytest.mark.parametrize(
        ("pair", "told"), texts.items(), ids=list(texts), indirect=["pair"]
    )


@pytest.fixture(autouse=True)
def library_stays(world: World) -> Iterator[None]:
    """Whatever was tried, the library's refs are those it began with."""
    yield
    listed = run_git("ls-remote", "--refs", world.url(world.library)).splitlines()
    assert {name: oid for oid, name in map(str.split, listed)} == world.source.refs()


@each(WRONG_CREDENTIAL)
def test_a_wrong_credential(
    client: Client, remote: RemoteOf, world: World, told: str, tmp_path: Path
) -> None:
    path = tmp_path / "clone"
    assert client.refusal("clone", remote(world.library, world.nobody), path) == told


@each(READ_ONLY)
def test_a_push_by_a_reader(
    client: Client, remote: RemoteOf, world: World, copy: GitRepository, told: str
) -> None:
    refspecs = ["refs/heads/main:refs/heads/new"]
    library = remote(world.library, world.bob)
    assert client.refusal("push", library, copy.path, refspecs=refspecs) == told


@each(MISSING)
def test_a_push_to_a_missing_repository(
    client: Client, remote: RemoteOf, world: World, copy: GitRepository, told: str
) -> None:
    refspecs = ["refs/heads/main:refs/heads/main"]
    missing = remote("clients-ann/missing")
    assert client.refusal("push", missing, copy.path, refspecs=refspecs) == told
    listing = copy.failure("ls-remote", world.url("clients-ann/missing"))
    assert listing.startswith("remote: repository not found (request ")


@each(BY_REF)
def test_a_ref_that_may_not_change(
    client: Client, remote: RemoteOf, world: World, copy: GitRepository, told: str
) -> None:
    """The refusal comes in the report after the push, not as an error of the transport."""
    library = remote(world.library)
    assert client.refusal("push", library, copy.path, refspecs=[":refs/heads/main"]) == told


def test_jgit_over_ssh_has_no_algorithm_in_common(world: World, tmp_path: Path) -> None:
    """JGit 4.11 signs in with JSch, which knows neither AES-GCM nor encrypt-then-MAC.

    The hub offers nothing weaker, and does not for its sake. Newer JGit has another SSH library.
    """
    need_client(JGIT)
    key = tmp_path / "key"
    generate_key(key, kind="ecdsa")
    # JSch reads only the older format of keys.
    run = ["ssh-keygen", "-q", "-p", "-m", "PEM", "-N", "", "-f", str(key)]
    subprocess.run(run, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    ann = dataclasses.replace(world.ann, key=key)
    library = Remote(world.hub, world.library, "ssh", ann)
    assert JGIT.refusal("clone", library, tmp_path / "clone") == (
        "org.eclipse.jgit.api.errors.TransportException: ssh://git@HUB/clients-ann/library.git:"
        " Algorithm negotiation fail"
    )
