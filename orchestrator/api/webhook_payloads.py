"""What is sent to webhooks, in the words of the API, and its schemas for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from orchestrator.api.call_schemas import Call, call_of
from orchestrator.api.schemas import At, Callback, Recording, Voicemail, callback_of, recording_of, voicemail_of
from orchestrator.domain.webhook_kinds import KINDS, TEST, About
from orchestrator.domain.webhook_message import Happened

Data = TypeVar("Data", bound=BaseModel)


class CallMoment(BaseModel):
    """A call that is under way; what came of it in the end is in its record, `CallEnded`."""

    call_id: str
    pop_id: str
    direction: str
    """``inbound``, or ``outbound``: a callback."""
    did: str | None
    cli: str | None
    """E.164, ``withheld`` or ``unknown``."""
    caller_country: str | None
    queue_id: str | None
    """Of this event, where it names one."""
    agent_id: str | None


class AgentState(BaseModel):
    agent_id: str
    pop_id: str
    status: str
    """``LOGGED_OUT``, ``AVAILABLE``, ``NOT_READY``."""
    reason: str | None
    state: str
    """``IDLE``, ``RESERVED``, ``RINGING``, ``ON_CALL``, ``WRAP_UP``."""


class TestData(BaseModel):
    webhook_id: str


class Message(BaseModel, Generic[Data]):
    """Signed by the headers ``webhook-id``, ``webhook-timestamp`` and ``webhook-signature`` as the Standard Webhooks
    specification says. ``webhook-id`` is the same however often the message is sent."""

    type: str
    timestamp: At
    """When it happened."""
    data: Data
    """How things stand when the centre hears of it; where a POP was cut off that may be later."""


MESSAGES: Mapping[About, type[Message[Any]]] = {
    About.CALL: Message[Call],
    About.MOMENT: Message[CallMoment],
    About.RECORDING: Message[Recording],
    About.VOICEMAIL: Message[Voicemail],
    About.CALLBACK: Message[Callback],
    About.AGENT: Message[AgentState],
}
DESCRIBED: Mapping[str, tuple[str, type[BaseModel]]] = {
    **{kind.name: (kind.summary, MESSAGES[kind.about]) for kind in KINDS.values()},
    TEST: ("Somebody asked for it; it tells nothing.", Message[TestData]),
}
"""Kind -> what it says, and the model of its body."""


def payload(told: Happened) -> bytes:
    """Raises ValidationError where the row does not fit the API."""
    fields = {"type": told.kind.name, "timestamp": told.event.at, "data": _data(told)}
    return MESSAGES[told.kind.about].model_validate(fields).model_dump_json().encode()


def _data(told: Happened) -> BaseModel:
    match told.kind.about:
        case About.CALL:
            return call_of(told.row)
        case About.RECORDING:
            return recording_of(told.row)
        case About.VOICEMAIL:
            return voicemail_of(told.row)
        case About.CALLBACK:
            return callback_of(told.row)
        case About.MOMENT:
            cdr = told.row.cdr
            same = {name: cdr.get(name) for name in ("did", "cli", "caller_country")}
            named = {name: getattr(told.event, name, None) or None for name in ("queue_id", "agent_id")}
            direction = cdr.get("direction", "inbound")
            return CallMoment(call_id=told.subject, pop_id=told.pop_id, direction=direction, **same, **named)
        case About.AGENT:
            fields = {name: getattr(told.event, name) for name in ("agent_id", "status", "reason", "state")}
            return AgentState(pop_id=told.pop_id, **fields)
