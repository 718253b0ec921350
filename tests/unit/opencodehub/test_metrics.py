"""What is counted, under which names, and that counting changes nothing."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from models.database import Database
from opencodehub.metered_store import MeteredObjectStore
from opencodehub.metric_files import FILE_BYTES
from opencodehub.metrics import HubMetrics
from storage_adapters.base import ObjectStore
from storage_adapters.errors import ObjectExists, ObjectNotFound
from storage_adapters.memory import MemoryObjectStore


def lines(metrics: HubMetrics) -> list[str]:
    """The samples, without durations and the times at which metrics were made."""
    return [
        line
        for line in metrics.render().decode().splitlines()
        if not line.startswith("#") and "_seconds" not in line and "_created" not in line
    ]


def test_git_traffic_is_counted() -> None:
    metrics = HubMetrics(None)
    metrics.push_ended("ssh", "ok", 1000, 0.5)
    metrics.push_ended("ssh", "refused", 24, 0.1)
    metrics.fetch_ended("http", "ok", "hit", 5000, 0.2)
    metrics.child_waited("small", 0.001)
    metrics.child_ended("rev-list", "small", 0.01, "ok")
    metrics.child_ended("rm", "large", 0.01, "killed")
    metrics.cache_filled(3, 700, 0.3)
    found = lines(metrics)
    for expected in (
        'och_git_pushes_total{door="ssh",outcome="ok"} 1.0',
        'och_git_pushes_total{door="ssh",outcome="refused"} 1.0',
        'och_git_push_bytes_total{door="ssh"} 1024.0',
        'och_git_fetches_total{answer="hit",door="http",outcome="ok"} 1.0',
        'och_git_fetch_bytes_total{door="http"} 5000.0',
        'och_git_children_total{command="rev-list",outcome="ok",queue="small"} 1.0',
        'och_git_children_total{command="other",outcome="killed",queue="large"} 1.0',
        "och_cache_fills_total 1.0",
        "och_cache_fill_packs_total 3.0",
        "och_cache_fill_bytes_total 700.0",
    ):
        assert expected in found
    everything = metrics.render().decode()
    assert 'och_git_push_seconds_count{door="ssh"} 2.0' in everything
    assert 'och_git_queue_wait_seconds_count{queue="small"} 1.0' in everything


async def test_the_object_store_is_counted_and_behaves_as_before() -> None:
    metrics = HubMetrics(None)
    store = MeteredObjectStore(MemoryObjectStore(), metrics)
    assert isinstance(store, ObjectStore)

    async def pieces() -> AsyncIterator[bytes]:
        yield b"abc"
        yield b"def"

    assert await store.put("a/b", b"12345") == 5
    assert await store.put_if_absent("a/c", pieces()) == 6
    with pytest.raises(ObjectExists):
        await store.put_if_absent("a/c", b"other")
    assert await store.get("a/b") == b"12345"
    assert b"".join([piece async for piece in store.stream("a/c", start=1, end=4)]) == b"bcd"
    assert (await store.head("a/b")).size == 5
    with pytest.raises(ObjectNotFound):
        await store.head("a/x")
    assert [info.key async for info in store.list("a/")] == ["a/b", "a/c"]
    await store.delete("a/b")
    await store.close()

    found = lines(metrics)
    for expected in (
        'och_storage_calls_total{operation="put",outcome="ok"} 2.0',
        'och_storage_calls_total{operation="put",outcome="exists"} 1.0',
        'och_storage_calls_total{operation="get",outcome="ok"} 2.0',
        'och_storage_calls_total{operation="head",outcome="ok"} 1.0',
        'och_storage_calls_total{operation="head",outcome="not_found"} 1.0',
        'och_storage_calls_total{operation="list",outcome="ok"} 1.0',
        'och_storage_calls_total{operation="delete",outcome="ok"} 1.0',
        'och_storage_bytes_total{direction="write"} 11.0',
        'och_storage_bytes_total{direction="read"} 8.0',
    ):
        assert expected in found


@pytest.mark.databases
async def test_statements_are_counted_by_engine(database: Database) -> None:
    metrics = HubMetrics(None)
    metrics.watch(database)
    async with database.read() as session:
        await session.execute(text("SELECT 1"))
    before = metrics.sql_statements.labels("read")._value.get()
    async with database.read() as session:
        for _ in range(3):
            await session.execute(text("SELECT 1"))
    after = metrics.sql_statements.labels("read")._value.get()
    assert after - before in (3, 4)  # MariaDB's BEGIN is a statement of ours
    async with database.write() as session:
        await session.execute(text("SELECT 1"))
    assert metrics.sql_statements.labels("write")._value.get() >= 1


def test_without_a_folder_numbers_stay_in_the_process(tmp_path: Path) -> None:
    one, other = HubMetrics(None), HubMetrics(None)
    one.cache_filled(1, 1, 1)
    assert "och_cache_fills_total 1.0" in lines(one)
    assert "och_cache_fills_total 0.0" in lines(other)
    assert list(tmp_path.iterdir()) == []


COUNTING = """
import os, sys
from pathlib import Path
from opencodehub.metrics import HubMetrics
metrics = HubMetrics(Path(sys.argv[1]))
for outcome in ("ok", "refused", "failed", "gone"):
    for door in ("http", "ssh", "api"):
        metrics.push_ended(door, outcome, 1, 0.5)
