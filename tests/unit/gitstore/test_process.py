"""Git children: a clean environment, limits that bite, and nothing left behind."""

import asyncio
from pathlib import Path

import pytest

from gitstore.errors import GitFailed, GitTimedOut
from gitstore.process import PIPE_READ_BYTES, GitNotFound, GitProcesses
from gitstore.queues import Size
from gitstore.settings import GitStoreSettings
from tests.support.git import GitRepository
from tests.support.processes import group_members, wait_until_gone


@pytest.fixture
def settings(tmp_path: Path) -> GitStoreSettings:
    return GitStoreSettings(cache_dir=tmp_path / "cache")


@pytest.fixture
def processes(settings: GitStoreSettings) -> GitProcesses:
    return GitProcesses(settings)


async def test_a_child_sees_nothing_of_our_environment(
    processes: GitProcesses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OCH_SECRET_KEY", "hunter2")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    repository = GitRepository.create(tmp_path / "r")
    repository.git("config", "alias.show-environment", "!env")

    done = await processes.run(["show-environment"], git_dir=repository.path / ".git")

    names = {line.split("=")[0] for line in done.stdout.decode().splitlines()}
    assert "OCH_SECRET_KEY" not in names
    assert "GIT_CONFIG_COUNT" not in names
    assert names <= {
        "GIT_ADVICE",
        "GIT_ALLOW_PROTOCOL",
        "GIT_ATTR_NOSYSTEM",
        "GIT_CONFIG_GLOBAL",
        "GIT_CONFIG_NOSYSTEM",
        "GIT_DIR",
        "GIT_EXEC_PATH",
        "GIT_NO_REPLACE_OBJECTS",
        "GIT_OPTIONAL_LOCKS",
        "GIT_PREFIX",
        "GIT_TERMINAL_PROMPT",
        "HOME",
        "LC_ALL",
        "OLDPWD",
        "PATH",
        "PWD",
        "SHLVL",
        "_",
    }


async def test_leaving_the_block_kills_the_whole_group(
    processes: GitProcesses, tmp_path: Path
) -> None:
    repository = GitRepository.create(tmp_path / "r")
    repository.git("config", "alias.linger", "!sleep 1000 & sleep 1000 & wait")

    with pytest.raises(RuntimeError, match="changed our mind"):
        async with processes.start(["linger"], git_dir=repository.path / ".git") as child:
            assert group_members(child.process.pid)
            raise RuntimeError("changed our mind")

    wait_until_gone(lambda: group_members(child.process.pid))


async def test_cancelling_the_task_kills_the_whole_group(
    processes: GitProcesses, tmp_path: Path
) -> None:
    repository = GitRepository.create(tmp_path / "r")
    repository.git("config", "alias.linger", "!sleep 1000 & sleep 1000 & wait")
    started: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def linger() -> None:
        async with processes.start(["linger"], git_dir=repository.path / ".git") as child:
            started.set_result(child.process.pid)
            await child.stdout.read()

    task = asyncio.create_task(linger())
    pid = await started
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    wait_until_gone(lambda: group_members(pid))


async def test_the_wall_clock_ends_a_child(processes: GitProcesses, tmp_path: Path) -> None:
    repository = GitRepository.create(tmp_path / "r")
    repository.git("config", "alias.linger", "!sleep 1000")

    async with processes.start(
        ["linger"], git_dir=repository.path / ".git", wall_seconds=0.05
    ) as child:
        assert await child.stdout.read() == b""
        assert await child.wait() == -9
        assert isinstance(child.failure(), GitTimedOut)


async def test_output_nobody_reads_does_not_hang_the_end(
    processes: GitProcesses, tmp_path: Path
) -> None:
    repository = GitRepository.create(tmp_path / "r")
    repository.git("config", "alias.pour", "!yes")

    async with processes.start(["pour"], git_dir=repository.path / ".git") as child:
        await child.stdout.readexactly(1)

    wait_until_gone(lambda: group_members(child.process.pid))


async def test_memory_is_limited_by_data_not_by_mapped_packs(
    settings: GitStoreSettings, tmp_path: Path
) -> None:
    limited = GitProcesses(settings.model_copy(update={"git_data_bytes": 64 * 1024 * 1024}))
    repository = GitRepository.create(tmp_path / "r")
    oid = repository.commit("one")
    repository.git("config", "alias.limits", "!cat /proc/self/limits")

    done = await limited.run(["limits"], git_dir=repository.path / ".git")
    limits = {line[:25].strip(): line[25:].split() for line in done.stdout.decode().splitlines()}
    assert limits["Max data size"][:2] == ["67108864", "67108864"]
    assert limits["Max address space"][0] == "unlimited"
    assert limits["Max cpu time"][:2] == ["3600", "3600"]
    assert limits["Max core file size"][:2] == ["0", "0"]

    kind = await limited.run(["cat-file", "-t", oid], git_dir=repository.path / ".git")
    assert kind.stdout == b"commit\n"


async def test_a_failure_tells_command_status_and_reason(
    processes: GitProcesses, tmp_path: Path
) -> None:
    repository = GitRepository.create(tmp_path / "r")

    with pytest.raises(GitFailed) as caught:
        await processes.run(["cat-file", "-t", "0" * 40], git_dir=repository.path / ".git")

    assert caught.value.command == "cat-file"
    assert caught.value.returncode == 128
    assert "could not get object info" in caught.value.stderr


async def test_large_children_wait_without_keeping_small_ones_waiting(
    settings: GitStoreSettings, tmp_path: Path
) -> None:
    processes = GitProcesses(settings.model_copy(update={"git_large_children": 1}))
    repository = GitRepository.create(tmp_path / "r")
    repository.git("config", "alias.linger", "!sleep 1000")
    git_dir = repository.path / ".git"

    async with processes.start(["linger"], git_dir=git_dir, size=Size.LARGE):
        second = asyncio.create_task(processes.run(["version"], size=Size.LARGE))
        small = await processes.run(["version"], size=Size.SMALL)
        assert small.stdout.startswith(b"git version")
        assert not second.done()
    assert (await second).stdout == small.stdout


async def test_a_missing_git_is_named(
    settings: GitStoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(GitNotFound, match="git is not installed; install the package git"):
        GitProcesses(settings)


async def test_output_that_gathers_is_whole(processes: GitProcesses, tmp_path: Path) -> None:
    """Also where the child ends while nobody reads."""
    repository = GitRepository.create(tmp_path / "r")
    repository.git("config", "alias.drip", "!for i in 1 2 3 4 5; do echo $i; sleep 0.01; done")
    pieces = []
    async with processes.start(["drip"], git_dir=repository.path / ".git") as child:
        while piece := await child.stdout.read(1000):
            pieces.append(piece)
            await child.grow()
            for _ in range(30):
                await child.let_output_gather()
        assert await child.wait() == 0
        await child.let_output_gather()
    assert b"".join(pieces) == b"1\n2\n3\n4\n5\n"
    assert len(pieces) < 5


async def test_cancelled_gathering_leaves_a_child_that_can_be_read(
    processes: GitProcesses, tmp_path: Path
) -> None:
    repository = GitRepository.create(tmp_path / "r")
    repository.git("config", "alias.late", "!sleep 0.05; echo late")
    async with processes.start(["late"], git_dir=repository.path / ".git") as child:
        gathering = asyncio.create_task(child.let_output_gather())
        await asyncio.sleep(0)
        gathering.cancel()
        assert await child.stdout.read() == b"late\n"


async def test_gathering_does_not_fill_a_full_buffer(
    processes: GitProcesses, tmp_path: Path
) -> None:
    """A client that takes nothing must not make the hub hold a whole clone."""
    repository = GitRepository.create(tmp_path / "r")
    repository.git("config", "alias.pour", "!yes")
    async with processes.start(["pour"], git_dir=repository.path / ".git") as child:
        await child.stdout.readexactly(1)
        for _ in range(300):
            await child.let_output_gather()
            await asyncio.sleep(0.001)
        assert len(child.stdout._buffer) < 4 * PIPE_READ_BYTES  # type: ignore[attr-defined]
