"""Stars and watches of repositories."""

from typing import Any

import sqlalchemy as sa
from alembic.operations import Operations
from sqlalchemy.dialects import mysql

revision = "0004"
down_revision = "0003"

TIME = sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql")
TABLE: dict[str, Any] = {
    "sqlite_autoincrement": True,
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
}


def upgrade(op: Operations) -> None:
    for table, columns in (
        ("stars", []),
        ("watches", [sa.Column("state", sa.String(32), nullable=False)]),
    ):
        op.create_table(
            table,
            sa.Column("repository_id", sa.Integer(), nullable=False),
            sa.Column("user_id", sa.Integer(), nullable=False),
            *columns,
            sa.Column("created_at", TIME, nullable=False),
            sa.ForeignKeyConstraint(
                ["repository_id"],
                ["repositories.id"],
                name=f"fk_{table}_repository_id",
                ondelete="CASCADE",
            ),
            sa.ForeignKeyConstraint(
                ["user_id"], ["users.id"], name=f"fk_{table}_user_id", ondelete="CASCADE"
            ),
            sa.PrimaryKeyConstraint("repository_id", "user_id", name=f"pk_{table}"),
            **TABLE,
        )
        op.create_index(f"ix_{table}_user_id", table, ["user_id"])


def downgrade(op: Operations) -> None:
    op.drop_table("watches")
    op.drop_table("stars")
