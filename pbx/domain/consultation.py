"""One consultation of a conversation: the agent asks another one while the caller hears music.

    ENGAGING -> RINGING -> PRIVATE <-> APART
                              |          |
                              +----------+--> CONFERENCE

From everywhere the consulted agent can be let go (the caller and the first agent are together again), and from
everywhere but the first two be given the caller (DONE). Each step that joins legs is a *move*: it is over when the
media server says so, and whatever happens meanwhile begins another one, by which the former is forgotten.

The caller is never lost to it. A first agent who hangs up has given the caller to the consulted one; while that one's
phone still rings the caller waits for it with music, and goes back to the queue, with the age kept, if nobody answers.

Nothing of what the agents say between themselves is recorded: the part under way is placed when the consultation
begins, and a new part begins when the first agent is back. Before the consulted agent and the caller hear each other,
a part that the consulted agent's country forbids has been stopped and placed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.call_context import CallContext
from pbx.domain.call_recording import CallRecording
from pbx.domain.e164 import Cli
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import AgentId, BridgeId, LegId, derive
from pbx.domain.supervision import RING_S, why_not_engaged

if TYPE_CHECKING:
    from pbx.domain.conversation import Conversation


class Stage(Enum):
    ENGAGING = "engaging"
    RINGING = "ringing"
    """The caller is on hold."""
    PRIVATE = "private"
    """The agents talk, the caller is on hold."""
    APART = "apart"
    """The first agent talks to the caller, the consulted one hears music."""
    CONFERENCE = "conference"
    DONE = "done"
    """The caller is the consulted agent's."""


_STAGES = {ev.ConsultStep.COMPLETE: Stage.DONE, ev.ConsultStep.CONFERENCE: Stage.CONFERENCE}


@dataclass(frozen=True, slots=True)
class Move:
    """Legs that are being joined. ``bridge_id`` is None while a recording has to be stopped first."""

    to: Stage
    request: str | None
    bridge_id: BridgeId | None = None


