"""A user's e-mail addresses."""

import datetime as dt

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, CreatedAt, UTCDateTime


class EmailAddress(CreatedAt, Base):
    """Two nullable columns make the rules unique constraints on every database.

    ``verified_key`` holds ``email_key`` once verified: one account per verified address, while an
    unverified claim blocks nobody. ``primary_of`` holds ``user_id`` for the primary address: at
    most one each. ``email_key`` is the canonical form addresses are compared in.
    """

    __tablename__ = "email_addresses"
    __table_args__ = Base.table_options(UniqueConstraint("user_id", "email_key"))

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    email: Mapped[str] = mapped_column(String(254))
    email_key: Mapped[str] = mapped_column(String(254), index=True)
    verified_key: Mapped[str | None] = mapped_column(String(254), unique=True)
    verified_at: Mapped[dt.datetime | None] = mapped_column(UTCDateTime)
    primary_of: Mapped[int | None] = mapped_column(unique=True)
    verification_hash: Mapped[str | None] = mapped_column(String(64), unique=True)
    verification_sent_at: Mapped[dt.datetime | None] = mapped_column(UTCDateTime)
