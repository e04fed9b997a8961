"""What agents ask by the keys of their phones, as the commands that the centre would send."""

from __future__ import annotations

import logging

from pbx.controller.config_store import ConfigStore
from pbx.controller.router import Router
from pbx.domain import keyed_codes
from pbx.domain.agent import State
from pbx.domain.call import Call
from pbx.domain.errors import BadValue
from pbx.domain.events import DigitPressed
from pbx.domain.feature_codes import MODES, Dialled, Feature
from pbx.domain.ids import AgentId, LegId
from pbx.domain.keyed_codes import Act
from pbx.wire import messages as wire

log = logging.getLogger(__name__)

_STEPS = {Act.SWAP: "swap", Act.COMPLETE: "complete", Act.CONFERENCE: "conference", Act.CANCEL: "cancel"}


class PhoneCodes:
    """``in_conversation``: whether an agent who talks can key anything in."""

    def __init__(self, router: Router, config: ConfigStore, in_conversation: bool) -> None:
        self._router, self._config, self._in_conversation = router, config, in_conversation
        self._keys: dict[LegId, keyed_codes.Keys] = {}

    def supervision(self, supervisor: AgentId, dialled: Dialled) -> wire.SuperviseCall | None:
        """None where the agent may not supervise, or nobody talks at the extension dialled."""
        own, watched = self._config.agents.get(supervisor), self._config.agent_at(dialled.extension)
        agent = self._router.agent(AgentId(watched.agent_id)) if watched is not None else None
        if own is None or not own.supervises or agent is None:
            return None
        if agent.state is not State.ON_CALL or agent.call_id is None:
            return None
        return wire.SuperviseCall(
            call_id=agent.call_id,
            agent_id=supervisor,
            mode=MODES[dialled.feature].value,
            take_over=dialled.feature is Feature.TAKE_OVER,
        )

    def pressed(self, call: Call, event: DigitPressed) -> wire.TalkCommand | wire.StopCallRecording | None:
        """What the agent of the conversation wants, once the code is complete; other legs' keys mean nothing."""
        talk = call.talk
        if not self._in_conversation or talk is None or talk.seat.leg != event.leg_id:
            return None
        keyed = self._keys.setdefault(event.leg_id, keyed_codes.Keys()).press(event.digit, event.at)
        if keyed is None:
            return None
        call_id = call.call_id
        if keyed.act is Act.HOLD:
            return wire.ResumeCall(call_id=call_id) if talk.held else wire.HoldCall(call_id=call_id)
        if keyed.act is Act.RECORDING:
            return wire.PauseRecording(call_id=call_id, paused=not call.recording.paused)
        if keyed.act is Act.STOP_RECORDING:
            return wire.StopCallRecording(call_id=call_id, by="agent")
        if keyed.act in _STEPS:
            return wire.StepConsultation(call_id=call_id, step=_STEPS[keyed.act])
        if keyed.act in (Act.CONSULT_NUMBER, Act.TRANSFER_TO_NUMBER):
            try:
                number = call.config.dialling.number_of(keyed.digits).number
            except BadValue as error:
                log.info("call %s: a number keyed in is refused: it %s", call_id, error.reason)
                return None
            if keyed.act is Act.CONSULT_NUMBER:
                return wire.ConsultAgent(call_id=call_id, number=number)
            return wire.TransferCall(call_id=call_id, number=number)
        agent, queue_id = self._config.agent_at(keyed.digits), self._config.queue_at(keyed.digits)
        agent_id = None if agent is None else agent.agent_id
        if agent_id is None and queue_id is None:
            return None
        if agent_id is not None:
            queue_id = None
        if keyed.act is Act.TRANSFER:
            return wire.TransferCall(call_id=call_id, agent_id=agent_id, queue_id=queue_id)
        return wire.ConsultAgent(call_id=call_id, agent_id=agent_id, queue_id=queue_id)

    def forget(self, leg_id: LegId) -> None:
        self._keys.pop(leg_id, None)
