"""Events of calls that are led out to a number or into a parking slot. Part of ``events``."""

from __future__ import annotations

from dataclasses import dataclass

from pbx.domain.e164 import E164
from pbx.domain.event_base import Event
from pbx.domain.ids import AgentId, LegId

__all__ = [
    "CallParked",
    "ForwardAnswered",
    "ForwardEnded",
    "ForwardRefused",
    "ForwardStarted",
    "ParkAsked",
    "ParkEnded",
    "RetrieveAsked",
]

# --- facts: somebody asks ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkAsked(Event):
    """Put the caller into ``slot``, for at most ``timeout_s`` seconds."""

    request: str
    slot: int
    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrieveAsked(Event):
    """Connect the parked caller with this agent: on ``leg_id``, which the agent has dialled in on and which is not
    answered yet, or on the agent's phone, which is rung."""

    request: str
    agent_id: AgentId
    leg_id: LegId | None = None


# --- findings ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardStarted(Event):
    """An outside number is being rung. ``why``: ``flow``, ``queue``, ``transfer``, or ``consultation``: for an agent
    who asks there; ``kind`` is the number's class."""

    leg_id: LegId
    number: E164
    kind: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardAnswered(Event):
    """The caller and the outside number hear each other."""

    leg_id: LegId


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardEnded(Event):
    """``outcome``: a value of ``OfferOutcome``. ``answered``: a conversation is over."""

    leg_id: LegId
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardRefused(Event):
    """The number may not be called from here, or cannot. The number is not kept: it may be what a caller keyed in."""

    why: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallParked(Event):
    slot: int
    agent_id: AgentId


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkEnded(Event):
    """``reason``: ``retrieved`` (by ``agent_id``), ``timed_out``, ``call_ended``."""

    slot: int
    reason: str
    agent_id: AgentId | None = None


FACTS: tuple[type[Event], ...] = (ParkAsked, RetrieveAsked)
FINDINGS: tuple[type[Event], ...] = (
    ForwardStarted,
    ForwardAnswered,
    ForwardEnded,
    ForwardRefused,
    CallParked,
    ParkEnded,
)
