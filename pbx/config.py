"""Settings of one POP's controller, from the environment (``CALLPLANE_POP_*``) or files named there."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from dialplans.endpoints import ClassName, PhoneClass, SipTimers, classes, timers
from dialplans.pack import PackError, load_pack
from dialplans.schema import Number, Prefix
from pbx.wire.telemetry.settings import WatchSettings


class VaultSettings(BaseSettings):
    """Where recordings rest; what ``callplane vault`` needs of the POP's settings."""

    model_config = SettingsConfigDict(env_prefix="CALLPLANE_POP_", extra="forbid")

    state_dir: Path
    """Journal, configuration copy, sealed recordings and their wrapped keys."""
    regions: list[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")]] = Field(default=["eu"], min_length=1)
    """Regions whose recordings may rest at this POP (JSON list)."""
    vault_keys: Path | None = None
    """The key file of these regions; without it, ``vault.keys`` in ``state_dir``."""
    vault_s3_url: str = Field(default="", pattern=r"^(https?://[^/@]+)?$")
    """Object storage, S3-compatible, that sealed recordings are moved to; empty: they stay on this disk."""
    vault_s3_bucket: str = Field(default="callplane-{region}", pattern=r"^[a-z0-9.-]*\{region\}[a-z0-9.-]*$")
    """The bucket of each region, which exists."""
    vault_s3_access_key: str = ""
    vault_s3_secret_key: SecretStr = SecretStr("")
    vault_s3_location: str = "us-east-1"
    """The storage's own name of where it is, for its signatures."""
    vault_s3_timeout_s: float = Field(default=30.0, ge=1, le=300)
    vault_s3_allow_http: bool = False
    """Without TLS: the access key then signs what crosses the network in the open; the recordings are sealed."""

    @property
    def key_file(self) -> Path:
        return self.vault_keys or self.state_dir / "vault.keys"


class PopSettings(WatchSettings, VaultSettings):
    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")
    country: str = Field(pattern=r"^[A-Z]{2}$")
    prompt_dir: Path
    uploaded_prompt_dir: Path | None = None
    """Where prompts that were uploaded at the centre are kept; readable by the media server, absolute. Without it this
    POP has only those of ``prompt_dir``."""
    recording_dir: Path
    """Memory-backed directory that the media server writes to while a call is recorded."""
    self_call_s: float = Field(default=15.0, ge=0, le=3600)
    """How often the media server calls itself, to hear whether it carries audio; 0: never."""
    recording_reserve_mb: float = Field(default=32.0, ge=0)
    """With less room than that in ``recording_dir`` recordings under way are stopped and placed, and none begins, until
    there is room again. 50 calls that are recorded take 1.6 MB a second."""
    hidden_dir: Path | None = None
    """Memory-backed directory for what callers keyed in and the journal does not hold, while their calls live; without
    it, ``hidden`` in ``recording_dir``."""
    engine: Literal["asterisk", "freeswitch"] = "asterisk"
    """The media server of this POP."""
    ari_host: str = "127.0.0.1"
    ari_port: int = 8089
    ari_user: str = "callplane"
    ari_password: SecretStr = SecretStr("")
    ami_host: str = "127.0.0.1"
    ami_port: int = 5038
    ami_user: str = "callplane"
    ami_password: SecretStr = SecretStr("")
    """This and ``ari_password`` are required for Asterisk."""
    esl_host: str = "127.0.0.1"
    esl_port: int = 8021
    esl_password: SecretStr = SecretStr("")
    phone_dir: Path | None = None
    """Where FreeSWITCH's directory includes agents' accounts from. This and ``esl_password`` are required for it."""
    phones_behind_nat: bool = True
    """Call phones at the address their registration came from, not at the one they named (RFC 5626, RFC 3581)."""
    phones_encrypted: bool = False
    """Asterisk: agents' phones register over TLS, and their sound is SRTP or is refused. The media server's files have
    to be rendered with ``tls_dir``."""
    qualify_s: int = Field(default=30, ge=0, le=3600)
    """How often registered phones are asked whether they are still there, unless their class says otherwise; 0:
    never."""
    phone_classes: dict[ClassName, PhoneClass] = {}
    """Classes of phones, as ``phone_classes`` of the rendered files (JSON). An agent names its class. On FreeSWITCH
    they say codecs and nothing else, and there are no ``low-bandwidth`` and ``browser``."""
    sip_timers: SipTimers = SipTimers()
    """Asterisk: what classes do not set, as ``timers`` of the rendered files (JSON)."""
    browsers: bool = False
    """Asterisk: agents of class ``browser`` are served. The media server's files have to be rendered with
    ``wss_port``."""
    bus_url: str = ""
    """``nats://host:4222`` or ``tls://...``, nodes of a cluster with commas between; empty: this POP has no centre."""
    key: SecretStr = SecretStr("")
    """The POP's key, printed once by the centre when the POP was created."""
    pseudonyms: Literal["auto", "on", "off"] = "auto"
    """Whether the centre is told keyed hashes instead of numbers; ``auto``: where the country's law wants its data to
    stay (``strict_localisation``). ``off`` is for a centre in the same country."""
    lookup_origins: list[str] = []
    """Where flows may look things up although it is a private address or not TLS: ``http://crm.internal:8080`` (JSON
    list). Without this only https to public addresses."""
    keyed_codes: bool = False
    """Agents can key in codes while they talk (``*1`` holds). Off: their keys only sound at the other side."""
    callback_hours: str = Field(
        default="08:00-21:00", pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"
    )
    """When customers are called back, in their local time, in countries whose pack has no rule."""
    outside_trunk: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")
    """Over which trunk outside numbers are called, those called back among them; none: the one by which the caller
    came, and nobody is called back who has not called. On Asterisk a trunk with a password goes by its user name."""
    outside_prefixes: list[Annotated[str, Field(pattern=r"^\+[1-9][0-9]{0,14}$")]] = []
    """What numbers in E.164 begin with that callers may be led out to: ``["+49", "+4315"]`` (JSON list). Without any,
    those of the POP's country. Emergency, short, premium and unknown numbers never may be."""
    cli_by_destination: dict[Prefix, Number] = {}
    """What numbers that agents call are shown, as ``cli_by_destination`` of the rendered dialplan (JSON): the number of
    the longest prefix counts. It matters where the call is asked for by the API; a phone's comes with what the dialplan
    has chosen. Where nothing fits, the POP's first DID."""
    allowed_numbers: list[Annotated[str, Field(pattern=r"^\+[1-9][0-9]{0,14}$")]] = []
    """How numbers in E.164 begin that agents may call although they are premium, shared-cost or in no known range (JSON
    list). The record of each such call names the beginning. The dialplan has a list of its own: ``allowed_numbers``."""
    outbound_queue: str = Field(default="", pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]{0,62})?$")
    """The queue whose recording, consent floor and wrap-up hold for calls that agents place; none: such calls are not
    recorded, and no wrap-up follows."""
    park_first_slot: int = Field(default=701, ge=100, le=9900)
    park_slots: int = Field(default=20, ge=0, le=99)
    park_timeout_s: float = Field(default=120.0, ge=10, le=3600)
    """After it a parked caller whom nobody retrieves goes back to the queue."""
    pair_address: str = ""
    """The floating address of two hosts that are one POP; empty: this host is the POP. The controller works while this
    host has the address, and follows the other host while it has not."""
    pair_peer: str = ""
    """``host:port`` at which the other host listens while it is the standby; its certificate names that host."""
    pair_listen: str = ""
    """``host:port`` of the same at this host."""
    pair_tls_dir: Path | None = None
    """Holds ``cert.pem``, ``key.pem`` and ``ca.pem``: each host shows the other a certificate of this authority."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("callback_hours")
    @classmethod
    def _in_order(cls, hours: str) -> str:
        begin, _, end = hours.partition("-")
        if begin >= end:
            raise ValueError("must end later on the day than it begins")
        return hours

    @model_validator(mode="after")
    def _pair_is_whole(self) -> Self:
        wanted = ("pair_address", "pair_peer", "pair_listen", "pair_tls_dir")
        given = [name for name in wanted if getattr(self, name)]
        if given and len(given) < len(wanted):
            raise ValueError(f"{', '.join(set(wanted) - set(given))}: needed with {given[0]}")
        if self.pair_address:
            ip_address(self.pair_address)
        return self

    @model_validator(mode="after")
    def _phones_can_be_so(self) -> Self:
        try:
            country = load_pack(self.country).media.sip_timers
        except PackError:
            return self  # what starts the controller says so
        for name, one in classes(self.phone_classes).items():
            if one.webrtc and name in self.phone_classes and not self.browsers:
                raise ValueError(f"phone_classes.{name}.webrtc: needs browsers")
            try:
                timers(one.timers, self.sip_timers, country)
            except ValueError as error:
                raise ValueError(f"phone_classes.{name}.timers.{error}") from error
        return self
