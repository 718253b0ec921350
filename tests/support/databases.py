"""A fresh database for each test, with the schema in place, on each of the three systems.

Applying the migrations each time would cost most tests more than what they test. So each run
applies them once, and every test gets a copy: of a file, of a template, of the statements.
"""

import asyncio
import contextlib
import shutil
import threading
import uuid
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, Protocol

import psycopg
from sqlalchemy import URL, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from models.migrations import runner
from tests.support.servers import TestRun

KINDS = ("sqlite", "postgresql", "mariadb")
TEMPLATE = "och_template"


def run_apart(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Run to its end on an event loop of its own, whatever loop the caller's test has."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(coroutine)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


class Databases(Protocol):
    """Makes databases of one system."""

    def fresh(self, folder: Path, *, migrated: bool) -> contextlib.AbstractContextManager[str]:
        """The address of a new database, dropped at the end. ``folder`` belongs to the test."""


class SQLiteDatabases:
    def __init__(self, run: TestRun) -> None:
        self._template = run.folder / "template.sqlite3"
        with run.lock("sqlite"):
            if not self._template.exists():
                run_apart(runner.upgrade(f"sqlite:///{self._template}"))

    @contextlib.contextmanager
    def fresh(self, folder: Path, *, migrated: bool) -> Iterator[str]:
        path = folder / "hub.sqlite3"
        if migrated:
            shutil.copy(self._template, path)
        yield f"sqlite:///{path}"


class PostgreSQLDatabases:
    def __init__(self, run: TestRun) -> None:
        self._folder = run.postgresql_socket_folder()
        done = run.folder / "postgresql.template"
        with run.lock("postgresql"):
            if not done.exists():
                self._execute(f"CREATE DATABASE {TEMPLATE}")
                run_apart(runner.upgrade(self._url(TEMPLATE)))
                done.touch()

    @contextlib.contextmanager
    def fresh(self, folder: Path, *, migrated: bool) -> Iterator[str]:
        name = f"och_{uuid.uuid4().hex}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE if migrated else 'template0'}")
        yield self._url(name)
        self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _url(self, name: str) -> str:
        url = URL.create(
            "postgresql", username="och", database=name, query={"host": str(self._folder)}
        )
        return url.render_as_string(hide_password=False)

    def _execute(self, statement: str) -> None:
        with psycopg.connect(
            host=str(self._folder), user="och", dbname="postgres", autocommit=True
        ) as connection:
            connection.execute(statement.encode())


class MariaDBDatabases:
    def __init__(self, run: TestRun) -> None:
        self._socket = run.mariadb_socket()
        dump = run.folder / "mariadb.sql"
        with run.lock("mariadb"):
            if not dump.exists():
                run_apart(self._execute("", f"CREATE DATABASE {TEMPLATE}"))
                run_apart(runner.upgrade(self._url(TEMPLATE)))
                run_apart(self._dump(dump))
        self._schema = dump.read_text()

    @contextlib.contextmanager
    def fresh(self, folder: Path, *, migrated: bool) -> Iterator[str]:
        name = f"och_{uuid.uuid4().hex}"
        statements = f"CREATE DATABASE {name};"
        if migrated:
            statements += f"USE {name};" + self._schema
        run_apart(self._execute("", statements))
        yield self._url(name)
        run_apart(self._execute("", f"DROP DATABASE {name}"))

    def _url(self, name: str) -> str:
        url = URL.create(
            "mysql", username="root", database=name, query={"unix_socket": str(self._socket)}
        )
        return url.render_as_string(hide_password=False)

    async def _execute(self, database: str, statements: str) -> None:
        engine = create_async_engine(
            self._url(database).replace("mysql:", "mysql+asyncmy:"), poolclass=NullPool
        )
        async with engine.connect() as connection:
            await connection.exec_driver_sql(statements)
        await engine.dispose()

    async def _dump(self, path: Path) -> None:
        """Write the statements that make the template's tables and say they are migrated."""
        engine = create_async_engine(
            self._url(TEMPLATE).replace("mysql:", "mysql+asyncmy:"), poolclass=NullPool
        )
        statements = ["SET foreign_key_checks = 0"]
        async with engine.connect() as connection:
            for table in list(await connection.scalars(text("SHOW TABLES"))):
                row = (await connection.execute(text(f"SHOW CREATE TABLE {table}"))).one()
                statements.append(row[1])
            revision = await connection.scalar(text("SELECT version_num FROM alembic_version"))
        await engine.dispose()
        statements.append(f"INSERT INTO alembic_version VALUES ('{revision}')")
        statements.append("INSERT INTO event_counter VALUES (1, 0)")
        statements.append("COMMIT")
        path.write_text(";".join(statements))


MAKERS: dict[str, Callable[[TestRun], Databases]] = {
    "sqlite": SQLiteDatabases,
    "postgresql": PostgreSQLDatabases,
    "mariadb": MariaDBDatabases,
}
