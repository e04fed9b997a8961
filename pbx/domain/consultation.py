"""One consultation of a conversation: the agent asks somebody (``consulted``) while the caller hears music.

    ENGAGING -> RINGING -> PRIVATE <-> APART
        |       ^              |          |
        +--> WAITING           +----------+--> CONFERENCE

From everywhere the consulted party can be let go (the caller and the first agent are together again), and from
everywhere but the first three be given the caller (DONE). Each step that joins legs is a *move*: it is over when the
media server says so, and whatever happens meanwhile begins another one, by which the former is forgotten.

The caller is never lost to it. A first agent who hangs up has given the caller to the consulted party; while that one's
phone still rings the caller waits for it with music, and goes back to the queue, with the age kept, if nobody answers;
to the consulted queue, if it was one.

Nothing of what is said between agent and consulted party is recorded: the part under way is placed when the
consultation begins, and a new part begins when the first agent is back. Before the consulted party and the caller hear
each other, a part that the party's country forbids, and any part where it is an outside number, has been placed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.call_context import CallContext
from pbx.domain.call_recording import CallRecording, Parties
from pbx.domain.consulted import AskedAgent, AskedNumber, AskedQueue, Party
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import BridgeId, LegId, derive
from pbx.domain.leaving import HandOver

if TYPE_CHECKING:
    from pbx.domain.conversation import Conversation


REFUSED = "refused"
"""The consulted queue did not take the call; nothing has begun."""


class Stage(Enum):
    ENGAGING = "engaging"
    """The router is asked; the caller is with the first agent."""
    WAITING = "waiting"
    """In the consulted queue; the caller is on hold, the first agent hears the queue's music."""
    RINGING = "ringing"
    """The caller is on hold, the first agent hears that it rings."""
    PRIVATE = "private"
    """Agent and consulted party talk, the caller is on hold."""
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
        party: Party,
        request: str,
    ) -> None:
        self._talk, self._context, self._legs, self._recording = talk, context, legs, recording
        self.party = party
        self._request: str | None = request
        """Answered when the phone rings, or the call waits in the queue."""
        self.stage = Stage.ENGAGING
        self.deserted = False
        """The first agent has hung up."""
        self._move: Move | None = None
        self._moves = 0
        self._private: BridgeId | None = None

    @property
    def leg(self) -> LegId | None:
        return self.party.leg

    def begin(self, now: float) -> None:
        if self.party.ask(self._talk.seat, now):
            self._begun(now)
            self.party.ring(now)
            self._rings()

    # --- until somebody is there --------------------------------------------------------------------------------------

    def _begun(self, now: float) -> None:
        """The caller is left alone."""
        self._talk.end_watch("consultation", now)
        self._leave_caller(now)

    def _rings(self) -> None:
        self.stage = Stage.RINGING
        if not self.deserted:
            self._context.do(cmd.StartRinging(self._talk.seat.leg))
        request, self._request = self._request, None
        self._done(request)

    def engaged(self, event: ev.AgentEngaged | ev.AgentNotEngaged, now: float) -> bool:
        """Whether the consultation goes on."""
        if event.request != self._request or not isinstance(self.party, AskedAgent):
            return True
        refusal = self.party.engaged(event)
        if refusal is not None:
            self._refuse(event.request, refusal.error_id, refusal.detail)
            return False
        self._begun(now)
        self.party.ring(now)
        self._rings()
        return True

    def expects(self, event: ev.Event) -> bool:
        """Whether what the router says is about the queue that is consulted."""
        if not isinstance(self.party, AskedQueue):
            return isinstance(event, ev.LegRinging) and event.leg_id == self.leg
        match event:
            case ev.QueueJoined():
                return self.stage is Stage.ENGAGING
            case ev.QueueRefused():
                return self.stage in (Stage.ENGAGING, Stage.WAITING)
            case ev.OfferMade():
                return self.stage is Stage.WAITING
            case ev.QueueOverflowed() | ev.WaitEnded() | ev.CallbackOffered():
                return self.stage in (Stage.WAITING, Stage.RINGING)
            case ev.OfferWithdrawn(offer_id=offer_id):
                return self.party.offer is not None and self.party.offer.offer_id == offer_id
            case ev.LegRinging(leg_id=leg_id):
                return leg_id == self.leg
            case _:
                return False

    def told(self, event: ev.Event, now: float) -> str | None:
        """What the router said, of what is expected. Why the consultation is over; None: it is not."""
        party = self.party
        if not isinstance(party, AskedQueue):
            return None
        match event:
            case ev.QueueJoined():
                self._begun(now)
                self._wait()
                request, self._request = self._request, None
                self._done(request)
            case ev.QueueRefused(reason=reason):
                if self._request is None:
                    return "not_answered"
                self._refuse(self._request, "queue_refused", f"the queue does not take the call: {reason}")
                self._request = None
                return REFUSED
            case ev.WaitEnded():
                return "not_answered"
            case ev.QueueOverflowed(queue_id=queue_id):
                party.overflowed(queue_id)
            case ev.OfferMade():
                party.offered(event, now)
                self._rings()
            case ev.LegRinging():
                party.rings()
            case ev.OfferWithdrawn():
                if self.leg is not None and self.leg in self._legs:
                    self._context.do(cmd.HangUpLeg(self.leg, HangupCause.NORMAL_CLEARING))
                party.end_offer(ev.OfferOutcome.WITHDRAWN, now)
                return self._waits_again()
            case _:
                pass
        return None

    def _wait(self) -> None:
        self.stage = Stage.WAITING
        if isinstance(self.party, AskedQueue):
            self.party.waits = True
            self._context.do(cmd.StartMusic(self._talk.seat.leg, self.party.music_class))

    def _waits_again(self) -> str | None:
        if self.deserted:
            return "not_answered"
        self._wait()
        return None

    def leg_ended(self, cause: HangupCause, now: float) -> str | None:
        """The party's leg. Why the consultation is over; None: somebody else may be rung."""
        if self.stage is Stage.RINGING and self._move is None:
            return self._waits_again() if self.party.missed(cause, now) else "not_answered"
        return "hung_up"

    def answered(self, now: float) -> None:
        if self.stage is Stage.RINGING and self._move is None:
            self.party.answered(now)
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
        if self.stage in (Stage.ENGAGING, Stage.WAITING, Stage.RINGING):
            self._refuse(request, "consulted_not_there", "who is consulted has not answered yet")
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
        if to in (Stage.CONFERENCE, Stage.DONE) and not self._may_meet(now):
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

    def _may_meet(self, now: float) -> bool:
        """Whether the party may hear the caller, and be heard, at once."""
        if self.party.outside:
            self._recording.suspend()
            return self._recording.running is None
        return self._recording.joins(self._all_three(), now, "agent_jurisdiction")

    def beside(self, parties: Parties) -> Parties:
        """``parties``, and who is consulted where all hear one another."""
        return self._all_three() if self.stage is Stage.CONFERENCE else parties

    def _all_three(self) -> Parties:
        parties = self._talk.parties(self.party.country)
        return replace(parties, queue=self.party.queue_beside(parties.queue))

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

    def bridged(self, bridge_id: BridgeId, now: float) -> HandOver | None:
        move, self._move = self._move, None
        if move is None or self.leg is None:
            return None
        match move.to:
            case Stage.PRIVATE:
                self.stage, self._private = Stage.PRIVATE, bridge_id
                self._done(move.request)
            case Stage.DONE:
                self._over("completed", now)
                if isinstance(self.party, AskedNumber):
                    self._talk.handed_out(self, now)
                    self._done(move.request)
                    return HandOver(self.party.number.number, self.leg, bridge_id)
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
        return None

    def _over(self, reason: str, now: float) -> None:
        ended = ev.ConsultationEnded(at=now, agent_id=self.party.agent_id, queue_id=self.party.queue_id, reason=reason)
        self._context.record(ended)

    def _confer(self, request: str | None, now: float) -> None:
        """The caller and the first agent are bridged: the consulted party joins them, as a supervisor barges in."""
        if self.leg is None:
            return
        self.stage = Stage.CONFERENCE
        if not self.party.outside:
            self._recording.resume(self._all_three(), now)
        self._context.record(ev.ConferenceStarted(at=now, agent_id=self.party.agent_id, queue_id=self.party.queue_id))
        self._context.do(cmd.SuperviseLeg(self.leg, self._talk.seat.leg, ev.Supervision.BARGE))
        self._done(request)

    def _done(self, request: str | None) -> None:
        if request is not None:
            self._context.do(cmd.Answer(request))

    # --- the end ----------------------------------------------------------------------------------------------------

    def desert(self, now: float) -> bool:
        """The first agent has hung up: the consulted party gets the caller, as soon as there. False: nobody is rung
        yet."""
        self.deserted = True
        move = self._move
        if self.stage is Stage.WAITING:
            return False
        if (self.stage is Stage.RINGING and move is None) or (move is not None and move.to is Stage.DONE):
            return True
        if move is not None:
            self._refuse(move.request, "first_agent_gone", "the first agent has hung up")
            self._move = None
        self._go(Stage.DONE, None, now)
        return True

    @property
    def begun(self) -> bool:
        """The caller is not with the first agent alone any more."""
        return self.stage is not Stage.ENGAGING

    @property
    def heard_outside(self) -> bool:
        return self.party.outside and self.stage is Stage.CONFERENCE

    @property
    def together(self) -> bool:
        """Whether the caller and the first agent are in one bridge, and nothing is under way."""
        return self.stage in (Stage.ENGAGING, Stage.APART, Stage.CONFERENCE) and (
            self._move is None or self._move.bridge_id is None
        )

    def end(self, reason: str, now: float, hang_up: bool = True) -> None:
        """The consulted party's leg is hung up, if it lives and nobody else does it, and the agent freed. Who still
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
        self._over(reason, now)
        self.party.let_go(now)
