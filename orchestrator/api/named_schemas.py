"""What the API answers about resources that others refer to by name, trunks and countries."""

from __future__ import annotations

from typing import Any, Literal

from dialplans.endpoints import SipTimers
from dialplans.pack import CountryPack
from orchestrator.adapters.db.models import ConsentPolicyRow, RegionRow, ScheduleRow, SkillRow, TrunkRow
from orchestrator.api.answer import Answer
from orchestrator.api.schemas import At
from orchestrator.domain.named import (
    ConsentPolicySpec,
    HolidaysSpec,
    HoursSpec,
    RegionSpec,
    ShiftsSpec,
    SkillSpec,
)


class Region(RegionSpec):
    created_at: At


def region_of(row: RegionRow) -> Region:
    return Region.model_validate({name: getattr(row, name) for name in Region.model_fields})


class Skill(SkillSpec):
    created_at: At


def skill_of(row: SkillRow) -> Skill:
    return Skill.model_validate({name: getattr(row, name) for name in Skill.model_fields})


class Hours(HoursSpec):
    created_at: At


class ShiftPlan(ShiftsSpec):
    created_at: At


class Holidays(HolidaysSpec):
    created_at: At


def schedule_fields(row: ScheduleRow) -> dict[str, Any]:
    return {f"{row.kind}_id": row.schedule_id, "created_at": row.created_at, **row.config}


class ConsentPolicy(ConsentPolicySpec):
    created_at: At


def consent_policy_of(row: ConsentPolicyRow) -> ConsentPolicy:
    own = {"consent_policy_id": row.consent_policy_id, "created_at": row.created_at}
    return ConsentPolicy.model_validate({**row.config, **own})


Transport = Literal["udp", "tls"]
Srtp = Literal["required", "preferred", "off"]


class Trunk(Answer):
    pop_id: str
    name: str
    addresses: list[str]
    host: str | None
    username: str | None
    has_password: bool
    codecs: list[str] | None
    timers: SipTimers = SipTimers()
    transport: Transport = "udp"
    srtp: Srtp | None = None
    clear_reason: str = ""
    created_at: At


def trunk_of(row: TrunkRow) -> Trunk:
    own = {"pop_id": row.pop_id, "name": row.name, "has_password": row.password is not None}
    return Trunk.model_validate({**row.config, **own, "created_at": row.created_at})


class TrunkSettings(Answer):
    """One trunk as ``callplane render`` reads it."""

    name: str
    addresses: list[str]
    host: str | None
    username: str | None
    password: str | None
    codecs: list[str] | None
    timers: SipTimers = SipTimers()
    transport: Transport = "udp"
    srtp: Srtp | None = None
    clear_reason: str = ""


class DialplanSettings(Answer):
    """What the centre knows of the settings that a POP's media server files are made from."""

    pop_id: str
    country: str
    trunks: list[TrunkSettings]


class CountrySummary(Answer):
    country: str
    """ISO 3166-1 alpha-2."""
    name: str
    e164_country_code: int
    languages: list[str]
    time_zone: str
    """That of most of the country's business."""
    recording_regime: str
    """What is applied to the whole country: ``none``, ``notice``, ``opt_out``, ``opt_in``."""
    residency: str


class Country(CountrySummary):
    pack: CountryPack
    """Every fact with its source and confidence. Engineering defaults, not legal advice."""


def country_fields(pack: CountryPack) -> dict[str, Any]:
    return {
        "country": pack.iso_alpha2,
        "name": pack.name,
        "e164_country_code": pack.numbering.e164_country_code,
        "languages": list(pack.languages),
        "time_zone": pack.timezone,
        "recording_regime": pack.regime,
        "residency": str(pack.data_protection.residency.value),
    }


class WaitingCall(Answer):
    call_id: str
    pop_id: str
    queue_id: str
    position: int
    waited_s: float
    effective_priority: float
    offer_id: str | None
    """An agent is being rung for this call."""
    next_step_s: float | None
    """Seconds until the queue's next step changes something for it."""
    explanation: str
    """Where it says why it still waits."""


class WaitingCalls(Answer):
    items: list[WaitingCall]
    """Those who have waited longest first."""
    not_heard: list[str]
    """POPs that did not answer: what waits there is not in the list."""
    truncated: bool
    """More wait than were asked for."""
