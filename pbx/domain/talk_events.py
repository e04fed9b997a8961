"""Events of a conversation: what is asked of it and answered, and what became of it. Part of ``events``."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pbx.domain.e164 import E164
from pbx.domain.event_base import Event
from pbx.domain.ids import AgentId, PhoneId, QueueId, RecordingId

__all__ = [
    "AgentEngaged",
    "AgentNotEngaged",
    "CallTransferred",
    "HoldAsked",
    "HoldEnded",
    "HoldStarted",
    "MuteAsked",
    "MuteChanged",
    "RecordingPauseAsked",
    "RecordingPaused",
    "RecordingResumed",
    "ResumeAsked",
    "Supervision",
    "SupervisionAsked",
    "SupervisionChanged",
    "SupervisionEndAsked",
    "SupervisionEnded",
    "SupervisionStarted",
    "TakeOverAsked",
    "TalkEnded",
    "TransferAsked",
]

# --- facts: somebody asks; ``request`` names the asking, ``commands.Answer`` answers it ------------------------------


class Supervision(Enum):
    """What a supervisor does with a conversation."""

    LISTEN = "listen"
    """Hears both sides, is heard by neither."""
    WHISPER = "whisper"
    """Hears both sides, is heard by the watched leg only."""
    BARGE = "barge"
    """Hears both sides, is heard by both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisionAsked(Event):
    """Ring this agent, or change the mode of the one who supervises already."""

    request: str
    agent_id: AgentId
    mode: Supervision
    take_over: bool = False
    """As soon as the supervisor has answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisionEndAsked(Event):
    request: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeOverAsked(Event):
    """The supervisor is to become the agent."""

    request: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldAsked(Event):
    request: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeAsked(Event):
    request: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MuteAsked(Event):
    """What the agent says is to reach nobody, or to be heard again."""

    request: str
    muted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingPauseAsked(Event):
    """Nothing is to be captured for a while, or again."""

    request: str
    paused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferAsked(Event):
    """Hand the caller on: to ``queue_id``, back into the present queue with ``agent_id`` before all others, to the
    outside ``number``, or to where the flow goes on ``after`` the conversation."""

    request: str
    queue_id: QueueId | None = None
    agent_id: AgentId | None = None
    number: E164 | None = None
    after: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentEngaged(Event):
    """The router keeps the agent for this call; nobody offers it anything until it is freed."""

    request: str
    agent_id: AgentId
    phone_id: PhoneId
    agent_country: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentNotEngaged(Event):
    """``reason``: ``unknown_agent``, ``agent_busy``, ``agent_unreachable``, ``agent_not_ready``."""

    request: str
    agent_id: AgentId
    reason: str


# --- findings ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TalkEnded(Event):
    """This agent's part is over and the call goes on: ``taken_over``, ``transferred``, ``parked``."""

    agent_id: AgentId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldStarted(Event):
    """The caller hears music."""

    agent_id: AgentId


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldEnded(Event):
    agent_id: AgentId


@dataclass(frozen=True, slots=True, kw_only=True)
class MuteChanged(Event):
    agent_id: AgentId
    muted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingPaused(Event):
    """``recording_id``: the part under way, if there is one."""

    recording_id: RecordingId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingResumed(Event):
    recording_id: RecordingId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTransferred(Event):
    """The caller waits again: in ``queue_id``, for ``agent_id`` before all others where one is named."""

    from_agent_id: AgentId
    queue_id: QueueId
    agent_id: AgentId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisionStarted(Event):
    agent_id: AgentId
    mode: Supervision


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisionChanged(Event):
    agent_id: AgentId
    mode: Supervision


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisionEnded(Event):
    """``reason``: ``not_answered``, ``hung_up``, ``asked``, ``took_over``, ``transferred``, ``parked``,
    ``consultation``, ``call_ended``, ``engine_failed``."""

    agent_id: AgentId
    reason: str


FACTS: tuple[type[Event], ...] = (
    SupervisionAsked,
    SupervisionEndAsked,
    TakeOverAsked,
    HoldAsked,
    ResumeAsked,
    MuteAsked,
    RecordingPauseAsked,
    TransferAsked,
    AgentEngaged,
    AgentNotEngaged,
)
FINDINGS: tuple[type[Event], ...] = (
    TalkEnded,
    HoldStarted,
    HoldEnded,
    MuteChanged,
    RecordingPaused,
    RecordingResumed,
    CallTransferred,
    SupervisionStarted,
    SupervisionChanged,
    SupervisionEnded,
)
