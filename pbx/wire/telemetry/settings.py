"""Settings that both programs have."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings

from pbx.wire.telemetry.logs import LogFormat


class WatchSettings(BaseSettings):
    metrics_host: str = "127.0.0.1"
    """Where ``/metrics``, ``/health`` and ``/ready`` are to be had. They ask for no token and speak plain HTTP: give an
    address that others can reach only where a firewall or a proxy decides who does."""
    metrics_port: int | None = Field(default=None, ge=1, le=65535)
    """None: not at all."""
    log_format: LogFormat = "text"
    """``json``: one object a line."""
    traces_url: str = Field(default="", pattern=r"^(https?://[^\s/@]+(/\S*)?)?$")
    """Where traces are sent to by OTLP over HTTP: ``http://127.0.0.1:4318/v1/traces``; empty: there are none."""
    traces_ratio: float = Field(default=1.0, ge=0, le=1)
    """Of how many calls there is a trace. POPs and centre choose the same calls when their ratios are the same."""
