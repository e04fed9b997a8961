"""Settings of the centre, from the environment (``CALLPLANE_CENTRE_*``)."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class CentreSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="CALLPLANE_CENTRE_", extra="forbid", hide_input_in_errors=True)

    state_dir: Path
    """Database (SQLite), the bus's store and secrets; made with mode 0700."""
    database_url: SecretStr = SecretStr("")
    """``postgresql://user:password@host/name``; empty: SQLite in the state directory."""
    api_host: str = "127.0.0.1"
    api_port: int = Field(default=8080, ge=0, le=65535)
    """0: any free port; ``centre.port`` in the state directory names it."""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    allow_plain_http: bool = False
    """Tokens in clear text on an address that others can reach. For laboratories, or behind a TLS proxy."""
    bus_url: SecretStr = SecretStr("")
    """An existing cluster, with the centre's login in it; empty: an embedded nats-server."""
    bus_host: str = "127.0.0.1"
    """Where the embedded server listens; POPs connect to it."""
    bus_port: int = Field(default=4222, ge=1, le=65535)
    bus_tls_cert: Path | None = None
    bus_tls_key: Path | None = None
    secrets_key: Path | None = None
    """File of the key under which carriers' passwords and webhooks' secrets are sealed in the database; made when it
    is not there. Without one ``secrets.key`` in the state directory. Centres of one database share one."""
    log_level: str = "INFO"

    @model_validator(mode="after")
    def _pairs_and_plain_http(self) -> Self:
        for name in ("tls", "bus_tls"):
            if (getattr(self, f"{name}_cert") is None) != (getattr(self, f"{name}_key") is None):
                raise ValueError(f"{name}_cert and {name}_key go together")
        if self.tls_cert is None and not self.allow_plain_http and not _is_loopback(self.api_host):
            raise ValueError(
                f"api_host {self.api_host} can be reached by others and no tls_cert is set: set "
                "CALLPLANE_CENTRE_TLS_CERT and CALLPLANE_CENTRE_TLS_KEY, or CALLPLANE_CENTRE_ALLOW_PLAIN_HTTP=true"
            )
        return self

    def sqlalchemy_url(self) -> str:
        """The URL with the asynchronous driver that we use."""
        url = self.database_url.get_secret_value()
        if not url:
            return f"sqlite+aiosqlite:///{self.state_dir.absolute() / 'centre.db'}"
        for given, wanted in (("postgresql://", "postgresql+asyncpg://"), ("sqlite://", "sqlite+aiosqlite://")):
            if url.startswith(given):
                return wanted + url.removeprefix(given)
        return url


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
