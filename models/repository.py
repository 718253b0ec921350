"""Repositories: names over immutable ids, and the counters every git write goes through."""

import datetime as dt
import enum

from sqlalchemy import BigInteger, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, CreatedAt, Timestamps, UTCDateTime, enum_column


class Visibility(enum.Enum):
    PUBLIC = "public"
    INTERNAL = "internal"
    PRIVATE = "private"


class Repository(Timestamps, Base):
    """``generation`` grows with every change of refs, packs or the default branch.

    ``prune_epoch`` grows when a prune begins, then it is odd, and when it has dropped objects; a
    push that began in an older epoch checks again. ``default_branch`` is a short name (``main``)
    and need not exist yet.
    """

    __tablename__ = "repositories"
    __table_args__ = Base.table_options(UniqueConstraint("owner_id", "name_key"))

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("owners.id", ondelete="RESTRICT"))
    name: Mapped[str] = mapped_column(String(100))
    name_key: Mapped[str] = mapped_column(String(100))
    description: Mapped[str | None] = mapped_column(String(1024))
    visibility: Mapped[Visibility] = mapped_column(enum_column(Visibility))
    default_branch: Mapped[str] = mapped_column(String(255), default="main")
    object_format: Mapped[str] = mapped_column(String(16), default="sha1")
    archived_at: Mapped[dt.datetime | None] = mapped_column(UTCDateTime)
    pushed_at: Mapped[dt.datetime | None] = mapped_column(UTCDateTime)
    generation: Mapped[int] = mapped_column(BigInteger, default=0)
    prune_epoch: Mapped[int] = mapped_column(BigInteger, default=0)


class RepositoryRedirect(CreatedAt, Base):
    """A name the repository had; it leads there until another repository takes it."""

    __tablename__ = "repository_redirects"

    owner_id: Mapped[int] = mapped_column(
        ForeignKey("owners.id", ondelete="CASCADE"), primary_key=True
    )
    name_key: Mapped[str] = mapped_column(String(100), primary_key=True)
    repository_id: Mapped[int] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), index=True
    )
