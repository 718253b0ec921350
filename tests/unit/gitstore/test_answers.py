"""One filler for any number of readers, whoever dies."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gitstore import answers
from gitstore.answers import AnswerBroken, AnswerCache, AnswerFile, Source
from gitstore.settings import GitStoreSettings

MIB = 1024 * 1024
ROOT = Path(__file__).parents[3]


@pytest.fixture
def settings(tmp_path: Path) -> GitStoreSettings:
    return GitStoreSettings(cache_dir=tmp_path, clone_cache_max_bytes=8 * MIB)


@pytest.fixture
def cache(settings: GitStoreSettings) -> AnswerCache:
    return AnswerCache(settings)


async def read(cache: AnswerCache, key: str, fill: answers.Fill) -> tuple[bytes, Source, bool]:
    async with cache.open(key, fill) as answer:
        data = b""
        while piece := await answer.read():
            data += piece
        return data, answer.source, answer.is_refusal


class Filler:
    """Writes pieces when told to; counts how often it was started."""

    def __init__(self, *pieces: bytes, good: bool = True, error: Exception | None = None) -> None:
        self.pieces = pieces
        self.good = good
        self.error = error
        self.started = asyncio.Event()
        self.go_on = asyncio.Event()
        self.runs = 0
        self.cancelled = asyncio.Event()

    async def __call__(self, out: AnswerFile) -> bool:
        self.runs += 1
        try:
            for piece in self.pieces:
                await out.write(piece)
            self.started.set()
            await self.go_on.wait()
            if self.error is not None:
                raise self.error
            await out.write(b"the end")
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return self.good


async def unused(_: AnswerFile) -> bool:
    raise AssertionError("made although it is there")


def files(settings: GitStoreSettings) -> list[str]:
    return sorted(os.listdir(settings.cache_dir / "answers"))


async def test_those_who_ask_meanwhile_read_along(
    cache: AnswerCache, settings: GitStoreSettings
) -> None:
    fill = Filler(b"x" * MIB, b"y" * MIB)
    tasks = [asyncio.create_task(read(cache, "key", fill)) for _ in range(3)]
    await fill.started.wait()
    # Another process of the machine has a cache object of its own.
    other = AnswerCache(settings)
    tasks.append(asyncio.create_task(read(other, "key", unused)))
    await asyncio.sleep(0)
    fill.go_on.set()
    results = await asyncio.gather(*tasks)

    expected = b"x" * MIB + b"y" * MIB + b"the end"
    assert [data for data, _, _ in results] == [expected] * 4
    sources = sorted(source.value for _, source, _ in results)
    assert sources == ["joined", "joined", "joined", "miss"]
    assert fill.runs == 1
    assert await read(other, "key", unused) == (expected, Source.HIT, False)
    assert files(settings) == ["key"]


async def test_small_answers_are_not_kept(cache: AnswerCache, settings: GitStoreSettings) -> None:
    fill = Filler(b"small ")
    fill.go_on.set()
    for _ in range(2):
        assert await read(cache, "key", fill) == (b"small the end", Source.MISS, False)
    assert fill.runs == 2
    assert files(settings) == []


async def test_an_error_in_gits_words_reaches_everyone_and_is_not_kept(
    cache: AnswerCache, settings: GitStoreSettings
) -> None:
    fill = Filler(b"ERR " * MIB, good=False)
    tasks = [asyncio.create_task(read(each, "key", fill)) for each in (cache, cache)]
    await fill.started.wait()
    tasks.append(asyncio.create_task(read(AnswerCache(settings), "key", unused)))
    await asyncio.sleep(0)
    fill.go_on.set()
    assert [refused for _, _, refused in await asyncio.gather(*tasks)] == [True, True, True]
    assert files(settings) == []


async def test_a_fault_before_the_first_byte_is_told_as_it_is(cache: AnswerCache) -> None:
    fill = Filler(error=RuntimeError("no git"))
    fill.go_on.set()
    with pytest.raises(RuntimeError, match="no git"):
        await read(cache, "key", fill)


async def test_a_fault_later_breaks_the_answer_for_all(
    cache: AnswerCache, settings: GitStoreSettings
) -> None:
    fill = Filler(b"begun", error=RuntimeError("no more"))
    tasks = [
        asyncio.create_task(read(each, "key", fill)) for each in (cache, AnswerCache(settings))
    ]
    await fill.started.wait()
    await asyncio.sleep(0.1)  # so that the second one has begun, too
    fill.go_on.set()
    for task in tasks:
        with pytest.raises(AnswerBroken) as failure:
            await task
        assert failure.value.begun
    assert files(settings) == []


async def test_the_filler_outlives_the_reader_that_began_it(cache: AnswerCache) -> None:
    fill = Filler(b"x" * MIB)
    first = asyncio.create_task(read(cache, "key", fill))
    await fill.started.wait()
    second = asyncio.create_task(read(cache, "key", unused))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    await asyncio.sleep(0.05)
    fill.go_on.set()
    assert (await second)[0] == b"x" * MIB + b"the end"


async def test_the_last_reader_to_leave_ends_the_filler(
    cache: AnswerCache, settings: GitStoreSettings
) -> None:
    fill = Filler(b"x")
    tasks = [asyncio.create_task(read(cache, "key", fill)) for _ in range(2)]
    await fill.started.wait()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await fill.cancelled.wait()
    while cache._tasks:
        await asyncio.sleep(0.01)
    assert files(settings) == []


_KILLED_FILLER = """
import asyncio, os, sys
from pathlib import Path
from gitstore.answers import AnswerCache
from gitstore.settings import GitStoreSettings

