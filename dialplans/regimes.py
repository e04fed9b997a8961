"""Which rule on recording calls holds where: every country and state of the packs, with what the rule rests on.

A place is an ISO 3166 code: ``DE``, or ``US-CA`` where the pack has a rule of its own for a state or province.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dialplans.pack import Confidence, Known, LegalRegime, PackError, RegimeWord, load_pack, packs


@dataclass(frozen=True, slots=True)
class Rule:
    """What one place asks before a call may be recorded."""

    place: str
    name: str
    regime: RegimeWord
    """What the program applies."""
    law: LegalRegime
    """What the law says, read plainly."""
    read_as: LegalRegime
    """The strictest workable reading of it."""
    confidence: Confidence
    basis: str
    source: str
    url: str | None
    note: str | None
    prefixes: tuple[str, ...] = ()
    """E.164 numbers that begin so are of this place."""

    @property
    def doubted(self) -> bool:
        """Counted one step stricter, because nobody is sure of the law."""
        return self.confidence == "low"


def rule_of(place: str) -> Rule:
    """The rule of ``place``. Raises PackError where there is no pack, or no rule for that state in it: the rule of a
    state is never guessed from its country's."""
    country, dash, state = place.partition("-")
    pack = load_pack(country)
    recording = pack.recording
    fact: Known[LegalRegime]
    prefixes: tuple[str, ...] = ()
    if not dash:
        fact, name, regime, read_as = recording.regime, pack.name, pack.regime, recording.engine_default
    elif state in recording.subdivisions:
        fact = its = recording.subdivisions[state]
        name, regime, read_as = f"{pack.name}, {state}", pack.regime_in(state), fact.value
        prefixes = tuple(f"+{pack.numbering.e164_country_code}{code}" for code in its.area_codes)
    else:
        known = ", ".join(recording.subdivisions) or "none"
        raise PackError(f"place {place}: the pack of {pack.name} has no rule of its own for {state}; it has: {known}")
    told = (fact.confidence, fact.basis, fact.source, fact.url, fact.note)
    return Rule(place, name, regime, fact.value, read_as, *told, prefixes)


def places() -> tuple[str, ...]:
    """Every place there is a rule for, sorted: countries, and states after their country."""
    return tuple(_places())


def _places() -> Iterator[str]:
    for country, pack in packs().items():
        yield country
        yield from (f"{country}-{state}" for state in sorted(pack.recording.subdivisions))


def regimes_by_place() -> dict[str, RegimeWord]:
    """Place -> regime, in the words of the consent core."""
    return {place: rule_of(place).regime for place in places()}


def states_by_prefix() -> dict[str, str]:
    """Beginning of an E.164 number -> the state whose numbers begin so, for the states that numbers tell apart."""
    return {prefix: place for place in places() for prefix in rule_of(place).prefixes}
