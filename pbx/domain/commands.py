"""Commands: what the core wants done, imperative, immutable. The call actor performs them in their order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from pbx.domain.consent import RecordingGrant
from pbx.domain.e164 import E164, Cli
from pbx.domain.events import Event, OfferOutcome, Supervision
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import AgentId, BridgeId, LegId, OfferId, PhoneId, PlayId, PopId, QueueId, RecordingId
from pbx.domain.maker import maker
from pbx.domain.queue_rules import Asked, Need

_asked = maker(Asked)


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
class StartRinging:
    """The leg hears that a phone rings; it ends as music does."""

    leg_id: LegId


class Tone(Enum):
    """Of a number that is not reached (ITU-T E.180)."""

    BUSY = "busy"
    CONGESTION = "congestion"


@dataclass(frozen=True, slots=True)
class StartTone:
    """The leg hears that a number is busy or cannot be reached; it ends as music does."""

    leg_id: LegId
    tone: Tone


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
    peer_leg_id: LegId | None
    """The leg it will be bridged with; lets the engine choose a codec both have. None: there is none yet."""


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
    silence_s: float | None = None
    """``RecordingSilent`` is to tell when that leg has said nothing for so long."""


@dataclass(frozen=True, slots=True)
class StopRecording:
    recording_id: RecordingId
    leg_id: LegId
    discard: bool = False
    """Destroy what was captured: a party refused or withdrew."""


@dataclass(frozen=True, slots=True)
class PauseRecording:
    """The file goes on, with silence."""

    recording_id: RecordingId
    leg_id: LegId


@dataclass(frozen=True, slots=True)
class ResumeRecording:
    recording_id: RecordingId
    leg_id: LegId


@dataclass(frozen=True, slots=True)
class EraseRecording:
    """Destroy one that was placed; ``RecordingErased`` tells when it is done."""

    recording_id: RecordingId


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
class JoinQueue:
    queue_id: QueueId
    entered_at: float
    priority: int = 0
    needs: tuple[Need, ...] = ()
    """What this call asks of an agent beyond the queue's requirement."""
    preferred: AgentId | None = None
    """This agent first (the last one the caller talked to): the call waits ``preferred_s`` for nobody else."""
    preferred_s: float = 0.0
    caller: E164 | None = field(default=None, repr=False)
    """Whose last agent comes first, where the queue says so; None: withheld."""
    value: float = 0.0
    """Of the customer, 0 to 10."""
    pop_id: PopId | None = None
    """Where the call is; None: at this POP."""
    while_closed: bool = False
    """Let in outside the queue's hours, unless closing ends waits: somebody hands the caller to a colleague."""
    callback: bool = False
    """Promised or called back: the queue's limits, and whatever ends a wait, do not count."""
    tried: tuple[E164, ...] = ()
    """Numbers that this wait has overflowed to in vain; they are not tried again."""
    again: bool = False
    """Back from such a number: the call waits on."""
    estimated: bool = False
    """``QueueJoined`` is to tell the estimated wait."""

    def asked(self, preferred: AgentId | None, preferred_s: float) -> Asked:
        """For the journal; ``preferred``: as it came out."""
        return _asked(
            self.queue_id,
            self.entered_at,
            self.priority,
            self.needs,
            preferred,
            preferred_s if preferred is not None else 0.0,
            self.value,
            self.pop_id,
            self.while_closed,
            self.callback,
            len(self.tried),
            self.again,
        )


@dataclass(frozen=True, slots=True)
class LeaveQueue:
    queue_id: QueueId


@dataclass(frozen=True, slots=True)
class AskPosition:
    queue_id: QueueId
    estimated: bool = False
    """``PositionTold`` is to tell the estimated wait."""


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
    ready: bool = False
    """Only an agent who is AVAILABLE."""
    from_wrap_up: bool = False
    """An agent in wrap-up ends it for this."""


@dataclass(frozen=True, slots=True)
class FreeAgent:
    """The engaged agent is needed no longer and is what it was before."""

    agent_id: AgentId


@dataclass(frozen=True, slots=True)
class PutOnCall:
    """The engaged agent has the conversation now: ON_CALL until ReleaseAgent, with the queue's wrap-up to follow."""

    agent_id: AgentId
    queue_id: QueueId


# --- for the keeper of callbacks --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RequestCallback:
    """Promise ``number`` a callback: CallbackPromised or CallbackRefused says whether it is."""

    queue_id: QueueId
    number: str = field(repr=False)
    """E.164, or as somebody in ``country`` keys it in."""
    did: E164
    country: str
    trunk: str
    language: str
    entered_at: float
    """Of the place that is kept."""
    priority: int
    needs: tuple[Need, ...]
    by: str
    not_before: float | None = None


# --- for whoever asked ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request (``asked.Asked``): done, or why not. ``error_id`` is a stable word."""

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
    | StartRinging
    | StartTone
    | OriginateLeg
    | BridgeLegs
    | DestroyBridge
    | StartRecording
    | StopRecording
    | PauseRecording
    | ResumeRecording
    | HoldLeg
    | ResumeLeg
    | MuteLeg
    | SuperviseLeg
)
RouterCommand = (
    JoinQueue | LeaveQueue | AskPosition | AgentRings | EndOffer | ReleaseAgent | EngageAgent | FreeAgent | PutOnCall
)
Command = (
    EngineCommand | RouterCommand | EraseRecording | RequestCallback | Record | SetTimer | CancelTimer | Lookup | Answer
)
