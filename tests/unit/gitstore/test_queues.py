"""Short children never wait behind large ones, and nobody waits for ever."""

import asyncio
import os
from pathlib import Path

import pytest

from gitserve import errors
from gitstore.errors import QueueFull
from gitstore.observer import Unobserved
from gitstore.process import GitProcesses
from gitstore.queues import LARGE_NICENESS, Queues, Size
from gitstore.settings import GitStoreSettings
from services.errors import Unavailable
from tests.support.git import GitRepository


def settings() -> GitStoreSettings:
    return GitStoreSettings(git_small_children=1, git_large_children=1)


class Waits(Unobserved):
    def __init__(self) -> None:
        self.sizes: list[str] = []

    def child_waited(self, size: str, seconds: float) -> None:
        self.sizes.append(size)


async def test_the_queues_do_not_wait_for_each_other() -> None:
    waits = Waits()
    queues = Queues(settings(), waits)
    async with queues.place(Size.LARGE), queues.place(Size.SMALL):
        pass
    assert waits.sizes == ["large", "small"]


async def test_a_wait_has_an_end_that_is_told_in_words() -> None:
    queues = Queues(settings().model_copy(update={"git_queue_seconds": 0.05}), Waits())
    async with queues.place(Size.LARGE):
        with pytest.raises(QueueFull) as failure:
            async with queues.place(Size.LARGE):
                raise AssertionError("there was no place")
    told = errors.as_forge_error(failure.value)
    assert isinstance(told, Unavailable)
    assert told.message == "the server is busy with other git requests; try again in a moment"
    async with queues.place(Size.LARGE):
        pass  # who gave up took nothing along


async def test_a_child_that_grows_frees_its_small_place_while_it_waits() -> None:
    queues = Queues(settings(), Waits())
    async with queues.place(Size.LARGE), queues.place(Size.SMALL) as place:
        growing = asyncio.create_task(place.grow())
        await asyncio.sleep(0)
        async with queues.place(Size.SMALL):
            assert not growing.done()
        growing.cancel()
        await asyncio.gather(growing, return_exceptions=True)
    async with queues.place(Size.SMALL) as place:
        await place.grow()
        assert place.size is Size.LARGE
        await place.grow()  # again is nothing
        async with queues.place(Size.SMALL):
            pass
    async with queues.place(Size.SMALL), queues.place(Size.LARGE):
        pass  # every place was given back once


async def test_large_children_step_back(tmp_path: Path) -> None:
    repository = GitRepository.create(tmp_path / "r")
    repository.git("config", "alias.linger", "!sleep 1000")
    processes = GitProcesses(GitStoreSettings())
    niceness = []
    for size in (Size.SMALL, Size.LARGE):
        async with processes.start(
            ["linger"], git_dir=repository.path / ".git", size=size
        ) as child:
            niceness.append(os.getpriority(os.PRIO_PROCESS, child.process.pid))
            if size is Size.SMALL:
                await child.grow()
                niceness.append(os.getpriority(os.PRIO_PROCESS, child.process.pid))
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert niceness == [own, LARGE_NICENESS, LARGE_NICENESS]
