"""Packs: the other half of a repository's manifest."""

from sqlalchemy import BigInteger, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, BigId, CreatedAt


class GitPack(CreatedAt, Base):
    """One immutable pack in the object store.

    ``storage_key`` is the common stem of the objects ``<stem>.pack``, ``<stem>.idx`` and
    ``<stem>.rev``; it is unique per upload, since a retried push builds the same pack again.
    ``name`` is git's pack name, the hexadecimal trailer of the pack. Sizes are bytes.
    """

    __tablename__ = "git_packs"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    repository_id: Mapped[int] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), index=True
    )
    storage_key: Mapped[str] = mapped_column(String(255), unique=True)
    name: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    index_size_bytes: Mapped[int] = mapped_column(BigInteger)
    reverse_index_size_bytes: Mapped[int] = mapped_column(BigInteger)
    object_count: Mapped[int] = mapped_column(BigInteger)
    generation: Mapped[int] = mapped_column(BigInteger)
