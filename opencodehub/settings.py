"""All settings in one class, and the only place that reads the environment.

Each package declares the section it needs; this joins them under flat names (``OCH_SSH_PORT``).
Faults are collected and worded here, so that an operator sees all of them at once.
"""

import difflib
import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    Field,
    HttpUrl,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from gitstore.settings import GitStoreSettings
from opencodehub import data_directory
from services.settings import ServiceSettings
from sshd.settings import SSHSettings
from storage_adapters.settings import StorageSettings

PREFIX = "OCH_"
MINIMUM_SECRET_KEY_LENGTH = 32
MINIMUM_METRICS_TOKEN_LENGTH = 16
# Names that are not settings but carry the prefix: tests and the supervisor use them.
_RESERVED_PREFIXES = ("OCH_TEST_", "OCH_INTERNAL_")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ConfigurationError(Exception):
    """``faults`` are lines in words, each beginning with the setting's name."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


class ProcessSettings(BaseModel):
    """What the processes themselves need: addresses, stores, proxies, logs."""

    data_dir: Path = Field(
        default=Path("data"),
        description="Everything the hub keeps on this machine, unless told otherwise below.",
    )
    host: str = Field(default="127.0.0.1", description="Address the web server listens at.")
    port: int = Field(default=8000, ge=1, le=65535, description="Port the web server listens at.")
    tls_cert: Path | None = Field(
        default=None, description="Certificate chain (PEM), to serve https without a proxy."
    )
    tls_key: Path | None = Field(
        default=None, validate_default=True, description="Private key (PEM) of the certificate."
    )
    database_url: SecretStr = Field(
        default=SecretStr(""),
        description="SQLite (default, in the data directory), PostgreSQL, MySQL or MariaDB.",
    )
    database_pool_size: int = Field(
        default=10, ge=1, le=200, description="Connections each process keeps for reading."
    )
    redis_url: SecretStr = Field(
        default=SecretStr(""),
        description="Redis 6.2 or newer; `och serve` starts its own where none is set.",
    )
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode] = Field(
        default=(),
        description="Networks (comma-separated) whose X-Forwarded-* and X-Request-Id are believed.",
    )
    request_body_max_bytes: int = Field(
        default=1024 * 1024,
        ge=1024,
        description="Largest body of a request that is not git's; larger ones get 413.",
    )
    max_connections: int = Field(
        default=1000, ge=1, description="Open connections per web process; further ones get 503."
    )
    drain_seconds: int = Field(
        default=30, ge=0, description="How long a stopping server lets running requests finish."
    )
    worker_concurrency: int = Field(
        default=4, ge=1, le=64, description="How many jobs one worker process runs at once."
    )
    metrics_token: SecretStr = Field(
        default=SecretStr(""),
        description="Whoever bears it may read /metrics; at least 16 characters.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe entries that are logged."
    )
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="`auto`: console on a terminal, JSON lines elsewhere."
    )

    @field_validator("tls_key")
    @classmethod
    def _key_and_certificate_together(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        if "tls_cert" not in info.data:
            return key  # it has a fault of its own, which is told
        if (key is None) != (info.data["tls_cert"] is None):
            raise ValueError("the certificate and its key go together; set both or neither")
        return key

    @field_validator("tls_cert", "tls_key")
    @classmethod
    def _readable_file(cls, path: Path | None) -> Path | None:
        if path is not None and not os.access(path, os.R_OK):
            raise ValueError(f"{path} does not exist or cannot be read")
        return path

    @field_validator("database_url")
    @classmethod
    def _supported_database(cls, url: SecretStr) -> SecretStr:
        scheme = url.get_secret_value().partition(":")[0].partition("+")[0]
        if scheme and scheme not in ("sqlite", "postgresql", "mysql", "mariadb"):
            raise ValueError(
                "must begin with sqlite:///, postgresql://, mysql:// or mariadb://; "
                f"{scheme!r} is not supported"
            )
        return url

    @field_validator("metrics_token")
    @classmethod
    def _metrics_token_length(cls, token: SecretStr) -> SecretStr:
        if 0 < len(token.get_secret_value()) < MINIMUM_METRICS_TOKEN_LENGTH:
            raise ValueError(f"must have at least {MINIMUM_METRICS_TOKEN_LENGTH} characters")
        return token

    @field_validator("redis_url")
    @classmethod
    def _supported_redis(cls, url: SecretStr) -> SecretStr:
        scheme = url.get_secret_value().partition(":")[0]
        if scheme and scheme not in ("redis", "rediss", "unix"):
            raise ValueError(
                "must begin with redis://, rediss:// (TLS) or unix:// (a socket's path)"
            )
        return url

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _networks(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        networks = []
        for part in filter(None, (part.strip() for part in value.split(","))):
            try:
                networks.append(ipaddress.ip_network(part))
            except ValueError as error:
                raise ValueError(
                    f"{part!r} is not a network; write addresses such as 10.0.0.0/8 or ::1"
                ) from error
        return tuple(networks)


class Settings(
    ProcessSettings, ServiceSettings, SSHSettings, GitStoreSettings, StorageSettings, BaseSettings
):
    """Every section. Values that are not set follow from the data directory and the addresses."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", hide_input_in_errors=True
    )

    @field_validator("secret_key")
    @classmethod
    def _secret_key_length(cls, key: SecretStr) -> SecretStr:
        if 0 < len(key.get_secret_value()) < MINIMUM_SECRET_KEY_LENGTH:
            raise ValueError(f"must have at least {MINIMUM_SECRET_KEY_LENGTH} characters")
        return key

    @field_validator("base_url")
    @classmethod
    def _bare_base_url(cls, url: HttpUrl) -> HttpUrl:
        if url.path not in (None, "/") or url.query or url.fragment or url.username:
            raise ValueError("must be scheme, host and port alone: the hub lives at the root")
        return url

    @model_validator(mode="after")
    def _derive_defaults(self) -> "Settings":
        self.data_dir = self.data_dir.expanduser().absolute()
        places = data_directory.Places(self.data_dir)
        derived = {
            "database_url": SecretStr(f"sqlite:///{places.database}"),
            "storage_url": places.storage.as_uri(),
            "cache_dir": places.cache,
            "redis_url": SecretStr(f"unix://{places.redis_socket}"),
            "base_url": HttpUrl(self._own_url()),
            "ssh_public_port": self.ssh_port,
        }
        for name, value in derived.items():
            if name not in self.model_fields_set:
                # Past pydantic's bookkeeping: a derived value does not count as set.
                self.__dict__[name] = value
        self.cache_dir = self.cache_dir.expanduser().absolute()
        return self

    def _own_url(self) -> str:
        """Where a browser on this machine finds the web server."""
        scheme = "https" if self.tls_cert else "http"
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104
        if ":" in host and not host.startswith("["):
            host = f"[{host}]"
        return f"{scheme}://{host}:{self.port}"

    @property
    def has_own_redis(self) -> bool:
        """Whether no Redis is configured, so that ``och serve`` starts one."""
        return "redis_url" not in self.model_fields_set

    @property
    def places(self) -> data_directory.Places:
        return data_directory.Places(self.data_dir)


