"""Who may be captured, by a rule of its own: worked out from what the simulated media server did and what people
pressed, never from the controller's events, records or grants.

A moment of a caller's line may be captured when all of these hold:

* nobody outside (a number over a trunk) takes part;
* the caller has not withdrawn, nobody has stopped the recording, and it is not paused;
* the strictest rule of the caller's place, the DID's, those of everybody who takes part, and the queue's floor is not
  stricter than what the caller was told or answered:

  ========  =========================================================================================
  rule      holds when the last asking of this caller
  ========  =========================================================================================
  none      did not end with no
  notice    played the notice to its last sample, and was not refused
  opt_out   did so, and then named the keys to the last sample, and was not refused
  opt_in    played the question to its last sample, and the key for yes was pressed while it counted
  ========  =========================================================================================

A no counts while the notice plays, and from its end on where keys are named after it: who is only told, and stays on
the line, has no key to refuse by. What is pressed between the notice and the keys, in the same instant, waits for them.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pbx.adapters.memory.engine import SimulatedEngine
from pbx.adapters.memory.legs import Leg
from pbx.domain.commands import OriginateLeg, Prompt, ToPhone, ToTrunk
from pbx.domain.consent import RecordingGrant
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import BridgeId, LegId, PlayId, RecordingId
from pbx.ports.media_engine import Supervision

STRICTNESS = ("none", "notice", "opt_out", "opt_in", "prohibited")
OUTSIDE = "outside"
YES, NO = "1", "2"
STOP_S = 0.15
"""How long a media server may go on capturing after it was asked to stop."""
ANSWER_S = 1.0
"""How long after the keys were named an answer counts."""


class Captured(AssertionError):
    """Something was captured that the rule forbids."""


@dataclass(slots=True)
class Asking:
    """What a caller has been told and has answered."""

    kind: str = ""
    told: bool = False
    keys: bool = False
    agreed: bool = False
    refused: bool = False
    counts_until: float = float("inf")
    open: bool = False
    naming: bool = False
    """The keys are being named, or have been."""
    early_no: bool = False
    """Pressed after the notice and before any key was named."""

    def covers(self) -> str:
        """The strictest rule under which this caller may be captured."""
        if self.refused:
            return ""
        if self.kind == "consent-ask":
            return "opt_in" if self.told and self.agreed else ""
        return "opt_out" if self.keys else "notice" if self.told else "none"


@dataclass(slots=True)
class Line:
    """One caller's line."""

    places: tuple[str, ...]
    """Of caller and DID."""
    floor: str = "none"
    asking: Asking = field(default_factory=Asking)
    withdrawn: bool = False
    stopped: bool = False
    paused: bool = False
    recordings: list[RecordingId] = field(default_factory=list)
    answer_s: float = ANSWER_S


