"""Resources that others refer to by name, and what belongs to a POP or to programs outside, as users write them."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from dialplans.endpoints import Codecs, SipTimers
from dialplans.regimes import places
from orchestrator.domain.hours import OpeningHours, Shifts
from orchestrator.domain.resources import Name, Regime, SkillName, Slug, UnitId
from orchestrator.domain.strict import Strict
from orchestrator.domain.webhook_kinds import ALL, KINDS
from orchestrator.domain.webhook_signature import key_of

Description = Annotated[str, StringConstraints(max_length=1000)]


class RegionChange(Strict):
    name: Name
    description: Description = ""


class RegionSpec(RegionChange):
    region_id: Slug


class SkillChange(Strict):
    name: Name
    description: Description = ""


class SkillSpec(SkillChange):
    skill_id: SkillName


class HolidaysChange(Strict):
    name: Name
    days: list[date] = Field(max_length=400)


class HolidaysSpec(HolidaysChange):
    holidays_id: Slug


class HoursChange(OpeningHours):
    name: Name
    holidays_ids: list[Slug] = Field(default_factory=list, max_length=10)
    """Closed on their days, too."""


class HoursSpec(HoursChange):
    hours_id: Slug


class ShiftsChange(Shifts):
    name: Name


class ShiftsSpec(ShiftsChange):
    shifts_id: Slug


def _places(value: dict[str, str]) -> dict[str, str]:
    """Of every key of a policy it is known whose it is: a slip of the pen must not make it weaker than meant."""
    known = places()
    for place in value:
        if place not in known:
            raise PydanticCustomError(
                "place", "names {place}, for which no country pack has a rule", {"place": place[:20]}
            )
    return value


class ConsentPolicyChange(Strict):
    """What a business asks before a call may be recorded, where the law asks less. A policy makes no rule weaker."""

    name: Name
    description: Description = ""
    floor: Regime = "none"
    """Of every call."""
    places: Annotated[dict[str, Regime], Field(max_length=400), AfterValidator(_places)] = Field(default_factory=dict)
    """Of calls with a party in this country or state (``DE``, ``US-CA``): caller, number dialled, agent, supervisor."""
    unknown: Regime = "none"
    """Of calls with a party whose place nobody knows, withheld numbers among them. ``prohibited``: they are not
    recorded at all; the law's own rule for them is the strictest that can be met."""


class ConsentPolicySpec(ConsentPolicyChange):
    consent_policy_id: Slug


class TrunkChange(Strict):
    """A carrier is known by the addresses it sends from, or by user name and password."""

    addresses: list[Annotated[str, StringConstraints(min_length=1, max_length=64)]] = Field(
        default_factory=list, max_length=100
    )
    """Addresses or networks of the carrier's signalling."""
    host: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = None
    """Where calls to the carrier go: host or host:port. Without one the carrier registers."""
    username: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")] | None = None
    password: Annotated[str, StringConstraints(min_length=8, max_length=128)] | None = None
    """Is not shown again. Left out in a change, the one that is there stays."""
    codecs: Codecs | None = None
    """Most wanted first. null: G.711 in the order of the POP's country."""
    timers: SipTimers = SipTimers()
    """What is null is the POP's. On Asterisk; FreeSWITCH has those of the POP only."""
    transport: Literal["udp", "tls"] = "udp"
    """How SIP goes to and from the carrier; over ``tls`` its certificate is verified."""
    srtp: Literal["required", "preferred", "off"] | None = None
    """Whether sound is encrypted. Null: required over TLS, off over UDP, where its keys could be read."""
    clear_reason: Annotated[str, StringConstraints(max_length=200)] = ""
    """Why sound to this carrier may be in the clear; needed over TLS unless ``srtp`` is required."""


class TrunkSpec(TrunkChange):
    name: Slug


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("https", "http") and parts.hostname and parts.port != 0 and not parts.fragment
    except ValueError:
        usable = False
    if not usable or not value.isascii() or any(char.isspace() or not char.isprintable() for char in value):
        raise PydanticCustomError("url", "is not an address that begins with https:// or http://")
    if parts.username is not None or parts.password is not None:
        raise PydanticCustomError("url", "holds a user name or a password: deliveries are signed instead")
    return value


def _kinds(value: list[str]) -> list[str]:
    for kind in value:
        if kind != ALL and kind not in KINDS:
            raise PydanticCustomError("kind", "names {kind}, which is not sent to webhooks", {"kind": kind})
    return value


def _secret(value: str) -> str:
    try:
        key_of(value)
    except ValueError:
        raise PydanticCustomError("secret", "is not whsec_ and the base64 of 24 to 64 random bytes") from None
    return value


class WebhookChange(Strict):
    url: Annotated[str, StringConstraints(max_length=2000), AfterValidator(_url)]
    events: Annotated[
        list[Annotated[str, StringConstraints(max_length=63)]],
        Field(min_length=1, max_length=200),
        AfterValidator(_kinds),
    ]
    """Names of kinds, as under ``webhooks`` in this document: ``CallEnded``; ``*``: all that you may see. Those of
    recordings and voicemails are for roles that may listen to them."""
    description: Description = ""
    active: bool = True
    """Inactive ones get nothing that happens meanwhile; what waits already waits on, up to a day."""
    unit_id: UnitId = None
    """Whose events it gets; null: everybody's, which takes a grant for all units."""

    @model_validator(mode="after")
    def _once(self) -> Self:
        if len(set(self.events)) != len(self.events):
            raise PydanticCustomError("events", "events names one twice")
        return self


class WebhookSpec(WebhookChange):
    secret: Annotated[str, StringConstraints(max_length=200), AfterValidator(_secret)] | None = None
    """``whsec_`` and base64; deliveries are signed with it. Made here when it is left out."""


class SecretRenewal(Strict):
    keep_former_s: float = Field(default=86_400.0, ge=0, le=30 * 86_400)
    """So long deliveries are signed with the former secret, too; 0 where it has become known to others."""
