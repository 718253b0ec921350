"""The declarative base every table shares: constraint names, portable column types, mixins."""

import datetime as dt
import enum
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect, Enum, Integer, MetaData, String
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column
from sqlalchemy.types import TypeDecorator

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


def utc_now() -> dt.datetime:
    """The current time with its zone. Rules that must not trust this clock ask the database's."""
    return dt.datetime.now(dt.UTC)


class UTCDateTime(TypeDecorator[dt.datetime]):
    """An aware UTC time on every database, with microseconds; naive values are refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        if dialect.name in ("mysql", "mariadb"):
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a stored time needs a zone")
        value = value.astimezone(dt.UTC)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def process_result_value(self, value: Any, dialect: Dialect) -> dt.datetime | None:
        if value is None:
            return None
        assert isinstance(value, dt.datetime)
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


def enum_column(kind: type[enum.Enum], length: int = 32) -> Enum:
    """A string column holding the enum's values; portable, so adding a value needs no migration."""
    return Enum(
        kind,
        native_enum=False,
        create_constraint=False,
        length=length,
        values_callable=lambda members: [member.value for member in members],
    )


# SQLite numbers rows by itself only for INTEGER; the others get 64 bits.
BigId = BigInteger().with_variant(Integer(), "sqlite")


def bytewise_string(length: int) -> String:
    """A text that compares and sorts byte by byte in UTF-8, as git does, on every database.

    SQLite does so by itself, MariaDB by the collation of all our tables; PostgreSQL follows the
    database's language unless told otherwise.
    """
    return String(length).with_variant(postgresql.VARCHAR(length, collation="C"), "postgresql")


# Object ids are hexadecimal: 40 characters for SHA-1, 64 for SHA-256.
OidColumn = String(64)


class Base(DeclarativeBase):
    """Base of all tables. Relationships, where they exist, are ``lazy="raise"``."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)

    @declared_attr.directive
    @classmethod
    def __table_args__(cls) -> Any:
        return cls.table_options()

    @staticmethod
    def table_options(*constraints: Any) -> tuple[Any, ...]:
        """Table arguments: these constraints plus what every table needs.

        Ids are never used twice (``sqlite_autoincrement``): they name folders and storage keys.
        Text compares byte by byte on MariaDB as it does elsewhere.
        """
        return (
            *constraints,
            {
                "sqlite_autoincrement": True,
                "mysql_engine": "InnoDB",
                "mysql_charset": "utf8mb4",
                "mysql_collate": "utf8mb4_bin",
            },
        )


class CreatedAt:
    created_at: Mapped[dt.datetime] = mapped_column(UTCDateTime, default=utc_now)


class Timestamps(CreatedAt):
    updated_at: Mapped[dt.datetime] = mapped_column(UTCDateTime, default=utc_now, onupdate=utc_now)
