"""``callplane guard run``: who guesses passwords of SIP accounts is shut out by the POP's packet filter.

The media server tells of each password that it refused (Asterisk: security events over AMI; FreeSWITCH: events of its
socket), and the address of ``CALLPLANE_GUARD_TRIES`` of them within ``CALLPLANE_GUARD_WINDOW_S`` goes into a set of the
kernel's at once: what comes from it is dropped, over a connection that it has as well. A program of its own, so that
the controller needs no right to change the packet filter. All settings come from the environment (CALLPLANE_GUARD_*).
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
import time
from collections.abc import Sequence
from typing import Literal

import uvloop
from pydantic import Field, IPvAnyNetwork, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from pbx.adapters.asterisk import refusals as by_asterisk
from pbx.adapters.asterisk.ami import AmiLink
from pbx.adapters.firewall.nft import FirewallError, NftSets
from pbx.adapters.freeswitch import refusals as by_freeswitch
from pbx.adapters.freeswitch.esl import EslLink
from pbx.domain.errors import BadValue, CallplaneError
from pbx.domain.guessing import Address, BanRule, Guessing
from pbx.wire.telemetry import logs
from pbx.wire.telemetry.logs import LogFormat

log = logging.getLogger("pbx.guard")


class GuardSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="CALLPLANE_GUARD_", extra="forbid")

    engine: Literal["asterisk", "freeswitch"] = "asterisk"
    ami_host: str = "127.0.0.1"
    ami_port: int = Field(default=5038, ge=1, le=65535)
    ami_user: str = "guard"
    ami_password: SecretStr = SecretStr("")
    """Required for Asterisk."""
    esl_host: str = "127.0.0.1"
    esl_port: int = Field(default=8021, ge=1, le=65535)
    esl_password: SecretStr = SecretStr("")
    """Required for FreeSWITCH."""
    tries: int = Field(default=5, ge=1, le=100)
    window_s: float = Field(default=600.0, ge=1, le=86_400)
    ban_s: int = Field(default=3600, ge=1, le=30 * 86_400)
    never: list[IPvAnyNetwork] = Field(default=[])
    """Networks from which nobody is shut out (JSON list)."""
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    log_format: LogFormat = "text"


class Guard:
    """``link`` is not started."""

    def __init__(self, settings: GuardSettings, sets: NftSets) -> None:
        rule = BanRule(settings.tries, settings.window_s, tuple(settings.never))
        self._settings, self._sets, self._guessing = settings, sets, Guessing(rule)
        self.link = self._asterisk() if settings.engine == "asterisk" else self._freeswitch()

    def _asterisk(self) -> AmiLink:
        one = self._settings
        return AmiLink(
            host=one.ami_host,
            port=one.ami_port,
            user=one.ami_user,
            password=_needed(one.ami_password, "AMI_PASSWORD", "Asterisk"),
            on_event=lambda event: self._refused(by_asterisk.refused_address(event)),
            on_up=lambda: log.info("the media server tells of refused passwords"),
            events="security",
        )

    def _freeswitch(self) -> EslLink:
        one = self._settings

        async def connected() -> None:
            log.info("the media server tells of refused passwords")

        return EslLink(
            host=one.esl_host,
            port=one.esl_port,
            password=_needed(one.esl_password, "ESL_PASSWORD", "FreeSWITCH"),
            events=("CUSTOM", by_freeswitch.EVENT),
            filters=(),
            on_event=lambda event: self._refused(by_freeswitch.refused_address(event)),
            on_connected=connected,
            on_down=lambda reason: log.warning("the media server does not tell of refused passwords: %s", reason),
        )

    def _refused(self, address: Address | None) -> None:
        if address is None or not self._guessing.refused(address, time.monotonic()):
            return
        one = self._settings
        try:
            self._sets.ban(address, one.ban_s)
        except FirewallError as error:
            log.error("ALARM who guesses passwords could not be shut out: %s", error)
        else:
            log.warning("who guesses passwords is shut out for %d s, after %d that were wrong", one.ban_s, one.tries)


def _needed(secret: SecretStr, setting: str, engine: str) -> str:
    if not secret.get_secret_value():
        raise BadValue(f"CALLPLANE_GUARD_{setting}", f"is needed for {engine}")
    return secret.get_secret_value()


async def _run(settings: GuardSettings) -> None:
    logs.set_up(settings.log_level, settings.log_format, {}, lambda _: None)
    logging.getLogger("panoramisk").setLevel(logging.INFO)  # its DEBUG quotes every message, addresses included
    sets = NftSets()
    sets.check()
    guard, stop = Guard(settings, sets), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    guard.link.start()
    await stop.wait()
    await guard.link.stop()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="callplane guard", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_subparsers(dest="action", required=True).add_parser("run", help="watch, until it is ended")
    parser.parse_args(argv)
    try:
        uvloop.run(_run(GuardSettings()))
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False):
            name = "_".join(str(part) for part in problem["loc"]).upper()
            print(f"callplane guard: CALLPLANE_GUARD_{name}: {problem['msg']}", file=sys.stderr)  # noqa: T201
        return 2
    except (CallplaneError, OSError) as error:
        print(f"callplane guard: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
