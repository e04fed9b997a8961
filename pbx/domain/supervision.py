"""One supervisor of a conversation, from the request to the end.

    ENGAGING -> RINGING -> (CLEARING ->) ATTACHED -> TAKING_OVER

The router keeps the agent first, so that nothing is offered meanwhile; then the phone rings. Before the supervisor
hears anything, a recording that the supervisor's place forbids has been stopped and placed (CLEARING). However it
ends, the agent is freed and is what it was before; the conversation is not touched.
"""

from __future__ import annotations

from enum import Enum

from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.call_context import CallContext
from pbx.domain.e164 import Cli
from pbx.domain.events import Supervision
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import AgentId, LegId, derive

RING_S = 20.0
"""How long a supervisor's phone is rung."""


class Stage(Enum):
    ENGAGING = "engaging"
    RINGING = "ringing"
    CLEARING = "clearing"
    """The supervisor has answered; the recording is being stopped."""
    ATTACHED = "attached"
    TAKING_OVER = "taking_over"
    """The supervisor's leg is being bridged with the caller's."""


class Watch:
    def __init__(self, context: CallContext, legs: set[LegId], asked: ev.SupervisionAsked) -> None:
        self._context = context
        self._legs = legs
        self.request = asked.request
        self.takes_over = asked.take_over
        self.agent_id: AgentId = asked.agent_id
        self.mode: Supervision = asked.mode
        self.country: str | None = None
        self.leg: LegId | None = None
        self.stage = Stage.ENGAGING
        context.do(cmd.EngageAgent(asked.request, asked.agent_id))

    def engaged(self, event: ev.AgentEngaged, cli: Cli, now: float) -> None:
        if event.request != self.request or self.stage is not Stage.ENGAGING:
            return
        self.stage = Stage.RINGING
        self.country = event.agent_country
        self.leg = LegId(derive(now, "supervisor", self._context.call_id, event.request))
        self._legs.add(self.leg)
        to, caller = cmd.ToPhone(event.phone_id), self._context.leg_id
        self._context.do(cmd.OriginateLeg(self.leg, to, cli, RING_S, peer_leg_id=caller), cmd.Answer(self.request))

    def not_engaged(self, event: ev.AgentNotEngaged) -> bool:
        """Whether it was this one that the router refused."""
        if event.request != self.request or self.stage is not Stage.ENGAGING:
            return False
        self._context.do(cmd.Answer(self.request, event.reason, why_not_engaged(event.reason)))
        return True

    def attach(self, watched: LegId, now: float) -> None:
        """The supervisor has answered, and may hear."""
        if self.leg is not None:
            self.stage = Stage.ATTACHED
            self._context.record(ev.SupervisionStarted(at=now, agent_id=self.agent_id, mode=self.mode))
            self._context.do(cmd.SuperviseLeg(self.leg, watched, self.mode))

    def change(self, mode: Supervision, watched: LegId, now: float) -> None:
        """Another mode: at once where the supervisor hears already, else from the beginning."""
        if mode is self.mode:
            return
        self.mode = mode
        if self.stage is Stage.ATTACHED and self.leg is not None:
            self._context.record(ev.SupervisionChanged(at=now, agent_id=self.agent_id, mode=mode))
            self._context.do(cmd.SuperviseLeg(self.leg, watched, mode))

    def end(self, reason: str, now: float, hang_up: bool = True) -> None:
        """The supervisor's leg is hung up, if it lives and nobody else does it, and the agent freed."""
        if self.stage is Stage.ENGAGING:
            self._context.do(cmd.Answer(self.request, "supervision_ended", "it was ended before the phone rang"))
        if hang_up and self.leg is not None and self.leg in self._legs:
            self._context.do(cmd.HangUpLeg(self.leg, HangupCause.NORMAL_CLEARING))
        self._context.record(ev.SupervisionEnded(at=now, agent_id=self.agent_id, reason=reason))
        self._context.do(cmd.FreeAgent(self.agent_id))


def why_not_engaged(reason: str) -> str:
    """The text that goes with an ``AgentNotEngaged.reason``."""
    return _WHY[reason]


_WHY = {
    "unknown_agent": "this POP has no such agent",
    "agent_busy": "the agent is offered a call, in one, or in wrap-up",
    "agent_unreachable": "the agent's phone is not registered",
}
