"""What the API answers about calls: their records, and why they wait."""

from __future__ import annotations

from typing import Any

import msgspec
from pydantic import Field
from sqlalchemy import Row

from orchestrator.adapters.db.models import CallRow
from orchestrator.api.answer import Answer
from orchestrator.api.schemas import At
from pbx.wire.messages import CommandReply


class Offer(Answer):
    offer_id: str
    agent_id: str
    offered_at: At
    outcome: str | None
    ended_at: At | None


class Consent(Answer):
    """Evidence: which prompt, how much of it was really played, what was pressed."""

    granted: bool
    regime: str
    jurisdictions: list[str]
    at: At
    reason: str | None
    prompt_id: str | None
    prompt_sha256: str | None
    language: str | None
    played_ms: int
    digit: str | None


class CallRecording(Answer):
    recording_id: str
    started_at: At
    region: str | None
    duration_ms: int | None
    size_bytes: int | None
    sha256: str | None
    discarded: bool
    kind: str = "conversation"
    """Or ``voicemail``."""
    pauses: int = 0
    """How often the agent had it paused; there is silence in it meanwhile."""


class LeftMessage(Answer):
    """A message and its evidence: what was played before the tone, and which key cut it short."""

    mailbox: str
    recording_id: str | None
    granted_at: At | None
    regime: str | None
    jurisdictions: list[str]
    prompt_ids: list[str]
    prompt_sha256s: list[str]
    language: str | None
    played_ms: int
    digit: str | None
    left_at: At | None
    """null: there is no message."""
    ended_by: str | None
    """``hang_up``, ``terminator``, ``silence``, ``max_s`` or ``asked``."""
    failed: str | None
    """``prohibited``, ``prompt_cut``, ``not_recorded``, ``not_stored``, ``too_short``."""


class SurveyAnswer(Answer):
    node: str
    question: str
    digit: str
    at: At
    agent_id: str | None
    """Who talked to the caller last."""


class Talk(Answer):
    """One agent's part of the conversation."""

    agent_id: str
    queue_id: str
    started_at: At
    ended_at: At | None
    ended: str | None
    """``taken_over``, ``transferred``, ``parked``; ``agent_hung_up`` or ``handed_to_flow``: the caller went on in the
    flow; null: with the call, or not yet."""


class SupervisionRecord(Answer):
    agent_id: str
    modes: list[str]
    """In the order in which they were taken; empty when the supervisor did not answer."""
    started_at: At | None
    ended_at: At | None
    ended: str | None


class ConsultationRecord(Answer):
    agent_id: str | None
    """Null where nobody of the queue answered, and for a number."""
    queue_id: str | None = None
    """The queue that was consulted, or to which the call overflowed meanwhile."""
    number: str | None = None
    """E.164; its times are in ``forwards``, too."""
    started_at: At | None
    """When who is consulted answered."""
    conference_at: At | None
    ended_at: At | None
    ended: str | None
    """``completed``: this agent got the caller; ``cancelled``, ``hung_up``, ``not_answered``, ``call_ended``,
    ``engine_failed``."""


class Forward(Answer):
    """An outside number that was rung for the caller, or refused."""

    why: str
    """``flow``, ``queue``, ``transfer``; ``consultation``: for an agent, ``answered_at`` if the caller got it."""
    started_at: At
    number: str | None
    """E.164; null for one that was refused."""
    kind: str | None
    """``fixed``, ``mobile``, ``fixed_or_mobile``, ``toll_free``, ``voip``, ``uan``."""
    answered_at: At | None
    ended_at: At | None
    outcome: str | None
    """``answered``, ``no_answer``, ``busy``, ``rejected``, ``unreachable``, ``caller_gone``, ``failed``; ``refused``:
    it may not be called."""
    reason: str | None
    """Why it was refused."""


class Park(Answer):
    slot: int
    parked_by: str
    """The agent's id."""
    started_at: At
    ended_at: At | None
    ended: str | None
    """``retrieved``, ``timed_out``, ``call_ended``; null: still parked."""
    retrieved_by: str | None


class PlacedCall(Answer):
    call_id: str
    """Its record is there as soon as the agent's phone has been rung."""


class ParkedIn(Answer):
    slot: int
    """What agents dial ``*7`` and this number for."""