def load(flags: Mapping[str, Any] | None = None) -> Settings:
    """Read the environment; ``flags`` (by field name) override it.

    Makes the data directory and, where none is set, the secret key in it. Raises
    ConfigurationError with every fault found.
    """
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    try:
        settings = Settings(**given)
    except ValidationError as error:
        raise ConfigurationError(
            [_in_words(fault, given) for fault in error.errors(include_url=False)]
        ) from None
    try:
        data_directory.prepare(settings.places)
        if not settings.secret_key.get_secret_value():
            settings.secret_key = SecretStr(data_directory.secret_key(settings.places))
    except data_directory.Unusable as error:
        raise ConfigurationError([f"{_label('data_dir', given)}: {error}"]) from None
    return settings


def environment_for(settings: Settings, flags: Mapping[str, Any]) -> dict[str, str]:
    """The environment that makes a child process see what ``flags`` made of the settings."""
    environment = dict(os.environ)
    for name, value in flags.items():
        if value is not None:
            environment[PREFIX + name.upper()] = str(value)
    # A child may be started anywhere, so a relative folder would be another folder there.
    environment["OCH_DATA_DIR"] = str(settings.data_dir)
    return environment


def unknown_variables() -> list[str]:
    """Words about variables with our prefix that no setting has; most are typing errors."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    words = []
    for name in sorted(os.environ):
        if not name.startswith(PREFIX) or name in known or name.startswith(_RESERVED_PREFIXES):
            continue
        near = difflib.get_close_matches(name, known, n=1)
        words.append(f"{name} is not a setting" + (f"; did you mean {near[0]}?" if near else ""))
    return words


def _label(name: str, flags: Mapping[str, Any]) -> str:
    return f"--{name.replace('_', '-')}" if name in flags else PREFIX + name.upper()


def _in_words(fault: ErrorDetails, flags: Mapping[str, Any]) -> str:
    name = str(fault["loc"][0]) if fault["loc"] else "?"
    context = fault.get("ctx", {})
    match fault["type"]:
        case "int_parsing" | "int_type" | "int_from_float":
            words = "must be a whole number"
        case "greater_than_equal":
            words = f"must be at least {context['ge']}"
        case "less_than_equal":
            words = f"must be at most {context['le']}"
        case "bool_parsing" | "bool_type":
            words = "must be true or false"
        case "literal_error":
            words = f"must be one of {context['expected']}"
        case "url_parsing" | "url_scheme":
            words = "must be an address such as https://hub.example.org"
        case "value_error":
            words = str(context["error"])
        case _:
            words = fault["msg"][:1].lower() + fault["msg"][1:]
    field = Settings.model_fields.get(name)
    given = flags.get(name, os.environ.get(PREFIX + name.upper()))
    if field is not None and field.annotation is not SecretStr and given is not None:
        words += f" (it is {str(given)!r})" if fault["type"] != "value_error" else ""
    return f"{_label(name, flags)}: {words}"
