"""No path of a request reaches a file: what is not a smart route answers as what does not exist.

CVE-2022-1993, CVE-2021-29134, CVE-2022-27313, CVE-2025-22130, CVE-2026-52810.
"""

import pytest

from tests.e2e.doors.conftest import Target, basic, get

QUERY = "?service=git-upload-pack"
# Of the headers only the id of the request and the clock may differ.
VARYING = ("x-github-request-id", "date")


def seen(target: Target, path: str, *headers: str) -> tuple[int, str, dict[str, str]]:
    answer = get(target.hub, path, *headers)
    kept = {name: value for name, value in answer.headers.items() if name not in VARYING}
    return answer.status, answer.text, kept


@pytest.mark.parametrize("signed_in", [False, True])
def test_private_and_missing_are_alike(target: Target, signed_in: bool) -> None:
    headers = []
    if signed_in:
        stranger = target.hub.create_user(f"x{target.owner[1:]}")
        headers.append(f"Authorization: {basic(stranger)}")
    private = seen(target, f"/{target.private}.git/info/refs{QUERY}", *headers)
    missing = seen(target, f"/{target.owner}/absent.git/info/refs{QUERY}", *headers)
    assert private == missing
    assert private[:2] == (
        (404, "repository not found (request ID)\n")
        if signed_in
        else (401, "authentication required (request ID)\n")
    )


@pytest.mark.parametrize(
    "path",
    [
        "/OWNER/..%2fsecret.git/info/refs",
        "/OWNER/%2e%2e/info/refs",
        "/OWNER/demo%00.git/info/refs",
        "/OWNER/%2fetc%2fpasswd/info/refs",
        "/OWNER/%252e%252e/info/refs",
        "/OWNER/demo%0a.git/info/refs",
        "/OWNER/--upload-pack=x/info/refs",
    ],
)
def test_names_that_no_repository_has(target: Target, path: str) -> None:
    answer = get(target.hub, path.replace("OWNER", target.owner) + QUERY)
    assert (answer.status, answer.text) in [
        (401, "authentication required (request ID)\n"),
        (404, get(target.hub, "/no/such/page").text),
    ]


@pytest.mark.parametrize(
    "file",
    [
        "HEAD",
        "config",
        "objects/info/packs",
        "objects/info/alternates",
        "objects/pack/pack-0000000000000000000000000000000000000000.pack",
        "refs/heads/main",
        "../../etc/passwd",
    ],
)
def test_no_file_of_a_repository_is_served(target: Target, file: str) -> None:
    answer = get(target.hub, f"/{target.public}.git/{file}")
    assert answer.status == 404
    assert answer.text == get(target.hub, f"/{target.owner}/absent.git/{file}").text


@pytest.mark.parametrize(
    "query", ["?service=git-upload-pack&service=git-receive-pack", "?service=git-upload-archive"]
)
def test_the_service_is_named_once_and_is_one_of_two(target: Target, query: str) -> None:
    answer = get(target.hub, f"/{target.public}.git/info/refs{query}")
    assert (answer.status, answer.text) == (
        403,
        "the service is not git-upload-pack or git-receive-pack (request ID)\n",
    )
