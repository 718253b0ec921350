"""Queueing jobs: what reaches Redis, and what happens when it does not answer."""

import asyncio
import json
import socket
from pathlib import Path

import pytest
import redis.asyncio as redis

from opencodehub import job_queue, settings
from opencodehub.job_queue import CeleryJobQueue, broker_url
from services.jobs import REGISTRY


@pytest.fixture(autouse=True)
def _registered() -> None:
    job_queue.register_jobs()


def queue(tmp_path: Path, url: str) -> CeleryJobQueue:
    return CeleryJobQueue(settings.load({"data_dir": tmp_path, "redis_url": url}))


@pytest.mark.parametrize(
    ("url", "broker"),
    [
        ("redis://host:6380/2", "redis://host:6380/2"),
        ("rediss://host", "rediss://host"),
        ("unix:///run/redis.sock", "redis+socket:///run/redis.sock"),
        ("unix:///run/redis.sock?db=3", "redis+socket:///run/redis.sock?virtual_host=3"),
    ],
)
def test_the_broker_is_the_same_redis(url: str, broker: str) -> None:
    assert broker_url(url) == broker


async def test_a_job_is_a_name_and_ids_in_its_queue(tmp_path: Path, redis_url: str) -> None:
    jobs = queue(tmp_path, redis_url)
    await jobs.enqueue("git.sweep_uploads", 7, "x")
    await jobs.close()
    client: redis.Redis = redis.Redis.from_url(redis_url)
    waiting = await client.lrange("och:jobs:git", 0, -1)
    await client.aclose()
    (message,) = [json.loads(each) for each in waiting]
    assert message["content-type"] == "application/json"
    assert message["headers"]["task"] == "git.sweep_uploads"
    assert REGISTRY["git.sweep_uploads"].queue == "git"
    assert message["headers"]["argsrepr"] == "[7, 'x']"


async def test_an_unknown_job_is_refused(tmp_path: Path, redis_url: str) -> None:
    with pytest.raises(ValueError, match="no job is named 'git\\.swepe'"):
        await queue(tmp_path, redis_url).enqueue("git.swepe")


async def test_a_broker_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    jobs = queue(tmp_path, f"unix://{tmp_path}/nobody.sock")
    with pytest.raises(ConnectionError, match="the job queue does not answer"):
        await jobs.enqueue("git.sweep_uploads")
    await jobs.close()


async def test_a_broker_that_hangs_blocks_no_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_queue, "ENQUEUE_SECONDS", 0.2)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "hangs.sock"))
        listener.listen()
        jobs = queue(tmp_path, f"unix://{tmp_path}/hangs.sock")
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        turning = asyncio.create_task(turn())
        with pytest.raises((TimeoutError, ConnectionError)):
            await jobs.enqueue("git.sweep_uploads")
        turning.cancel()
        assert turns > 100
    await jobs.close()


async def test_senders_do_not_pile_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_queue, "MAXIMUM_WAITING", 0)
    with pytest.raises(ConnectionError, match="the job queue does not answer"):
        await queue(tmp_path, "redis://127.0.0.1:1").enqueue("git.sweep_uploads")
