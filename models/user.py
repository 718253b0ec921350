"""People: an owner who can sign in."""

import datetime as dt

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from models.base import UTCDateTime
from models.owner import Owner, OwnerKind


class User(Owner):
    """``password_hash`` is argon2id in PHC form; ``None`` means no password sign-in."""

    __tablename__ = "users"
    __mapper_args__ = {"polymorphic_identity": OwnerKind.USER}  # noqa: RUF012

    id: Mapped[int] = mapped_column(
        ForeignKey("owners.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    password_hash: Mapped[str | None] = mapped_column(String(255))
    password_changed_at: Mapped[dt.datetime | None] = mapped_column(UTCDateTime)
    is_site_admin: Mapped[bool] = mapped_column(default=False)
    suspended_at: Mapped[dt.datetime | None] = mapped_column(UTCDateTime)
