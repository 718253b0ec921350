"""What one request reads, batched: fields that resolve together share one statement.

Each batch opens its own short read transaction, since fields resolve concurrently and a session
must not be shared. Rows are remembered for the request, so loaders are replaced after a mutation.
"""

import asyncio
import contextlib
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Hashable,
    Iterable,
    Mapping,
    Sequence,
)
from typing import Any, TypeVar

from sqlalchemy import exists, func, select, tuple_
from strawberry.dataloader import DataLoader

from models import (
    EmailAddress,
    GitPack,
    GitRef,
    Owner,
    Repository,
    RepositoryFork,
    SSHKey,
    Star,
    User,
    Watch,
    WatchState,
)
from resolvers.git_loaders import GitLoaders
from resolvers.pagination import Listing, Page, PageArguments, load_counts, load_pages
from services import access, email_addresses
from services.access import Action, Role
from services.context import OpContext, ReadTransaction
from services.errors import ForgeError

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")
PageKey = tuple[Listing[Any], int, PageArguments]
CountKey = tuple[Listing[Any], int]
# Databases bound the parameters of one statement.
_MAX_BATCH = 1000


class Loaders:
    """Named after what they return and the key they take. An absent row is None."""

    def __init__(self, op: OpContext) -> None:
        self._op = op
        self._batches: set[asyncio.Task[Any]] = set()
        self.owner_by_id: DataLoader[int, Owner | None] = self._by_key(_owners)
        # Of repositories in lists, read along with these: nearly every field needs the login, and a
        # field that need not wait costs a fraction of one that does.
        self.known_owners: dict[int, Owner] = {}
        # Judged by services.access: a repository the actor may not read is None.
        self.repository_by_id: DataLoader[int, Repository | None] = self._by_key(_repositories)
        self.role_by_repository_id: DataLoader[int, Role | None] = self._by_key(_roles)
        # Why the actor may not do it; None where it may.
        self.refusal_by_action_and_repository_id: DataLoader[
            tuple[Action, int], ForgeError | None
        ] = self._by_key(_refusals)
        self.disk_bytes_by_repository_id: DataLoader[int, int | None] = self._by_key(_disk_bytes)
        self.parent_id_by_repository_id: DataLoader[int, int | None] = self._by_key(_parent_ids)
        # Of forks that the actor may read.
        self.fork_count_by_repository_id: DataLoader[int, int | None] = self._by_key(_fork_counts)
        # Of the viewer.
        self.has_starred_by_repository_id: DataLoader[int, bool | None] = self._by_key(_starred)
        self.watch_state_by_repository_id: DataLoader[int, WatchState | None] = self._by_key(
            _watch_states
        )
        self.has_refs_by_repository_id: DataLoader[int, bool | None] = self._by_key(_has_refs)
        self.ref_by_repository_and_name: DataLoader[tuple[int, str], GitRef | None] = self._by_key(
            _refs
        )
        self.ssh_key_by_id: DataLoader[int, SSHKey | None] = self._by_key(_ssh_keys)
        self.primary_email_by_user_id: DataLoader[int, str | None] = self._by_key(_primary_emails)
        # Whose verified address it is.
        self.user_by_email: DataLoader[str, User | None] = self._by_key(
            email_addresses.find_users_by_email
        )
        self.author_emails_by_user_id: DataLoader[int, frozenset[str] | None] = self._by_key(
            email_addresses.list_emails_of_authors
        )
        self.git = GitLoaders(op, self._batches)
        self.page: DataLoader[PageKey, Page[Any]] = DataLoader(
            load_fn=self._load_pages, max_batch_size=_MAX_BATCH
        )
        self.count: DataLoader[CountKey, int] = DataLoader(
            load_fn=self._load_counts, max_batch_size=_MAX_BATCH
        )

    def cancel(self) -> None:
        """Stop batches that still run. They are tasks of their own, which outlive a request that
        was stopped, and would hold their connections."""
        for task in self._batches:
            task.cancel()

    @contextlib.asynccontextmanager
    async def _batch(self) -> AsyncIterator[ReadTransaction]:
        task = asyncio.current_task()
        assert task is not None
        self._batches.add(task)
        try:
            async with self._op.read() as tx:
                yield tx
        finally:
            self._batches.discard(task)

    def _by_key(
        self, read: Callable[[ReadTransaction, Sequence[Key]], Awaitable[Mapping[Key, Value]]]
    ) -> DataLoader[Key, Value | None]:
        async def load(keys: list[Key]) -> list[Value | None]:
            async with self._batch() as tx:
                found = await read(tx, keys)
            return [found.get(key) for key in keys]

        return DataLoader(load_fn=load, max_batch_size=_MAX_BATCH)

    async def _load_pages(self, keys: list[PageKey]) -> list[Page[Any] | BaseException]:
        pages: dict[PageKey, Page[Any] | BaseException] = {}
        async with self._batch() as tx:
            for (listing, arguments), parent_ids in _grouped(
                ((listing, arguments), parent_id) for listing, parent_id, arguments in keys
            ).items():
                try:
                    found = await load_pages(tx, listing, parent_ids, arguments)
                except ForgeError as fault:
                    # A wrong cursor concerns its own connection alone.
                    pages |= dict.fromkeys(
                        ((listing, parent_id, arguments) for parent_id in parent_ids), fault
                    )
                    continue
                for parent_id, page in found.items():
                    pages[listing, parent_id, arguments] = page
                await self._read_owners(tx, found.values())
        return [pages[key] for key in keys]

    async def _read_owners(self, tx: ReadTransaction, pages: Iterable[Page[Any]]) -> None:
        ids = {row.owner_id for page in pages for row in page.rows if isinstance(row, Repository)}
        new = ids - self.known_owners.keys()
        if new:
            self.known_owners |= await _owners(tx, sorted(new))
            for owner_id in new & self.known_owners.keys():
                self.owner_by_id.prime(owner_id, self.known_owners[owner_id])

    async def _load_counts(self, keys: list[CountKey]) -> list[int]:
        counts: dict[CountKey, int] = {}
        async with self._batch() as tx:
            for listing, parent_ids in _grouped(keys).items():
                for parent_id, count in (await load_counts(tx, listing, parent_ids)).items():
                    counts[listing, parent_id] = count
        return [counts[key] for key in keys]


