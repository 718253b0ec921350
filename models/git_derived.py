"""Derived files of a repository: they make git faster, and can be lost without harm."""

import enum
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, CreatedAt, enum_column


class DerivedKind(enum.Enum):
    """One row a kind. The value is the stem of git's own file name."""

    COMMIT_GRAPH = "commit-graph"
    MULTI_PACK_INDEX = "multi-pack-index"


class GitDerived(CreatedAt, Base):
    """Files under ``storage_key`` + suffix in the object store; ``sizes`` in bytes by suffix.

    A commit-graph holds as long as no object was dropped, thus for one ``prune_epoch``. A
    multi-pack-index (with its bitmap) holds as long as the manifest has every pack it covers:
    ``packs`` lists their file stems. ``object_count`` is that of the covered packs.
    """

    __tablename__ = "git_derived"

    repository_id: Mapped[int] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True
    )
    kind: Mapped[DerivedKind] = mapped_column(enum_column(DerivedKind), primary_key=True)
    storage_key: Mapped[str] = mapped_column(String(255), unique=True)
    sizes: Mapped[dict[str, Any]] = mapped_column(JSON)
    packs: Mapped[list[Any]] = mapped_column(JSON)
    object_count: Mapped[int] = mapped_column(BigInteger)
    prune_epoch: Mapped[int] = mapped_column(BigInteger)
    generation: Mapped[int] = mapped_column(BigInteger)
