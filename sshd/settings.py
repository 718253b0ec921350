"""The settings of the SSH server; joined into one class by the application."""

from pydantic import BaseModel, Field, SecretStr


class SSHSettings(BaseModel):
    """Flat names: ``ssh_port`` is read from ``OCH_SSH_PORT``, and so on."""

    ssh_host: str = Field(default="127.0.0.1", description="Address the SSH server listens at.")
    ssh_port: int = Field(
        default=2222, ge=0, le=65535, description="Port the SSH server listens at; 0 picks one."
    )
    ssh_host_keys: SecretStr = Field(
        default=SecretStr(""),
        description=(
            "Private host keys: comma-separated paths, or the keys themselves (PEM). By default"
            " they are made once and kept, encrypted with the secret key, in the object store."
        ),
    )
    ssh_login_grace_seconds: int = Field(
        default=20, ge=1, description="A client that has not signed in by then is cut off."
    )
    ssh_max_connections: int = Field(
        default=1000, ge=1, description="Open SSH connections per process."
    )
    ssh_max_unauthenticated: int = Field(
        default=100, ge=1, description="Connections that have not signed in yet, per process."
    )
    ssh_max_unauthenticated_per_address: int = Field(
        default=20,
        ge=1,
        description="The same per client address; IPv6 addresses count by their /64 network.",
    )
    ssh_max_auth_attempts: int = Field(
        default=20, ge=1, description="Keys a client may offer or sign with on one connection."
    )
    ssh_max_sessions_per_connection: int = Field(
        default=10, ge=1, description="Commands that one multiplexed connection runs at once."
    )
    ssh_idle_seconds: int = Field(
        default=600, ge=1, description="A connection that moves no byte for this long is closed."
    )
    ssh_keepalive_seconds: int = Field(
        default=15,
        ge=1,
        description="A silent client is asked for a sign of life at this interval.",
    )
    ssh_keepalive_count: int = Field(
        default=3, ge=1, description="A client that leaves this many such questions open is gone."
    )
    ssh_recheck_seconds: int = Field(
        default=30,
        ge=1,
        le=60,
        description="Key and rights of a running command are checked again at this interval.",
    )
