"""What of a call is recorded: parts, one for each agent, and each under a grant of its own.

Agents pause it while somebody says what must not be kept, and a caller's withdrawal destroys every part.
The regime is evaluated again whenever a party joins and at every new part: the strictest of all parties' places and
of the queue's floor. It fails closed: a part that may not go on is stopped before the party who forbids it hears
anything, and a recording that somebody had stopped does not begin again in the same call.
"""

from __future__ import annotations

from dataclasses import dataclass

from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.call_context import CallContext
from pbx.domain.consent import RecordingGrant, Regime, grant
from pbx.domain.ids import RecordingId, derive
from pbx.domain.leaving import Refusal
from pbx.domain.queue import Queue


@dataclass(frozen=True, slots=True)
class Parties:
    """Whose places rule the recording of a conversation, besides those of caller and DID."""

    queue: Queue | None
    countries: tuple[str | None, ...]


class CallRecording:
    def __init__(self, context: CallContext) -> None:
        self._context = context
        self.running: RecordingId | None = None
        """The part under way, until the recorder has placed it."""
        self.parts = 0
        self._closing = False
        self._next: Parties | None = None
        """A new part begins for these when the one under way is placed."""
        self.paused = False
        """Somebody wants nothing captured for the time being."""
        self.erasing: set[RecordingId] = set()
        """Parts that are being destroyed."""
        self._kept: list[RecordingId] = []
        """Parts that the recorder has placed."""
        self._stopped_for_good = False
        self._withdrawn = False
        self._suspended = False
        self._held_back = False
        """A part would have begun, but for a pause."""

    def begin(self, parties: Parties, now: float) -> None:
        """A conversation begins: a new part, if it is granted. The part before it is closed first."""
        self._suspended = False
        if self.running is not None:
            self._next = parties
            self._close(discard=False)
            return
        queue = parties.queue
        if queue is None or not queue.recorded or self._stopped_for_good:
            return
        if self.paused:
            self._held_back = True
            return
        regime, permission = self._evaluate(parties, now)
        if permission is None:
            if self._context.evidence is not None or self.parts:
                self._refused(regime, parties, "agent_jurisdiction", now)
            return
        number = (self.parts,) if self.parts else ()
        self.parts += 1
        self.running = RecordingId(derive(now, "recording", self._context.call_id, *number))
        region = self._context.config.did.region
        self._context.do(cmd.StartRecording(self.running, self._context.leg_id, permission, region))

    def suspend(self) -> None:
        """The caller is left with music: the part under way is closed, and ``resume`` begins another one."""
        self._suspended = self._suspended or self._under_way
        self.finish()

    def resume(self, parties: Parties, now: float) -> None:
        """The caller is talked to again. Nothing happens where nothing was suspended."""
        if self._suspended:
            self.begin(parties, now)

    @property
    def _under_way(self) -> bool:
        """Something is captured, or will be as soon as the part before it is placed, or the pause over."""
        return self._held_back or (self.running is not None and (not self._closing or self._next is not None))

    def pause(self, now: float) -> Refusal | None:
        """Nothing is captured until ``go_on``; the part under way has silence meanwhile."""
        if self.paused:
            return Refusal("already_paused", "the recording is paused")
        if not (self._under_way or self._suspended):
            return Refusal("not_recorded", "this conversation is not being recorded")
        self.paused = True
        self._context.record(ev.RecordingPaused(at=now, recording_id=self.running))
        if self.running is not None and not self._closing:
            self._context.do(cmd.PauseRecording(self.running, self._context.leg_id))
        return None

    def go_on(self, parties: Parties, now: float) -> Refusal | None:
        """Captured again, from now on."""
        if not self.paused:
            return Refusal("not_paused", "the recording is not paused")
        self.paused = False
        self._context.record(ev.RecordingResumed(at=now, recording_id=self.running))
        if self._held_back:
            self._held_back = False
            self.begin(parties, now)
        elif self.running is not None and not self._closing:
            self._context.do(cmd.ResumeRecording(self.running, self._context.leg_id))
        return None

    def pause_failed(self, recording_id: RecordingId) -> None:
        """The media server did not pause it: the part ends, and another one begins after the pause."""
        if recording_id == self.running and self.paused and not self._closing:
            self._held_back = True
            self._close(discard=False)

    def go_on_failed(self, recording_id: RecordingId, parties: Parties, now: float) -> None:
        """The media server left it paused: another part begins."""
        if recording_id == self.running and not self.paused and not self._closing:
            self.begin(parties, now)

    def joins(self, parties: Parties, now: float, reason: str = "supervisor_jurisdiction") -> bool:
        """``parties`` now include one more: whether that one may join at once. If not, the recording is being
        stopped, for ``reason``, and ``ended`` comes first."""
        if self.running is None:
            return True
        if not self._closing:
            regime, permission = self._evaluate(parties, now)
            recorded = parties.queue is not None and parties.queue.recorded
            if permission is not None and recorded:
                return True
            if permission is None:
                self._refused(regime, parties, reason, now)
            self._close(discard=False)
        return False

    def _evaluate(self, parties: Parties, now: float) -> tuple[Regime, RecordingGrant | None]:
        context = self._context
        places = self._places(parties)
        floor = parties.queue.consent_floor.of(places) if parties.queue is not None else Regime.PROHIBITED
        regime = context.config.regimes.strictest(places, floor)
        if context.refused:
            return regime, None
        return regime, grant(context.call_id, context.leg_id, regime, context.evidence, now)

    def _places(self, parties: Parties) -> tuple[str | None, ...]:
        return (*self._context.places, *parties.countries)

    def _refused(self, regime: Regime, parties: Parties, reason: str, now: float) -> None:
        places = tuple(place or "unknown" for place in self._places(parties))
        refused = ev.ConsentRefused(at=now, regime=regime.word, jurisdictions=places, reason=reason)
        self._context.record(refused)

    def _close(self, discard: bool) -> None:
        if self.running is not None and not self._closing:
            self._closing = True
            self._context.do(cmd.StopRecording(self.running, self._context.leg_id, discard))

    def finish(self) -> None:
        """The conversation is over, or the call."""
        self._next, self._held_back = None, False
        self._close(discard=False)

    def stop(self, discard: bool) -> None:
        """Somebody wants it stopped for the rest of the call. ``discard``: what this part has captured is destroyed."""
        self._next, self._held_back, self._suspended = None, False, False
        self._stopped_for_good = True
        self._close(discard)

    def withdraw(self, parties: Parties | None, now: float) -> None:
        """The caller agrees no longer: nothing more is captured, and what was is destroyed, parts before included."""
        if self._withdrawn:
            return
        self._withdrawn = True
        alone = Parties(None, ())
        rules = self._context.config.regimes
        regime = self._evaluate(parties, now)[0] if parties is not None else rules.strictest(self._places(alone))
        self._refused(regime, parties or alone, "withdrawn", now)
        self.stop(discard=True)
        for recording_id in self._kept:
            self._erase(recording_id)

    def _erase(self, recording_id: RecordingId) -> None:
        self.erasing.add(recording_id)
        self._context.do(cmd.EraseRecording(recording_id))

    def erased(self, recording_id: RecordingId) -> None:
        """It is destroyed, or could not be, which its POP alarms of."""
        self.erasing.discard(recording_id)
        if recording_id in self._kept:
            self._kept.remove(recording_id)

    def ended(self, recording_id: RecordingId, now: float, *, kept: bool) -> bool:
        """The recorder has placed (``kept``) or destroyed it, or never began. Whether it was the one under way."""
        if recording_id != self.running:
            return False
        self.running, self._closing = None, False
        if kept:
            self._kept.append(recording_id)
            if self._withdrawn:
                self._erase(recording_id)
        following, self._next = self._next, None
        if following is not None:
            self.begin(following, now)
        return True

    def give_up(self) -> None:
        """The call is closed without the recorder's word."""
        self.running = self._next = None
        self.erasing.clear()
