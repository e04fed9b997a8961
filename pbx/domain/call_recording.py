"""What of a call is recorded: parts, one for each agent, and each under a grant of its own.

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
        self._stopped_for_good = False
        self._suspended = False

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
        if self.running is not None and (not self._closing or self._next is not None):
            self._suspended = True
        self.finish()

    def resume(self, parties: Parties, now: float) -> None:
        """The caller is talked to again. Nothing happens where nothing was suspended."""
        if self._suspended:
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
        floor = parties.queue.consent_floor if parties.queue is not None else Regime.PROHIBITED
        regime = context.config.regimes.strictest(self._places(parties), floor)
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
        self._next = None
        self._close(discard=False)

    def stop(self, discard: bool) -> None:
        """Somebody wants it stopped. ``discard``: what this part has captured is destroyed."""
        self._next = None
        self._stopped_for_good = True
        self._close(discard)

    def ended(self, recording_id: RecordingId, now: float) -> bool:
        """The recorder has placed or destroyed this one, or never began. Whether it was the part under way."""
        if recording_id != self.running:
            return False
        self.running, self._closing = None, False
        following, self._next = self._next, None
        if following is not None:
            self.begin(following, now)
        return True

    def give_up(self) -> None:
        """The call is closed without the recorder's word."""
        self.running = self._next = None
