"""Legs of the simulated media server and who hears whom on them. No I/O, no clock.

A *sound* is a word: ``leg:ID`` is what that leg's far end says, ``music:CLASS`` music, ``LANGUAGE/PROMPT`` a prompt.
What a leg hears at one time is a set of sounds; ``samples`` makes audio of the sets over time, one sine a sound, so
that a recording or a far end can be checked as on a real server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import BridgeId, LegId, PlayId
from pbx.ports.media_engine import Supervision

RATE = 8000
LEVEL = 0.3
"""Of full scale, each sound."""

RINGING = "tone:ringing"
"""The sound of a phone that rings, in place of music; no class can be named so."""

Sounds = frozenset[str]
SILENCE: Sounds = frozenset()


@dataclass(frozen=True, slots=True)
class Tone:
    """What a sound sounds like: a sine of ``hz``. ``seconds``: length, for a prompt."""

    hz: int
    seconds: float = 0.0


@dataclass(slots=True)
class Leg:
    leg_id: LegId
    answered: bool = False
    bridge_id: BridgeId | None = None
    held: bool = False
    """Out of the conversation of ``bridge_id`` until it is brought back; that may be over meanwhile."""
    muted: bool = False
    music: str | None = None
    play_id: PlayId | None = None
    watching: tuple[LegId, Supervision] | None = None
    """The leg that this one, a supervisor's, takes part through."""
    watched_by: list[LegId] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    heard: list[str] = field(default_factory=list)
    """``language/prompt`` and ``music:class`` in the order in which they began."""
    handles: list[asyncio.TimerHandle] = field(default_factory=list)
    cause: HangupCause | None = None
    on_end: Callable[[], None] | None = None
    hearing: list[tuple[float, Sounds]] = field(default_factory=list)
    """Since when it hears what; the last entry is now."""
    saying: list[tuple[float, Sounds]] = field(default_factory=list)
    """Since when it says what, as far as the media server lets it through."""

    @property
    def voice(self) -> Sounds:
        return SILENCE if self.muted or not self.answered else frozenset((f"leg:{self.leg_id}",))


