"""Intent rows: storage keys that no manifest refers to, written before an upload begins."""

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, CreatedAt


class PackUpload(CreatedAt, Base):
    """Whoever deletes the row decides: a push's transaction publishes the pack, the sweep drops it.

    Deleting a repository turns its packs into such rows, so one sweep purges all bytes. No foreign
    key: the rows outlive their repository.
    """

    __tablename__ = "pack_uploads"

    storage_key: Mapped[str] = mapped_column(String(255), primary_key=True)
    repository_id: Mapped[int] = mapped_column(index=True)
