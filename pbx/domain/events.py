"""Events: what has happened, past tense, immutable. ``at`` is the time of the fact, seconds since the epoch, UTC.

Three origins. *Facts* come from outside (media server, timers, router, API) and drive the call; *findings* are
what the core concluded and wants written down (``Record`` command); both go to the journal before anything is
done about them. A replay feeds the facts again and makes the findings anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pbx.domain import (
    adoption_events,
    callback_events,
    caller_events,
    consult_events,
    outside_events,
    placed_events,
    spanning_events,
    talk_events,
)
from pbx.domain.adoption_events import *  # noqa: F403  and those of a restart
from pbx.domain.callback_events import *  # noqa: F403  and those of a callback
from pbx.domain.caller_events import *  # noqa: F403
from pbx.domain.consult_events import *  # noqa: F403
from pbx.domain.e164 import E164, Cli
from pbx.domain.event_base import Event as Event
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import (
    AgentId,
    BridgeId,
    CallId,
    FlowId,
    LegId,
    OfferId,
    PhoneId,
    PlayId,
    PopId,
    QueueId,
    RecordingId,
)
from pbx.domain.outside_events import *  # noqa: F403
from pbx.domain.placed_events import *  # noqa: F403
from pbx.domain.queue_rules import Asked
from pbx.domain.spanning_events import *  # noqa: F403
from pbx.domain.talk_events import *  # noqa: F403  those of a conversation are a file of their own
from pbx.domain.variables import Value

HIDDEN = "?"
"""Stands in the journal for a digit that it must not hold."""


# --- facts: the media server -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LegOffered(Event):
    """A carrier's leg reached the POP and was handed to the controller; it is not yet answered."""

    leg_id: LegId
    did: E164
    cli: Cli
    caller_country: str | None
    """ISO 3166-1 alpha-2 of the CLI, upper case; None where it cannot be told."""
    trunk: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LegRinging(Event):
    leg_id: LegId


@dataclass(frozen=True, slots=True, kw_only=True)
class LegAnswered(Event):
    leg_id: LegId


@dataclass(frozen=True, slots=True, kw_only=True)
class LegEnded(Event):
    leg_id: LegId
    cause: HangupCause


@dataclass(frozen=True, slots=True, kw_only=True)
class DigitPressed(Event):
    leg_id: LegId
    digit: str
    """One of ``0-9*#A-D``; in the journal ``HIDDEN`` where the caller keys in what is nobody's business."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayEnded(Event):
    """The prompts of one PlayPrompts are over. ``played_ms`` was really sent; ``completed``: to the last sample."""

    leg_id: LegId
    play_id: PlayId
    played_ms: int
    completed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LegsBridged(Event):
    bridge_id: BridgeId
    leg_ids: tuple[LegId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingStarted(Event):
    recording_id: RecordingId
    leg_id: LegId


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingEnded(Event):
    """The recorder has closed, placed and measured the recording, or destroyed it (``discarded``)."""

    recording_id: RecordingId
    region: str
    duration_ms: int
    size_bytes: int
    sha256: str
    discarded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureDialled(Event):
    """An agent's phone dialled a feature code (``feature_codes``); the leg is handed over, not yet answered."""

    leg_id: LegId
    phone_id: PhoneId
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestOffered(Event):
    """Another POP rings an agent of this one for its caller; the leg is handed over, not yet answered."""

    leg_id: LegId
    home: PopId
    """The caller's POP."""
    offer_id: OfferId
    call_id: CallId
    queue_id: QueueId
    agent_id: AgentId
    epoch: int
    cli: Cli


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneReachable(Event):
    """A phone registered (or its registration ended). Not tied to a call."""

    phone_id: PhoneId
    reachable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandFailed(Event):
    """The media server refused a command, or the connection dropped before the answer (``unknown``)."""

    command: str
    subject: str
    """The id of the leg, play, bridge or recording that the command was about."""
    error: str
    unknown: bool


