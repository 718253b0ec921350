"""Pushes that were committed, and what each did to every ref."""

from sqlalchemy import BigInteger, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, BigId, CreatedAt, OidColumn


class Push(CreatedAt, Base):
    """One committed push, merge or edit.

    ``key`` is chosen before the transaction: after a connection lost during COMMIT it tells whether
    the push took place. ``door`` is ``http``, ``ssh`` or ``api``.
    """

    __tablename__ = "pushes"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    key: Mapped[str] = mapped_column(String(26), unique=True)
    repository_id: Mapped[int] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), index=True
    )
    pusher_id: Mapped[int | None] = mapped_column(
        ForeignKey("users.id", ondelete="SET NULL"), index=True
    )
    ssh_key_id: Mapped[int | None]
    access_token_id: Mapped[int | None]
    door: Mapped[str] = mapped_column(String(8))
    generation: Mapped[int] = mapped_column(BigInteger)


class RefChange(Base):
    """What a push did to one ref; a null oid is absence."""

    __tablename__ = "ref_changes"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    push_id: Mapped[int] = mapped_column(ForeignKey("pushes.id", ondelete="CASCADE"), index=True)
    ref_name: Mapped[str] = mapped_column(String(255))
    old_oid: Mapped[str | None] = mapped_column(OidColumn)
    new_oid: Mapped[str | None] = mapped_column(OidColumn)
    forced: Mapped[bool] = mapped_column(default=False)
