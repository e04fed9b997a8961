"""A parked caller: hears music in a numbered slot until an agent retrieves the call, or time is up.

Then the caller goes back to the queue of the conversation with the age it had, first to the agent who parked it. A
retrieval that is under way is not cut short.
"""

from __future__ import annotations

from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.agent_leg import AgentLegStep
from pbx.domain.call_context import CallContext
from pbx.domain.call_steps import Outcome
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.seat import Seat


class ParkStep(AgentLegStep):
    """``back`` is where the caller goes when nobody comes; ``seat`` that of the agent who parked the call."""

    def __init__(self, context: CallContext, seat: Seat, slot: int, timeout_s: float, back: Outcome) -> None:
        super().__init__(context, seat)
        self.slot, self.timeout_s, self.back = slot, timeout_s, back
        self._overdue = False

    def enter(self, now: float) -> Outcome:
        self._music()
        self.context.set_timer("park", self.timeout_s)
        return None

    def _music(self) -> None:
        self.context.start_music(self.seat.queue.music_class if self.seat.queue is not None else "default")

    def retrieve(self, event: ev.RetrieveAsked, now: float) -> None:
        if self.request is None:
            self.engage(event.request, event.agent_id, event.leg_id)
            return
        self.context.do(cmd.Answer(event.request, "retrieval_under_way", "another agent is retrieving the call"))
        if event.leg_id is not None:
            self.context.legs.add(event.leg_id)
            self.context.do(cmd.HangUpLeg(event.leg_id, HangupCause.USER_BUSY))

    def timer(self, purpose: str, now: float) -> Outcome:
        if purpose != "park":
            return None
        if self.request is not None:
            self._overdue = True
            return None
        return self._give_back(now)

    def _give_back(self, now: float) -> Outcome:
        self.context.record(ev.ParkEnded(at=now, slot=self.slot, reason="timed_out"))
        self.context.silence()
        return self.back

    def not_reached(self, now: float) -> Outcome:
        if self._overdue:
            return self._give_back(now)
        self._music()
        return None

    def connected(self, now: float) -> Outcome:
        self.context.record(ev.ParkEnded(at=now, slot=self.slot, reason="retrieved", agent_id=self.seat.agent_id))
        return super().connected(now)

    def abandon(self, now: float) -> None:
        self.context.record(ev.ParkEnded(at=now, slot=self.slot, reason="call_ended"))
        super().abandon(now)
