"""One agent is called to the caller, past the queues: by a flow, or because the agent retrieves a parked caller.

The router keeps the agent first (ENGAGED), then the phone is rung, or the leg answered on which the agent has dialled
in; with the bridge the agent is ON_CALL. However it fails, the agent is freed and is what it was before.
"""

from __future__ import annotations

from dataclasses import replace

from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.call_context import CallContext
from pbx.domain.call_steps import Connected, Outcome
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import AgentId, LegId
from pbx.domain.leg_step import LegStep
from pbx.domain.seat import Seat

RING_S = 20.0
"""How long the agent's phone is rung."""


class AgentLegStep(LegStep):
    """``seat`` is the conversation that follows, but for who and on which leg and bridge."""

    def __init__(self, context: CallContext, seat: Seat, ring_s: float = RING_S) -> None:
        super().__init__(context)
        self.seat, self.ring_s = seat, ring_s
        self.request: str | None = None
        """Which asking for an agent is under way."""
        self._agent_id = AgentId("")
        self._own_leg: LegId | None = None

    def engage(self, request: str, agent_id: AgentId, own_leg: LegId | None = None, ready: bool = False) -> None:
        """``own_leg``: the one on which the agent called. ``ready``: only if the agent takes calls now; else whatever
        the status, and out of wrap-up too."""
        self.request, self._agent_id, self._own_leg = request, agent_id, own_leg
        if own_leg is not None:
            self.context.legs.add(own_leg)
        self.context.do(cmd.EngageAgent(request, agent_id, ready=ready, from_wrap_up=not ready))

    def engaged(self, event: ev.AgentEngaged | ev.AgentNotEngaged, now: float) -> Outcome:
        if event.request != self.request or self.leg is not None:
            return None
        if isinstance(event, ev.AgentNotEngaged):
            self.context.do(cmd.Answer(event.request, event.reason, f"the agent cannot be rung: {event.reason}"))
            if self._own_leg is not None:
                self.context.do(cmd.HangUpLeg(self._own_leg, HangupCause.USER_BUSY))
            self.request = None
            return self.not_reached(now)
        self.seat = replace(self.seat, agent_id=event.agent_id, agent_country=event.agent_country)
        if self._own_leg is not None:
            self.leg = self._own_leg
            self.context.do(cmd.AnswerLeg(self.leg))
        else:
            leg, to = self.take_leg(now, "agent", event.request), cmd.ToPhone(event.phone_id)
            self.context.do(cmd.OriginateLeg(leg, to, self.context.cli, self.ring_s, self.context.leg_id))
        self.context.do(cmd.Answer(event.request))
        return None

    def connected(self, now: float) -> Outcome:
        if self.leg is None or self.bridge_id is None:
            return None
        self.context.do(cmd.PutOnCall(self.seat.agent_id, self.seat.queue_id))
        return Connected(replace(self.seat, leg=self.leg, bridge_id=self.bridge_id))

    def leg_ended(self, cause: HangupCause, now: float) -> Outcome:
        """Before they talked."""
        self.drop_leg()
        self.request = None
        self.context.do(cmd.FreeAgent(self._agent_id))
        return self.not_reached(now)

    def not_reached(self, now: float) -> Outcome:
        raise NotImplementedError

    def abandon(self, now: float) -> None:
        if self.request is not None:
            self.context.do(
                cmd.Answer(self.request, "unknown_call", "the call has ended"), cmd.FreeAgent(self._agent_id)
            )
        super().abandon(now)


class DirectStep(AgentLegStep):
    """A flow's transfer to one agent, who must be ready and free; else the flow goes on at ``on_failure``."""

    def __init__(self, context: CallContext, agent_id: AgentId, seat: Seat, on_failure: Outcome, ring_s: float) -> None:
        super().__init__(context, seat, ring_s)
        self.wanted, self.on_failure = agent_id, on_failure

    def enter(self, now: float) -> Outcome:
        self.context.typed_ahead = None
        if not self.wanted:
            return self.on_failure
        self.context.rung += 1
        self.context.start_music("default")
        self.engage(f"{self.context.call_id}-{self.context.rung}", self.wanted, ready=True)
        return None

    def not_reached(self, now: float) -> Outcome:
        self.context.silence()
        return self.on_failure
