"""Settings of the centre, from the environment (``CALLPLANE_CENTRE_*``)."""

from __future__ import annotations

import ipaddress
import sys
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, IPvAnyAddress, IPvAnyNetwork, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from orchestrator.domain.access_resources import ClaimRule
from pbx.wire.telemetry.settings import WatchSettings


def _whole(value: object) -> object:
    return int(value) if isinstance(value, str) and value.isdecimal() else value


class CentreSettings(WatchSettings, BaseSettings):
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
    """An existing cluster, with the centre's login in it, nodes with commas between; empty: an embedded nats-server."""
    # The environment has words, and a Literal takes them as they are.
    bus_replicas: Annotated[Literal[1, 3, 5], BeforeValidator(_whole)] = 1
    """On how many nodes of the cluster at ``bus_url`` streams are kept; counts for those that are made from then on."""
    bus_host: str = "127.0.0.1"
    """Where the embedded server listens; POPs connect to it."""
    bus_port: int = Field(default=4222, ge=1, le=65535)
    bus_tls_cert: Path | None = None
    bus_tls_key: Path | None = None
    secrets_key: Path | None = None
    """File of the key under which carriers' passwords and webhooks' secrets are sealed in the database; made when it
    is not there. Without one ``secrets.key`` in the state directory. Centres of one database share one."""
    webhook_networks: list[IPvAnyNetwork] = []
    """Networks that webhooks may reach although they are not public, and without TLS, as a JSON list."""
    webhook_delivered_days: float = Field(default=3.0, ge=0, le=365)
    """How long what was delivered to webhooks is kept; it may be sent again meanwhile."""
    webhook_dead_days: float = Field(default=30.0, ge=1, le=365)
    """The same of dead letters."""
    retention: Literal["report", "erase"] = "report"
    """What the daily run of retention does with what is past its time: only tell, or erase it."""
    log_level: str = "INFO"
    session_s: float = Field(default=3600.0, ge=60, le=86_400)
    """How long a user's session lasts."""
    trusted_proxies: list[IPvAnyAddress] = []
    """Reverse proxies whose X-Forwarded-For is believed, as a JSON list."""
    oidc_issuer: str = ""
    """Of an OpenID Connect provider, exactly as it calls itself; empty: none."""
    oidc_client_id: str = ""
    oidc_client_secret: SecretStr = SecretStr("")
    oidc_client_secret_file: Path | None = None
    """Instead of the former."""
    oidc_scopes: str = "openid profile email"
    oidc_rules: list[ClaimRule] = []
    """Which grants which claims give, as JSON."""
    public_url: str = ""
    """What browsers call the centre, for the way back from the provider; empty: as each request calls it."""

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

    @model_validator(mode="after")
    def _provider(self) -> Self:
        if bool(self.oidc_issuer) != bool(self.oidc_client_id):
            raise ValueError("oidc_issuer and oidc_client_id go together")
        if self.oidc_client_secret.get_secret_value() and self.oidc_client_secret_file is not None:
            raise ValueError("oidc_client_secret and oidc_client_secret_file are two ways to say the same")
        address = urlsplit(self.oidc_issuer)
        if self.oidc_issuer and address.scheme != "https" and not _is_loopback(address.hostname or ""):
            raise ValueError("oidc_issuer must begin with https://")
        return self

    def provider_secret(self) -> str:
        """Raises OSError when its file cannot be read."""
        if self.oidc_client_secret_file is not None:
            return self.oidc_client_secret_file.read_text().strip()
        return self.oidc_client_secret.get_secret_value()

    def sqlalchemy_url(self) -> str:
        """The URL with the asynchronous driver that we use."""
        url = self.database_url.get_secret_value()
        if not url:
            return f"sqlite+aiosqlite:///{self.state_dir.absolute() / 'centre.db'}"
        for given, wanted in (("postgresql://", "postgresql+asyncpg://"), ("sqlite://", "sqlite+aiosqlite://")):
            if url.startswith(given):
                return wanted + url.removeprefix(given)
        return url


def load_settings() -> CentreSettings | None:
    """From the environment; None when they are wrong, with a line for each that says so."""
    try:
        return CentreSettings()  # type: ignore[call-arg]  # from the environment
    except ValidationError as error:
        for item in error.errors(include_url=False, include_input=False):
            name = "_".join(("CALLPLANE_CENTRE", *(str(part).upper() for part in item["loc"])))
            sys.stderr.write(f"{name if item['loc'] else 'settings'}: {item['msg']}\n")
        return None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
