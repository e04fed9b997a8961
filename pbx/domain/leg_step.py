"""Steps that ring a second leg and let the caller talk to it: an outside number, one agent, whoever retrieves."""

from __future__ import annotations

from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.call_context import CallContext
from pbx.domain.call_steps import BaseStep, Outcome
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import BridgeId, LegId, derive

OUTCOMES: dict[HangupCause, ev.OfferOutcome] = {
    HangupCause.NO_ANSWER: ev.OfferOutcome.NO_ANSWER,
    HangupCause.USER_BUSY: ev.OfferOutcome.BUSY,
    HangupCause.CALL_REJECTED: ev.OfferOutcome.REJECTED,
    HangupCause.NO_USER_RESPONSE: ev.OfferOutcome.UNREACHABLE,
    HangupCause.SUBSCRIBER_ABSENT: ev.OfferOutcome.UNREACHABLE,
    HangupCause.NO_ROUTE: ev.OfferOutcome.UNREACHABLE,
    HangupCause.UNALLOCATED_NUMBER: ev.OfferOutcome.UNREACHABLE,
    HangupCause.DESTINATION_OUT_OF_ORDER: ev.OfferOutcome.UNREACHABLE,
}
"""How a leg that never answered ended -> what came of ringing it; any other cause is FAILED."""


class LegStep(BaseStep):
    """``leg`` is the second leg while there is one. The call asks ``let_in`` when the leg has answered and nothing is
    being recorded any more: whoever joins is not in a recording made for somebody else."""

    def __init__(self, context: CallContext) -> None:
        super().__init__(context)
        self.leg: LegId | None = None
        self.answered = False
        self.bridge_id: BridgeId | None = None

    def enter(self, now: float) -> Outcome:
        raise NotImplementedError

    def take_leg(self, now: float, *parts: str | int) -> LegId:
        """A new id; the step waits for this leg from now on."""
        self.leg = LegId(derive(now, "leg", self.context.call_id, *parts))
        self.context.legs.add(self.leg)
        self.answered = False
        return self.leg

    def let_in(self, now: float) -> None:
        if self.leg is not None and self.answered and self.bridge_id is None:
            self.context.silence()
            self.bridge_id = BridgeId(derive(now, "bridge", self.context.call_id, self.leg))
            self.context.do(cmd.BridgeLegs(self.bridge_id, (self.context.leg_id, self.leg)))

    def bridged(self, bridge_id: BridgeId, now: float) -> Outcome:
        return self.connected(now) if bridge_id == self.bridge_id else None

    def bridge_failed(self, bridge_id: str, now: float) -> Outcome:
        if bridge_id != self.bridge_id or self.leg is None:
            return None
        self.context.do(cmd.HangUpLeg(self.leg, HangupCause.TEMPORARY_FAILURE))
        return self.leg_ended(HangupCause.TEMPORARY_FAILURE, now)

    def drop_leg(self) -> None:
        """The leg is gone, or somebody else's; a bridge that was being made is not waited for."""
        if self.bridge_id is not None:
            self.context.do(cmd.DestroyBridge(self.bridge_id))
        self.leg = self.bridge_id = None
        self.answered = False

    def connected(self, now: float) -> Outcome:
        """They hear each other."""
        raise NotImplementedError

    def leg_ended(self, cause: HangupCause, now: float) -> Outcome:
        raise NotImplementedError

    def abandon(self, now: float) -> None:
        if self.bridge_id is not None:
            self.context.do(cmd.DestroyBridge(self.bridge_id))
        super().abandon(now)
