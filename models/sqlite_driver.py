"""SQLite through aiosqlite with one trip to the connection's thread a statement.

aiosqlite runs each step in that thread: opening a cursor, executing, fetching, closing. A trip
costs about as much as a small statement. Here the four steps are one. Results are read whole, as
SQLAlchemy does anyway.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

import aiosqlite

_CHUNK = 64


class OneTripConnection(aiosqlite.Connection):
    """Made by ``connect``; await it to open it."""

    def cursor(self) -> Any:
        """A cursor for SQLAlchemy's adapter; it needs no trip of its own."""
        return _Cursor(self)


class _Cursor:
    """The part of aiosqlite's cursor that SQLAlchemy's adapter uses."""

    def __init__(self, connection: OneTripConnection) -> None:
        self._connection = connection
        self._rows: list[Any] = []
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None
        self.arraysize = 1

    async def __aenter__(self) -> "_Cursor":
        return self

    async def execute(self, sql: str, parameters: Sequence[Any] | None = None) -> "_Cursor":
        return await self._run(sqlite3.Cursor.execute, sql, parameters or ())

    async def executemany(self, sql: str, parameters: Iterable[Sequence[Any]]) -> "_Cursor":
        return await self._run(sqlite3.Cursor.executemany, sql, parameters)

    async def fetchall(self) -> list[Any]:
        rows, self._rows = self._rows, []
        return rows

    async def close(self) -> None:
        self._rows = []

    async def _run(self, method: Any, sql: str, parameters: Any) -> "_Cursor":
        await self._connection._execute(  # type: ignore[no-untyped-call]
            self._execute, method, sql, parameters
        )
        return self

    def _execute(self, method: Any, sql: str, parameters: Any) -> None:
        """In the connection's thread."""
        cursor = self._connection._conn.cursor()
        try:
            method(cursor, sql, parameters)
            self.description = cursor.description
            self._rows = cursor.fetchall() if cursor.description else []
            self.rowcount, self.lastrowid = cursor.rowcount, cursor.lastrowid
        finally:
            cursor.close()


def connect(database: str, **options: Any) -> OneTripConnection:
    """As ``aiosqlite.connect``."""
    return OneTripConnection(lambda: sqlite3.connect(database, **options), _CHUNK)