# --- facts: controller, router, operators ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerFired(Event):
    timer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueJoined(Event):
    """The router has the waiting call. ``position`` counts from 1."""

    queue_id: QueueId
    position: int
    again: bool = False
    """It waited before; an outside number was rung in vain."""
    wait_s: float | None = None
    """80th percentile of the estimated wait; None where nobody asked for it, or there is no estimate."""
    asked: Asked | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRefused(Event):
    """The router does not take the call, or not any longer: ``full``, ``closed``, ``unknown_queue``, ``no_agent``
    (policy)."""

    queue_id: QueueId
    reason: str
    asked: Asked | None = None
    """None where the call had been waiting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueOverflowed(Event):
    """A step of the queue moved the call to ``queue_id``, where ``position`` is its place."""

    queue_id: QueueId
    from_queue_id: QueueId
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitEnded(Event):
    """A step of the queue ended the wait: ``max_wait``, ``prompt``, ``number`` or ``voicemail``; ``target`` is the
    prompt's id, the number in E.164, or the mailbox, whose greeting is ``prompt_id``. Or it closed: ``closed``, with
    the id of a prompt or none."""

    queue_id: QueueId
    reason: str
    target: str = ""
    ring_s: float = 30.0
    show_caller: bool = False
    """How the number is to be rung."""
    prompt_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionTold(Event):
    queue_id: QueueId
    position: int
    wait_s: float | None = None
    """As in ``QueueJoined``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferMade(Event):
    """The router reserved an agent for this call."""

    offer_id: OfferId
    queue_id: QueueId
    agent_id: AgentId
    phone_id: PhoneId
    agent_country: str | None
    epoch: int
    ring_timeout_s: float
    pop_id: PopId | None = None
    """The agent's, where it is another one. The agent may refuse yet, and ``phone_id`` is not known here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferWithdrawn(Event):
    """The agent is no longer to be had (logged out, phone gone) before the answer."""

    offer_id: OfferId


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingStopAsked(Event):
    """Somebody wants the recording of this call stopped: ``agent``, ``supervisor``, ``api``; or the disk is full:
    ``disk_full``."""

    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HangUpAsked(Event):
    """The centre or the controller asks to end the call."""

    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupEnded(Event):
    """A lookup was answered (``error`` is empty) or came to nothing. The journal has ``values`` only where the node
    says ``keep``."""

    lookup_id: str
    error: str
    """``deadline``, ``unreachable``, ``not_allowed``, ``certificate``, ``status``, ``too_big``, ``not_json``."""
    status: int
    """Of HTTP; 0 when it did not come to an answer."""
    values: dict[str, Value]


# --- findings ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowStarted(Event):
    flow_id: FlowId
    version: int
    language: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEntered(Event):
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageChosen(Event):
    language: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MenuChosen(Event):
    node: str
    digit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MenuFailed(Event):
    """The caller pressed wrong digits, or none, as often as the node allows."""

    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DigitsCollected(Event):
    node: str
    count: int
    digits: str | None
    """None unless the node says ``keep``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectFailed(Event):
    """The caller keyed in too little, or nothing, as often as the node allows."""

    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerValueIgnored(Event):
    """What the queue node's ``value`` came to is no number from 0 to 10, and counts as 0."""

    queue_id: QueueId


@dataclass(frozen=True, slots=True, kw_only=True)
class SubFlowEntered(Event):
    """Nodes entered from here are those of this flow, until ``SubFlowLeft``."""

    flow_id: FlowId
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SubFlowLeft(Event):
    flow_id: FlowId


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentGranted(Event):
    """The evidence: which prompt, how much of it was really played, what was pressed. ``digit`` is None where the
    regime asks for no act."""

    regime: str
    jurisdictions: tuple[str, ...]
    prompt_id: str
    prompt_sha256: str
    language: str
    played_ms: int
    digit: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentRefused(Event):
    """``reason``: ``digit``, ``silence``, ``prompt_cut``, ``prohibited``, ``hangup``,
    ``agent_jurisdiction``, ``supervisor_jurisdiction``, ``withdrawn``."""

    regime: str
    jurisdictions: tuple[str, ...]
    reason: str
    prompt_id: str | None = None
    prompt_sha256: str | None = None
    language: str | None = None
    played_ms: int = 0
    digit: str | None = None


