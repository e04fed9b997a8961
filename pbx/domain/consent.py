"""Consent to recording: regimes, which one rules a call, and the only maker of a ``RecordingGrant``.

A regime says what a jurisdiction asks before a call may be recorded. The strictest of all parties' regimes and of
the queue's floor rules the call; a place nobody knows, and a withheld CLI, count as the strictest configured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum

from pbx.domain.errors import BadValue
from pbx.domain.ids import CallId, LegId


class Regime(IntEnum):
    """Weakest first, so that ``max`` is the strictest."""

    NONE = 0
    NOTICE = 1
    """The caller must be told; staying on the line is enough."""
    OPT_OUT = 2
    """Told, and able to refuse."""
    OPT_IN = 3
    """An act of agreement. Silence is no."""
    PROHIBITED = 4

    @property
    def word(self) -> str:
        return self.name.lower()


def regime_of(word: str, field_name: str = "regime") -> Regime:
    """The regime named ``word``. Raises BadValue naming ``field_name``."""
    try:
        return Regime[word.upper()]
    except KeyError:
        known = ", ".join(r.word for r in Regime)
        raise BadValue(field_name, f"is not a recording regime; known are {known}") from None


@dataclass(frozen=True, slots=True)
class RegimeTable:
    """Regime per place: a country (ISO 3166-1 alpha-2), or a state with a rule of its own (ISO 3166-2). A state
    without one has its country's. ``unknown`` rules every place that is not in the table."""

    by_place: Mapping[str, Regime]
    unknown: Regime = Regime.OPT_IN
    by_prefix: Mapping[str, str] = field(default_factory=dict)
    """Beginning of an E.164 number -> the state it is of, where that state is stricter than its country."""

    def placed(self, number: str | None, country: str | None) -> str | None:
        """The place of a number of ``country``: a state with a stricter rule, where the number tells it."""
        if number is not None and country is not None:
            for prefix, place in self.by_prefix.items():
                if number.startswith(prefix) and place.startswith(country):
                    return place
        return country

    def of(self, place: str | None) -> Regime:
        if place is None:
            return self.unknown
        found = self.by_place.get(place)
        return found if found is not None else self.by_place.get(place.partition("-")[0], self.unknown)

    def strictest(self, places: Iterable[str | None], floor: Regime = Regime.NONE) -> Regime:
        """The regime that rules a call whose parties are in ``places``, never weaker than ``floor``."""
        regimes = [self.of(place) for place in places]
        return max(floor, *(regimes or [self.unknown]))


@dataclass(frozen=True, slots=True)
class Floor:
    """What a queue asks besides the law: it makes the law's rule stricter, never weaker."""

    least: Regime = Regime.NONE
    """Of every call."""
    by_place: Mapping[str, Regime] = field(default_factory=dict)
    """Of calls with a party in this country (ISO 3166-1 alpha-2) or state (ISO 3166-2). In a state with a rule of its
    own the stricter of it and the country's holds."""
    unknown: Regime = Regime.NONE
    """Of calls with a party whose place nobody knows, withheld numbers among them."""

    def of(self, places: Iterable[str | None]) -> Regime:
        """What is asked of a call whose parties are in ``places``."""
        return max((self.least, *map(self._of, places)))

    def _of(self, place: str | None) -> Regime:
        if place is None:
            return self.unknown
        own = self.by_place.get(place, Regime.NONE)
        return max(own, self.by_place.get(place.partition("-")[0], Regime.NONE))

    def stricter(self, other: Floor) -> Floor:
        """One that asks, of any call, the stricter of what both ask."""
        by_place = dict(self.by_place)
        for place, regime in other.by_place.items():
            by_place[place] = max(regime, by_place.get(place, Regime.NONE))
        return Floor(max(self.least, other.least), by_place, max(self.unknown, other.unknown))


NO_FLOOR = Floor()


@dataclass(frozen=True, slots=True)
class ConsentEvidence:
    """What was really played and pressed. ``completed``: the prompts ran to their last sample. ``asked``: the regime
    under which the caller was told or asked: what was said and which keys meant something follow from it."""

    prompt_id: str
    prompt_sha256: str
    language: str
    played_ms: int
    completed: bool
    digit: str | None
    at: float
    asked: Regime


@dataclass(frozen=True, slots=True)
class MessageEvidence:
    """What a caller heard before leaving a message: ``prompts`` are ids with the hashes of their recordings,
    ``played_ms`` of all of them was really sent, ``completed``: to the last sample. ``digit``: cut them short."""

    prompts: tuple[tuple[str, str], ...]
    language: str
    played_ms: int
    completed: bool
    digit: str | None
    at: float


class GrantKind(Enum):
    CONVERSATION = "conversation"
    MESSAGE = "voicemail"
    """The caller alone, by the caller's own act."""


_MINT = object()


@dataclass(frozen=True, slots=True)
class RecordingGrant:
    """Permission to record one party on one call. Only ``grant`` and ``grant_message`` below make one; the recorder
    takes nothing else."""

    call_id: CallId
    leg_id: LegId
    regime: Regime
    evidence: ConsentEvidence | MessageEvidence | None
    granted_at: float
    _mint: object = field(repr=False, compare=False, default=None)
    kind: GrantKind = GrantKind.CONVERSATION

    def __post_init__(self) -> None:
        if self._mint is not _MINT:
            raise TypeError("a RecordingGrant is made by pbx.domain.consent only")


def grant(
    call_id: CallId,
    leg_id: LegId,
    regime: Regime,
    evidence: ConsentEvidence | None,
    now: float,
) -> RecordingGrant | None:
    """The grant that ``evidence`` earns under ``regime``, or None. Fails closed: what is not proven is refused. An
    answer holds for the regime it was asked under and for weaker ones: who was only told that the call is recorded was
    not told how to refuse, and a key that nobody had asked for is no agreement."""
    if regime is Regime.PROHIBITED:
        return None
    if regime is not Regime.NONE:
        if evidence is None or not evidence.completed or evidence.asked < regime:
            return None
        if regime is Regime.OPT_IN and evidence.digit is None:
            return None
    return RecordingGrant(call_id, leg_id, regime, evidence, now, _MINT)


def grant_message(
    call_id: CallId, leg_id: LegId, regime: Regime, evidence: MessageEvidence, now: float
) -> RecordingGrant | None:
    """The grant to record what a caller says after the tone, or None. Who was told, or cut the telling short with a
    key, and speaks on, acts; who was not told has agreed to nothing, whatever the regime."""
    if regime is Regime.PROHIBITED or not (evidence.completed or evidence.digit is not None):
        return None
    return RecordingGrant(call_id, leg_id, regime, evidence, now, _MINT, GrantKind.MESSAGE)
