"""/metrics of a running hub: sums over its processes, for operators alone."""

import json
import os
import re
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.git import GitRepository
from tests.support.hub import Hub, running_hub
from tests.support.ssh import generate_key

TOKEN = "a-token-of-the-monitoring"


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Hub]:
    with running_hub(tmp_path / "hub", OCH_METRICS_TOKEN=TOKEN) as hub:
        yield hub


def get(hub: Hub, path: str, authorization: str | None, method: str = "GET") -> tuple[int, str]:
    request = urllib.request.Request(f"{hub.url}{path}", method=method)
    if authorization is not None:
        request.add_header("Authorization", authorization)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def samples(hub: Hub) -> dict[str, float]:
    status, body = get(hub, "/metrics", f"Bearer {TOKEN}")
    assert status == 200
    pairs = (line.rsplit(" ", 1) for line in body.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def test_git_traffic_of_both_doors_is_summed(watched: Hub, tmp_path: Path) -> None:
    hub = watched
    token = hub.create_user("ann")
    generate_key(tmp_path / "key")
    hub.och("create-ssh-key", "ann", "--title", "k", "--key-file", str(tmp_path / "key.pub"))
    hub.och("create-repository", "ann/demo")
    over_ssh = hub.ssh_environment(tmp_path / "key")
    source = GitRepository.create(tmp_path / "source", environment=over_ssh)
    source.commit("one")
    source.git("push", "--quiet", hub.clone_url("ann/demo", token), "main")
    source.commit("two")
    source.git("push", "--quiet", hub.ssh_url("ann/demo"), "main")
    source.failure("push", "--quiet", hub.ssh_url("ann/demo"), "main:refs/pull/1/head")
    GitRepository.clone(hub.clone_url("ann/demo"), tmp_path / "http")
    GitRepository.clone(hub.ssh_url("ann/demo"), tmp_path / "ssh", environment=over_ssh)

    found = samples(hub)
    assert found['och_git_pushes_total{door="http",outcome="ok"}'] == 1
    assert found['och_git_pushes_total{door="ssh",outcome="ok"}'] == 1
    assert found['och_git_pushes_total{door="ssh",outcome="refused"}'] == 1
    assert found['och_git_push_bytes_total{door="ssh"}'] > 200
    assert found['och_git_fetches_total{answer="miss",door="http",outcome="ok"}'] == 1
    assert found['och_git_fetches_total{answer="miss",door="ssh",outcome="ok"}'] == 1
    assert found['och_git_fetch_bytes_total{door="ssh"}'] > 200
    assert found['och_git_children_total{command="index-pack",outcome="ok",queue="small"}'] == 2
    assert found['och_git_queue_wait_seconds_count{queue="large"}'] == 2
    assert found['och_storage_calls_total{operation="put",outcome="ok"}'] >= 6
    assert found['och_sql_statements_total{engine="write"}'] > 0

    # What a process counted stays counted when it dies.
    (sshd,) = (pid for pid in hub.processes() if b"sshd" in command_line(pid))
    os.kill(sshd, signal.SIGKILL)
    while "och: sshd ended" not in hub.log():
        time.sleep(0.02)
    again = samples(hub)
    assert again['och_git_pushes_total{door="ssh",outcome="ok"}'] == 1
    assert (
        again['och_git_push_bytes_total{door="ssh"}']
        == found['och_git_push_bytes_total{door="ssh"}']
    )


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_operators_alone_see_the_page(watched: Hub) -> None:
    hub = watched
    hub.och("create-user", "boss", "--email", "boss@example.com", "--site-admin")
    administrator = hub.create_token("boss", "site_admin")
    without_scope = hub.create_token("boss", "repo")
    user = hub.create_user("ann")
    assert get(hub, "/metrics", f"Bearer {administrator}")[0] == 200
    unknown = masked(get(hub, "/no-such-page", None))
    for authorization in (
        None,
        "Bearer wrong",
        f"Basic {TOKEN}",
        f"bearer {TOKEN}x",
        f"Bearer {without_scope}",
        f"Bearer {user}",
    ):
        assert masked(get(hub, "/metrics", authorization)) == unknown
    assert masked(get(hub, "/metrics", f"Bearer {TOKEN}", "POST")) == masked(
        get(hub, "/no-such-page", None, "POST")
    )


def masked(answer: tuple[int, str]) -> tuple[int, str]:
    status, body = answer
    assert re.fullmatch("[0-9a-f]{16}", json.loads(body)["requestId"])
    return status, re.sub('"requestId": "[0-9a-f]+"', "", body)
