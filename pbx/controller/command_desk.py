"""Commands: what the centre, and an agent at the phone, want done at this POP, and what becomes of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pbx.controller import forgetting, naming, recording_commands, routing_commands, talk_commands
from pbx.controller.call_actor import CallActor
from pbx.controller.callbacks import CallbackDesk
from pbx.controller.parking_lot import ParkingDesk
from pbx.controller.placing import PlacingDesk
from pbx.controller.router import Router
from pbx.domain import events as ev
from pbx.domain.asked import Asked
from pbx.domain.call import Call
from pbx.domain.ids import AgentId, CallId, PopId, derive
from pbx.domain.pseudonyms import Pseudonyms
from pbx.ports.journal import Journal
from pbx.ports.media_engine import Clock, MediaEngine
from pbx.ports.vault import Vault
from pbx.wire import messages as wire

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CommandDesk:
    """``calls`` are the live ones."""

    calls: Mapping[CallId, CallActor]
    router: Router
    callbacks: CallbackDesk
    parking: ParkingDesk
    placing: PlacingDesk
    engine: MediaEngine
    vault: Vault
    journal: Journal
    clock: Clock
    pseudonyms: Pseudonyms | None = None
    elsewhere: Callable[[AgentId], PopId | None] | None = None
    """At which other POP an agent of several is."""

    def _elsewhere(self, command: wire.RoutingCommand) -> wire.CommandReply | None:
        if self.elsewhere is None or not isinstance(command, wire.SetAgentStatus | wire.EndWrapUp | wire.ExtendWrapUp):
            return None
        pop_id = self.elsewhere(AgentId(command.agent_id))
        if pop_id is None:
            return None
        return wire.CommandReply(error_id="agent-elsewhere", detail=f"the agent is at POP {pop_id}: ask there")

    async def carry_out(self, request: wire.CommandRequest) -> wire.CommandReply:
        match request.command:
            case (
                wire.SetAgentStatus()
                | wire.EndWrapUp()
                | wire.ExtendWrapUp()
                | wire.ExplainWait()
                | wire.ExplainChoice()
                | wire.ListWaiting() as routing
            ):
                return self._elsewhere(routing) or routing_commands.carry_out(self.router, routing)
            case wire.ScheduleCallback() | wire.CancelCallback() as callback:
                return self.callbacks.carry_out(callback)
            case wire.HangUpCall(call_id=call_id):
                return self._tell_call(CallId(call_id), ev.HangUpAsked(at=self.clock(), by="api"))
            case wire.StopCallRecording(call_id=call_id, by=by):
                return self._tell_call(CallId(call_id), ev.RecordingStopAsked(at=self.clock(), by=by))
            case wire.ReadRecording() as read:
                return await recording_commands.read(self.vault, read)
            case wire.ParkCall() as park:
                return await self.parking.park(request.idempotency_key, park)
            case wire.PlaceCall() as place:
                return self.placing.place(request.idempotency_key, place)
            case wire.EraseRecording() as erasing:
                return await recording_commands.erase(self.vault, self.journal, self.clock, erasing)
            case wire.ProtectRecording() as protect:
                return await recording_commands.protect(self.vault, protect)
            case wire.ForgetNumber() as forget:
                return await forgetting.forget(
                    self.journal, self.router, self.callbacks, self.clock, forget, self.pseudonyms
                )
            case wire.NameNumbers() as ask:
                return await naming.name(self.journal, ask, self.pseudonyms)
            case talk:
                return await self._in_conversation(request.idempotency_key, talk)

    def asked_at_phone(self, command: wire.TalkCommand | wire.StopCallRecording) -> None:
        """Have done what an agent asked at the phone. Nobody waits for the answer."""
        actor = self.calls.get(CallId(command.call_id))
        if actor is None:
            return
        if isinstance(command, wire.StopCallRecording):
            actor.post(ev.RecordingStopAsked(at=self.clock(), by=command.by))
            return
        asked = self._asked(derive(self.clock(), "code", command.call_id), command, actor.call)
        if isinstance(asked, wire.CommandReply):
            log.info("call %s: what was asked at the phone is refused: %s", command.call_id, asked.error_id)
        else:
            actor.post(asked)

    def _tell_call(self, call_id: CallId, event: ev.Event) -> wire.CommandReply:
        actor = self.calls.get(call_id)
        if actor is None:
            return _unknown(call_id)
        actor.post(event)
        return wire.CommandReply()

    async def _in_conversation(self, key: str, command: wire.TalkCommand) -> wire.CommandReply:
        actor = self.calls.get(CallId(command.call_id))
        if actor is None:
            return _unknown(command.call_id)
        asked = self._asked(key, command, actor.call)
        if isinstance(asked, wire.CommandReply):
            return asked
        answer = await actor.ask(asked)
        return wire.CommandReply(error_id=answer.error_id, detail=answer.detail)

    def _asked(self, key: str, command: wire.TalkCommand, call: Call) -> Asked | wire.CommandReply:
        supervision = self.engine.capabilities.supervision
        return talk_commands.asked(self.router, supervision, key, command, call, self.clock())


def _unknown(call_id: str) -> wire.CommandReply:
    return wire.CommandReply(error_id="unknown-call", detail=f"call {call_id} is not live at this POP")
