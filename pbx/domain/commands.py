"""Commands: what the core wants done, imperative, immutable. The call actor performs them in their order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pbx.domain.consent import RecordingGrant
from pbx.domain.e164 import E164, Cli
from pbx.domain.events import Event, OfferOutcome, Supervision
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import AgentId, BridgeId, LegId, OfferId, PhoneId, PlayId, QueueId, RecordingId
from pbx.domain.queue_rules import JoinQueue as JoinQueue  # stands in events too


@dataclass(frozen=True, slots=True)
class Prompt:
    """One recorded announcement in one language. ``sha256`` names the exact recording (evidence)."""

    prompt_id: str
    language: str
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """Write a finding to the journal before the commands after this one are performed."""

    event: Event


# --- for the media server ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AnswerLeg:
    leg_id: LegId


@dataclass(frozen=True, slots=True)
class HangUpLeg:
    leg_id: LegId
    cause: HangupCause


@dataclass(frozen=True, slots=True)
class PlayPrompts:
    leg_id: LegId
    play_id: PlayId
    prompts: tuple[Prompt, ...]


@dataclass(frozen=True, slots=True)
class StopPlay:
    play_id: PlayId


@dataclass(frozen=True, slots=True)
class StartMusic:
    leg_id: LegId
    music_class: str


@dataclass(frozen=True, slots=True)
class StopMusic:
    leg_id: LegId


@dataclass(frozen=True, slots=True)
class ToPhone:
    phone_id: PhoneId


@dataclass(frozen=True, slots=True)
class ToTrunk:
    trunk: str
    number: E164


@dataclass(frozen=True, slots=True)
class OriginateLeg:
    """Ring ``to`` under the id ``leg_id``. The media server gives up after ``timeout_s`` with NO_ANSWER."""

    leg_id: LegId
    to: ToPhone | ToTrunk
    cli: Cli
    timeout_s: float
    peer_leg_id: LegId
    """The leg it will be bridged with; lets the engine choose a codec both have."""


@dataclass(frozen=True, slots=True)
class BridgeLegs:
    bridge_id: BridgeId
    leg_ids: tuple[LegId, LegId]


@dataclass(frozen=True, slots=True)
class DestroyBridge:
    bridge_id: BridgeId


@dataclass(frozen=True, slots=True)
class HoldLeg:
    """Out of the conversation, with music."""

    leg_id: LegId
    music_class: str


@dataclass(frozen=True, slots=True)
class ResumeLeg:
    """Back into the conversation."""

    leg_id: LegId


@dataclass(frozen=True, slots=True)
class MuteLeg:
    leg_id: LegId
    muted: bool


@dataclass(frozen=True, slots=True)
class SuperviseLeg:
    """Let ``leg_id`` take part in the conversation of ``watched``; again, to change the mode."""

    leg_id: LegId
    watched: LegId
    mode: Supervision


@dataclass(frozen=True, slots=True)
class StartRecording:
    """Record the conversation of ``leg_id`` in stereo: what that leg says left, what it hears right."""

    recording_id: RecordingId
    leg_id: LegId
    grant: RecordingGrant
    region: str
    """Where the recording may rest."""


@dataclass(frozen=True, slots=True)
class StopRecording:
    recording_id: RecordingId
    leg_id: LegId
    discard: bool = False
    """Destroy what was captured: a party refused or withdrew."""


# --- for the controller --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Fire ``TimerFired(timer)`` once after ``delay_s``; setting it again replaces it."""

    timer: str
    delay_s: float


@dataclass(frozen=True, slots=True)
class CancelTimer:
    timer: str


@dataclass(frozen=True, slots=True)
class Lookup:
    """Ask an HTTP service; ``LookupEnded`` with this id comes back, at the latest soon after ``deadline_s``.
    What is personal is not in its representation, which may come to a log."""

    lookup_id: str
    method: str
    url: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: Mapping[str, str] | None = field(repr=False)
    """Sent as JSON."""
    take: Mapping[str, str]
    """Variable -> path in the JSON answer."""
    deadline_s: float


# --- for the router ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LeaveQueue:
    queue_id: QueueId


@dataclass(frozen=True, slots=True)
class AskPosition:
    queue_id: QueueId


@dataclass(frozen=True, slots=True)
class AgentRings:
    """The agent's phone has begun to ring."""

    offer_id: OfferId
    agent_id: AgentId


@dataclass(frozen=True, slots=True)
class EndOffer:
    """How the offer ended. After ANSWERED the agent is ON_CALL until ReleaseAgent."""

    offer_id: OfferId
    agent_id: AgentId
    outcome: OfferOutcome


@dataclass(frozen=True, slots=True)
class ReleaseAgent:
    """The conversation is over: the agent goes to WRAP_UP."""

    agent_id: AgentId


@dataclass(frozen=True, slots=True)
class EngageAgent:
    """Keep the agent for this call, which nobody offers: AgentEngaged or AgentNotEngaged says whether it worked."""

    request: str
    agent_id: AgentId


@dataclass(frozen=True, slots=True)
class FreeAgent:
    """The engaged agent is needed no longer and is what it was before."""

    agent_id: AgentId


@dataclass(frozen=True, slots=True)
class PutOnCall:
    """The engaged agent has the conversation now: ON_CALL until ReleaseAgent, with the queue's wrap-up to follow."""

    agent_id: AgentId
    queue_id: QueueId


# --- for whoever asked ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request (``events.Asked``): done, or why not. ``error_id`` is a stable word."""

    request: str
    error_id: str | None = None
    detail: str = ""


EngineCommand = (
    AnswerLeg
    | HangUpLeg
    | PlayPrompts
    | StopPlay
    | StartMusic
    | StopMusic
    | OriginateLeg
    | BridgeLegs
    | DestroyBridge
    | StartRecording
    | StopRecording
    | HoldLeg
    | ResumeLeg
    | MuteLeg
    | SuperviseLeg
)
RouterCommand = (
    JoinQueue | LeaveQueue | AskPosition | AgentRings | EndOffer | ReleaseAgent | EngageAgent | FreeAgent | PutOnCall
)
Command = EngineCommand | RouterCommand | Record | SetTimer | CancelTimer | Lookup | Answer