async def fill(out):
    await out.write(b"half ")
    print("begun", flush=True)
    await asyncio.Event().wait()

async def main():
    cache = AnswerCache(GitStoreSettings(cache_dir=Path(sys.argv[1])))
    async with cache.open("key", fill) as answer:
        while await answer.read():
            pass

asyncio.run(main())
"""


async def test_a_killed_filler_breaks_its_readers_and_blocks_nobody(
    cache: AnswerCache, settings: GitStoreSettings
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED_FILLER, str(settings.cache_dir)],
        env={"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == b"begun\n"
        reader = asyncio.create_task(read(cache, "key", unused))
        await asyncio.sleep(0.1)
        assert not reader.done()
        process.kill()
        process.wait()
    with pytest.raises(AnswerBroken) as failure:
        await reader
    assert failure.value.begun
    fill = Filler(b"x" * MIB)
    fill.go_on.set()
    assert await read(cache, "key", fill) == (b"x" * MIB + b"the end", Source.MISS, False)


async def test_old_answers_and_those_beyond_the_size_go(
    cache: AnswerCache, settings: GitStoreSettings
) -> None:
    for name in ("one", "two", "three"):
        fill = Filler(b"x" * 3 * MIB)
        fill.go_on.set()
        await read(cache, name, fill)
        await read(cache, "one", unused)  # the one used last of all
    folder = settings.cache_dir / "answers"
    now = time.time()
    for number, name in enumerate(("two", "three", "one")):
        if (folder / name).exists():
            os.utime(folder / name, (now + number, (folder / name).stat().st_mtime))
    cache.evict()
    assert files(settings) == ["one", "three"]

    os.utime(folder / "three", (now, now - settings.clone_cache_seconds - 1))
    (folder / "dead.part").touch()
    (folder / "dead.readers").touch()
    for name in ("dead.part", "dead.readers"):
        os.utime(folder / name, (0, 0))
    assert cache.evict() == 3
    assert files(settings) == ["one"]
    assert not cache.has("three")
    assert cache.has("one")


async def test_an_answer_removed_while_it_is_read_is_read_to_its_end(
    cache: AnswerCache, settings: GitStoreSettings
) -> None:
    fill = Filler(b"x" * 2 * MIB)
    fill.go_on.set()
    await read(cache, "key", fill)
    async with cache.open("key", unused) as answer:
        size = len(await answer.read())
        (settings.cache_dir / "answers" / "key").unlink()
        while piece := await answer.read():
            size += len(piece)
    assert size == 2 * MIB + len(b"the end")
