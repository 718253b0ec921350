"""Which repository another one was forked from."""

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, CreatedAt


class RepositoryFork(CreatedAt, Base):
    """A fork knows its parent; their packs have nothing to do with each other."""

    __tablename__ = "repository_forks"

    repository_id: Mapped[int] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True
    )
    parent_id: Mapped[int] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), index=True
    )
