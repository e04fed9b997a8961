"""What a country pack says: the facts about one country that no maintained library holds, each with its source.

A pack is ``countries/<iso2>.yml``. Every legal fact keeps its source and how far it can be trusted; a fact without a
source is refused with the field named, because a rule nobody can trace cannot be defended to an auditor.
The facts are engineering defaults, not legal advice.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Annotated, Generic, Literal, TypeVar, get_args

import yaml
from pydantic import Field, ValidationError, model_validator

from dialplans.endpoints import SipTimers
from dialplans.schema import Strict

COUNTRIES_DIR = Path(__file__).parent / "countries"

Confidence = Literal["high", "medium", "low"]
LegalRegime = Literal["one-party", "one-party-with-notice", "all-party", "explicit-opt-in"]
Residency = Literal["none", "conditional_transfer", "strict_localisation"]
RegimeWord = Literal["none", "notice", "opt_out", "opt_in"]
Digits = Annotated[str, Field(pattern=r"^[0-9]+$")]
Text = Annotated[str, Field(min_length=1)]
Window = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-4]):[0-5][0-9]$")]
"""``HH:MM-HH:MM`` in the callee's local time."""

T = TypeVar("T")

_REGIME_WORDS: dict[LegalRegime, RegimeWord] = {
    "one-party": "none",
    "one-party-with-notice": "notice",
    "all-party": "opt_out",
    "explicit-opt-in": "opt_in",
}
_STRICTER: dict[RegimeWord, RegimeWord] = {
    "none": "notice",
    "notice": "opt_out",
    "opt_out": "opt_in",
    "opt_in": "opt_in",
}
"""One step stricter. Doubt never ends in ``prohibited``: asking for an act of agreement already fails closed."""


class PackError(ValueError):
    """A pack that is missing, unreadable or incomplete. The message names the file and the field."""


class Fact(Strict, Generic[T]):
    """One statement and where it comes from. ``value`` None needs ``null_reason``: not knowing is said, not implied."""

    value: T | None
    null_reason: Literal["no-rule-found", "not-verified"] | None = None
    source: Text
    url: str | None = Field(default=None, pattern=r"^https?://\S+$")
    confidence: Confidence
    basis: Literal["looked-up", "recalled"]
    note: str | None = None
    force: str | None = None
    """What kind of rule it is (regulation, code of conduct, ...)."""
    minimum_days: int | None = Field(default=None, ge=1)
    """A duty to keep for at least so many days, beside the limit in ``value``."""
    minimum_source: str | None = None
    other: Deadline | None = None
    """The rule in a unit that ``value`` cannot hold."""

    @model_validator(mode="after")
    def _null_is_explained(self) -> Fact[T]:
        if self.value is None and self.null_reason is None:
            raise ValueError("value is null without a null_reason")
        if self.minimum_days is not None and self.minimum_source is None:
            raise ValueError("minimum_days without a minimum_source")
        return self


class Known(Fact[T], Generic[T]):
    """A fact that has to have a value, because the program acts on it."""

    value: T


class Deadline(Strict):
    value: int = Field(ge=1)
    unit: Literal["calendar_days", "business_days"]


class Hours(Strict):
    """Windows in which calling is allowed, callee's local time. An empty list: no calls that day."""

    mon_fri: list[Window]
    sat: list[Window]
    sun: list[Window]
    public_holiday: list[Window]


class Rights(Strict):
    """What a person may ask for. A text instead of a truth value says where it is limited."""

    access: bool | Text
    erasure: bool | Text
    portability: bool | Text
    response_deadline: int | None = Field(ge=1)
    """In ``unit``; None where the law says "without delay" or nothing."""
    unit: Literal["calendar_days", "business_days"]


class AbandonedCap(Strict):
    percent: float = Field(gt=0, le=100)
    period: Text
    of: Text
    max_connect_s: int = Field(ge=0)
    min_ring_s: int | None = None
    recall_block_days: int | None = None
    comfort_noise: bool | None = None


class DiallerLimits(Strict):
    short_call_s: int
    max_short_call_percent: float
    above_calls_per_day: int
    sanction: Text


class Numbering(Strict):
    e164_country_code: int = Field(ge=1, le=999)
    trunk_prefix: Digits | None
    international_prefix: Text
    """As dialled in the country; words where a carrier code follows (``00x (carrier)``), ``~`` where one waits."""
    emergency: dict[Digits, Text]
    emergency_not_in_libphonenumber: dict[Digits, Text]
    toll_free_prefixes: list[Digits]
    note: str | None = None

    @property
    def international_prefixes(self) -> tuple[str, ...]:
        """Digits that start an international number here, longest first; carriers also send plain ``00``."""
        own = re.match(r"[0-9~]+", self.international_prefix)
        found = {"00"} | ({own.group().replace("~", "")} if own else set())
        return tuple(sorted(found, key=lambda prefix: (-len(prefix), prefix)))

    @property
    def emergency_numbers(self) -> tuple[str, ...]:
        """Every emergency number, the library's and the ones it misses."""
        return tuple(sorted({**self.emergency, **self.emergency_not_in_libphonenumber}))


class Locale(Strict):
    languages: list[Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z]{2,4})*$")]] = Field(min_length=1)
    timezones_main: list[Annotated[str, Field(pattern=r"^[A-Z][A-Za-z_]+(/[A-Za-z_]+)+$")]] = Field(min_length=1)
    timezones_total: int = Field(ge=1)
    weekend_cldr: list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]]


