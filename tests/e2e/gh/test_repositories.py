"""What people do with gh every day: sign in, make repositories, clone, change and delete them."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.gh import HOST, Enterprise, GitHubCLI

URL = f"https://{HOST}"


@pytest.fixture
def demo(gh: GitHubCLI, ann: str) -> str:
    """A repository with a README, made and pushed with gh and git; its clone is ``demo``."""
    gh("repo", "create", "demo", "--public", "--description", "A demo", "--clone")
    folder = gh.folder / "demo"
    (folder / "README.md").write_text("# Demo\n\nHello.\n")
    commit(gh, "demo", "first")
    return f"{ann}/demo"


def commit(gh: GitHubCLI, folder: str, name: str) -> None:
    """Commit a file of that name in a clone, and push."""
    (gh.folder / folder / name).write_text(name)
    for command in ("add .", f"commit -qm {name}", "push -q origin HEAD:main"):
        gh(*command.split(), program="git", cwd=gh.folder / folder)


def test_auth(enterprise: Enterprise, gh: GitHubCLI, ann: str, tmp_path: Path) -> None:
    done = gh.run("auth", "status")
    assert done.returncode == 0
    told = done.stdout + done.stderr
    assert f"Logged in to {HOST} as {ann} (GH_ENTERPRISE_TOKEN)" in told
    assert "Token scopes: " in told
    wrong = enterprise.gh(tmp_path / "wrong", "och_wrong")
    assert "authentication failed" in wrong.failure("auth", "status")


def test_signing_in_with_a_token(enterprise: Enterprise, gh: GitHubCLI, ann: str) -> None:
    token = gh.environment.pop("GH_ENTERPRISE_TOKEN")
    done = subprocess.run(
        ["gh", "auth", "login", "--hostname", HOST, "--with-token"],
        cwd=gh.folder,
        env=gh.environment,
        input=token,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert gh("api", "user", "--jq", ".login") == ann
    gh("auth", "logout", "--hostname", HOST)
    # Too few scopes for gh are told at once.
    poor = enterprise.hub.create_token(ann, "user")
    done = subprocess.run(
        ["gh", "auth", "login", "--hostname", HOST, "--with-token"],
        cwd=gh.folder,
        env=gh.environment,
        input=poor,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "missing required scope" in done.stderr


def test_create_clone_view_and_list(gh: GitHubCLI, ann: str, demo: str) -> None:
    viewed = gh("repo", "view", demo)
    assert viewed.splitlines() == [
        f"name:\t{demo}",
        "description:\tA demo",
        "--",
        "# Demo",
        "",
        "Hello.",
    ]
    fields = "nameWithOwner,isPrivate,defaultBranchRef,url,sshUrl,isFork"
    shown = json.loads(gh("repo", "view", demo, "--json", fields))
    assert shown == {
        "nameWithOwner": demo,
        "isPrivate": False,
        "defaultBranchRef": {"name": "main"},
        "url": f"{URL}/{demo}",
        "sshUrl": f"ssh://git@{HOST}:{gh.hub.ssh_port}/{demo}.git",
        "isFork": False,
    }
    gh("repo", "create", "secret", "--private")
    listed = [line.split("\t")[:3] for line in gh("repo", "list").splitlines()]
    assert sorted(listed) == [[demo, "A demo", "public"], [f"{ann}/secret", "", "private"]]
    assert gh("repo", "list", "--visibility", "private", "--json", "name") == '[{"name":"secret"}]'
    gh("repo", "clone", demo, "again")
    assert (gh.folder / "again" / "README.md").read_text() == "# Demo\n\nHello.\n"
    assert gh("browse", "--no-browser", cwd=gh.folder / "again") == f"{URL}/{demo}"
    gh("repo", "set-default", demo, cwd=gh.folder / "again")
    assert gh("repo", "view", cwd=gh.folder / "again") == viewed


def test_what_is_not_there(gh: GitHubCLI, bobs: tuple[str, GitHubCLI], ann: str) -> None:
    gh("repo", "create", "secret", "--private")
    _, bob = bobs
    for person, name in ((gh, f"{ann}/none"), (bob, f"{ann}/secret")):
        assert person.failure("repo", "view", name) == (
            f"GraphQL: Could not resolve to a Repository with the name '{name}'. (repository)"
        )
        assert "HTTP 404: Not Found" in person.failure("repo", "delete", name, "--confirm")
    assert gh.failure("repo", "create", "secret", "--public") == (
        "GraphQL: Name already exists on this account (createRepository)"
    )


def test_edit_rename_archive_delete(gh: GitHubCLI, ann: str, demo: str) -> None:
    gh("repo", "edit", demo, "--description", "Changed", "--visibility", "private")
    shown = json.loads(gh("repo", "view", demo, "--json", "description,isPrivate"))
    assert shown == {"description": "Changed", "isPrivate": True}
    gh("repo", "rename", "renamed", "-R", demo, "--confirm")
    renamed = f"{ann}/renamed"
    gh("repo", "archive", renamed, "--confirm")
    shown = json.loads(gh("repo", "view", renamed, "--json", "isArchived,nameWithOwner"))
    assert shown == {"isArchived": True, "nameWithOwner": renamed}
    gh("api", "--method", "PATCH", f"repos/{renamed}", "-F", "archived=false")
    assert json.loads(gh("repo", "view", renamed, "--json", "isArchived")) == {"isArchived": False}
    gh("repo", "delete", renamed, "--confirm")
    assert "Could not resolve to a Repository" in gh.failure("repo", "view", renamed)


def test_fork(gh: GitHubCLI, bobs: tuple[str, GitHubCLI], demo: str) -> None:
    login, bob = bobs
    for _ in range(2):  # asked again, it is the same one
        bob("repo", "fork", demo, "--clone=false")
    shown = json.loads(bob("repo", "view", f"{login}/demo", "--json", "isFork,parent"))
    assert shown["isFork"]
    assert shown["parent"]["name"] == "demo"
    bob("repo", "clone", f"{login}/demo", "mine")
    remotes = bob("remote", "-v", program="git", cwd=bob.folder / "mine")
    assert f"upstream\t{URL}/{demo}.git (fetch)" in remotes
    commit(gh, "demo", "second")
    bob("repo", "sync", f"{login}/demo")
    bob("pull", "-q", program="git", cwd=bob.folder / "mine")
    assert (bob.folder / "mine" / "second").exists()
    bob("repo", "sync", f"{login}/demo")  # nothing is to be done
    # What is bob's own stays, and he is told.
    commit(bob, "mine", "own")
    commit(gh, "demo", "third")
    assert "the branch has commits that the source lacks" in bob.failure(
        "api", "--method", "POST", f"repos/{login}/demo/merge-upstream", "-f", "branch=main"
    )
    bob("pull", "-q", program="git", cwd=bob.folder / "mine")
    assert (bob.folder / "mine" / "own").exists()


def test_a_token_without_the_scope(enterprise: Enterprise, ann: str, tmp_path: Path) -> None:
    poor = enterprise.gh(tmp_path / "poor", enterprise.hub.create_token(ann, "repo,read:org"))
    poor("repo", "create", "kept", "--public")
    told = poor.failure("repo", "delete", f"{ann}/kept", "--confirm")
    assert "HTTP 403" in told
    assert 'needs the "delete_repo" scope' in told
    poor("repo", "view", f"{ann}/kept")


def test_ssh_keys(gh: GitHubCLI, bobs: tuple[str, GitHubCLI]) -> None:
    _, bob = bobs
    for name in ("one", "two"):
        path = gh.folder / name
        gh("-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path), program="ssh-keygen")
        gh("ssh-key", "add", f"{path}.pub", "--title", name)
    listed = [line.split("\t") for line in gh("ssh-key", "list").splitlines()]
    assert [row[0] for row in listed] == ["one", "two"]
    assert listed[0][1] == " ".join((gh.folder / "one.pub").read_text().split()[:2])
    number = listed[0][3]
    assert "HTTP 404" in bob.failure("ssh-key", "delete", number, "--confirm")
    assert "HTTP 404" in bob.failure("api", f"user/keys/{number}")
    assert "HTTP 422" in bob.failure("ssh-key", "add", str(gh.folder / "one.pub"))
    gh("ssh-key", "delete", number, "--confirm")
    assert [line.split("\t")[0] for line in gh("ssh-key", "list").splitlines()] == ["two"]
    assert gh("api", "--paginate", "user/keys?per_page=1", "--jq", ".[].title") == "two"


def test_graphql_in_pages(gh: GitHubCLI) -> None:
    for name in ("a", "b", "c"):
        gh("repo", "create", name, "--public")
    query = """query($endCursor: String) { viewer { repositories(first: 1, after: $endCursor) {
      nodes { name } pageInfo { hasNextPage endCursor } } } }"""
    names = gh(
        "api", "graphql", "--paginate", "-f", f"query={query}",
        "--jq", ".data.viewer.repositories.nodes[].name",
    )  # fmt: skip
    assert names.splitlines() == ["a", "b", "c"]