class Consultation:
    def __init__(
        self,
        talk: Conversation,
        context: CallContext,
        legs: set[LegId],
        recording: CallRecording,
        asked: ev.ConsultAsked,
    ) -> None:
        self._talk, self._context, self._legs, self._recording = talk, context, legs, recording
        self._request: str | None = asked.request
        """Answered when the phone rings."""
        self.agent_id: AgentId = asked.agent_id
        self.country: str | None = None
        self.leg: LegId | None = None
        self.stage = Stage.ENGAGING
        self.deserted = False
        """The first agent has hung up."""
        self._move: Move | None = None
        self._moves = 0
        self._private: BridgeId | None = None
        context.do(cmd.EngageAgent(asked.request, asked.agent_id))

    # --- the consulted agent ----------------------------------------------------------------------------------------

    def engaged(self, event: ev.AgentEngaged, cli: Cli, now: float) -> None:
        if event.request != self._request or self.stage is not Stage.ENGAGING:
            return
        self.stage, self._request = Stage.RINGING, None
        self.country = event.agent_country
        self.leg = LegId(derive(now, "consulted", self._context.call_id, event.request))
        self._legs.add(self.leg)
        self._talk.end_watch("consultation", now)
        self._leave_caller(now)
        to, caller = cmd.ToPhone(event.phone_id), self._context.leg_id
        self._context.do(cmd.OriginateLeg(self.leg, to, cli, RING_S, peer_leg_id=caller), cmd.Answer(event.request))

    def not_engaged(self, event: ev.AgentNotEngaged) -> bool:
        """Whether it was this one that the router refused."""
        if event.request != self._request or self.stage is not Stage.ENGAGING:
            return False
        self._context.do(cmd.Answer(event.request, event.reason, why_not_engaged(event.reason)))
        return True

    def answered(self, now: float) -> None:
        if self.stage is Stage.RINGING and self._move is None:
            self._context.record(ev.ConsultationStarted(at=now, agent_id=self.agent_id))
            self._go(Stage.DONE if self.deserted else Stage.PRIVATE, None, now)

    # --- what is asked ----------------------------------------------------------------------------------------------

    def bars(self, event: ev.Event) -> bool:
        """Whether this must not be done to the conversation now. With the first agent gone it can only be ended."""
        step = event.step if isinstance(event, ev.ConsultStepAsked) else None
        if self.deserted:
            return step is not ev.ConsultStep.CANCEL
        return step is None and not isinstance(event, ev.MuteAsked | ev.SupervisionEndAsked)

    def asked(self, event: ev.ConsultStepAsked, now: float) -> None:
        """Every step but CANCEL, which is the conversation's to say."""
        request, step = event.request, event.step
        if self.stage in (Stage.ENGAGING, Stage.RINGING):
            self._refuse(request, "consulted_not_there", "the consulted agent has not answered yet")
        elif self._move is not None:
            self._refuse(request, "consultation_moving", "what was asked before is being done")
        elif self.stage is Stage.CONFERENCE and step is not ev.ConsultStep.COMPLETE:
            self._refuse(request, "in_conference", "all three are in a conference")
        else:
            swapped = Stage.APART if self.stage is Stage.PRIVATE else Stage.PRIVATE
            self._go(_STAGES.get(step, swapped), request, now)

    def _refuse(self, request: str | None, error_id: str, detail: str) -> None:
        if request is not None:
            self._context.do(cmd.Answer(request, error_id, detail))

    # --- moves ------------------------------------------------------------------------------------------------------

    def _go(self, to: Stage, request: str | None, now: float) -> None:
        first, caller, consulted = self._talk.seat.leg, self._context.leg_id, self.leg
        if consulted is None:
            return
        meet = to in (Stage.CONFERENCE, Stage.DONE)
        if meet and not self._recording.joins(self._talk.parties(self.country), now, "agent_jurisdiction"):
            self._move = Move(to, request)  # goes on when the recording has ended
            return
        if to is Stage.CONFERENCE and self.stage is Stage.APART:
            self._confer(request, now)
            return
        if to is Stage.PRIVATE:
            self._leave_caller(now)
        joined = {Stage.PRIVATE: (first, consulted), Stage.DONE: (caller, consulted)}.get(to, (caller, first))
        self._moves += 1
        bridge_id = BridgeId(derive(now, "bridge", self._context.call_id, consulted, self._moves))
        self._move = Move(to, request, bridge_id)
        self._context.do(cmd.BridgeLegs(bridge_id, joined))

    def _leave_caller(self, now: float) -> None:
        self._recording.suspend()
        if not self._talk.held:
            self._talk.hold(now)

    def recording_ended(self, now: float) -> None:
        move = self._move
        if move is not None and move.bridge_id is None:
            self._move = None
            self._go(move.to, move.request, now)

    def needs(self, subject: str) -> bool:
        """Whether it is of the bridge that is being made, or of the consulted agent's leg."""
        return subject == self.leg or (self._move is not None and self._move.bridge_id == subject)

    def bridged(self, bridge_id: BridgeId, now: float) -> None:
        move, self._move = self._move, None
        if move is None or self.leg is None:
            return
        match move.to:
            case Stage.PRIVATE:
                self.stage, self._private = Stage.PRIVATE, bridge_id
                self._done(move.request)
            case Stage.DONE:
                self._context.record(ev.ConsultationEnded(at=now, agent_id=self.agent_id, reason="completed"))
                self._talk.succeeded(self, self.leg, bridge_id, now)
                self._done(move.request)
            case Stage.CONFERENCE:
                self._talk.caller_is_back(bridge_id, now)
                self._confer(move.request, now)
            case _:
                self.stage = Stage.APART
                self._talk.caller_is_back(bridge_id, now)
                self._recording.resume(self._talk.parties(), now)
                self._context.do(cmd.StartMusic(self.leg, self._talk.music_class))
                self._done(move.request)

    def _confer(self, request: str | None, now: float) -> None:
        """The caller and the first agent are bridged: the consulted agent joins them, as a supervisor barges in."""
        if self.leg is None:
            return
        self.stage = Stage.CONFERENCE
        self._recording.resume(self._talk.parties(self.country), now)
        self._context.record(ev.ConferenceStarted(at=now, agent_id=self.agent_id))
        self._context.do(cmd.SuperviseLeg(self.leg, self._talk.seat.leg, ev.Supervision.BARGE))
        self._done(request)

    def _done(self, request: str | None) -> None:
        if request is not None:
            self._context.do(cmd.Answer(request))

    # --- the end ----------------------------------------------------------------------------------------------------

    def desert(self, now: float) -> None:
        """The first agent has hung up: the consulted one gets the caller, as soon as there."""
        self.deserted = True
        move = self._move
        if self.stage is Stage.RINGING and move is None:
            return
        if move is not None and move.to is Stage.DONE:
            return
        if move is not None:
            self._refuse(move.request, "first_agent_gone", "the first agent has hung up")
            self._move = None
        self._go(Stage.DONE, None, now)

    @property
    def together(self) -> bool:
        """Whether the caller and the first agent are in one bridge, and nothing is under way."""
        return self.stage in (Stage.ENGAGING, Stage.APART, Stage.CONFERENCE) and (
            self._move is None or self._move.bridge_id is None
        )

    @property
    def rang(self) -> str:
        """How it ended when the consulted agent's leg did."""
        return "not_answered" if self.stage is Stage.RINGING and self._move is None else "hung_up"

    def end(self, reason: str, now: float, hang_up: bool = True) -> None:
        """The consulted agent's leg is hung up, if it lives and nobody else does it, and the agent freed. Who still
        waits for an answer gets it."""
        context = self._context
        failed = "engine_failed" if reason == "engine_failed" else "consultation_ended"
        self._refuse(self._request, failed, "the consultation is over")
        if self._move is not None:
            self._refuse(self._move.request, failed, "the consultation is over")
            if self._move.bridge_id is not None:
                context.do(cmd.DestroyBridge(self._move.bridge_id))
        if self._private is not None:
            context.do(cmd.DestroyBridge(self._private))
        if hang_up and self.leg is not None and self.leg in self._legs:
            context.do(cmd.HangUpLeg(self.leg, HangupCause.NORMAL_CLEARING))
        context.record(ev.ConsultationEnded(at=now, agent_id=self.agent_id, reason=reason))
        context.do(cmd.FreeAgent(self.agent_id))
