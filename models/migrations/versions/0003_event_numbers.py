"""Numbers of events, which grow in the order in which readers see them."""

from typing import Any

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0003"
down_revision = "0002"

TABLE: dict[str, Any] = {
    "sqlite_autoincrement": True,
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
}


def upgrade(op: Operations) -> None:
    op.add_column("events", sa.Column("number", sa.BigInteger(), nullable=True))
    op.create_index("ix_events_number", "events", ["number"], unique=True)
    # What is committed now is in the order of ids.
    op.execute("UPDATE events SET number = id")
    op.create_table(
        "event_counter",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("last_number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_event_counter"),
        **TABLE,
    )
    op.execute(
        "INSERT INTO event_counter (id, last_number) SELECT 1, COALESCE(MAX(number), 0) FROM events"
    )


def downgrade(op: Operations) -> None:
    op.drop_table("event_counter")
    op.drop_index("ix_events_number", "events")
    op.drop_column("events", "number")
