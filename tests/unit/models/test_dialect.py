"""The few things each system says in its own way."""

import datetime as dt

import pytest
from sqlalchemy import or_, select, text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from models import GitRef
from models.database import Database
from models.dialect import (
    UnsupportedDatabase,
    async_url,
    database_now,
    starts_with_any,
    violates_unique,
)
from tests.support.rows import add_repository, add_user


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("sqlite:////srv/hub.sqlite3", "sqlite+aiosqlite:////srv/hub.sqlite3"),
        ("postgresql://hub@db/och", "postgresql+psycopg://hub@db/och"),
        ("postgresql+asyncpg://hub@db/och", "postgresql+psycopg://hub@db/och"),
        ("mysql://hub@db/och", "mysql+asyncmy://hub@db/och?charset=utf8mb4"),
        ("mariadb://hub@db/och", "mysql+asyncmy://hub@db/och?charset=utf8mb4"),
    ],
)
def test_an_address_gets_the_driver_we_pin(given: str, used: str) -> None:
    assert str(async_url(given)) == used


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "oracle://db/och",
            "database 'oracle' is not supported; use sqlite, postgresql, mysql or mariadb",
        ),
        (
            "sqlite://",
            "a SQLite database in memory is not supported; "
            "name a file, as in sqlite:////var/lib/opencodehub/hub.sqlite3",
        ),
        (
            "sqlite:///:memory:",
            "a SQLite database in memory is not supported; "
            "name a file, as in sqlite:////var/lib/opencodehub/hub.sqlite3",
        ),
        (
            "och.sqlite3",
            "the database's address cannot be read; "
            "it looks like postgresql://user:password@host/name or sqlite:////folder/file",
        ),
    ],
)
def test_another_system_is_refused(url: str, message: str) -> None:
    with pytest.raises(UnsupportedDatabase) as failure:
        Database(url)
    assert str(failure.value) == message


@pytest.mark.databases
async def test_the_databases_clock_is_aware_and_agrees_with_ours(database: Database) -> None:
    """The server runs on this machine, so its clock lies between two looks at ours."""
    before = dt.datetime.now(dt.UTC)
    async with database.write() as session:
        now = await database_now(session)
    assert now.tzinfo is dt.UTC
    # SQLite cuts microseconds off.
    assert before - dt.timedelta(milliseconds=1) <= now <= dt.datetime.now(dt.UTC)


@pytest.mark.databases
async def test_the_clock_goes_on_within_a_transaction(database: Database) -> None:
    """Leases compare with it; PostgreSQL's ``now()`` would stand still."""
    async with database.write() as session:
        first = await database_now(session)
        while await database_now(session) == first:
            pass


@pytest.mark.databases("postgresql", "mariadb")
async def test_a_text_too_long_is_refused_not_cut(database: Database) -> None:
    """SQLite knows no lengths; rules check them before."""
    with pytest.raises(DataError):
        async with database.write() as session:
            await add_user(session, "a" * 40)


@pytest.mark.databases
async def test_a_taken_key_is_told_from_other_faults(database: Database) -> None:
    async with database.write() as session:
        await add_user(session, "ann")
    with pytest.raises(IntegrityError) as taken:
        async with database.write() as session:
            await add_user(session, "ann")
    assert violates_unique(taken.value)
    with pytest.raises(DBAPIError) as other:
        async with database.write() as session:
            await session.execute(text("SELECT no_such_column FROM owners"))
    assert not violates_unique(other.value)


REF_NAMES = [
    "refs/heads/main",
    "refs/heads/Main",
    "refs/heads/main2",
    "refs/heads/mai",
    "refs/heads/é",
    "refs/heads/e",
    "refs/heads/\U0010ffff",
    "refs/heads0",
    "refs/tags/v1",
    "refs/pull/1/head",
    "refs/heads/a-b",
    "refs/heads/a/b",
    "refs/heads/a.b",
]


async def add_refs(database: Database, names: list[str]) -> int:
    async with database.write() as session:
        repository = await add_repository(session, await add_user(session, "ann"), "demo")
        session.add_all(
            GitRef(repository_id=repository.id, name=name, oid="0" * 40, generation=1)
            for name in names
        )
    return repository.id


@pytest.mark.databases
async def test_refs_sort_as_git_sorts_them(database: Database) -> None:
    await add_refs(database, REF_NAMES)
    async with database.read() as session:
        names = list(await session.scalars(select(GitRef.name).order_by(GitRef.name)))
    assert names == sorted(REF_NAMES, key=str.encode)


@pytest.mark.databases
@pytest.mark.parametrize(
    "prefixes",
    [
        ["refs/heads/"],
        ["refs/heads/main", "refs/tags/"],
        ["refs/heads/M"],
        ["refs/heads/e", "refs/heads/\U0010ffff"],
        ["\U0010ffff"],
        ["refs/heads/\ud7ff", "refs/heads/%", "refs/heads/_"],
        [""],
    ],
    ids=ascii,
)
async def test_a_search_by_prefix_finds_what_starts_so_and_no_more(
    database: Database, prefixes: list[str]
) -> None:
    await add_refs(database, REF_NAMES)
    query = select(GitRef.name).where(or_(*starts_with_any(GitRef.name, prefixes)))
    async with database.read() as session:
        found = set(await session.scalars(query))
    assert found == {name for name in REF_NAMES if name.startswith(tuple(prefixes))}


@pytest.mark.databases
async def test_a_search_by_prefix_is_a_range_of_the_primary_key(database: Database) -> None:
    """Among many refs, the plan bounds the name by the key and filters nothing afterwards."""
    repository_id = await add_refs(database, [f"refs/heads/{n}" for n in range(3000)])
    async with database.write() as session:
        verb = "ANALYZE TABLE" if database.dialect_name == "mysql" else "ANALYZE"
        await session.execute(text(f"{verb} git_refs"))
    query = select(GitRef.oid).where(
        GitRef.repository_id == repository_id, *starts_with_any(GitRef.name, ["refs/tags/"])
    )
    async with database.read() as session:
        sql = query.compile(
            dialect=database.read_engine.dialect, compile_kwargs={"literal_binds": True}
        )
        explain = "EXPLAIN QUERY PLAN" if database.dialect_name == "sqlite" else "EXPLAIN"
        connection = await session.connection()
        rows = await connection.exec_driver_sql(f"{explain} {sql}")
        plan = [" ".join(str(value) for value in row) for row in rows]
    shown = "\n".join(plan)
    match database.dialect_name:
        case "sqlite":
            assert "(repository_id=? AND name>? AND name<?)" in shown
        case "postgresql":
            assert "Index Scan using pk_git_refs" in shown
            assert "Filter:" not in shown
        case _:
            assert shown.startswith("1 SIMPLE git_refs range ")
            assert " PRIMARY 1026 " in shown  # the key, with both columns
