"""Refs: half of a repository's manifest. HEAD is ``repositories.default_branch``."""

from sqlalchemy import BigInteger, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, OidColumn, bytewise_string


class GitRef(Base):
    """One ref. ``oid`` is null for a deleted ref, kept so that caches can refresh by difference.

    ``peeled_oid`` is what an annotated tag finally points to. ``generation`` is the repository's
    generation in which the row last changed.
    """

    __tablename__ = "git_refs"
    __table_args__ = Base.table_options(
        Index("ix_git_refs_repository_id_generation", "repository_id", "generation")
    )

    repository_id: Mapped[int] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True
    )
    name: Mapped[str] = mapped_column(bytewise_string(255), primary_key=True)
    oid: Mapped[str | None] = mapped_column(OidColumn)
    peeled_oid: Mapped[str | None] = mapped_column(OidColumn)
    generation: Mapped[int] = mapped_column(BigInteger)
