"""Messages between a POP and the centre, version 1. JSON by msgspec; unknown fields are ignored, so that either
side may be the newer one. Subjects and buckets are named in ``pbx.wire.subjects``.
"""

from __future__ import annotations

from typing import Any

import msgspec

from pbx.wire.base import Wire as Wire
from pbx.wire.call_commands import *  # noqa: F403
from pbx.wire.call_commands import (
    CallbackCommand,
    HangUpCall,
    NumberForgotten,
    NumbersNamed,
    ParkCall,
    PlaceCall,
    RecordingCommand,
    TalkCommand,
)

WIRE_VERSION = 1


# --- configuration, centre -> POP: one key per entity in the POP's key-value bucket -----------------------------


class DidConfig(Wire, frozen=True, tag="did"):
    number: str
    """E.164."""
    flow_id: str
    country: str
    """ISO 3166-1 alpha-2, upper case."""
    language: str
    """BCP 47, the language in which the flow starts: ``de``."""
    time_zone: str
    region: str
    """Where recordings of this DID's calls may rest: ``eu``."""


class RelaxSkillStep(Wire, frozen=True, tag="relax_skill"):
    skill: str
    least: int = 0


class RaisePriorityStep(Wire, frozen=True, tag="raise_priority"):
    by: int


class OverflowToQueueStep(Wire, frozen=True, tag="overflow_queue"):
    queue_id: str


class OverflowToNumberStep(Wire, frozen=True, tag="overflow_number"):
    number: str
    """E.164."""
    ring_s: float = 30.0
    show_caller: bool = False
    """Whether it is shown the caller's own number, and not the DID."""


class EndWithPromptStep(Wire, frozen=True, tag="end_with_prompt"):
    prompt_id: str


class WidenSitesStep(Wire, frozen=True, tag="widen_sites"):
    sites: tuple[str, ...] = ()
    """Empty: all."""


class OfferCallbackStep(Wire, frozen=True, tag="offer_callback"):
    digit: str = "1"
    prompt_id: str = "callback-offer"


class ToVoicemailStep(Wire, frozen=True, tag="voicemail"):
    mailbox: str
    prompt_id: str | None = None


class QueueStepConfig(Wire, frozen=True):
    """What changes for a call that has waited ``after_s`` in the queue."""

    after_s: float
    action: (
        RelaxSkillStep
        | RaisePriorityStep
        | OverflowToQueueStep
        | OverflowToNumberStep
        | EndWithPromptStep
        | WidenSitesStep
        | OfferCallbackStep
        | ToVoicemailStep
    )


class HoursConfig(Wire, frozen=True):
    """A queue's opening hours or an agent's shifts, as ``pbx.domain.hours_parse`` reads them."""

    time_zone: str
    weekly: dict[str, list[str]]
    special: dict[str, list[str]] = msgspec.field(default_factory=dict)
    holidays: list[str] = msgspec.field(default_factory=list)
    country: str | None = None
    """Whose public holidays count besides: ``DE`` or ``DE-BY``."""


class ConsentPolicyConfig(Wire, frozen=True):
    """What a queue asks before a call may be recorded, besides the law: ``pbx.domain.consent.Floor``."""

    floor: str = "none"
    places: dict[str, str] = msgspec.field(default_factory=dict)
    """ISO 3166 code -> regime."""
    unknown: str = "none"


class QueueConfig(Wire, frozen=True, tag="queue"):
    queue_id: str
    name: str
    skills: dict[str, int]
    """Skill -> minimum proficiency 1-5 an agent must have."""
    ring_timeout_s: float = 20.0
    wrap_up_s: float = 10.0
    music_class: str = "default"
    announce_every_s: float = 30.0
    recorded: bool = True
    """False: nothing is ever recorded in this queue."""
    consent_floor: str = "none"
    """The regime below which this queue never goes."""
    consent_policy: ConsentPolicyConfig | None = None
    """Asked besides ``consent_floor``; the stricter of both holds."""
    max_waiting: int = 1000
    max_wait_s: float | None = None
    wrap_up_max_s: float = 600.0
    strategy: str = "longest_idle"
    """A value of ``pbx.domain.queue_rules.Strategy``."""
    priority: int = 0
    no_agent: str = "wait"
    """A value of ``pbx.domain.queue_rules.NoAgent``."""
    steps: tuple[QueueStepConfig, ...] = ()
    shift: str = "any"
    """A value of ``pbx.domain.queue_rules.ShiftRule``."""
    sites: tuple[str, ...] = ()
    hours: HoursConfig | None = None
    closing: str = "serve"
    """A value of ``pbx.domain.queue_rules.Closing``."""
    closing_prompt: str | None = None
    last_agent_s: float = 0.0
    last_agent_days: float = 30.0
    redial_s: float = 0.0
    value_weight: float = 1.0
    callback_attempts: int = 3
    callback_retry_s: float = 900.0
    extension: str | None = None
    """By which agents name the queue at their phones."""
    pops: tuple[str, ...] = ()
    """POPs whose callers and agents share it; none: each POP has a queue of its own."""


