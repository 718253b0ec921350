"""The settings that rules need; joined into one class by ``opencodehub.settings``."""

from pydantic import BaseModel, Field, HttpUrl, SecretStr


class ServiceSettings(BaseModel):
    """Flat names: ``base_url`` is read from ``OCH_BASE_URL``, and so on."""

    base_url: HttpUrl = Field(
        default=HttpUrl("http://127.0.0.1:8000"),
        description="The address users reach the hub at; links are built from it.",
    )
    ssh_public_host: str | None = Field(
        default=None, description="Host in SSH clone addresses; the base URL's host if unset."
    )
    ssh_public_port: int = Field(
        default=2222, ge=1, le=65535, description="Port in SSH clone addresses."
    )
    secret_key: SecretStr = Field(
        default=SecretStr(""), description="Signs short-lived tokens; at least 32 characters."
    )
    session_days: int = Field(default=30, ge=1, description="A browser session ends after this.")
    signed_token_minutes: int = Field(
        default=60, ge=1, description="Lifetime of the token that signIn gives API clients."
    )
    sign_ups_enabled: bool = Field(default=False, description="Whether strangers may register.")
    rate_limit_per_hour: int = Field(
        default=5000, ge=1, description="GraphQL points per user and hour; anonymous: a tenth."
    )
    deny_non_fast_forwards: bool = Field(
        default=False, description="Refuse pushes that drop commits from a branch, everywhere."
    )
    deny_deletes: bool = Field(
        default=False, description="Refuse pushes that delete branches, everywhere."
    )

    @property
    def web_url(self) -> str:
        """The base URL without a slash at its end."""
        return str(self.base_url).rstrip("/")

    @property
    def ssh_clone_host(self) -> str:
        return self.ssh_public_host or self.base_url.host or "localhost"
