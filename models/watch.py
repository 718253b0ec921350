"""Who wants to hear of a repository, or never to hear of it."""

import enum

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, CreatedAt, enum_column


class WatchState(enum.Enum):
    """``UNSUBSCRIBED`` is the absence of a row: only what concerns the user is told."""

    SUBSCRIBED = "subscribed"
    UNSUBSCRIBED = "unsubscribed"
    IGNORED = "ignored"


class Watch(CreatedAt, Base):
    __tablename__ = "watches"

    repository_id: Mapped[int] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True
    )
    user_id: Mapped[int] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    state: Mapped[WatchState] = mapped_column(enum_column(WatchState))
