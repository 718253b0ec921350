"""Who compacts a repository at the moment, and when it was last done."""

import datetime as dt

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, UTCDateTime


class RepositoryMaintenance(Base):
    """``lease_token`` and ``leased_until``: one worker at a time, by the database's clock.

    The lease only saves work. What is right is decided by the rows a compaction replaces.
    """

    __tablename__ = "repository_maintenance"

    repository_id: Mapped[int] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True
    )
    lease_token: Mapped[str | None] = mapped_column(String(26))
    leased_until: Mapped[dt.datetime | None] = mapped_column(UTCDateTime)
    compacted_at: Mapped[dt.datetime | None] = mapped_column(UTCDateTime)
    pruned_at: Mapped[dt.datetime | None] = mapped_column(UTCDateTime)