class OfferOutcome(Enum):
    ANSWERED = "answered"
    NO_ANSWER = "no_answer"
    """RONA: ring on no answer."""
    BUSY = "busy"
    REJECTED = "rejected"
    UNREACHABLE = "unreachable"
    CALLER_GONE = "caller_gone"
    WITHDRAWN = "withdrawn"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferEnded(Event):
    offer_id: OfferId
    agent_id: AgentId
    outcome: OfferOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class TalkStarted(Event):
    agent_id: AgentId
    queue_id: QueueId


class EndReason(Enum):
    CALLER_HUNG_UP = "caller_hung_up"
    AGENT_HUNG_UP = "agent_hung_up"
    FLOW_ENDED = "flow_ended"
    OVERFLOWED = "overflowed"
    OUTSIDE_HUNG_UP = "outside_hung_up"
    """The outside number to which the caller was forwarded."""
    UNKNOWN_DID = "unknown_did"
    DRAINING = "draining"
    """The POP takes no new calls: the carrier was told to go elsewhere."""
    ENGINE_FAILED = "engine_failed"
    ASKED = "asked"
    NOT_REACHED = "not_reached"
    """A callback, or a call that an agent placed, whose number did not answer."""
    NUMBER_REFUSED = "number_refused"
    """An agent may not call that number from here; the record's forward says why."""
    AGENT_NOT_REACHED = "agent_not_reached"
    """Who was to talk to the number is busy, or the phone did not answer."""
    INTERRUPTED = "interrupted"
    """The controller was restarted and could not follow the call."""
    NO_CONTROLLER = "no_controller"
    """There was none: the dialplan served the call by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnded(Event):
    """The last event of every call; exactly one. It is written when all legs are gone and the recording is placed;
    ``ended_at`` is when the caller's leg ended."""

    reason: EndReason
    cause: HangupCause
    ended_at: float


# --- the router (not tied to a call's own events) ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackQueued(Event):
    """A callback waits in the ACD; written by the router, like ``QueueLeft``."""

    call_id: CallId
    """Under which it waits; that of the call when the number is dialled."""
    asked: Asked


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLeft(Event):
    """A waiting call gave up its place, or lost it with its last leg; written by the router, in the order of what it
    did."""

    call_id: CallId
    queue_id: QueueId


# --- agents (not tied to a call) -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentChanged(Event):
    agent_id: AgentId
    status: str
    reason: str | None
    state: str
    until: float | None = None
    """End of the wrap-up that is being done; an extension is a change too."""


CallBegun = LegOffered | callback_events.CallbackDialled | placed_events.CallPlaced
"""The first event of a call."""

FACTS: tuple[type[Event], ...] = (
    LegOffered, LegRinging, LegAnswered, LegEnded, DigitPressed, PlayEnded, LegsBridged, RecordingStarted,
    RecordingEnded, PhoneReachable, FeatureDialled, GuestOffered, CommandFailed, TimerFired, QueueJoined, QueueRefused,
    QueueOverflowed, WaitEnded, PositionTold, OfferMade, OfferWithdrawn, RecordingStopAsked, HangUpAsked, LookupEnded,
    *talk_events.FACTS, *outside_events.FACTS, *consult_events.FACTS, *callback_events.FACTS, *caller_events.FACTS,
    *adoption_events.FACTS, *placed_events.FACTS,
)  # fmt: skip
FINDINGS: tuple[type[Event], ...] = (
    FlowStarted, NodeEntered, LanguageChosen, MenuChosen, MenuFailed, ConsentGranted, ConsentRefused, OfferEnded,
    TalkStarted, CallEnded, AgentChanged, QueueLeft, DigitsCollected, CollectFailed, SubFlowEntered, SubFlowLeft,
    CustomerValueIgnored, CallbackQueued,
    *talk_events.FINDINGS, *outside_events.FINDINGS, *consult_events.FINDINGS, *callback_events.FINDINGS,
    *caller_events.FINDINGS, *adoption_events.FINDINGS, *spanning_events.FINDINGS,
)  # fmt: skip
BY_NAME: dict[str, type[Event]] = {kind.__name__: kind for kind in FACTS + FINDINGS}
