"""A call: one customer contact over all its legs. Pure: ``handle(event, now) -> commands``.

The caller's leg walks through the flow, one step at a time (``call_steps``, ``queue_step``); after the queue comes
the conversation; then the call ends: every leg hung up, the recording placed, the agent released, and ``CallEnded``
written once, last. Facts that no longer concern the call (a play that was cut short, a timer that was replaced)
change nothing.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum

from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.call_context import CallConfig, CallContext
from pbx.domain.call_recording import CallRecording
from pbx.domain.call_steps import End, Go, Outcome, Step
from pbx.domain.conversation import PREFERRED_S, Asked, Conversation, HandOn, Seat
from pbx.domain.conversation import Outcome as TalkOutcome
from pbx.domain.discretion import for_journal, has_secrets
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import CallId, LegId, RecordingId
from pbx.domain.lookup_step import LookupStep
from pbx.domain.queue_step import QueueStep
from pbx.domain.step_makers import make_step

CLEANUP_S = 10.0
"""How long an ending call waits for its legs and its recording before it is closed without their word."""

CUT_S = 1.0
"""How long a leg whose prompt broke off may live before the flow goes on without the prompt."""

MAX_NODES = 500
"""A call that walks more nodes than this is in a loop of its flow and is ended."""


class Phase(Enum):
    ANSWERING = "answering"
    IN_FLOW = "in_flow"
    TALKING = "talking"
    ENDING = "ending"
    ENDED = "ended"


class Call:
    """One call, from ``LegOffered`` to ``CallEnded``."""

    def __init__(self, call_id: CallId, offered: ev.LegOffered, config: CallConfig) -> None:
        self.call_id = call_id
        self.cli = offered.cli
        self.config = config
        self.phase = Phase.ANSWERING
        self.context = CallContext(
            call_id, offered.leg_id, config, config.did.language, offered.caller_country, self.cli
        )
        self.node: str | None = None
        self.step: Step | None = None
        self.legs: set[LegId] = {offered.leg_id}
        """Legs that live, as far as we know."""
        self.talk: Conversation | None = None
        self.waited_s = 0.0
        """How long the caller has waited in queues so far: the age that a transfer keeps."""
        self.recording = CallRecording(self.context)
        self.nodes_walked = 0
        self._secrets = has_secrets(config)
        self._cut_ms = 0
        self._ended: ev.CallEnded | None = None

    @property
    def ended(self) -> bool:
        return self.phase is Phase.ENDED

    def for_journal(self, event: ev.Event) -> ev.Event:
        """``event`` without what must not be kept; to be asked before the event is handled."""
        return for_journal(event, self.step, self._secrets)

    def handle(self, event: ev.Event, now: float) -> list[cmd.Command]:
        """What ``event`` makes the call do. Commands come in the order in which they must be performed."""
        self.context.out = []
        match event:
            case ev.LegOffered():
                self._offered(now)
            case ev.LegEnded(leg_id=leg_id):
                self._leg_ended(leg_id, event.cause, now)
            case ev.LegAnswered(leg_id=leg_id):
                self._leg_answered(leg_id, now)
            case ev.DigitPressed(leg_id=leg_id, digit=digit):
                mine = leg_id == self.context.leg_id and not self.context.is_late_key(digit, now)
                if mine and self.step is not None:
                    self._advance(self.step.digit(digit, now), now)
            case ev.PlayEnded(play_id=play_id):
                if play_id == self.context.playing and self.step is not None:
                    self.context.playing = None
                    self._played(self.step, event, now)
            case ev.LookupEnded():
                if isinstance(self.step, LookupStep):
                    self._advance(self.step.ended(event), now)
            case ev.TimerFired(timer=timer):
                self._timer(timer, now)
            case ev.CommandFailed():
                self._failed(event, now)
            case ev.RecordingEnded(recording_id=recording_id):
                if self.recording.ended(recording_id, now) and self.talk is not None:
                    self.talk.recording_ended(now)
            case ev.RecordingStopAsked(by=by):
                self.recording.stop(discard=by == "caller")
            case ev.HangUpAsked():
                self._end(ev.EndReason.ASKED, HangupCause.NORMAL_CLEARING, now)
            case (
                ev.SupervisionAsked()
                | ev.SupervisionEndAsked()
                | ev.TakeOverAsked()
                | ev.HoldAsked()
                | ev.ResumeAsked()
                | ev.MuteAsked()
                | ev.TransferAsked()
                | ev.ConsultAsked()
                | ev.ConsultStepAsked()
            ):
                self._asked(event, now)
            case ev.AgentEngaged() | ev.AgentNotEngaged():
                if self.talk is not None:
                    self.talk.engaged(event, now)
            case _:
                self._queue_event(event, now)
        self._close_if_over(now)
        return self.context.out

    # --- the flow -----------------------------------------------------------------------------------------------

    def _offered(self, now: float) -> None:
        flow = self.config.flow
        started = ev.FlowStarted(at=now, flow_id=flow.flow_id, version=flow.version, language=self.context.language)
        self.context.record(started)
        self.context.do(cmd.AnswerLeg(self.context.leg_id))

    def _leg_answered(self, leg_id: LegId, now: float) -> None:
        if leg_id == self.context.leg_id:
            if self.phase is Phase.ANSWERING:
                self.phase = Phase.IN_FLOW
                self._advance(Go(self.config.flow.start), now)
            return
        step = self.step
        if isinstance(step, QueueStep) and leg_id == step.agent_leg:
            step.agent_answered(now)
        elif self.talk is not None and self.talk.leg_answered(leg_id, now):
            return
        elif leg_id in self.legs:  # answered after its offer was over
            self.context.do(cmd.HangUpLeg(leg_id, HangupCause.NORMAL_CLEARING))

    def _advance(self, outcome: Outcome, now: float) -> None:
        """Follow the flow until a step has something to wait for."""
        while outcome is not None:
            if isinstance(outcome, End):
                self._end(outcome.reason, outcome.cause, now)
                return
            self.nodes_walked += 1
            if self.nodes_walked > MAX_NODES:
                self._end(ev.EndReason.FLOW_ENDED, HangupCause.NORMAL_UNSPECIFIED, now)
                return
            self.context.cancel_timers()
            self.node = outcome.node
            self.context.record(ev.NodeEntered(at=now, node=outcome.node))
            self.step = make_step(self.context, outcome.node)
            outcome = self.step.enter(now)

    def _played(self, step: Step, event: ev.PlayEnded, now: float) -> None:
        if event.completed:
            self._advance(step.played(event.played_ms, True, now), now)
        else:
            # Cut by nobody here: the caller has hung up, and LegEnded is on its way, or the media server could not
            # play. Only if the leg is still there after a moment does the flow go on without the prompt.
            self._cut_ms = event.played_ms
            self.context.set_timer("cut", CUT_S)

    def _timer(self, name: str, now: float) -> None:
        purpose = self.context.timer_fired(name)
        if purpose == "cut" and self.step is not None:
            self._advance(self.step.played(self._cut_ms, False, now), now)
            return
        if purpose == "cleanup":
            self.legs.clear()
            self.recording.give_up()
        elif purpose is not None and self.step is not None:
            self._advance(self.step.timer(purpose, now), now)

    # --- the queue and the conversation ---------------------------------------------------------------------------

    def _queue_event(self, event: ev.Event, now: float) -> None:
        step = self.step
        if not isinstance(step, QueueStep):
            if isinstance(event, ev.LegsBridged) and self.talk is not None:
                self.talk.bridged(event.bridge_id, now)
            if isinstance(event, ev.OfferMade):  # crossed with our leaving the queue
                gone = ev.OfferOutcome.CALLER_GONE
                self.context.record(
                    ev.OfferEnded(at=now, offer_id=event.offer_id, agent_id=event.agent_id, outcome=gone)
                )
                self.context.do(cmd.EndOffer(event.offer_id, event.agent_id, gone))
            return
        match event:
            case ev.QueueJoined():
                self._advance(step.joined(event), now)
            case ev.QueueRefused():
                self._advance(step.refused(), now)
            case ev.QueueOverflowed(queue_id=queue_id):
                step.overflowed(queue_id)
            case ev.WaitEnded(reason=reason, target=target):
                self._advance(step.wait_ended(reason, target), now)
            case ev.PositionTold():
                step.told(event)
            case ev.OfferMade():
                step.offered(event, now)
                if step.agent_leg is not None:
                    self.legs.add(step.agent_leg)
            case ev.OfferWithdrawn(offer_id=offer_id):
                if step.offer is not None and step.offer.offer_id == offer_id:
                    step.withdrawn(now)
            case ev.LegRinging(leg_id=leg_id):
                if leg_id == step.agent_leg:
                    step.rings()
            case ev.LegsBridged(bridge_id=bridge_id):
                if bridge_id == step.bridge_id:
                    offer = step.offer
                    step.bridged(now)
                    self._talk(step, offer, now)
            case _:
                return

    def _talk(self, step: QueueStep, offer: ev.OfferMade | None, now: float) -> None:
        if offer is None or step.agent_leg is None or step.bridge_id is None or not step.connected:
            return
        self.phase, self.step = Phase.TALKING, None
        self.waited_s = now - step.entered_at
        seat = Seat(
            agent_id=offer.agent_id,
            agent_country=offer.agent_country,
            queue_id=offer.queue_id,
            queue=step.queue,
            leg=step.agent_leg,
            bridge_id=step.bridge_id,
            node=step.node,
        )
        self.talk = Conversation(self.context, self.legs, self.recording, self.cli, seat, now)

    def _asked(self, event: Asked, now: float) -> None:
        if self.talk is None or self.phase is not Phase.TALKING:
            why = "nobody talks to the caller now"
            self.context.do(cmd.Answer(event.request, "not_in_conversation", why))
        else:
            self._talk_outcome(self.talk.asked(event, now), now)

    def _talk_outcome(self, outcome: TalkOutcome, now: float) -> None:
        if isinstance(outcome, End):
            self._end(outcome.reason, outcome.cause, now)
        elif isinstance(outcome, HandOn) and self.talk is not None:
            former = self.talk.seat.agent_id
            self.phase, self.talk = Phase.IN_FLOW, None
            # Whom the flow prefers may be the one who hands the caller on.
            to, preferred = replace(outcome.node, preferred=None, preferred_s=0.0), outcome.preferred
            self.step = step = QueueStep(
                self.context, to, self.cli, waited_s=self.waited_s, preferred=preferred, preferred_s=PREFERRED_S
            )
            entered = step.enter(now)
            # Only now, or the former agent could be offered the call before the one it is for.
            self.context.do(cmd.ReleaseAgent(former))
            self._advance(entered, now)

    # --- the end --------------------------------------------------------------------------------------------------

    def _leg_ended(self, leg_id: LegId, cause: HangupCause, now: float) -> None:
        self.legs.discard(leg_id)
        if self.phase in (Phase.ENDING, Phase.ENDED):
            return
        if leg_id == self.context.leg_id:
            self._end(ev.EndReason.CALLER_HUNG_UP, cause, now)
        elif isinstance(self.step, QueueStep) and leg_id == self.step.agent_leg:
            self.step.agent_leg_ended(cause, now)
        elif self.talk is not None:
            self._talk_outcome(self.talk.leg_ended(leg_id, now), now)

    def _end(self, reason: ev.EndReason, cause: HangupCause, now: float) -> None:
        if self.phase in (Phase.ENDING, Phase.ENDED):
            return
        self.phase = Phase.ENDING
        self._ended = ev.CallEnded(at=now, reason=reason, cause=cause, ended_at=now)
        if self.step is not None:
            self.step.abandon(now)
        self.step = None
        self.context.cancel_timers()
        self.recording.finish()
        if self.talk is not None:
            self.talk.end(now)
            self.talk = None
        for leg_id in sorted(self.legs):
            self.context.do(cmd.HangUpLeg(leg_id, cause))
        self.context.set_timer("cleanup", CLEANUP_S)

    def _close_if_over(self, now: float) -> None:
        if self.phase is not Phase.ENDING or self.legs or self.recording.running is not None or self._ended is None:
            return
        self.phase = Phase.ENDED
        self.context.cancel_timers()
        last = self._ended
        self.context.record(ev.CallEnded(at=now, reason=last.reason, cause=last.cause, ended_at=last.ended_at))

    # --- what went wrong --------------------------------------------------------------------------------------------

    def _failed(self, event: ev.CommandFailed, now: float) -> None:
        """The media server did not do what we asked. What nobody knows (``unknown``) the next snapshot settles."""
        match event.command:
            case "OriginateLeg" if not event.unknown:
                self._leg_ended(LegId(event.subject), HangupCause.TEMPORARY_FAILURE, now)
            case "HangUpLeg" if not event.unknown and event.error == "LegGone":
                self._leg_ended(LegId(event.subject), HangupCause.NORMAL_CLEARING, now)
            case "AnswerLeg" if event.error != "LegGone":
                self._end(ev.EndReason.ENGINE_FAILED, HangupCause.TEMPORARY_FAILURE, now)
            case "PlayPrompts" if event.subject == self.context.playing and self.step is not None:
                self.context.playing = None
                self._cut_ms = 0
                self.context.set_timer("cut", CUT_S)
            case "BridgeLegs":
                if isinstance(self.step, QueueStep) and self.step.bridge_id == event.subject:
                    self.step.bridge_failed(now)
                elif self.talk is not None and self.phase is Phase.TALKING:
                    self._talk_outcome(self.talk.failed(event, now), now)
            case "StartRecording":
                if self.recording.ended(RecordingId(event.subject), now) and self.talk is not None:
                    self.talk.recording_ended(now)
            case "SuperviseLeg" | "HoldLeg" | "MuteLeg":
                if self.talk is not None and self.phase is Phase.TALKING:
                    self._talk_outcome(self.talk.failed(event, now), now)
            case _:
                return
