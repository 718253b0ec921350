"""Puts a test's own git history into a repository of a runtime, below all doors."""

from gitstore.transactions import RefUpdate
from models import Repository
from services.runtime import Runtime
from tests.support.git import GitRepository


class Bytes:
    """A pack source over bytes in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def read(self, limit: int) -> bytes:
        piece, self._data = self._data[:limit], self._data[limit:]
        return piece


async def store_content(runtime: Runtime, repository: Repository, source: GitRepository) -> None:
    """Let the repository have all objects and refs of ``source``; it must have none yet."""
    async with runtime.git.begin(repository.id) as work:
        received = await work.quarantine.receive_pack(
            Bytes(source.pack(*source.refs())), progress=None, input_ended=lambda: None
        )
        assert received is not None
        stored = await work.upload(received)
        updates = [RefUpdate(name, None, oid) for name, oid in source.refs().items()]
        async with runtime.database.write() as session:
            applied = await work.apply(session, updates, stored, atomic=True)
    assert not applied.rejected
