"""For how long what is kept: the shortest time that any rule gives, unless a law demands to keep it longer. Each answer
names the rule that decided, and all that were looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from dialplans.pack import PackError, load_pack
from orchestrator.domain.resources import Country, Slug
from orchestrator.domain.strict import Strict

DAY_S = 86_400.0
Kind = Literal["recording", "voicemail", "cdr", "consent_evidence"]
KINDS: tuple[Kind, ...] = ("recording", "voicemail", "cdr", "consent_evidence")
THINGS = (*KINDS, "callback")
"""What a run goes through. The number of a callback that is closed is kept as long as records are, by their rules."""
DEFAULTS: dict[str, tuple[float, str]] = {
    "recording": (180.0, "quality and training audio: six months (CNIL, ex NS-57), where no country says anything"),
    "voicemail": (180.0, "as recordings"),
    "cdr": (730.0, "records with the caller's number: two years; afterwards they stay without it"),
    "consent_evidence": (1826.0, "proof of consent: five years (UWG s.7a; TSR 16 CFR 310.5)"),
}
"""Days, and why. What no policy and no country says."""


def rules_of(thing: str) -> str:
    """The kind whose policies hold for a thing."""
    return "cdr" if thing == "callback" else thing


class PolicyChange(Strict):
    """``country`` (of the number that was dialled) and ``queue_id`` narrow it; null: any."""

    kind: Kind
    country: Country | None = None
    queue_id: Slug | None = None
    keep_days: Annotated[float, Field(gt=0, le=36_525)]
    why: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)]
    """What it is kept for, or which rule it is."""
    enabled: bool = True

    @model_validator(mode="after")
    def _numbers(self) -> Self:
        if self.keep_days != self.keep_days:
            raise PydanticCustomError("keep_days", "is no number of days")
        return self


class PolicySpec(PolicyChange):
    policy_id: Slug


@dataclass(frozen=True, slots=True)
class Policy:
    policy_id: str
    kind: str
    country: str | None
    queue_id: str | None
    keep_days: float
    why: str

    def covers(self, kind: str, country: str | None, queue_id: str | None) -> bool:
        return self.kind == kind and self.country in (None, country) and self.queue_id in (None, queue_id)


@dataclass(frozen=True, slots=True)
class Rule:
    """One that was looked at."""

    days: float
    source: str
    """``policy ID``, ``law of FR``, ``default``."""
    why: str
    at_least: bool = False
    """A duty to keep for so long, not a limit."""

    def to_json(self) -> dict[str, Any]:
        return {"days": self.days, "source": self.source, "why": self.why, "at_least": self.at_least}


@dataclass(frozen=True, slots=True)
class Limit:
    """``rule`` decided."""

    rule: Rule
    looked_at: tuple[Rule, ...]

    @property
    def days(self) -> float:
        return self.rule.days


Laws = Callable[[str], Sequence[Rule]]
"""Country -> what its law says of recordings."""


def laws_of(country: str) -> Sequence[Rule]:
    """From the country packs."""
    try:
        fact = load_pack(country).recording.retention_limit_days
    except PackError:
        return ()
    rules = []
    if fact.value is not None:
        rules.append(Rule(float(fact.value), f"law of {country}", fact.source))
    if fact.minimum_days is not None:
        rules.append(Rule(float(fact.minimum_days), f"law of {country}", fact.minimum_source or "", at_least=True))
    return rules


def limit(
    policies: Iterable[Policy],
    kind: str,
    country: str | None,
    queue_id: str | None,
    caller_country: str | None = None,
    laws: Laws = laws_of,
) -> Limit:
    """The shortest limit of the policies that cover it and of the laws of both sides, no shorter than a duty to keep.
    Without a policy the default counts."""
    found = [
        Rule(policy.keep_days, f"policy {policy.policy_id}", policy.why)
        for policy in policies
        if policy.covers(kind, country, queue_id)
    ]
    if not found:
        days, why = DEFAULTS[kind]
        found.append(Rule(days, "default", why))
    if kind in ("recording", "voicemail"):
        for place in dict.fromkeys(one for one in (country, caller_country) if one is not None):
            found += laws(place)
    shortest = min((rule for rule in found if not rule.at_least), key=lambda rule: rule.days)
    duty = max((rule for rule in found if rule.at_least), key=lambda rule: rule.days, default=None)
    decides = shortest if duty is None or duty.days <= shortest.days else duty
    return Limit(decides, tuple(found))