class Call(Answer):
    """The call detail record, derived from the call's events. A call without ``ended_at`` is live."""

    call_id: str
    pop_id: str
    direction: str = "inbound"
    """``outbound``: a callback, or a call that an agent placed; ``cli`` is the number that was called."""
    placed_by: str | None = None
    """The agent who placed it."""
    number_kind: str | None = None
    """Of the number that an agent called: ``fixed``, ``mobile``, ``premium`` and the like."""
    allowed_by: str | None = None
    """The beginning on the POP's list by which a number was called that is barred otherwise."""
    callback_id: str | None = None
    """Of an inbound call: what the caller was promised; of an outbound one: the promise it keeps."""
    callback_of: str | None = None
    """The call in which the callback was asked for."""
    did: str | None
    cli: str | None
    caller_country: str | None
    trunk: str | None
    offered_at: At | None
    answered_at: At | None
    flow_id: str | None
    flow_version: int | None
    language: str | None
    nodes: list[str]
    queue_id: str | None
    queued_at: At | None
    agent_id: str | None
    talk_started_at: At | None
    ended_at: At | None
    end_reason: str | None
    cause: int | None
    """Q.850."""
    wait_s: float | None
    talk_s: float | None
    abandoned: bool
    offers: list[Offer]
    consents: list[Consent]
    recordings: list[CallRecording]
    talks: list[Talk] = Field(default_factory=list)
    """One for each agent who had the caller; ``agent_id`` is the last of them."""
    supervisions: list[SupervisionRecord] = Field(default_factory=list)
    consultations: list[ConsultationRecord] = Field(default_factory=list)
    forwards: list[Forward] = Field(default_factory=list)
    """Outside numbers, in the order in which they were rung."""
    parks: list[Park] = Field(default_factory=list)
    voicemails: list[LeftMessage] = Field(default_factory=list)
    survey: list[SurveyAnswer] = Field(default_factory=list)


def call_of(row: CallRow | Row[Any]) -> Call:
    """Of a row of ``services.calls.COLUMNS``, or of the whole."""
    return Call.model_validate({"pop_id": row.pop_id, **row.cdr})


class WaitReason(Answer):
    because: str
    """``no_agent``, ``not_logged_in``, ``on_call``, ``wrap_up``, ``being_offered``, ``not_ready``, ``unreachable``,
    ``held``, ``engaged``, ``lacks_skill``, ``off_shift``, ``other_site``, ``other_pop``, ``earlier_calls``,
    ``ringing`` or ``prefers``."""
    agents: int
    """How many agents this holds for."""
    skill: str | None
    least: int | None
    calls: int
    """Under ``earlier_calls``: how many wait for the same agents with a higher effective priority."""
    agent_id: str | None


class WaitGroup(Answer):
    requirement: dict[str, int] | None
    """Skill -> least proficiency; null: the one agent the call waits for."""
    classes: list[str]
    """What is asked for besides: ``shift``, ``site:fra``."""
    reasons: list[WaitReason]


class WaitEstimate(Answer):
    """Seconds from now until an agent is rung for the call, from measured handling times."""

    mean_s: float
    median_s: float
    p80_s: float
    """Four of five such waits are over by then."""
    agents: int
    """Who could take the call."""


class Wait(Answer):
    """A call's wait: those who may take it, in groups by what they must be able to do, and what keeps each."""

    queue_id: str
    position: int
    waited_s: float
    effective_priority: float
    offer_id: str | None
    """An agent is being rung for this call."""
    next_step_s: float | None
    """Seconds until the queue's next step changes something for this call."""
    estimate: WaitEstimate | None
    """null while too little has been measured, or nobody could take the call."""
    groups: list[WaitGroup]
    agent: list[WaitReason] | None
    """Why the agent asked for has not been offered the call; null when none was asked for."""


class AgentChosen(Answer):
    """An offer, and why it went to this agent."""

    offer_id: str
    at: At
    agent_id: str
    queue_id: str
    asked_by: str
    """``call``: it found an idle agent, by the strategy; ``agent``: became free and took the first call in order."""
    strategy: str
    requirement: dict[str, int] | None
    """Skill -> least proficiency, by which they found each other; null: the call waited for this agent alone."""
    classes: list[str]
    waited_s: float
    """By effective priority: the age of the call, and a minute for each point of priority."""
    idle_s: float
    turn: int
    """The number of the agent's offer before this one, over all agents; 0: none."""


class Choices(Answer):
    items: list[AgentChosen]


def choices_of(reply: CommandReply) -> Choices:
    return Choices(items=[AgentChosen.model_validate(msgspec.to_builtins(one)) for one in reply.chosen or []])


def wait_of(reply: CommandReply) -> Wait:
    return Wait.model_validate(msgspec.to_builtins(reply.wait))
