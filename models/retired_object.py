"""Objects in the store that no manifest names any more, kept a while for those who still read."""

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, CreatedAt


class RetiredObject(CreatedAt, Base):
    """The stem of a pack or derived file that was replaced; the sweep deletes it after a grace.

    No foreign key: the rows outlive their repository.
    """

    __tablename__ = "retired_objects"

    storage_key: Mapped[str] = mapped_column(String(255), primary_key=True)
    repository_id: Mapped[int] = mapped_column(index=True)
