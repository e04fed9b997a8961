"""The caller and an agent talk: hold, mute, a supervisor, take over, a consultation, until one of them is gone or the
caller is handed on. What somebody asks for is answered once (``Answer``); what comes at a wrong moment is refused with
a word that says why, and changes nothing."""

from __future__ import annotations

from dataclasses import replace

from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain import leaving
from pbx.domain.asked import Asked
from pbx.domain.call_context import CallContext
from pbx.domain.call_recording import CallRecording, Parties
from pbx.domain.call_steps import End
from pbx.domain.consultation import REFUSED, Consultation
from pbx.domain.consulted import party
from pbx.domain.e164 import Cli
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import BridgeId, LegId, derive
from pbx.domain.leaving import GoOn, HandOn, HandOut, HandOver, Park, Refusal
from pbx.domain.seat import Seat
from pbx.domain.supervision import Stage, Watch

Outcome = End | HandOn | HandOut | HandOver | Park | GoOn | None
"""None: the conversation goes on."""


class Conversation:
    def __init__(
        self, context: CallContext, legs: set[LegId], recording: CallRecording, cli: Cli, seat: Seat, now: float
    ) -> None:
        self._context, self._legs, self._recording, self._cli = context, legs, recording, cli
        self.seat = seat
        self.held = False
        self.muted = False
        self.watch: Watch | None = None
        self.consultation: Consultation | None = None
        self._take_over: tuple[str, BridgeId] | None = None
        """Request and bridge of a take-over under way."""
        self._healing: BridgeId | None = None
        """A bridge made anew after a take-over that failed."""
        self._agent_gone = False
        """The agent hung up during a take-over."""
        self._begin(now)

    def _begin(self, now: float) -> None:
        seat = self.seat
        self._context.record(ev.TalkStarted(at=now, agent_id=seat.agent_id, queue_id=seat.queue_id))
        self._recording.begin(self.parties(), now)

    def parties(self, *joining: str | None) -> Parties:
        """Who hears the caller, with those who are about to."""
        watched = () if self.watch is None else (self.watch.country,)
        return Parties(self.seat.queue, (self.seat.agent_country, *watched, *joining))

    def present(self) -> Parties:
        """Who hears the caller, with whoever is in a conference with them."""
        consultation = self.consultation
        return self.parties() if consultation is None else consultation.beside(self.parties())

    @property
    def music_class(self) -> str:
        return self.seat.queue.music_class if self.seat.queue is not None else "default"

    @property
    def heard_outside(self) -> bool:
        """The caller hears an outside number, and may key in something for it."""
        return self.consultation is not None and self.consultation.heard_outside

    # --- what is asked ----------------------------------------------------------------------------------------------

    def asked(self, event: Asked, now: float) -> Outcome:
        if isinstance(event, ev.RecordingPauseAsked):  # at any time: what must not be kept may be said now
            refusal = self._recording.pause(now) if event.paused else self._recording.go_on(self.present(), now)
            if refusal is not None:
                return self._refuse(event.request, refusal.error_id, refusal.detail)
            self._answer(event.request)
            return None
        if self._take_over is not None:
            return self._refuse(event.request, "take_over_under_way", "the call is being taken over")
        if self.consultation is not None and self.consultation.bars(event):
            return self._refuse(event.request, "consultation_under_way", "somebody is being consulted")
        match event:
            case ev.ConsultAsked(request=request):
                consulted = party(self._context, self.seat, event)
                if isinstance(consulted, Refusal):
                    return self._refuse(request, consulted.error_id, consulted.detail)
                self.consultation = Consultation(self, self._context, self._legs, self._recording, consulted, request)
                self.consultation.begin(now)
            case ev.ConsultStepAsked(request=request):
                if self.consultation is None:
                    return self._refuse(request, "no_consultation", "nobody is being consulted")
                if event.step is ev.ConsultStep.CANCEL:
                    self._answer(request)
                    return self._end_consultation("cancelled", now)
                self.consultation.asked(event, now)
            case ev.SupervisionAsked():
                return self._supervise(event, now)
            case ev.SupervisionEndAsked(request=request):
                if self.watch is None:
                    return self._refuse(request, "no_supervision", "nobody supervises this call")
                self.end_watch("asked", now)
                self._answer(request)
            case ev.TakeOverAsked(request=request):
                return self._begin_take_over(request, now)
            case ev.HoldAsked(request=request):
                if self.held:
                    return self._refuse(request, "already_held", "the caller is on hold")
                self.hold(now)
                self._answer(request)
            case ev.ResumeAsked(request=request):
                if not self.held:
                    return self._refuse(request, "not_held", "the caller is not on hold")
                self.resumed(now)
                self._context.do(cmd.ResumeLeg(self._context.leg_id))
                self._answer(request)
            case ev.MuteAsked(request=request, muted=muted):
                if muted is not self.muted:
                    self.muted = muted
                    self._context.record(ev.MuteChanged(at=now, agent_id=self.seat.agent_id, muted=muted))
                    self._context.do(cmd.MuteLeg(self.seat.leg, muted))
                self._answer(request)
            case ev.TransferAsked():
                return self._transfer(event, now)
            case ev.ParkAsked(request=request, slot=slot, timeout_s=timeout_s):
                self._context.record(ev.CallParked(at=now, slot=slot, agent_id=self.seat.agent_id))
                self._leave("parked", now)
                self._answer(request)
                return Park(slot, timeout_s)
            case ev.RetrieveAsked(request=request):
                return self._refuse(request, "not_parked", "an agent talks to the caller")
        return None

    def _answer(self, request: str) -> None:
        self._context.do(cmd.Answer(request))

    def _refuse(self, request: str, error_id: str, detail: str) -> Outcome:
        self._context.do(cmd.Answer(request, error_id, detail))
        return None

    # --- hold -------------------------------------------------------------------------------------------------------

    def hold(self, now: float) -> None:
        self.held = True
        self._context.record(ev.HoldStarted(at=now, agent_id=self.seat.agent_id))
        self._context.do(cmd.HoldLeg(self._context.leg_id, self.music_class))

    def resumed(self, now: float) -> None:
        """The caller is back, if there was a hold."""
        if self.held:
            self.held = False
            self._context.record(ev.HoldEnded(at=now, agent_id=self.seat.agent_id))

    # --- the supervisor ---------------------------------------------------------------------------------------------

    def _supervise(self, event: ev.SupervisionAsked, now: float) -> Outcome:
        watch = self.watch
        if watch is None:
            if event.agent_id == self.seat.agent_id:
                return self._refuse(event.request, "agent_busy", "this agent has the call")
            self.watch = Watch(self._context, self._legs, event)
        elif watch.agent_id != event.agent_id:
            return self._refuse(event.request, "already_supervised", "another supervisor is with this call")
        elif event.take_over:
            return self._begin_take_over(event.request, now)
        else:
            watch.change(event.mode, self.seat.leg, now)
            self._answer(event.request)
        return None

    def engaged(self, event: ev.AgentEngaged | ev.AgentNotEngaged, now: float) -> None:
        if self.consultation is not None and not self.consultation.engaged(event, now):
            self.consultation = None
        if self.watch is None:
            return
        if isinstance(event, ev.AgentEngaged):
            self.watch.engaged(event, self._cli, now)
        elif self.watch.not_engaged(event):
            self.watch = None

    def leg_answered(self, leg_id: LegId, now: float) -> bool:
        """Whether the leg belongs here."""
        if self.consultation is not None and self.consultation.leg == leg_id:
            self.consultation.answered(now)
            return True
        watch = self.watch
        if watch is None or watch.leg != leg_id:
            return False
        if watch.stage is Stage.RINGING:
            watch.stage = Stage.CLEARING
            self.recording_ended(now)
        return True

    def recording_ended(self, now: float) -> None:
        """Nothing is recorded, or nothing any more: who waits for it may be let in."""
        if self.consultation is not None:
            self.consultation.recording_ended(now)
        watch = self.watch
        if watch is not None and watch.stage is Stage.CLEARING and self._recording.joins(self.parties(), now):
            watch.attach(self.seat.leg, now)
            if watch.takes_over:
                self._begin_take_over(watch.request, now)

    def end_watch(self, reason: str, now: float) -> None:
        watch, self.watch = self.watch, None
        if watch is not None:
            watch.end(reason, now)

    # --- take over --------------------------------------------------------------------------------------------------

    def _begin_take_over(self, request: str, now: float) -> Outcome:
        watch = self.watch
        if watch is None or watch.leg is None:
            return self._refuse(request, "no_supervision", "nobody supervises this call")
        if watch.stage is not Stage.ATTACHED:
            return self._refuse(request, "supervisor_not_there", "the supervisor is not with the call yet")
        watch.stage = Stage.TAKING_OVER
        bridge_id = BridgeId(derive(now, "bridge", self._context.call_id, watch.leg, request))
        self._take_over = (request, bridge_id)
        self._context.do(cmd.BridgeLegs(bridge_id, (self._context.leg_id, watch.leg)))
        return None

    def bridged(self, bridge_id: BridgeId, now: float) -> HandOver | None:
        if self._healing == bridge_id:
            self._healing = None
            self.resumed(now)
            self._recording.resume(self.parties(), now)
            return None
        if self.consultation is not None and self.consultation.needs(bridge_id):
            return self.consultation.bridged(bridge_id, now)
        watch = self.watch
        if self._take_over is None or self._take_over[1] != bridge_id or watch is None or watch.leg is None:
            return None
        request = self._take_over[0]
        self._take_over, self.watch = None, None
        self.resumed(now)
        self._context.record(ev.SupervisionEnded(at=now, agent_id=watch.agent_id, reason="took_over"))
        self._context.record(ev.TalkEnded(at=now, agent_id=self.seat.agent_id, reason="taken_over"))
        self._context.do(cmd.PutOnCall(watch.agent_id, self.seat.queue_id))
        seat = replace(self.seat, agent_id=watch.agent_id, agent_country=watch.country)
        self._hand_over(replace(seat, leg=watch.leg, bridge_id=bridge_id))
        self._answer(request)
        self._begin(now)
        return None

    def _hand_over(self, successor: Seat) -> None:
        context, former = self._context, self.seat
        if former.leg in self._legs:
            context.do(cmd.HangUpLeg(former.leg, HangupCause.NORMAL_CLEARING))
        context.do(cmd.ReleaseAgent(former.agent_id))
        self.muted = self._agent_gone = False
        self.seat = successor

    def _take_over_failed(self, now: float) -> Outcome:
        """The supervisor is let go; the caller and the agent talk on, in a bridge made anew: nobody knows how far the
        media server had come."""
        if self._take_over is None:
            return None
        (request, failed), self._take_over = self._take_over, None
        self._refuse(request, "engine_failed", "the media server could not join the legs")
        self.end_watch("engine_failed", now)
        if self._agent_gone:
            return self._agent_left("agent_hung_up", now)
        self._reunite(BridgeId(derive(now, "bridge", self._context.call_id, failed)))
        return None

    def _reunite(self, bridge_id: BridgeId) -> None:
        self._healing = bridge_id
        self.seat = replace(self.seat, bridge_id=bridge_id)
        self._context.do(cmd.BridgeLegs(bridge_id, (self._context.leg_id, self.seat.leg)))

    # --- a consultation ---------------------------------------------------------------------------------------------

    def caller_is_back(self, bridge_id: BridgeId, now: float) -> None:
        """The caller and the agent are bridged anew."""
        self.seat = replace(self.seat, bridge_id=bridge_id)
        self.resumed(now)

    def succeeded(self, consultation: Consultation, leg: LegId, bridge_id: BridgeId, now: float) -> None:
        """The consulted agent has the caller."""
        self.consultation = None
        self.resumed(now)
        if not consultation.deserted:
            self._context.record(ev.TalkEnded(at=now, agent_id=self.seat.agent_id, reason="transferred"))
        self._hand_over(replace(consultation.party.takes(self.seat), leg=leg, bridge_id=bridge_id))
        self._begin(now)

    def handed_out(self, consultation: Consultation, now: float) -> None:
        """The consulted number has the caller; no agent is left."""
        self.consultation = None
        if not consultation.deserted:
            self._leave("transferred", now)
            return
        self.resumed(now)
        self._recording.finish()

    def consulted_told(self, event: ev.Event, now: float) -> Outcome:
        """What the router says of the queue that is consulted."""
        if self.consultation is None:
            return None
        reason = self.consultation.told(event, now)
        if reason == REFUSED:
            self.consultation = None
            return None
        return None if reason is None else self._end_consultation(reason, now)

    def _deserted(self, consultation: Consultation, now: float) -> Outcome:
        """The agent leaves the caller to the one who is consulted."""
        self._context.record(ev.TalkEnded(at=now, agent_id=self.seat.agent_id, reason="transferred"))
        if not consultation.desert(now):
            return self._end_consultation("not_answered", now)
        self._context.do(cmd.ReleaseAgent(self.seat.agent_id))
        return None

    def _end_consultation(self, reason: str, now: float) -> Outcome:
        """Who is consulted is let go: the caller and the agent are together again, in a bridge made anew where
        they were not, or the caller goes back to the queue, or to the consulted one, where no agent is left."""
        consultation, self.consultation = self.consultation, None
        if consultation is None:
            return None
        seat, context, together = self.seat, self._context, consultation.together
        who = consultation.party.agent_id or consultation.party.queue_id or ""
        consultation.end(reason, now)
        if not consultation.deserted:
            if not together:
                self._reunite(BridgeId(derive(now, "bridge", context.call_id, who, reason)))
            else:
                self._recording.resume(self.parties(), now)
            return None
        queue_id = consultation.party.queue_id or seat.queue_id
        context.record(ev.CallTransferred(at=now, from_agent_id=seat.agent_id, queue_id=queue_id, agent_id=None))
        if self.held:
            self.resumed(now)
            context.do(cmd.StopMusic(context.leg_id))
        self._recording.finish()
        return HandOn(replace(seat.node, queue_id=queue_id, welcome_prompt=None), None)

    # --- handing the caller on --------------------------------------------------------------------------------------

    def _transfer(self, event: ev.TransferAsked, now: float) -> Outcome:
        context, seat = self._context, self.seat
        to = leaving.target(context, seat, event)
        if isinstance(to, Refusal):
            return self._refuse(event.request, to.error_id, to.detail)
        if isinstance(to, GoOn):
            self._agent_left("handed_to_flow", now)
        else:
            if isinstance(to, HandOn):
                queue_id = to.node.queue_id
                context.record(
                    ev.CallTransferred(at=now, from_agent_id=seat.agent_id, queue_id=queue_id, agent_id=to.preferred)
                )
            self._leave("transferred", now)
        self._answer(event.request)
        return to

    def _leave(self, reason: str, now: float) -> None:
        """The agent's part is over and the caller stays: no supervisor, no hold, no recording goes on."""
        seat, context = self.seat, self._context
        self.end_watch(reason, now)
        self.resumed(now)
        context.record(ev.TalkEnded(at=now, agent_id=seat.agent_id, reason=reason))
        self._recording.finish()
        context.do(cmd.DestroyBridge(seat.bridge_id))
        if seat.leg in self._legs:
            context.do(cmd.HangUpLeg(seat.leg, HangupCause.NORMAL_CLEARING))

    # --- the end ----------------------------------------------------------------------------------------------------

    def leg_ended(self, leg_id: LegId, cause: HangupCause, now: float) -> Outcome:
        """A leg other than the caller's is over."""
        watch, consultation = self.watch, self.consultation
        if consultation is not None and consultation.leg == leg_id:
            reason = consultation.leg_ended(cause, now)
            return None if reason is None else self._end_consultation(reason, now)
        if watch is not None and watch.leg == leg_id:
            if self._take_over is not None:
                return self._take_over_failed(now)
            answered = watch.stage is Stage.ATTACHED or watch.stage is Stage.CLEARING
            self.end_watch("hung_up" if answered else "not_answered", now)
        elif leg_id == self.seat.leg:
            self._agent_gone = True
            if consultation is not None and consultation.begun:
                return self._deserted(consultation, now)
            if self._take_over is None:
                return self._agent_left("agent_hung_up", now)
        return None

    def _agent_left(self, reason: str, now: float) -> Outcome:
        """Nobody serves the caller any more: the call ends, or goes on where the flow says."""
        if self.seat.node.after is None:
            return End(HangupCause.NORMAL_CLEARING, ev.EndReason.AGENT_HUNG_UP)
        self.end_watch("talk_ended", now)
        if self.consultation is not None:
            self.consultation.end("talk_ended", now)
            self.consultation = None
        if self.held:
            self._context.do(cmd.StopMusic(self._context.leg_id))
        self._leave(reason, now)
        return GoOn(self.seat.node.after)

    def failed(self, event: ev.CommandFailed, now: float) -> Outcome:
        """The media server did not do it."""
        subject, watch, consultation = event.subject, self.watch, self.consultation
        match event.command:
            case "BridgeLegs" | "SuperviseLeg" if consultation is not None and consultation.needs(subject):
                return self._end_consultation("engine_failed", now)
            case "SuperviseLeg" if watch is not None and watch.leg == subject:
                if watch.stage is Stage.ATTACHED:
                    self.end_watch("engine_failed", now)
            case "BridgeLegs" if self._take_over is not None and self._take_over[1] == subject:
                return self._take_over_failed(now)
            case "BridgeLegs" if self._healing == subject and event.error != "LegGone":
                return End(HangupCause.TEMPORARY_FAILURE, ev.EndReason.ENGINE_FAILED)
            case "HoldLeg" if self.held and not event.unknown:
                self.resumed(now)
                return self._end_consultation("engine_failed", now)
            case "MuteLeg" if subject == self.seat.leg and not event.unknown:
                self.muted = not self.muted
                self._context.record(ev.MuteChanged(at=now, agent_id=self.seat.agent_id, muted=self.muted))
        return None

    def end(self, now: float) -> None:
        """The call ends. Its legs are hung up by the call."""
        context = self._context
        context.do(cmd.DestroyBridge(self.seat.bridge_id))
        if self._take_over is not None:
            context.do(cmd.DestroyBridge(self._take_over[1]))
        if self.watch is not None:
            self.watch.end("call_ended", now, hang_up=False)
        if self.consultation is not None:
            self.consultation.end("call_ended", now, hang_up=False)
        context.do(cmd.ReleaseAgent(self.seat.agent_id))