class Media(Strict):
    companding: Literal["alaw", "mulaw"] | None
    companding_confidence: Confidence
    offer_order: list[Literal["PCMA", "PCMU"]] = Field(min_length=1)
    tone_zone: Annotated[str, Field(pattern=r"^[a-z]{2}$")] | None
    """Section of the media server's indications."""
    tone_zone_fallback: Annotated[str, Field(pattern=r"^[a-z]{2}$")] | None
    tone_note: str | None = None
    sip_timers: SipTimers = SipTimers()
    """What trunks and phones of POPs in the country have, where the POP does not say otherwise."""


class StateRule(Known[LegalRegime]):
    """The rule of a state or province."""

    area_codes: list[Digits] = Field(default=[])
    """National numbers that begin so are the state's. Needed where the state is stricter than its country."""


class Recording(Strict):
    regime: Known[LegalRegime]
    """What the law says, read plainly."""
    engine_default: LegalRegime
    """What the program applies: the strictest workable reading."""
    criminal: Fact[Text] | None = None
    subdivisions: dict[Annotated[str, Field(pattern=r"^[A-Z]{2,3}$")], StateRule] = Field(default={})
    announce_required: Known[bool]
    opt_out_required: Known[bool]
    retention_limit_days: Fact[int]


class DataProtection(Strict):
    laws: Known[list[Text]]
    residency: Known[Residency]
    rights: Known[Rights]
    breach_hours: Fact[int]
    biometric_minors: Fact[Text]


class Outbound(Strict):
    consent_model: Known[Text]
    hours: Fact[Hours]
    hours_subdivisions: Fact[dict[str, Hours]] | None = None
    dnc_registry: Fact[Text]
    frequency_cap: Fact[Text] | None = None
    abandoned_cap: Fact[AbandonedCap]
    dialler_limits: Fact[DiallerLimits] | None = None
    caller_id: Fact[Text]


class CountryPack(Strict):
    name: Text
    iso_alpha2: str = Field(pattern=r"^[A-Z]{2}$")
    iso_alpha3: str = Field(pattern=r"^[A-Z]{3}$")
    numbering: Numbering
    locale: Locale
    media: Media
    recording: Recording
    data_protection: DataProtection
    outbound: Outbound

    @model_validator(mode="after")
    def _no_state_is_stricter_unseen(self) -> CountryPack:
        ranks = list(get_args(RegimeWord))
        for state, rule in self.recording.subdivisions.items():
            if ranks.index(self.regime_in(state)) > ranks.index(self.regime) and not rule.area_codes:
                raise ValueError(
                    f"recording.subdivisions.{state}: stricter than the country, and no area_codes tell its callers"
                )
        return self

    @property
    def regime(self) -> RegimeWord:
        """The recording regime the program applies to the whole country; low confidence counts one step stricter."""
        word = _REGIME_WORDS[self.recording.engine_default]
        return _STRICTER[word] if self.recording.regime.confidence == "low" else word

    def regime_in(self, subdivision: str) -> RegimeWord:
        """The regime of a state or province; the country's where the pack has no rule of its own for it."""
        fact = self.recording.subdivisions.get(subdivision)
        if fact is None:
            return self.regime
        word = _REGIME_WORDS[fact.value]
        return _STRICTER[word] if fact.confidence == "low" else word

    @property
    def languages(self) -> tuple[str, ...]:
        """Prompt languages (``de``) in the country's order, without region and without doubles."""
        return tuple(dict.fromkeys(tag.split("-")[0] for tag in self.locale.languages))

    @property
    def timezone(self) -> str:
        """The time zone of most of the country's business, for business hours where a POP names none."""
        return self.locale.timezones_main[0]


def parse_pack(text: str, where: str) -> CountryPack:
    """The pack in ``text`` (YAML). Raises PackError naming ``where`` and each field at fault."""
    try:
        data = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  (both are safe)
    except yaml.YAMLError as error:
        raise PackError(f"{where}: not YAML: {error}") from error
    try:
        return CountryPack.model_validate(data)
    except ValidationError as error:
        faults = (f"{'.'.join(str(part) for part in e['loc']) or 'pack'}: {e['msg']}" for e in error.errors())
        raise PackError(f"{where}: " + "; ".join(faults)) from error


@cache
def load_pack(iso2: str) -> CountryPack:
    """The pack of a country (``DE``). Raises PackError when there is none or it is at fault."""
    if not re.fullmatch(r"[A-Za-z]{2}", iso2):
        raise PackError(f"country {iso2!r}: not an ISO 3166-1 alpha-2 code")
    path = COUNTRIES_DIR / f"{iso2.lower()}.yml"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise PackError(f"country {iso2.upper()}: no pack; there are {', '.join(countries())}") from None
    pack = parse_pack(text, f"countries/{path.name}")
    if pack.iso_alpha2 != iso2.upper():
        raise PackError(f"countries/{path.name}: iso_alpha2: says {pack.iso_alpha2}, the file name {iso2.upper()}")
    return pack


def countries() -> tuple[str, ...]:
    """The countries that have a pack, sorted."""
    return tuple(sorted(path.stem.upper() for path in COUNTRIES_DIR.glob("??.yml")))


def packs() -> dict[str, CountryPack]:
    """Every pack by country. Raises PackError for the first one at fault."""
    return {iso2: load_pack(iso2) for iso2 in countries()}
