"""Paths: what a client calls a repository is looked up as a name, and never becomes a path."""

import dataclasses
import re
import urllib.parse

import pytest

from tests.support.hostile_world import SECRET, World, told
from tests.support.raw_git import HTTPDoor, SSHDoor

NOT_FOUND = "repository not found"


@pytest.mark.parametrize(
    "path",
    [
        "hostile-mallory/../hostile-ann/secret",
        "hostile-mallory/..",
        "../../../../etc/passwd",
        "%2e%2e/hostile-ann",
        "hostile-ann/%2e%2e%2fsecret",
        "hostile-ann/secret%00",
        "hostile-ann/secret%0a",
        "hostile-ann%2fsecret",
        "hostile-ann/secret%5c..",
        "hostile-ann/.",
        "hostile-ann/secret.git%2f",
        "hostile-ann/s\N{LATIN SMALL LETTER E WITH ACUTE}cret",
    ],
)
def test_traversal_over_http(world: World, http: HTTPDoor, path: str) -> None:
    """CVE-2022-1993, CVE-2021-29134, CVE-2025-22130, CVE-2026-52813."""
    path = urllib.parse.quote(path, safe="/%")
    answer = http.request("GET", f"/{path}/info/refs?service=git-upload-pack", world.mallory)
    assert answer.status == 404
    # Without two parts it is none of git's routes, but one of the hub's other ones.
    body = re.sub(r', "requestId": "[0-9a-f]+"', "", answer.body.decode())
    assert told(body) in (f"{NOT_FOUND}\n", '{"message": "not found"}\n')


# Of the headers only the id of the request and the clock may differ.
VARYING = ("x-github-request-id", "date")


@pytest.mark.parametrize("signed_in", [False, True])
def test_private_and_missing_are_alike(world: World, http: HTTPDoor, signed_in: bool) -> None:
    """Not a header tells them apart."""
    who = world.mallory if signed_in else dataclasses.replace(world.mallory, token="")

    def seen(path: str) -> tuple[int, str, dict[str, str]]:
        answer = http.request("GET", f"/{path}.git/info/refs?service=git-upload-pack", who)
        kept = {name: value for name, value in answer.headers.items() if name not in VARYING}
        return answer.status, told(answer.body.decode()), kept

    private = seen(SECRET)
    assert private == seen("hostile-ann/absent")
    assert private[:2] == (
        (404, f"{NOT_FOUND}\n") if signed_in else (401, "authentication required\n")
    )


@pytest.mark.parametrize(
    "file",
    [
        "HEAD",
        "config",
        "objects/info/packs",
        "objects/info/alternates",
        "objects/info/http-alternates",
        "objects/pack/pack-x.pack",
        "packed-refs",
        ".git/config",
        "hooks/post-receive",
        "git-upload-archive",
        "info/lfs/objects/batch",
    ],
)
def test_files_of_a_repository_are_no_routes(world: World, http: HTTPDoor, file: str) -> None:
    """CVE-2022-27313 and its like: the dumb protocol is off, also for the owner."""
    for method in ("GET", "POST", "DELETE", "PUT"):
        answer = http.request(method, f"/{SECRET}.git/{file}", world.ann)
        assert answer.status == 404, (method, answer)


@pytest.mark.parametrize(
    "path",
    [
        "../hostile-ann/secret.git",
        "/etc/passwd",
        "/hostile-ann/../hostile-ann/secret.git",
        "~hostile-ann/secret.git",
        "hostile-ann//secret.git",
        "hostile-ann/secret.git/",
        "hostile-ann/secret.git/objects",
        "hostile-ann\\secret.git",
        "hostile-ann/secret.git.git",
        "file:///hostile-ann/secret.git",
        "..",
        "1",
    ],
)
def test_traversal_over_ssh(world: World, ssh: SSHDoor, path: str) -> None:
    """CVE-2025-22130, CVE-2026-33353: a path of the server's disk is none here."""
    answer = ssh.run(f"git-upload-pack '{path}'", world.mallory)
    assert (answer.status, answer.body) == (1, b"")
    assert told(answer.told) == f"ERROR: {NOT_FOUND}\n"


@pytest.mark.parametrize("path", ["a/b\x1b[2J", "a\n/b", "-x/y", "a/--help", "a/\x9bz", ""])
def test_paths_that_are_none(world: World, ssh: SSHDoor, path: str) -> None:
    """CVE-2025-64494 as well: control characters do not come back to the terminal."""
    answer = ssh.run(f"git-upload-pack '{path}'", world.mallory)
    assert (answer.status, answer.body) == (1, b"")
    assert told(answer.told) == ("ERROR: malformed repository path; it must read OWNER/NAME.git\n")


@pytest.mark.parametrize(
    "name",
    ["..", ".", ".git", "a/b", "a\\b", "a.git", "-x", "a b", "a\nb", "", "é", "x" * 101],
)
def test_names_of_repositories(world: World, name: str) -> None:
    """CVE-2018-20303, CVE-2025-22130: what is no name is refused where names are made."""
    answer = world.hub.graphql(
        "mutation($input: CreateRepositoryInput!)"
        " { createRepository(input: $input) { clientMutationId } }",
        {"input": {"name": name, "visibility": "PUBLIC"}},
        token=world.mallory.token,
    )
    (error,) = answer["errors"]
    assert error["extensions"]["code"] == "INVALID"
    assert error["extensions"]["fields"] == ["name"]
