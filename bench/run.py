"""Measure the hub against plain git on the same repository, in one run; print ratios.

``make bench`` runs it. The baseline is ``git daemon`` on loopback over a bare repository with the
settings a careful operator would choose: objects checked on arrival and written durably
(``receive.fsckObjects=true``, ``core.fsync=all``). Both sides share the machine with the client.
"""

import argparse
import dataclasses
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

SMALL_PUSHES = 10
COMMITS = 5000
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "LC_ALL": "C.UTF-8",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": "Bench",
    "GIT_AUTHOR_EMAIL": "bench@example.com",
    "GIT_COMMITTER_NAME": "Bench",
    "GIT_COMMITTER_EMAIL": "bench@example.com",
}


@dataclasses.dataclass(frozen=True)
class Remote:
    """A server to measure: an empty repository at ``url``, and what it takes to reach it."""

    name: str
    url: str
    environment: dict[str, str]


def git(*args: str, cwd: Path | None = None, extra: dict[str, str] | None = None) -> bytes:
    done = subprocess.run(
        ["git", *args],
        cwd=cwd,
        env=ENVIRONMENT | (extra or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"bench: git {' '.join(args[:3])} failed: {done.stderr.decode()[-2000:]}")
    return done.stdout


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def make_repository(path: Path) -> None:
    """A history of COMMITS commits over 500 files, the same in every run."""
    git("init", "--quiet", "--bare", "--initial-branch=main", str(path))
    feed = subprocess.Popen(
        ["git", "-C", str(path), "fast-import", "--quiet"], env=ENVIRONMENT, stdin=subprocess.PIPE
    )
    assert feed.stdin is not None
    for number in range(1, COMMITS + 1):
        text = "".join(f"{number} {line * number % 7919}\n" for line in range(200)).encode()
        feed.stdin.write(
            b"commit refs/heads/main\ncommitter Bench <bench@example.com> %d +0000\n"
            b"data 7\nchange\n\nM 100644 inline dir%d/file%d.txt\ndata %d\n%s\n"
            % (1_600_000_000 + number, number % 20, number % 500, len(text), text)
        )
    feed.stdin.close()
    if feed.wait():
        sys.exit("bench: git fast-import failed")


@contextmanager
def git_daemon(folder: Path) -> Iterator[Remote]:
    bare = folder / "daemon" / "demo.git"
    git("init", "--quiet", "--bare", "--initial-branch=main", str(bare))
    for key, value in (
        ("receive.fsckObjects", "true"),
        ("receive.fsck.badTimezone", "ignore"),
        ("receive.fsck.missingSpaceBeforeDate", "ignore"),
        ("receive.fsck.zeroPaddedFilemode", "ignore"),
        ("core.fsync", "all"),
        ("gc.auto", "0"),
        ("uploadpack.allowFilter", "true"),
    ):
        git("config", key, value, cwd=bare)
    port = free_port()
    daemon = subprocess.Popen(
        [
            *("git", "daemon", "--reuseaddr", "--export-all", "--enable=receive-pack"),
            *("--listen=127.0.0.1", f"--port={port}", f"--base-path={bare.parent}"),
        ],
        env=ENVIRONMENT,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for(lambda: socket.create_connection(("127.0.0.1", port), 1).close(), daemon)
        yield Remote("git daemon", f"git://127.0.0.1:{port}/demo.git", {})
    finally:
        os.killpg(daemon.pid, 15)
        daemon.wait()


@contextmanager
def hub(folder: Path) -> Iterator[list[Remote]]:
    och = str(Path(sys.executable).parent / "och")
    port, ssh_port, data = free_port(), free_port(), folder / "hub"
    log = (folder / "hub.log").open("wb")
    server = subprocess.Popen(
        [och, "serve", f"--port={port}", f"--ssh-port={ssh_port}", f"--data-dir={data}"],
        stdout=log,
        stderr=log,
        stdin=subprocess.DEVNULL,
    )

    def admin(*args: str) -> str:
        return subprocess.run(
            [och, *args, f"--data-dir={data}"], check=True, capture_output=True, text=True
        ).stdout.strip()

    try:
        wait_for(
            lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1).close(),
            server,
        )
        admin("create-user", "bench", "--email=bench@example.com")
        token = admin("create-token", "bench", "--name=bench", "--scopes=repo")
        key = folder / "id_ed25519"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        admin("create-ssh-key", "bench", "--title=bench", f"--key-file={key}.pub")
        for name in ("http", "ssh"):
            admin("create-repository", f"bench/{name}")
        ssh = (
            f"ssh -F /dev/null -i {key} -o IdentitiesOnly=yes -o BatchMode=yes"
            f" -o StrictHostKeyChecking=no -o UserKnownHostsFile={folder}/known_hosts"
            " -o LogLevel=ERROR"
        )
        yield [
            Remote("hub, HTTP", f"http://bench:{token}@127.0.0.1:{port}/bench/http.git", {}),
            Remote(
                "hub, SSH",
                f"ssh://git@127.0.0.1:{ssh_port}/bench/ssh.git",
                {"GIT_SSH_COMMAND": ssh},
            ),
        ]
    finally:
        server.terminate()
        server.wait()
        log.close()


def wait_for(probe: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        if process.poll() is not None:
            sys.exit("bench: the server ended before it listened")
        try:
            probe()
        except (OSError, urllib.error.URLError):
            time.sleep(0.1)
        else:
            return
    sys.exit("bench: the server does not listen after 30 s")


def measure(remote: Remote, source: Path, folder: Path) -> dict[str, float]:
    """Seconds of the client's wall clock for each piece of work."""
    extra = remote.environment
    figures = {
        "push of the whole project": seconds(
            lambda: git("push", "--quiet", remote.url, "main", cwd=source, extra=extra)
        )
    }
    clone, again = folder / "clone", folder / "again"
    for name, args in (
        ("clone, first", ()),
        ("clone, second", ()),
        ("clone --depth 1", ("--depth=1",)),
        ("clone --filter=blob:none --bare", ("--filter=blob:none", "--bare")),
    ):
        shutil.rmtree(again, ignore_errors=True)
        figures[name] = seconds(
            lambda args=args: git("clone", "--quiet", *args, remote.url, str(again), extra=extra)
        )
    git("clone", "--quiet", remote.url, str(clone), extra=extra)
    git("fsck", "--full", cwd=clone)
    pushes = []
    for number in range(SMALL_PUSHES):
        (clone / "small.txt").write_text(f"{number}\n")
        git("add", "small.txt", cwd=clone)
        git("commit", "--quiet", "--message=small", cwd=clone)
        pushes.append(
            seconds(lambda: git("push", "--quiet", "origin", "HEAD", cwd=clone, extra=extra))
        )
    figures["push of one commit, median"] = statistics.median(pushes)
    lists = [seconds(lambda: git("ls-remote", remote.url, extra=extra)) for _ in range(5)]
    figures["ls-remote, median"] = statistics.median(lists)
    shutil.rmtree(clone)
    shutil.rmtree(again)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, prog="bench/run.py")
    parser.add_argument(
        "--repository", type=Path, help="a repository with a branch main; default: a made-up one"
    )
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="och-bench-")))
        source = options.repository
        if source is None:
            source = folder / "source.git"
            make_repository(source)
        baseline = stack.enter_context(git_daemon(folder))
        remotes = [baseline, *stack.enter_context(hub(folder))]
        results = {remote.name: measure(remote, source, folder) for remote in remotes}
    plain = results[baseline.name]
    print("| client's wall clock | " + " | ".join(results) + " |")
    print("|---|" + "---|" * len(results))
    for work, base in plain.items():
        cells = [f"{base:.3f} s"]
        cells += [
            f"{figures[work]:.3f} s ({figures[work] / base:.2f})"
            for name, figures in results.items()
            if name != baseline.name
        ]
        print(f"| {work} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