def _grouped(pairs: Iterable[tuple[Key, int]]) -> dict[Key, list[int]]:
    groups: dict[Key, list[int]] = {}
    for group, parent_id in pairs:
        groups.setdefault(group, []).append(parent_id)
    return groups


async def _owners(tx: ReadTransaction, ids: Sequence[int]) -> dict[int, Owner]:
    rows = await tx.session.scalars(select(Owner).where(Owner.id.in_(ids)))
    return {row.id: row for row in rows}


async def _repositories(tx: ReadTransaction, ids: Sequence[int]) -> dict[int, Repository]:
    readable = access.readable_repositories(tx.actor).where(Repository.id.in_(ids))
    return {row.id: row for row in await tx.session.scalars(readable)}


async def _roles(tx: ReadTransaction, ids: Sequence[int]) -> dict[int, Role]:
    return await access.roles_of(tx, tx.actor, ids)


async def _refusals(
    tx: ReadTransaction, keys: Sequence[tuple[Action, int]]
) -> dict[tuple[Action, int], ForgeError]:
    return {
        (action, repository_id): fault
        for action, ids in _grouped(keys).items()
        for repository_id, fault in (await access.refusals(tx, action, ids)).items()
    }


async def _disk_bytes(tx: ReadTransaction, ids: Sequence[int]) -> dict[int, int]:
    size = GitPack.size_bytes + GitPack.index_size_bytes + GitPack.reverse_index_size_bytes
    rows = await tx.session.execute(
        select(GitPack.repository_id, func.sum(size))
        .where(GitPack.repository_id.in_(ids))
        .group_by(GitPack.repository_id)
    )
    return {repository_id: int(total) for repository_id, total in rows}


async def _parent_ids(tx: ReadTransaction, ids: Sequence[int]) -> dict[int, int]:
    rows = await tx.session.scalars(
        select(RepositoryFork).where(RepositoryFork.repository_id.in_(ids))
    )
    return {row.repository_id: row.parent_id for row in rows}


async def _fork_counts(tx: ReadTransaction, ids: Sequence[int]) -> dict[int, int]:
    readable = access.readable_repositories(tx.actor).with_only_columns(Repository.id)
    rows = await tx.session.execute(
        select(RepositoryFork.parent_id, func.count())
        .where(RepositoryFork.parent_id.in_(ids), RepositoryFork.repository_id.in_(readable))
        .group_by(RepositoryFork.parent_id)
    )
    return {parent_id: count for parent_id, count in rows}  # noqa: C416


async def _starred(tx: ReadTransaction, ids: Sequence[int]) -> dict[int, bool]:
    rows = await tx.session.scalars(
        select(Star.repository_id).where(
            Star.user_id == (tx.actor.user_id or 0), Star.repository_id.in_(ids)
        )
    )
    return dict.fromkeys(rows, True)


async def _watch_states(tx: ReadTransaction, ids: Sequence[int]) -> dict[int, WatchState]:
    rows = await tx.session.scalars(
        select(Watch).where(Watch.user_id == (tx.actor.user_id or 0), Watch.repository_id.in_(ids))
    )
    return {row.repository_id: row.state for row in rows}


async def _has_refs(tx: ReadTransaction, ids: Sequence[int]) -> dict[int, bool]:
    any_ref = exists().where(GitRef.repository_id == Repository.id, GitRef.oid.is_not(None))
    rows = await tx.session.scalars(select(Repository.id).where(Repository.id.in_(ids), any_ref))
    return dict.fromkeys(rows, True)


async def _refs(
    tx: ReadTransaction, keys: Sequence[tuple[int, str]]
) -> dict[tuple[int, str], GitRef]:
    rows = await tx.session.scalars(
        select(GitRef).where(
            tuple_(GitRef.repository_id, GitRef.name).in_(keys), GitRef.oid.is_not(None)
        )
    )
    return {(row.repository_id, row.name): row for row in rows}


async def _ssh_keys(tx: ReadTransaction, ids: Sequence[int]) -> dict[int, SSHKey]:
    rows = await tx.session.scalars(select(SSHKey).where(SSHKey.id.in_(ids)))
    return {row.id: row for row in rows}


async def _primary_emails(tx: ReadTransaction, ids: Sequence[int]) -> dict[int, str]:
    rows = await tx.session.execute(
        select(EmailAddress.user_id, EmailAddress.email).where(EmailAddress.primary_of.in_(ids))
    )
    return {user_id: email for user_id, email in rows}  # noqa: C416