print("counted", flush=True)
sys.stdin.read()
sys.stdout.write(metrics.render().decode())
"""


def count_in(folder: Path) -> "subprocess.Popen[str]":
    """A process that counts one push of each kind, and shows all numbers when its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", COUNTING, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "counted\n"
    return process


def test_processes_share_a_folder_and_take_over_from_the_dead(tmp_path: Path) -> None:
    first, second = count_in(tmp_path), count_in(tmp_path)
    first.kill()
    first.communicate()
    third = count_in(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".db")
    assert names == ["counter_0.db", "counter_1.db", "histogram_0.db", "histogram_1.db"]
    shown = second.communicate()[0]
    assert 'och_git_pushes_total{door="ssh",outcome="ok"} 3.0' in shown
    third.communicate()


def test_the_files_of_metrics_have_all_their_blocks(tmp_path: Path) -> None:
    """On a full disk, writing to a hole of a mapped file kills the process."""
    process = count_in(tmp_path)
    for path in tmp_path.glob("*.db"):
        size = path.stat().st_size
        assert (size, path.stat().st_blocks * 512 >= size) == (FILE_BYTES, True)
    process.communicate()


def test_without_room_a_process_counts_for_itself(tmp_path: Path) -> None:
    program = f"""
import errno, os
def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
os.posix_fallocate = full
{COUNTING}"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        input="",
        capture_output=True,
        text=True,
        check=True,
    )
    assert "no room for metrics" in done.stdout + done.stderr
    assert 'och_git_pushes_total{door="ssh",outcome="ok"} 1.0' in done.stdout


async def test_failing_sql_is_counted(database: Database) -> None:
    metrics = HubMetrics(None)
    metrics.watch(database)
    with pytest.raises(OperationalError):
        async with database.read() as session:
            await session.execute(text("SELECT * FROM nothing_of_this_name"))
    assert 'och_sql_errors_total{engine="read"} 1.0' in lines(metrics)


async def test_a_slow_reader_is_not_the_object_stores_fault() -> None:
    metrics = HubMetrics(None)
    store = MeteredObjectStore(MemoryObjectStore(), metrics)
    await store.put("a/b", b"12345")
    async for _ in store.stream("a/b"):
        await asyncio.sleep(0.3)
    shown = metrics.render().decode()
    assert 'och_storage_call_seconds_bucket{le="0.25",operation="get"} 1.0' in shown
