"""The whole hub at work: git through both doors, jobs through Redis, pushes through a stop."""

import base64
import signal
import socket
import sqlite3
import time
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.git import GitRepository, run_git
from tests.support.hub import Hub, running_hub
from tests.support.ssh import generate_key

JOB_SECONDS = 60.0


@pytest.fixture
def project(tmp_path: Path) -> GitRepository:
    repository = GitRepository.create(tmp_path / "project")
    repository.commit("one", files={"a.txt": "a\n"})
    repository.commit("two", files={"b.txt": "b\n"})
    return repository


def test_a_project_goes_in_and_out_by_both_doors(
    hub: Hub, project: GitRepository, tmp_path: Path
) -> None:
    token = hub.create_user("both-doors")
    generate_key(tmp_path / "key")
    key = ["--title", "laptop", "--key-file", str(tmp_path / "key.pub")]
    hub.och("create-ssh-key", "both-doors", *key)
    hub.och("create-repository", "both-doors/demo", "--private")
    project.git("push", "--quiet", hub.clone_url("both-doors/demo", token), "main")

    environment = hub.ssh_environment(tmp_path / "key")
    by_ssh = GitRepository.clone(
        hub.ssh_url("both-doors/demo"), tmp_path / "by-ssh", environment=environment
    )
    assert by_ssh.git("rev-parse", "HEAD") == project.git("rev-parse", "HEAD")
    tip = by_ssh.commit("three", files={"c.txt": "c\n"})
    by_ssh.git("push", "--quiet", "origin", "HEAD:main")
    listed = run_git("ls-remote", hub.clone_url("both-doors/demo", token), "main")
    assert listed.split() == [tip, "refs/heads/main"]


def test_events_are_dispatched_by_the_worker(hub: Hub) -> None:
    hub.och("create-user", "dispatched", "--email", "dispatched@example.com")
    token = hub.create_token("dispatched", "repo")
    create = (
        'mutation { createRepository(input: {name: "x", visibility: PUBLIC})'
        " { repository { id } } }"
    )
    assert hub.graphql(create, token=token)["data"]["createRepository"]["repository"]["id"]
    deadline = time.monotonic() + JOB_SECONDS
    with closing(sqlite3.connect(hub.data / "opencodehub.db")) as database:
        while True:
            (left,) = database.execute(
                "SELECT count(*) FROM events WHERE dispatched_at IS NULL"
            ).fetchone()
            if left == 0:
                break
            assert time.monotonic() < deadline, hub.log()
            time.sleep(0.05)


def test_a_renamed_repository_redirects_on_the_web(hub: Hub) -> None:
    hub.create_user("mover")
    token = hub.create_token("mover", "repo")
    hub.och("create-repository", "mover/old")
    query = 'query { repository(owner: "mover", name: "old") { id } }'
    identifier = hub.graphql(query, token=token)["data"]["repository"]["id"]
    rename = (
        'mutation($id: ID!) { updateRepository(input: {repositoryId: $id, name: "new"})'
        " { repository { name } } }"
    )
    answer = hub.graphql(rename, {"id": identifier}, token=token)
    assert answer == {"data": {"updateRepository": {"repository": {"name": "new"}}}}

    class _Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: object) -> None:
            return None

    opener = urllib.request.build_opener(_Stay)
    with pytest.raises(urllib.error.HTTPError) as caught:
        opener.open(f"{hub.url}/mover/old")
    with caught.value as moved:
        assert (moved.status, moved.headers["location"]) == (301, f"{hub.url}/mover/new")
    with pytest.raises(urllib.error.HTTPError) as caught:
        opener.open(f"{hub.url}/mover/nowhere")
    with caught.value as missing:
        assert missing.status == 404


def _push_request(project: GitRepository, url: str, token: str) -> bytes:
    """A whole HTTP request that pushes main."""
    tip = project.git("rev-parse", "main")
    command = f"{'0' * 40} {tip} refs/heads/main\0report-status".encode()
    pack = project.pack("main")
    body = b"%04x" % (len(command) + 4) + command + b"0000" + pack
    credentials = base64.b64encode(f"x-access-token:{token}".encode()).decode()
    head = (
        f"POST {url}/git-receive-pack HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n"
        f"Authorization: Basic {credentials}\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: application/x-git-receive-pack-request\r\n\r\n"
    )
    return head.encode() + body


def test_a_stop_lets_a_running_push_finish(tmp_path: Path, project: GitRepository) -> None:
    with running_hub(tmp_path / "hub") as hub:
        token = hub.create_user("ann")
        hub.och("create-repository", "ann/demo")
        request = _push_request(project, "/ann/demo.git", token)
        with socket.create_connection(("127.0.0.1", hub.port)) as client:
            client.sendall(request[:-20])
            # The server has begun with it once it holds a quarantine for the pack.
            while not list(hub.data.glob("cache/**/*.pack*")) and not list(
                hub.data.glob("cache/**/tmp_pack*")
            ):
                time.sleep(0.01)
            hub.process.send_signal(signal.SIGTERM)
            while True:
                try:
                    socket.create_connection(("127.0.0.1", hub.port)).close()
                except ConnectionRefusedError:
                    break
                time.sleep(0.01)
            client.sendall(request[-20:])
            answer = b""
            while piece := client.recv(65536):
                answer += piece
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"unpack ok" in answer
        assert b"ok refs/heads/main" in answer
        assert hub.stop() == 0
