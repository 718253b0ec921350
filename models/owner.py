"""Accounts that own repositories: users now, organizations later, in one namespace of logins."""

import enum

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, CreatedAt, Timestamps, enum_column


class OwnerKind(enum.Enum):
    USER = "user"
    ORGANIZATION = "organization"


class Owner(Timestamps, Base):
    """``login`` is shown as it was typed; ``login_key`` (lower case) is what must be unique."""

    __tablename__ = "owners"
    __mapper_args__ = {  # noqa: RUF012
        "polymorphic_on": "kind",
        "polymorphic_abstract": True,
        "with_polymorphic": "*",
    }

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[OwnerKind] = mapped_column(enum_column(OwnerKind))
    login: Mapped[str] = mapped_column(String(39))
    login_key: Mapped[str] = mapped_column(String(39), unique=True)
    name: Mapped[str | None] = mapped_column(String(255))
    bio: Mapped[str | None] = mapped_column(String(1024))


class LoginRedirect(CreatedAt, Base):
    """A login somebody gave up; it leads to the account until another account takes it."""

    __tablename__ = "login_redirects"

    login_key: Mapped[str] = mapped_column(String(39), primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("owners.id", ondelete="CASCADE"), index=True)
