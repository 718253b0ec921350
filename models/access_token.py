"""Personal access tokens. Only a hash is stored; the token is shown once."""

import datetime as dt

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, CreatedAt, UTCDateTime


class AccessToken(CreatedAt, Base):
    """``scopes``: names separated by one space, sorted.

    ``all_repositories`` false: only the repositories listed in ``access_token_repositories``.
    """

    __tablename__ = "access_tokens"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    token_last_eight: Mapped[str] = mapped_column(String(8))
    scopes: Mapped[str] = mapped_column(String(1024))
    all_repositories: Mapped[bool] = mapped_column(default=True)
    expires_at: Mapped[dt.datetime | None] = mapped_column(UTCDateTime)
    last_used_at: Mapped[dt.datetime | None] = mapped_column(UTCDateTime)
    revoked_at: Mapped[dt.datetime | None] = mapped_column(UTCDateTime)


class AccessTokenRepository(Base):
    """A repository that a restricted token may use."""

    __tablename__ = "access_token_repositories"

    access_token_id: Mapped[int] = mapped_column(
        ForeignKey("access_tokens.id", ondelete="CASCADE"), primary_key=True
    )
    repository_id: Mapped[int] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True, index=True
    )
