"""What tests of pushes look at: refs, leftovers, and hand-made requests."""

import os

from sqlalchemy import select

from gitserve.pktline import encode
from models import GitPack, PackUpload
from tests.e2e.git.conftest import World
from tests.support.processes import descendants, wait_until_gone

NULL = "0" * 40
CAPABILITIES = "report-status side-band-64k object-format=sha1 agent=test"


def commands(*lines: str, capabilities: str = CAPABILITIES) -> bytes:
    """The list of commands of a push, with its flush."""
    first, *rest = lines
    return (
        encode(f"{first}\0{capabilities}".encode())
        + b"".join(encode(line.encode()) for line in rest)
        + b"0000"
    )


async def refs(world: World, name: str = "demo") -> dict[str, str]:
    async with world.runtime.database.read() as session:
        rows = await world.runtime.git.list_refs(session, world.ids[name])
    return {row.name: row.oid for row in rows}


async def nothing_left(world: World) -> None:
    """No intent, no quarantine, no object without a row, no child."""
    async with world.runtime.database.read() as session:
        assert (await session.scalars(select(PackUpload.storage_key))).all() == []
        packs = (await session.scalars(select(GitPack.storage_key))).all()
    stored = [info.key async for info in world.runtime.object_store.list("packs/")]
    assert sorted(f"{key}.{kind}" for key in packs for kind in ("idx", "pack", "rev")) == stored
    assert list((world.runtime.git.cache.root / "quarantine").glob("*")) == []
    wait_until_gone(lambda: [pid for pid in descendants(os.getpid()) if is_git(pid)])


def is_git(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            arguments = file.read().split(b"\0")
    except OSError:
        return False
    return b"index-pack" in arguments or b"rev-list" in arguments
