"""SSH keys of users and deploy keys of repositories, in one table.

One table, because one key must stand for one identity: its fingerprint is unique across both.
"""

import datetime as dt

from sqlalchemy import CheckConstraint, ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, CreatedAt, UTCDateTime


class SSHKey(CreatedAt, Base):
    """A user's key (``user_id``) or a deploy key (``repository_id``), never both.

    ``public_key`` is ``<type> <base64>`` without comment; ``fingerprint`` is OpenSSH's
    ``SHA256:<base64>``. ``read_only`` matters for deploy keys.
    """

    __tablename__ = "ssh_keys"
    __table_args__ = Base.table_options(
        CheckConstraint("(user_id IS NULL) <> (repository_id IS NULL)", name="one_holder")
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int | None] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), index=True
    )
    repository_id: Mapped[int | None] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), index=True
    )
    # Who added a deploy key: its pushes are recorded in that person's name.
    added_by_id: Mapped[int | None] = mapped_column(
        ForeignKey("users.id", ondelete="SET NULL"), index=True
    )
    title: Mapped[str] = mapped_column(String(255))
    public_key: Mapped[str] = mapped_column(Text)
    fingerprint: Mapped[str] = mapped_column(String(64), unique=True)
    read_only: Mapped[bool] = mapped_column(default=False)
    last_used_at: Mapped[dt.datetime | None] = mapped_column(UTCDateTime)
