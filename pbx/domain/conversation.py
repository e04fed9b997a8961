"""The caller and an agent talk: hold, mute, a supervisor, take over, until one of them is gone or the caller is
handed on. What somebody asks for is answered once (``Answer``); what comes at a wrong moment is refused with a word
that says why, and changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.call_context import CallContext
from pbx.domain.call_recording import CallRecording, Parties
from pbx.domain.call_steps import End
from pbx.domain.e164 import E164, Cli
from pbx.domain.errors import BadValue
from pbx.domain.flow import EnterQueue
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import AgentId, BridgeId, LegId, derive
from pbx.domain.seat import Seat
from pbx.domain.supervision import Stage, Watch

PREFERRED_S = 30.0
"""How long a caller who was handed to one agent waits for nobody else."""

Asked = (
    ev.SupervisionAsked
    | ev.SupervisionEndAsked
    | ev.TakeOverAsked
    | ev.HoldAsked
    | ev.ResumeAsked
    | ev.MuteAsked
    | ev.TransferAsked
    | ev.ParkAsked
    | ev.RetrieveAsked
)


@dataclass(frozen=True, slots=True)
class HandOn:
    """The caller leaves the conversation for a queue."""

    node: EnterQueue
    preferred: AgentId | None


@dataclass(frozen=True, slots=True)
class HandOut:
    """The caller leaves the conversation for an outside number."""

    number: E164


@dataclass(frozen=True, slots=True)
class Park:
    slot: int
    timeout_s: float


Outcome = End | HandOn | HandOut | Park | None
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
        self._recording.begin(self._parties(), now)

    def _parties(self) -> Parties:
        watched = () if self.watch is None else (self.watch.country,)
        return Parties(self.seat.queue, (self.seat.agent_country, *watched))

    # --- what is asked ----------------------------------------------------------------------------------------------

    def asked(self, event: Asked, now: float) -> Outcome:
        if self._take_over is not None:
            return self._refuse(event.request, "take_over_under_way", "the call is being taken over")
        match event:
            case ev.SupervisionAsked():
                return self._supervise(event, now)
            case ev.SupervisionEndAsked(request=request):
                if self.watch is None:
                    return self._refuse(request, "no_supervision", "nobody supervises this call")
                self._end_watch("asked", now)
                self._answer(request)
            case ev.TakeOverAsked(request=request):
                return self._begin_take_over(request, now)
            case ev.HoldAsked(request=request):
                if self.held:
                    return self._refuse(request, "already_held", "the caller is on hold")
                self._hold(now)
                self._answer(request)
            case ev.ResumeAsked(request=request):
                if not self.held:
                    return self._refuse(request, "not_held", "the caller is not on hold")
                self._resumed(now)
                self._context.do(cmd.ResumeLeg(self._context.leg_id))
                self._answer(request)
            case ev.MuteAsked(request=request, muted=muted):
                if muted is not self.muted:
                    self.muted = muted
                    self._context.record(ev.MuteChanged(at=now, agent_id=self.seat.agent_id, muted=muted))
                    self._context.do(cmd.MuteLeg(self.seat.leg, muted))
                self._answer(request)
            case ev.TransferAsked(number=None):
                return self._transfer(event, now)
            case ev.TransferAsked(number=number):
                return self._transfer_out(event.request, number or E164(""), now)
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

    def _hold(self, now: float) -> None:
        self.held = True
        music = self.seat.queue.music_class if self.seat.queue is not None else "default"
        self._context.record(ev.HoldStarted(at=now, agent_id=self.seat.agent_id))
        self._context.do(cmd.HoldLeg(self._context.leg_id, music))

    def _resumed(self, now: float) -> None:
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
        else:
            watch.change(event.mode, self.seat.leg, now)
            self._answer(event.request)
        return None

    def engaged(self, event: ev.AgentEngaged | ev.AgentNotEngaged, now: float) -> None:
        if self.watch is None:
            return
        if isinstance(event, ev.AgentEngaged):
            self.watch.engaged(event, self._cli, now)
        elif self.watch.not_engaged(event):
            self.watch = None

    def leg_answered(self, leg_id: LegId, now: float) -> bool:
        """Whether the leg belongs here."""
        watch = self.watch
        if watch is None or watch.leg != leg_id:
            return False
        if watch.stage is Stage.RINGING:
            watch.stage = Stage.CLEARING
            self.recording_ended(now)
        return True

    def recording_ended(self, now: float) -> None:
        """Nothing is recorded, or nothing any more: a supervisor who waits for it may be let in."""
        watch = self.watch
        if watch is not None and watch.stage is Stage.CLEARING and self._recording.joins(self._parties(), now):
            watch.attach(self.seat.leg, now)

    def _end_watch(self, reason: str, now: float) -> None:
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

    def bridged(self, bridge_id: BridgeId, now: float) -> None:
        if self._healing == bridge_id:
            self._healing = None
            if self.held:
                self._resumed(now)
            return
        watch = self.watch
        if self._take_over is None or self._take_over[1] != bridge_id or watch is None or watch.leg is None:
            return
        request, former = self._take_over[0], self.seat
        self._take_over, self.watch = None, None
        context = self._context
        if self.held:
            self._resumed(now)
        context.record(ev.SupervisionEnded(at=now, agent_id=watch.agent_id, reason="took_over"))
        context.record(ev.TalkEnded(at=now, agent_id=former.agent_id, reason="taken_over"))
        context.do(cmd.PutOnCall(watch.agent_id, former.queue_id))
        if former.leg in self._legs:
            context.do(cmd.HangUpLeg(former.leg, HangupCause.NORMAL_CLEARING))
        context.do(cmd.ReleaseAgent(former.agent_id))
        self.muted = self._agent_gone = False
        self.seat = replace(
            former, agent_id=watch.agent_id, agent_country=watch.country, leg=watch.leg, bridge_id=bridge_id
        )
        self._answer(request)
        self._begin(now)

    def _take_over_failed(self, now: float) -> Outcome:
        """The supervisor is let go; the caller and the agent talk on, in a bridge made anew: nobody knows how far the
        media server had come."""
        if self._take_over is None:
            return None
        (request, failed), self._take_over = self._take_over, None
        self._refuse(request, "engine_failed", "the media server could not join the legs")
        self._end_watch("engine_failed", now)
        if self._agent_gone:
            return End(HangupCause.NORMAL_CLEARING, ev.EndReason.AGENT_HUNG_UP)
        self._healing = BridgeId(derive(now, "bridge", self._context.call_id, failed))
        self.seat = replace(self.seat, bridge_id=self._healing)
        self._context.do(cmd.BridgeLegs(self._healing, (self._context.leg_id, self.seat.leg)))
        return None

    # --- handing the caller on --------------------------------------------------------------------------------------

    def _transfer(self, event: ev.TransferAsked, now: float) -> Outcome:
        queue_id = event.queue_id or self.seat.queue_id
        if queue_id not in self._context.config.queues:
            return self._refuse(event.request, "unknown_queue", "this call knows no such queue")
        if event.agent_id == self.seat.agent_id:
            return self._refuse(event.request, "agent_busy", "this agent has the call")
        seat, context = self.seat, self._context
        context.record(
            ev.CallTransferred(at=now, from_agent_id=seat.agent_id, queue_id=queue_id, agent_id=event.agent_id)
        )
        self._leave("transferred", now)
        self._answer(event.request)
        return HandOn(replace(seat.node, queue_id=queue_id, welcome_prompt=None), event.agent_id)

    def _transfer_out(self, request: str, number: E164, now: float) -> Outcome:
        try:
            self._context.config.dialling.number_of(number)
        except BadValue as error:
            return self._refuse(request, "number_refused", f"number: {error.reason}")
        self._leave("transferred", now)
        self._answer(request)
        return HandOut(number)

    def _leave(self, reason: str, now: float) -> None:
        """The agent's part is over and the caller stays: no supervisor, no hold, no recording goes on."""
        seat, context = self.seat, self._context
        self._end_watch(reason, now)
        if self.held:
            self._resumed(now)
        context.record(ev.TalkEnded(at=now, agent_id=seat.agent_id, reason=reason))
        self._recording.finish()
        context.do(cmd.DestroyBridge(seat.bridge_id), cmd.HangUpLeg(seat.leg, HangupCause.NORMAL_CLEARING))

    # --- the end ----------------------------------------------------------------------------------------------------

    def leg_ended(self, leg_id: LegId, now: float) -> Outcome:
        """A leg other than the caller's is over."""
        watch = self.watch
        if watch is not None and watch.leg == leg_id:
            if self._take_over is not None:
                return self._take_over_failed(now)
            answered = watch.stage is Stage.ATTACHED or watch.stage is Stage.CLEARING
            self._end_watch("hung_up" if answered else "not_answered", now)
        elif leg_id == self.seat.leg:
            if self._take_over is None:
                return End(HangupCause.NORMAL_CLEARING, ev.EndReason.AGENT_HUNG_UP)
            self._agent_gone = True
        return None

    def failed(self, event: ev.CommandFailed, now: float) -> Outcome:
        """The media server did not do it."""
        subject, watch = event.subject, self.watch
        match event.command:
            case "SuperviseLeg" if watch is not None and watch.leg == subject:
                if watch.stage is Stage.ATTACHED:
                    self._end_watch("engine_failed", now)
            case "BridgeLegs" if self._take_over is not None and self._take_over[1] == subject:
                return self._take_over_failed(now)
            case "BridgeLegs" if self._healing == subject and event.error != "LegGone":
                return End(HangupCause.TEMPORARY_FAILURE, ev.EndReason.ENGINE_FAILED)
            case "HoldLeg" if self.held and not event.unknown:
                self._resumed(now)
            case "MuteLeg" if subject == self.seat.leg and not event.unknown:
                self.muted = not self.muted
                self._context.record(ev.MuteChanged(at=now, agent_id=self.seat.agent_id, muted=self.muted))
            case _:
                pass
        return None

    def end(self, now: float) -> None:
        """The call ends. Its legs are hung up by the call."""
        context = self._context
        context.do(cmd.DestroyBridge(self.seat.bridge_id))
        if self._take_over is not None:
            context.do(cmd.DestroyBridge(self._take_over[1]))
        if self.watch is not None:
            self.watch.end("call_ended", now, hang_up=False)
        context.do(cmd.ReleaseAgent(self.seat.agent_id))
