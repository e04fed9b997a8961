"""What the centre, or an agent at the phone, wants done to a conversation, as the event that asks the call for it."""

from __future__ import annotations

from pbx.controller.router import Router
from pbx.domain import events as ev
from pbx.domain.agent import Status
from pbx.domain.asked import Asked
from pbx.domain.call import Call
from pbx.domain.e164 import e164
from pbx.domain.errors import BadValue
from pbx.domain.ids import AgentId, QueueId
from pbx.domain.queue_rules import ShiftRule
from pbx.wire import messages as wire


def asked(
    router: Router, supervision: bool, key: str, command: wire.TalkCommand, call: Call, now: float
) -> Asked | wire.CommandReply:
    """The event of a command, or its refusal. ``supervision``: whether the media server can do it; ``key`` is what the
    call's answer will name."""
    match command:
        case wire.SuperviseCall(agent_id=agent_id, mode=mode, take_over=take_over):
            if mode not in {m.value for m in ev.Supervision}:
                return wire.CommandReply(error_id="bad_mode", detail="mode must be listen, whisper or barge")
            if not supervision:
                return wire.CommandReply(error_id="not_supported", detail="this media server cannot do it")
            return ev.SupervisionAsked(
                at=now, request=key, agent_id=AgentId(agent_id), mode=ev.Supervision(mode), take_over=take_over
            )
        case wire.EndSupervision():
            return ev.SupervisionEndAsked(at=now, request=key)
        case wire.TakeOverCall():
            return ev.TakeOverAsked(at=now, request=key)
        case wire.HoldCall():
            return ev.HoldAsked(at=now, request=key)
        case wire.ResumeCall():
            return ev.ResumeAsked(at=now, request=key)
        case wire.MuteAgent(muted=muted):
            return ev.MuteAsked(at=now, request=key, muted=muted)
        case wire.PauseRecording(paused=paused):
            return ev.RecordingPauseAsked(at=now, request=key, paused=paused)
        case wire.ConsultAgent():
            return _consult(key, command, now)
        case wire.StepConsultation(step=step):
            if step not in {s.value for s in ev.ConsultStep}:
                return wire.CommandReply(
                    error_id="bad_step", detail="step must be swap, complete, cancel or conference"
                )
            if step == "conference" and not supervision:
                return wire.CommandReply(error_id="not_supported", detail="this media server cannot do it")
            return ev.ConsultStepAsked(at=now, request=key, step=ev.ConsultStep(step))
        case wire.RetrieveCall(agent_id=agent_id):
            return ev.RetrieveAsked(at=now, request=key, agent_id=AgentId(agent_id))
        case wire.TransferCall():
            return _transfer(router, key, command, call, now)


def _consult(key: str, command: wire.ConsultAgent, now: float) -> ev.ConsultAsked | wire.CommandReply:
    match (command.agent_id, command.queue_id, command.number):
        case (str(agent_id), None, None):
            return ev.ConsultAsked(at=now, request=key, agent_id=AgentId(agent_id))
        case (None, str(queue_id), None):
            return ev.ConsultAsked(at=now, request=key, queue_id=QueueId(queue_id))
        case (None, None, str(number)):
            try:
                return ev.ConsultAsked(at=now, request=key, number=e164(number))
            except BadValue as error:
                return wire.CommandReply(error_id="number_refused", detail=str(error))
        case _:
            return wire.CommandReply(error_id="bad_target", detail="exactly one of an agent, a queue and a number")


def _transfer(
    router: Router, key: str, command: wire.TransferCall, call: Call, now: float
) -> ev.TransferAsked | wire.CommandReply:
    match (command.queue_id, command.agent_id, command.number, command.after):
        case (str(queue_id), None, None, False):
            return ev.TransferAsked(at=now, request=key, queue_id=QueueId(queue_id))
        case (None, str(agent_id), None, False):
            refusal = _may_be_handed_to(router, AgentId(agent_id), call)
            return refusal or ev.TransferAsked(at=now, request=key, agent_id=AgentId(agent_id))
        case (None, None, str(number), False):
            try:
                return ev.TransferAsked(at=now, request=key, number=e164(number))
            except BadValue as error:
                return wire.CommandReply(error_id="number_refused", detail=str(error))
        case (None, None, None, True):
            return ev.TransferAsked(at=now, request=key, after=True)
        case _:
            detail = "exactly one of a queue, an agent, a number and after"
            return wire.CommandReply(error_id="bad_target", detail=detail)


def _may_be_handed_to(router: Router, agent_id: AgentId, call: Call) -> wire.CommandReply | None:
    """Why a caller cannot wait for this agent; what changes afterwards, the ACD sees to."""
    agent, talk = router.agent(agent_id), call.talk
    queue = None if talk is None else talk.seat.queue
    if agent is None:
        return wire.CommandReply(error_id="unknown_agent", detail=f"agent {agent_id} is not at this POP")
    if agent.status is Status.LOGGED_OUT:
        return wire.CommandReply(error_id="agent_logged_out", detail="the agent is not logged in")
    if queue is not None and not queue.accepts(agent.skills):
        return wire.CommandReply(error_id="agent_lacks_skills", detail="the agent cannot take calls of this queue")
    if queue is not None and queue.shift is ShiftRule.ONLY and not agent.on_shift:
        return wire.CommandReply(error_id="agent_off_shift", detail="the queue is for agents on shift only")
    return None
