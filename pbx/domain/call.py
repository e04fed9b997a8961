"""A call: one customer contact over all its legs. Pure: ``handle(event, now) -> commands``.

The caller's leg walks through the flow, one step at a time (``call_steps``, ``queue_step``); after the queue comes
the conversation; then the call ends: every leg hung up, the recording placed, the agent released, and ``CallEnded``
written once, last. Facts that no longer concern the call (a play that was cut short, a timer that was replaced)
change nothing.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum

from pbx.domain import called_back, leaving, placed
from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.agent_leg import AgentLegStep
from pbx.domain.asked import Asked
from pbx.domain.call_context import CallConfig, CallContext
from pbx.domain.call_recording import CallRecording
from pbx.domain.call_steps import Connected, ConsentStep, End, Go, Outcome, Step, ToStep
from pbx.domain.callback_step import CallbackStep
from pbx.domain.called_back import CalledBack
from pbx.domain.conversation import Conversation
from pbx.domain.conversation import Outcome as TalkOutcome
from pbx.domain.discretion import for_journal, has_secrets
from pbx.domain.forwarding import ForwardStep, Outside
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import CallId, LegId, RecordingId
from pbx.domain.kept_places import CUT_OFF
from pbx.domain.keyed_codes import Act, Keys
from pbx.domain.leaving import GoOn, HandOn, HandOver
from pbx.domain.leg_step import LegStep
from pbx.domain.lookup_step import LookupStep
from pbx.domain.parking import ParkStep
from pbx.domain.placed import ConnectStep, Placed
from pbx.domain.queue_step import Phase as QueuePhase
from pbx.domain.queue_step import QueueStep
from pbx.domain.resuming import resume
from pbx.domain.seat import Seat
from pbx.domain.step_makers import make_step
from pbx.domain.voicemail_step import VoicemailStep
from pbx.domain.withdrawal import STAR, asks_for_star

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
    """One call, from ``LegOffered``, ``CallbackDialled`` or ``CallPlaced`` to ``CallEnded``."""

    def __init__(self, call_id: CallId, offered: ev.CallBegun, config: CallConfig) -> None:
        self.call_id = call_id
        self.cli = offered.cli
        if isinstance(offered, ev.CallbackDialled):
            config = called_back.config_of(config, offered)
        elif isinstance(offered, ev.CallPlaced):
            config = placed.config_of(config, offered)
        self.config = config
        self.phase = Phase.ANSWERING
        self.context = CallContext(
            call_id, offered.leg_id, config, config.did.language, offered.caller_country, self.cli, offered.trunk
        )
        if isinstance(offered, ev.CallbackDialled | ev.CallPlaced):
            self.context.language = offered.language
        if isinstance(offered, ev.CallPlaced):
            self.context.placed = Placed(self.context, offered)
        elif isinstance(offered, ev.CallbackDialled):
            self.context.called_back = CalledBack(
                offered.callback_id, offered.attempt, offered.queue_id, offered.entered_at
            )
        self.node: str | None = None
        self.step: Step | None = None
        self.legs = self.context.legs
        # The number is not dialled yet where an agent is to be there first.
        self.legs.add(offered.phone_leg if isinstance(offered, ev.CallPlaced) else offered.leg_id)
        self.talk: Conversation | None = None
        self.waited_s = 0.0
        """How long the caller has waited in queues so far: the age that a transfer keeps."""
        self.recording = CallRecording(self.context)
        self.voicemail: VoicemailStep | None = None
        """The last one the call came to; it may still wait for its recording when the caller is gone."""
        self._after: str | None = None
        """The node after a conversation whose recording is being closed."""
        self.nodes_walked = 0
        self._secrets = has_secrets(config)
        self._keys = Keys()
        """What the caller keys in while talking to somebody."""
        self._talked = False
        """There was a conversation, recorded or not."""
        self._cut_ms = 0
        self._ended: ev.CallEnded | None = None

    @property
    def ended(self) -> bool:
        return self.phase is Phase.ENDED

    @property
    def called_back(self) -> CalledBack | None:
        return self.context.called_back

    @property
    def placed(self) -> Placed | None:
        return self.context.placed

    @property
    def lives_by(self) -> LegId:
        """The leg without which there is no call: the caller's, or the agent's while the number is not dialled yet, or
        not reached."""
        if self.placed is not None and self.context.leg_id not in self.legs:
            return self.placed.phone_leg
        return self.context.leg_id

    @property
    def cause(self) -> HangupCause | None:
        """Why it ended; None while it lives."""
        return None if self._ended is None else self._ended.cause

    def for_journal(self, event: ev.Event) -> ev.Event:
        """``event`` without what must not be kept; to be asked before the event is handled."""
        if isinstance(event, ev.DigitPressed) and self.talk is not None:
            return replace(event, digit=ev.HIDDEN)  # said to whom the caller talks to: a card's number, perhaps
        return for_journal(event, self.step, self._secrets)

    def handle(self, event: ev.Event, now: float) -> list[cmd.Command]:
        """What ``event`` makes the call do. Commands come in the order in which they must be performed."""
        self.context.out = []
        match event:
            case ev.LegOffered():
                self._offered(now)
            case ev.CallbackDialled():
                self._flow_started(now)
                called_back.dial(self.context, event)
            case ev.CallPlaced() if self.placed is not None:
                self._flow_started(now)
                self.placed.begin()
            case ev.LegEnded(leg_id=leg_id):
                self._leg_ended(leg_id, event.cause, now)
            case ev.LegAnswered(leg_id=leg_id):
                self._leg_answered(leg_id, now)
            case ev.DigitPressed(leg_id=leg_id, digit=digit):
                mine = leg_id == self.context.leg_id and not self.context.is_late_key(digit, now)
                if mine and self._hears_withdrawal() and self._withdraws(digit, now):
                    mine = self._waits_or_talks()
                if mine and self.step is not None:
                    self._key_for(self.step, digit, now)
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
            case ev.RecordingStarted(recording_id=recording_id):
                if self.voicemail is not None:
                    self.voicemail.started(recording_id, now)
            case ev.RecordingSilent():
                if self.voicemail is not None:
                    self.voicemail.silent(event, now)
            case ev.RecordingEnded(recording_id=recording_id):
                if self.voicemail is not None and self.voicemail.running == recording_id:
                    self._advance(self.voicemail.stored(event, now), now)
                else:
                    self._recording_ended(recording_id, now, kept=event.size_bytes > 0 and not event.discarded)
            case ev.RecordingErased(recording_id=recording_id):
                self.recording.erased(recording_id)
            case ev.RecordingStopAsked(by=by):
                if self.voicemail is not None:
                    self.voicemail.stop_asked(now)
                if by == "caller":
                    self.recording.withdraw(self.talk.parties() if self.talk is not None else None, now)
                else:
                    self.recording.stop(discard=False)
            case ev.CallReadopted():
                self._readopted(now)
            case ev.HangUpAsked():
                self._end(ev.EndReason.ASKED, HangupCause.NORMAL_CLEARING, now)
            case _ if isinstance(event, Asked):
                self._asked(event, now)
            case ev.CallbackPromised() | ev.CallbackRefused():
                self._callback_answered(event, now)
            case ev.AgentEngaged() | ev.AgentNotEngaged():
                if self.talk is not None:
                    self.talk.engaged(event, now)
                elif isinstance(self.step, AgentLegStep):
                    self._advance(self.step.engaged(event, now), now)
                elif self.placed is not None and self.phase is Phase.ANSWERING:
                    self._advance(self.placed.told(event), now)
            case _:
                self._queue_event(event, now)
        self._close_if_over(now)
        return self.context.out

    # --- the flow -----------------------------------------------------------------------------------------------

    def _offered(self, now: float) -> None:
        self._flow_started(now)
        self.context.do(cmd.AnswerLeg(self.context.leg_id))

    def _flow_started(self, now: float) -> None:
        flow = self.config.flow
        started = ev.FlowStarted(at=now, flow_id=flow.flow_id, version=flow.version, language=self.context.language)
        self.context.record(started)

    def _readopted(self, now: float) -> None:
        if self.phase is Phase.ANSWERING and self.placed is not None:
            self.placed.resume()
        elif self.phase is Phase.ANSWERING and self.called_back is None:
            self.context.do(cmd.AnswerLeg(self.context.leg_id))
        elif self.step is not None and self.phase is Phase.IN_FLOW:
            self._advance(resume(self.step, self.context, now), now)

    def _leg_answered(self, leg_id: LegId, now: float) -> None:
        if leg_id == self.context.leg_id:
            if self.phase is Phase.ANSWERING:
                self.phase = Phase.IN_FLOW
                if self.called_back is not None:
                    self.called_back.answered(self.context, now)
                if self.placed is not None:
                    self.placed.reached = True
                self._advance(Go(self.config.flow.start), now)
            return
        step = self.step
        if self.placed is not None and self.placed.is_phone(leg_id):
            if self.phase is Phase.ANSWERING:
                self.placed.phone_answered()
        elif isinstance(step, QueueStep) and leg_id == step.agent_leg:
            step.agent_answered(now)
        elif isinstance(step, LegStep) and leg_id == step.leg:
            step.answered = True
            self._let_in(now)
        elif self.talk is not None and self.talk.leg_answered(leg_id, now):
            return
        elif leg_id in self.legs:  # answered after its offer was over
            self.context.do(cmd.HangUpLeg(leg_id, HangupCause.NORMAL_CLEARING))

    def _hears_withdrawal(self) -> bool:
        """Whether the caller's keys may take the recording back, one that is to come included: in conversation, while
        waiting for one, and at the nodes of the flow that come after one. Not while somebody outside hears the keys,
        who may ask for some; nor where a node asks for a star."""
        if self.talk is not None:
            return not self.talk.heard_outside
        if isinstance(self.step, ForwardStep) and self.step.talking:
            return False
        if self.step is not None and asks_for_star(self.step):
            return False
        return self._talked or self._waits_or_talks()

    def _waits_or_talks(self) -> bool:
        """Where a key means something besides: at a node of the flow those of a withdrawal are nobody's choice."""
        return self.talk is not None or isinstance(self.step, QueueStep | LegStep)

    def _withdraws(self, digit: str, now: float) -> bool:
        """Whether the key belongs to a withdrawal, or begins one."""
        keyed = self._keys.press(digit, now)
        complete = keyed is not None and keyed.act is Act.RECORDING
        if complete:
            self.recording.withdraw(self.talk.parties() if self.talk is not None else None, now)
        return complete or digit == STAR

    def _key_for(self, step: Step, digit: str, now: float) -> None:
        outcome = step.digit(digit, now)
        if isinstance(step, ConsentStep) and step.refused_by_key and self.recording.parts:
            self.recording.withdraw(None, now)  # who says no now does not mean the next conversation only
        self._advance(outcome, now)

    def _let_in(self, now: float) -> None:
        """Who has answered hears the caller, once nothing is recorded any more."""
        if isinstance(self.step, LegStep) and self.recording.running is None:
            self.step.let_in(now)

    def _advance(self, outcome: Outcome, now: float) -> None:
        """Follow the flow until a step has something to wait for."""
        while outcome is not None:
            if isinstance(outcome, End):
                self._end(outcome.reason, outcome.cause, now)
                return
            if isinstance(outcome, Connected):
                if isinstance(self.step, QueueStep):
                    self.waited_s = now - self.step.entered_at
                self._converse(outcome.seat, now)
                return
            if isinstance(outcome, ToStep):
                self.context.cancel_timers()
                self.step = outcome.step
            else:
                self.nodes_walked += 1
                if self.nodes_walked > MAX_NODES:
                    self._end(ev.EndReason.FLOW_ENDED, HangupCause.NORMAL_UNSPECIFIED, now)
                    return
                self.context.cancel_timers()
                self.node = outcome.node
                self.context.record(ev.NodeEntered(at=now, node=outcome.node))
                self.step = self._step_at(outcome.node)
            if isinstance(self.step, VoicemailStep):
                self.voicemail = self.step
            outcome = self.step.enter(now)

    def _step_at(self, node: str) -> Step:
        if self.placed is not None and node == placed.CONNECT:
            return ConnectStep(self.context, self.placed)
        return make_step(self.context, node)

    def _played(self, step: Step, event: ev.PlayEnded, now: float) -> None:
        if event.completed or (isinstance(step, VoicemailStep) and step.waits_for_cut):
            self._advance(step.played(event.played_ms, event.completed, now), now)
        else:
            # Cut by nobody here: the caller has hung up, and LegEnded is on its way, or the media server could not
            # play. Only if the leg is still there after a moment does the flow go on without the prompt.
            self._cut_ms = event.played_ms
            self.context.set_timer("cut", CUT_S)

    def _timer(self, name: str, now: float) -> None:
        if name == called_back.RESERVED and self.called_back is not None:
            self.called_back.let_go(self.context, ev.OfferOutcome.WITHDRAWN, now)
            return
        purpose = self.context.timer_fired(name)
        if purpose == "cut" and self.step is not None:
            self._advance(self.step.played(self._cut_ms, False, now), now)
            return
        if purpose == placed.TONE and self.placed is not None:
            self._advance(self.placed.tone_over(), now)
        elif purpose == "cleanup":
            self.legs.clear()
            self.recording.give_up()
            self.voicemail = None
        elif purpose is not None and self.step is not None:
            self._advance(self.step.timer(purpose, now), now)

    # --- the queue and the conversation ---------------------------------------------------------------------------

    def _queue_event(self, event: ev.Event, now: float) -> None:
        step = self.step
        if isinstance(step, LegStep) and isinstance(event, ev.LegsBridged):
            self._advance(step.bridged(event.bridge_id, now), now)
            return
        if not isinstance(step, QueueStep):
            if self.talk is not None and self.phase is Phase.TALKING:
                if isinstance(event, ev.LegsBridged):
                    self._talk_outcome(self.talk.bridged(event.bridge_id, now), now)
                    return
                if self.talk.consultation is not None and self.talk.consultation.expects(event):
                    self._talk_outcome(self.talk.consulted_told(event, now), now)
                    return
            if self.called_back is not None and self.called_back.waits and self.phase is not Phase.ENDING:
                self.called_back.told(self.context, event, now)
            elif isinstance(event, ev.OfferMade):  # crossed with our leaving the queue
                gone = ev.OfferOutcome.CALLER_GONE
                self.context.record(
                    ev.OfferEnded(at=now, offer_id=event.offer_id, agent_id=event.agent_id, outcome=gone)
                )
                self.context.do(cmd.EndOffer(event.offer_id, event.agent_id, gone))
            return
        self._advance(step.told(event, now), now)

    def _callback_answered(self, event: ev.CallbackPromised | ev.CallbackRefused, now: float) -> None:
        step = self.step
        if isinstance(step, CallbackStep | QueueStep):
            promised = isinstance(event, ev.CallbackPromised)
            self._advance(step.promised() if promised else step.not_promised(now), now)

    def _converse(self, seat: Seat, now: float) -> None:
        self.context.cancel_timers()
        self.phase, self.step, self._talked = Phase.TALKING, None, True
        self.talk = Conversation(self.context, self.legs, self.recording, self.cli, seat, now)
        if self.called_back is not None and not self.called_back.talked:
            self.called_back.talks(self.context, seat.agent_id, now)

    def _asked(self, event: Asked, now: float) -> None:
        if isinstance(event, ev.RetrieveAsked):
            self._retrieve(event, now)
        elif self.talk is None or self.phase is not Phase.TALKING:
            why = "nobody talks to the caller now"
            self.context.do(cmd.Answer(event.request, "not_in_conversation", why))
        else:
            self._talk_outcome(self.talk.asked(event, now), now)

    def _retrieve(self, event: ev.RetrieveAsked, now: float) -> None:
        if isinstance(self.step, ParkStep):
            self.step.retrieve(event, now)
            return
        self.context.do(cmd.Answer(event.request, "not_parked", "the caller is not parked"))
        if event.leg_id is not None:
            self.legs.add(event.leg_id)
            self.context.do(cmd.HangUpLeg(event.leg_id, HangupCause.CALL_REJECTED))

    def _talk_outcome(self, outcome: TalkOutcome, now: float) -> None:
        if isinstance(outcome, End):
            self._end(outcome.reason, outcome.cause, now)
            return
        if outcome is None or self.talk is None:
            return
        seat = self.talk.seat
        self.phase, self.talk = Phase.IN_FLOW, None
        if isinstance(outcome, GoOn):
            self.context.do(cmd.ReleaseAgent(seat.agent_id))
            self._after = outcome.node
            self._go_on(now)
            return
        if isinstance(outcome, HandOver):
            self.step = taken = ForwardStep(self.context, Outside(number=outcome.number, why="consultation"), None)
            taken.take_up(outcome.leg, outcome.bridge_id, now)
            self.context.do(cmd.ReleaseAgent(seat.agent_id))
            return
        self.step = step = leaving.next_step(self.context, outcome, seat, self.waited_s)
        if isinstance(outcome, HandOn):
            entered = step.enter(now)
            # Only now, or the former agent could be offered the call before the one it is for.
            self.context.do(cmd.ReleaseAgent(seat.agent_id))
            self._advance(entered, now)
        else:
            self.context.do(cmd.ReleaseAgent(seat.agent_id))
            self._advance(ToStep(step), now)

    def _recording_ended(self, recording_id: RecordingId, now: float, *, kept: bool) -> None:
        if self.recording.ended(recording_id, now, kept=kept):
            if self.talk is not None:
                self.talk.recording_ended(now)
            self._let_in(now)
        self._go_on(now)

    def _go_on(self, now: float) -> None:
        """To what comes after a conversation, once its recording is over."""
        if self._after is not None and self.phase is Phase.IN_FLOW and self.recording.running is None:
            node, self._after = self._after, None
            self._advance(Go(node), now)

    # --- the end --------------------------------------------------------------------------------------------------

    def _leg_ended(self, leg_id: LegId, cause: HangupCause, now: float) -> None:
        self.legs.discard(leg_id)
        if self.phase in (Phase.ENDING, Phase.ENDED):
            return
        if self.placed is not None and self.placed.is_phone(leg_id):
            self._advance(self.placed.phone_gone(cause), now)
        elif leg_id == self.context.leg_id and self.placed is not None and not self.placed.reached:
            self.placed.not_reached(cause, now)
        elif leg_id == self.context.leg_id:
            missed = self.called_back is not None and not self.called_back.reached
            self._end(ev.EndReason.NOT_REACHED if missed else ev.EndReason.CALLER_HUNG_UP, cause, now)
        elif isinstance(self.step, QueueStep) and leg_id == self.step.agent_leg:
            self.step.agent_leg_ended(cause, now)
        elif isinstance(self.step, LegStep) and leg_id == self.step.leg:
            self._advance(self.step.leg_ended(cause, now), now)
        elif self.talk is not None:
            self._talk_outcome(self.talk.leg_ended(leg_id, cause, now), now)

    def _end(self, reason: ev.EndReason, cause: HangupCause, now: float) -> None:
        if self.phase in (Phase.ENDING, Phase.ENDED):
            return
        self.phase = Phase.ENDING
        failed = self.placed.failed if self.placed is not None else None
        ended_at = now if failed is None else failed[1]
        self._ended = ev.CallEnded(at=now, reason=reason, cause=cause, ended_at=ended_at)
        if cause in CUT_OFF:
            self._keep_place(now)
        if self.step is not None:
            self.step.abandon(now)
        self.step = None
        self.context.cancel_timers()
        if self.called_back is not None:
            self.called_back.let_go(self.context, ev.OfferOutcome.CALLER_GONE, now)
        if self.placed is not None:
            self.placed.let_go()
        self.recording.finish()
        if self.talk is not None:
            self.talk.end(now)
            self.talk = None
        for leg_id in sorted(self.legs):
            self.context.do(cmd.HangUpLeg(leg_id, cause))
        self.context.set_timer("cleanup", CLEANUP_S)

    def _keep_place(self, now: float) -> None:
        """Who waits, or talks to an agent of a queue, and is cut off may dial again."""
        if isinstance(self.step, QueueStep) and self.step.phase is not QueuePhase.JOINING:
            node, entered_at = self.step.node, self.step.entered_at
        elif self.talk is not None:
            node, entered_at = self.talk.seat.node, now - self.waited_s
        else:
            return
        queue, theirs = self.config.queues.get(node.queue_id), self.called_back is None and self.placed is None
        if queue is None or queue.redial_s <= 0 or self.cli.number is None or not theirs:
            return
        self.context.record(ev.PlaceKept(at=now, queue_id=node.queue_id, entered_at=entered_at))
        self.context.do(cmd.KeepPlace(node.queue_id, self.cli.number, entered_at))

    def _close_if_over(self, now: float) -> None:
        if self.phase is not Phase.ENDING or self.legs or self.recording.running is not None or self._ended is None:
            return
        if self.recording.erasing or (self.voicemail is not None and self.voicemail.running is not None):
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
            case "AnswerLeg" if event.subject != self.context.leg_id:
                if event.error != "LegGone":
                    self.context.do(cmd.HangUpLeg(LegId(event.subject), HangupCause.TEMPORARY_FAILURE))
                self._leg_ended(LegId(event.subject), HangupCause.TEMPORARY_FAILURE, now)
            case "AnswerLeg" if event.error != "LegGone":
                self._end(ev.EndReason.ENGINE_FAILED, HangupCause.TEMPORARY_FAILURE, now)
            case "PlayPrompts" if event.subject == self.context.playing and self.step is not None:
                self.context.playing = None
                self._cut_ms = 0
                self.context.set_timer("cut", CUT_S)
            case "BridgeLegs":
                if isinstance(self.step, QueueStep) and self.step.bridge_id == event.subject:
                    self.step.bridge_failed(now)
                elif isinstance(self.step, LegStep):
                    self._advance(self.step.bridge_failed(event.subject, now), now)
                elif self.talk is not None and self.phase is Phase.TALKING:
                    self._talk_outcome(self.talk.failed(event, now), now)
            case "StartRecording":
                if self.voicemail is not None and self.voicemail.running == event.subject:
                    self._advance(self.voicemail.not_started(event.unknown, now), now)
                else:
                    self._recording_ended(RecordingId(event.subject), now, kept=False)
            case "PauseRecording":
                self.recording.pause_failed(RecordingId(event.subject))
            case "ResumeRecording":
                if self.talk is not None:
                    self.recording.go_on_failed(RecordingId(event.subject), self.talk.present(), now)
            case "EraseRecording":
                self.recording.erased(RecordingId(event.subject))
            case "SuperviseLeg" | "HoldLeg" | "MuteLeg":
                if self.talk is not None and self.phase is Phase.TALKING:
                    self._talk_outcome(self.talk.failed(event, now), now)
            case _:
                return