@dataclass(slots=True)
class Room:
    """All legs and the bridges between them."""

    legs: dict[LegId, Leg] = field(default_factory=dict)
    bridges: dict[BridgeId, tuple[LegId, LegId]] = field(default_factory=dict)

    def others(self, leg: Leg) -> Iterator[Leg]:
        """Who is in the conversation of ``leg`` besides it; nobody while it is held."""
        if leg.bridge_id is None or leg.held:
            return
        for leg_id in self.bridges.get(leg.bridge_id, ()):
            other = self.legs.get(leg_id)
            if other is not None and other is not leg and other.bridge_id == leg.bridge_id and not other.held:
                yield other

    def _supervisors(self, leg: Leg, *modes: Supervision) -> Iterator[Leg]:
        for leg_id in leg.watched_by:
            supervisor = self.legs.get(leg_id)
            if supervisor is not None and supervisor.watching is not None and supervisor.watching[1] in modes:
                yield supervisor

    def hears(self, leg: Leg) -> Sounds:
        """What the leg's far end hears now."""
        sounds: set[str] = set()
        if leg.play_id is not None:
            sounds.add(leg.heard[-1])
        elif leg.music is not None:
            sounds.add(leg.music if leg.music.startswith("tone:") else f"music:{leg.music}")
        for supervisor in self._supervisors(leg, Supervision.WHISPER, Supervision.BARGE):
            sounds |= supervisor.voice
        for other in self.others(leg):
            sounds |= other.voice
            for supervisor in self._supervisors(other, Supervision.BARGE):
                sounds |= supervisor.voice
        if leg.watching is not None and (watched := self.legs.get(leg.watching[0])) is not None:
            sounds |= watched.voice | (self.hears(watched) - leg.voice)
        return frozenset(sounds)

    def join(self, bridge_id: BridgeId, both: Sequence[Leg]) -> list[Leg]:
        """The legs leave whatever they are in and talk to one another. Returns who hears something else now."""
        changed = list(both)
        for leg in both:
            changed += self.end_watching(leg)
            if leg.bridge_id is not None:
                changed += self.dissolve(leg.bridge_id)
        for leg in both:
            leg.music, leg.held, leg.bridge_id = None, False, bridge_id
        first, second = both
        self.bridges[bridge_id] = (first.leg_id, second.leg_id)
        return changed

    def dissolve(self, bridge_id: BridgeId) -> list[Leg]:
        """The bridge is over. Its legs, which are in none now; one that is held goes on hearing its music."""
        legs = [self.legs[leg_id] for leg_id in self.bridges.pop(bridge_id, ()) if leg_id in self.legs]
        legs = [leg for leg in legs if leg.bridge_id == bridge_id]
        for leg in legs:
            if not leg.held:
                leg.bridge_id = None
        return legs

    def leave(self, leg: Leg) -> list[Leg]:
        """The leg is over. Returns who hears something else now."""
        changed = [*self.others(leg), *self.end_watching(leg)]
        for leg_id in leg.watched_by:
            if (supervisor := self.legs.get(leg_id)) is not None:
                supervisor.watching = None
                changed.append(supervisor)
        leg.watched_by.clear()
        del self.legs[leg.leg_id]
        bridge_id, leg.bridge_id = leg.bridge_id, None
        if bridge_id is not None and not any(other in self.legs for other in self.bridges.get(bridge_id, ())):
            self.bridges.pop(bridge_id, None)
        return changed

    def watch(self, leg: Leg, watched: Leg, mode: Supervision) -> list[Leg]:
        """``leg`` takes part in the conversation of ``watched``. Returns who hears something else now."""
        changed = self.end_watching(leg)
        leg.watching, leg.music = (watched.leg_id, mode), None
        watched.watched_by.append(leg.leg_id)
        return [leg, *changed]

    def end_watching(self, leg: Leg) -> list[Leg]:
        """The leg supervises no more, if it did. Returns who hears something else now."""
        if leg.watching is None:
            return []
        watched = self.legs.get(leg.watching[0])
        leg.watching = None
        if watched is None:
            return [leg]
        watched.watched_by.remove(leg.leg_id)
        return [leg, watched, *self.others(watched)]

    def touched(self, now: float, legs: Sequence[Leg]) -> None:
        """Notes what has changed for these legs and for those who hear them."""
        concerned = {leg.leg_id: leg for leg in legs}
        for leg in legs:
            if leg.watching is not None and (watched := self.legs.get(leg.watching[0])) is not None:
                concerned[watched.leg_id] = watched
        for leg in list(concerned.values()):
            concerned |= {other.leg_id: other for other in self.others(leg)}
        for leg in list(concerned.values()):
            concerned |= {leg_id: self.legs[leg_id] for leg_id in leg.watched_by if leg_id in self.legs}
        for leg in concerned.values():
            _note(leg.hearing, now, self.hears(leg))
            _note(leg.saying, now, leg.voice)


def _note(times: list[tuple[float, Sounds]], now: float, sounds: Sounds) -> None:
    if not times or times[-1][1] != sounds:
        times.append((now, sounds))


def samples(
    times: Sequence[tuple[float, Sounds]], since: float, until: float, tones: Mapping[str, Tone]
) -> npt.NDArray[np.int16]:
    """16-bit audio at 8000 Hz of what was heard (or said) between two times; a sound without a tone is silent."""
    made = np.zeros(max(0, round((until - since) * RATE)), dtype=np.int16)
    ends = [at for at, _ in times[1:]] + [until]
    for (at, sounds), end in zip(times, ends, strict=True):
        first = max(0, round((at - since) * RATE))
        last = min(len(made), round((end - since) * RATE))
        if last > first and any(sound in tones for sound in sounds):
            # Whole hertz repeat every second.
            second = _second(frozenset(tones[sound].hz for sound in sounds if sound in tones))
            made[first:last] = np.resize(np.roll(second, -(first % RATE)), last - first)
    return made


def _second(hertz: frozenset[int]) -> npt.NDArray[np.int16]:
    moments = np.arange(RATE) / RATE
    summed = sum((LEVEL * np.sin(2 * np.pi * hz * moments) for hz in hertz), np.zeros(RATE))
    return (np.clip(summed, -1, 1) * 32767).astype(np.int16)