class WatchedEngine(SimulatedEngine):
    """A simulated media server that looks at each moment before it passes: what was captured in it, and with whom."""

    rules: Mapping[str, str]
    """Place -> its rule."""
    countries: Mapping[str, str]
    """Phone -> country of its agent."""

    def watch(self, rules: Mapping[str, str], countries: Mapping[str, str], chance: random.Random) -> None:
        self.rules, self.countries, self.chance = rules, countries, chance
        self.lines: dict[LegId, Line] = {}
        self.who: dict[LegId, str] = {}
        """Leg of a phone or of a number outside -> the phone, or ``outside``."""
        self.called: dict[str, Line] = {}
        """Number -> the line of its owner, whom an agent calls."""
        self.asked: dict[PlayId, tuple[LegId, str]] = {}
        self.seen: Counter[str] = Counter()
        self.last = self.clock()

    # --- the moment that ends now -----------------------------------------------------------------------------------

    def moment(self) -> None:
        """Before anything changes: was what has just been captured allowed?"""
        now = self.clock()
        if now <= self.last:
            return
        passed, self.last = now - self.last, now
        for recording_id, recorder in self._recorders.items():
            if recorder.paused or recorder.until is not None:
                continue
            self.seen["captured ms"] += round(passed * 1000)
            self._judge(recording_id, recorder.leg)

    def _judge(self, recording_id: RecordingId, leg: Leg) -> None:
        line = self.lines[leg.leg_id]
        parties = self.parties(leg)
        if line.withdrawn or line.stopped or line.paused:
            raise Captured(f"{recording_id}: captured although withdrawn, stopped or paused: {line}")
        if OUTSIDE in parties or "?" in parties:
            raise Captured(f"{recording_id}: somebody outside was captured: {parties}")
        places = (*line.places, *(self.countries[phone] for phone in parties))
        rule = max((line.floor, *(self.rules.get(place, "opt_in") for place in places)), key=STRICTNESS.index)
        covers = line.asking.covers()
        if not covers or STRICTNESS.index(rule) > STRICTNESS.index(covers):
            raise Captured(f"{recording_id}: {rule} by {places}, but {line.asking}")
        self.seen[f"captured under {rule}"] += 1

    def parties(self, leg: Leg) -> list[str]:
        """Phones, and ``outside``, of those who talk to this line or listen to it."""
        return [self.who.get(one.leg_id, "?") for one in self._takes_part(leg)]

    def _takes_part(self, leg: Leg) -> list[Leg]:
        talking = list(self._room.others(leg))
        watching = [self.legs[one] for other in (leg, *talking) for one in other.watched_by if one in self.legs]
        return [*talking, *watching]

    # --- what the media server does -----------------------------------------------------------------------------------

    def _touched(self, *legs: Leg) -> None:
        super()._touched(*legs)
        self.moment_done()

    def moment_done(self) -> None:
        self.last = self.clock()

    def end_leg(self, leg: Leg, cause: HangupCause) -> None:
        self.moment()
        super().end_leg(leg, cause)

    async def answer(self, leg_id: LegId) -> None:
        self.moment()
        await super().answer(leg_id)

    async def originate(self, leg: OriginateLeg) -> None:
        if isinstance(leg.to, ToTrunk) and leg.to.number in self.called:
            self.lines[leg.leg_id] = self.called[leg.to.number]
        else:
            self.who[leg.leg_id] = leg.to.phone_id if isinstance(leg.to, ToPhone) else OUTSIDE
        await super().originate(leg)

    async def bridge(self, bridge_id: BridgeId, leg_ids: tuple[LegId, LegId]) -> None:
        self.moment()
        await super().bridge(bridge_id, leg_ids)

    async def destroy_bridge(self, bridge_id: BridgeId) -> None:
        self.moment()
        await super().destroy_bridge(bridge_id)

    async def hold(self, leg_id: LegId, music_class: str) -> None:
        self.moment()
        await super().hold(leg_id, music_class)

    async def unhold(self, leg_id: LegId) -> None:
        self.moment()
        await super().unhold(leg_id)

    async def supervise(self, leg_id: LegId, watched: LegId, mode: Supervision) -> None:
        self.moment()
        await super().supervise(leg_id, watched, mode)

    async def stop_supervising(self, leg_id: LegId) -> None:
        self.moment()
        await super().stop_supervising(leg_id)

    async def start_recording(
        self, recording_id: RecordingId, leg_id: LegId, grant: RecordingGrant, path: Path
    ) -> None:
        self.moment()
        await super().start_recording(recording_id, leg_id, grant, path)
        self.lines[leg_id].recordings.append(recording_id)
        self.moment_done()

    async def stop_recording(self, recording_id: RecordingId, leg_id: LegId) -> None:
        await asyncio.sleep(self.chance.choice((0, STOP_S)))
        self.moment()
        await super().stop_recording(recording_id, leg_id)

    async def pause_recording(self, recording_id: RecordingId, leg_id: LegId) -> None:
        self.moment()
        await super().pause_recording(recording_id, leg_id)

    async def resume_recording(self, recording_id: RecordingId, leg_id: LegId) -> None:
        self.moment()
        await super().resume_recording(recording_id, leg_id)
        self.moment_done()

    # --- what the caller is told and answers --------------------------------------------------------------------------

    async def play(self, leg_id: LegId, play_id: PlayId, prompts: Sequence[Prompt]) -> None:
        line = self.lines.get(leg_id)
        name = prompts[0].prompt_id if prompts else ""
        if line is not None and not name.startswith("consent-keys"):
            line.asking.open = False
        if line is not None and name.startswith("consent-keys"):
            line.asking.naming = True
            line.asking.refused |= line.asking.early_no
        if line is not None and name in ("consent-ask", "consent-notice"):
            line.asking = Asking(kind=name, open=True)
        if name.startswith("consent-"):
            self.asked[play_id] = (leg_id, name)
        await super().play(leg_id, play_id, prompts)

    def _end_play(self, play_id: PlayId, completed: bool) -> None:
        leg_id, name = self.asked.pop(play_id, (LegId(""), ""))
        line = self.lines.get(leg_id)
        if line is not None:
            self.seen["cut"] += not completed
            asking = line.asking
            if name in ("consent-ask", "consent-notice"):
                asking.told = completed
                asking.open = completed
            elif name.startswith("consent-keys"):
                asking.keys = completed and asking.told
                asking.counts_until = self.clock() + line.answer_s
        super()._end_play(play_id, completed)

    def pressed(self, leg_id: LegId, digit: str) -> None:
        """The caller presses a key; to be called before the controller hears of it."""
        line = self.lines[leg_id]
        asking = line.asking
        if not asking.open or self.clock() >= asking.counts_until or self.legs[leg_id].bridge_id is not None:
            return
        if digit == NO and asking.kind == "consent-notice" and asking.told and not asking.naming:
            asking.early_no = True
        elif digit == NO:
            asking.refused, asking.open = True, False
            self.seen["refused"] += 1
        elif digit == YES and asking.told:
            asking.agreed = True
            self.seen["agreed"] += 1
