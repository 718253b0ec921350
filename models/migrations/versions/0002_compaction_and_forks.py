"""Derived files, retired objects, leases of compaction, and forks."""

from typing import Any

import sqlalchemy as sa
from alembic.operations import Operations
from sqlalchemy.dialects import mysql

revision = "0002"
down_revision = "0001"

TIME = sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql")
TABLE: dict[str, Any] = {
    "sqlite_autoincrement": True,
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
}


def upgrade(op: Operations) -> None:
    op.create_table(
        "git_derived",
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("storage_key", sa.String(255), nullable=False),
        sa.Column("sizes", sa.JSON(), nullable=False),
        sa.Column("packs", sa.JSON(), nullable=False),
        sa.Column("object_count", sa.BigInteger(), nullable=False),
        sa.Column("prune_epoch", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        _of_repository("git_derived", "repository_id"),
        sa.PrimaryKeyConstraint("repository_id", "kind", name="pk_git_derived"),
        sa.UniqueConstraint("storage_key", name="uq_git_derived_storage_key"),
        **TABLE,
    )
    op.create_table(
        "retired_objects",
        sa.Column("storage_key", sa.String(255), nullable=False),
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("storage_key", name="pk_retired_objects"),
        **TABLE,
    )
    op.create_index("ix_retired_objects_repository_id", "retired_objects", ["repository_id"])
    op.create_table(
        "repository_maintenance",
        sa.Column("repository_id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("lease_token", sa.String(26)),
        sa.Column("leased_until", TIME),
        sa.Column("compacted_at", TIME),
        sa.Column("pruned_at", TIME),
        _of_repository("repository_maintenance", "repository_id"),
        sa.PrimaryKeyConstraint("repository_id", name="pk_repository_maintenance"),
        **TABLE,
    )
    op.create_table(
        "repository_forks",
        sa.Column("repository_id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("parent_id", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        _of_repository("repository_forks", "repository_id"),
        _of_repository("repository_forks", "parent_id"),
        sa.PrimaryKeyConstraint("repository_id", name="pk_repository_forks"),
        **TABLE,
    )
    op.create_index("ix_repository_forks_parent_id", "repository_forks", ["parent_id"])


def downgrade(op: Operations) -> None:
    for table in ("repository_forks", "repository_maintenance", "retired_objects", "git_derived"):
        op.drop_table(table)


def _of_repository(table: str, column: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column], ["repositories.id"], name=f"fk_{table}_{column}", ondelete="CASCADE"
    )
