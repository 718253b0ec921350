"""Events: activity, audit log and outbox in one table, written in the transaction they describe."""

import datetime as dt
from typing import Any

from sqlalchemy import JSON, String
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, BigId, CreatedAt, UTCDateTime


class Event(CreatedAt, Base):
    """``payload`` holds ids only. ``dispatched_at`` is null until consumers have been told.

    No foreign keys: the audit log outlives what it describes.
    """

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    actor_id: Mapped[int | None] = mapped_column(index=True)
    repository_id: Mapped[int | None] = mapped_column(index=True)
    payload: Mapped[dict[str, Any]] = mapped_column(JSON)
    request_id: Mapped[str | None] = mapped_column(String(64))
    dispatched_at: Mapped[dt.datetime | None] = mapped_column(UTCDateTime, index=True)