class AgentConfig(Wire, frozen=True, tag="agent"):
    agent_id: str
    name: str
    phone_id: str
    ha1: str
    """Hex MD5 of ``phone_id:callplane:password``; the password itself is never sent."""
    skills: dict[str, int]
    country: str
    cost: float = 0.0
    """Of an hour of this agent, in any one currency: queues of strategy ``lowest_cost`` prefer the least."""
    weight: float = 1.0
    """Share of the calls in queues of strategy ``random``."""
    extension: str | None = None
    """Short number by which other agents of the POP name this one at their phones."""
    supervises: bool = False
    """May listen to other agents' calls and take them over by feature code."""
    shifts: HoursConfig | None = None
    """None: always on shift."""
    site: str | None = None
    pops: list[str] = msgspec.field(default_factory=list)
    """All POPs that have the agent, its own first; fewer than two: only this one."""
    phone_class: str | None = None
    """Settings of the phone, by the name that its POP has for them; None: the usual ones."""


class FlowConfig(Wire, frozen=True, tag="flow"):
    flow_id: str
    version: int
    graph: dict[str, Any]
    """As ``pbx.domain.flow.parse`` reads it."""


class PromptConfig(Wire, frozen=True, tag="prompt"):
    prompt_id: str
    language: str
    sha256: str
    duration_ms: int


class PopConfig(Wire, frozen=True, tag="pop"):
    """What concerns the POP itself. Without it everything is as by default."""

    draining: bool = False
    """No new calls are taken or placed; those that are live go on to their end."""


EntityConfig = DidConfig | QueueConfig | AgentConfig | FlowConfig | PromptConfig | PopConfig


class ConfigEntry(Wire, frozen=True):
    """What one key holds. ``revision`` counts over the whole configuration of the POP."""

    revision: int
    entity: EntityConfig


class PromptRequest(Wire, frozen=True):
    """A POP asks for a prompt's sound, from a byte on."""

    sha256: str
    """Of the whole, as A-law."""
    offset: int = 0


class ErasedRequest(Wire, frozen=True):
    """A POP asks what was erased there, after what it was told before."""

    after: int = 0


class ErasedRecordings(Wire, frozen=True):
    recording_ids: list[str]
    upto: int
    """``after`` of the next request."""
    more: bool = False


class PromptChunk(Wire, frozen=True):
    """A part of it; ``total_size`` 0: there is no such prompt."""

    total_size: int
    blob: bytes = b""


# --- events, POP -> centre -----------------------------------------------------------------------------------------


class EventEnvelope(Wire, frozen=True):
    """One event of the POP's journal. ``seq`` counts from 1 without a gap in one POP's journal; (pop_id, seq) is
    the event's identity, whatever is delivered twice."""

    seq: int
    call_id: str | None
    """None for events of agents and of the POP itself."""
    kind: str
    """Name of the class in ``pbx.domain.events``."""
    at: float
    data: msgspec.Raw
    """The event's fields as JSON."""


class EventBatch(Wire, frozen=True):
    pop_id: str
    journal_id: str
    """A ULID made when the journal's file was created: a POP that lost its disk starts at seq 1 under a new one."""
    events: list[EventEnvelope]
    version: int = WIRE_VERSION


class Heartbeat(Wire, frozen=True):
    pop_id: str
    at: float
    revision: int
    """The newest configuration revision this POP has applied."""
    engine_up: bool
    live_calls: int
    unsent_events: int
    config_errors: dict[str, str] = msgspec.field(default_factory=dict)
    """Configuration key -> why this POP could not apply it."""
    draining: bool = False
    """No new calls are taken or placed."""
    phones_pending: int = 0
    """How many agents' accounts the POP's media server does not have yet as ``revision`` has them: such a phone cannot
    register."""
    spanning_queues: int = 0
    """Queues that this POP shares with others."""
    router_pop: str | None = None
    """Where their router is, as this POP knows; None: it serves its callers with its agents alone."""
    carries_audio: bool | None = None
    """Whether the media server, called by itself, carries audio both ways; None: not known."""
    audio_reason: str = ""
    """Why it does not."""
    clock_at: float | None = None
    """Seconds since the epoch by the clock of the POP's host, which commands' deadlines go by, when this was sent;
    None: from a POP of before. ``at`` is the time that calls go by."""


# --- commands, centre -> POP: requests with a deadline and an idempotency key ---------------------------------------


class SetAgentStatus(Wire, frozen=True, tag="set_agent_status"):
    agent_id: str
    status: str
    """``LOGGED_OUT``, ``AVAILABLE``, ``NOT_READY``."""
    reason: str | None = None


class EndWrapUp(Wire, frozen=True, tag="end_wrap_up"):
    agent_id: str


class ExtendWrapUp(Wire, frozen=True, tag="extend_wrap_up"):
    agent_id: str
    by_s: float


class ExplainWait(Wire, frozen=True, tag="explain_wait"):
    """Asks why nobody has this call yet and, where ``agent_id`` is given, why that agent has not."""

    call_id: str
    agent_id: str | None = None


class ListWaiting(Wire, frozen=True, tag="list_waiting"):
    """Asks for the calls that wait, of one queue or of all, the longest wait first."""

    queue_id: str | None = None
    limit: int = 100


class ExplainChoice(Wire, frozen=True, tag="explain_choice"):
    """Asks why the agents who are rung for this call, or talk to the caller, were chosen."""

    call_id: str


RoutingCommand = SetAgentStatus | EndWrapUp | ExtendWrapUp | ExplainWait | ExplainChoice | ListWaiting
"""About agents and waiting calls."""
PopCommand = RoutingCommand | CallbackCommand | RecordingCommand | HangUpCall | ParkCall | PlaceCall | TalkCommand


class CommandRequest(Wire, frozen=True):
    idempotency_key: str
    deadline_at: float
    """After this time (seconds since the epoch) the POP must not begin to carry it out."""
    command: PopCommand
    traceparent: str | None = None
    """W3C Trace Context: the span of who asks; None: it has none."""


class WaitReason(Wire, frozen=True):
    because: str
    """A value of ``pbx.domain.explain.Because``."""
    agents: int = 0
    skill: str | None = None
    least: int | None = None
    calls: int = 0
    agent_id: str | None = None


class WaitGroup(Wire, frozen=True):
    requirement: dict[str, int] | None
    reasons: list[WaitReason]
    classes: list[str] = msgspec.field(default_factory=list)
    """What is asked for besides skills: ``shift``, ``site:fra``, ``pop:de-fra-1``."""


class WaitEstimate(Wire, frozen=True):
    """Seconds from now until an agent is rung for the call."""

    mean_s: float
    median_s: float
    p80_s: float
    agents: int
    """Who could take the call: logged in, reachable, ready or busy."""


class WaitExplained(Wire, frozen=True):
    queue_id: str
    position: int
    waited_s: float
    effective_priority: float
    offer_id: str | None
    next_step_s: float | None
    groups: list[WaitGroup]
    agent: list[WaitReason] | None = None
    estimate: WaitEstimate | None = None


class WaitingCall(Wire, frozen=True):
    call_id: str
    queue_id: str
    position: int
    waited_s: float
    effective_priority: float
    offer_id: str | None = None
    next_step_s: float | None = None


class AgentChosen(Wire, frozen=True):
    """Why an offer was made to this agent: what was known when it was."""

    offer_id: str
    at: float
    agent_id: str
    queue_id: str
    asked_by: str
    """``call``: it found an idle agent, by the strategy; ``agent``: became free and took the first call in order."""
    strategy: str
    requirement: dict[str, int] | None
    """None: the call waited for this agent alone."""
    classes: list[str]
    waited_s: float
    """By effective priority: the age, and a minute for each point of priority."""
    idle_s: float
    turn: int
    """The number of the agent's offer before this one, over all agents; 0: none."""


class CommandReply(Wire, frozen=True):
    """``error_id`` is None on success. ``blob`` carries a recording's bytes (base64 in JSON)."""

    error_id: str | None = None
    detail: str = ""
    blob: bytes = b""
    total_size: int = 0
    wait: WaitExplained | None = None
    callback_id: str | None = None
    call_id: str | None = None
    """Of a call that was placed."""
    existing: bool = False
    slot: int | None = None
    """Of a call that was parked."""
    chosen: list[AgentChosen] | None = None
    waiting: list[WaitingCall] = msgspec.field(default_factory=list)
    more: bool = False
    """More wait than were asked for."""
    forgotten: NumberForgotten | None = None
    named: NumbersNamed | None = None
