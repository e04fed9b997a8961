"""Events of a consultation: an agent asks another one while the caller waits. Part of ``events``."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pbx.domain.event_base import Event
from pbx.domain.ids import AgentId

__all__ = [
    "ConferenceStarted",
    "ConsultAsked",
    "ConsultStep",
    "ConsultStepAsked",
    "ConsultationEnded",
    "ConsultationStarted",
]


class ConsultStep(Enum):
    """What may become of a consultation when somebody asks for it."""

    SWAP = "swap"
    """The first agent goes over to the one of the two who hears music."""
    COMPLETE = "complete"
    """The consulted agent gets the caller, the first agent leaves."""
    CANCEL = "cancel"
    """The consulted agent leaves, the first agent is with the caller again."""
    CONFERENCE = "conference"
    """All three hear one another."""


# --- facts -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsultAsked(Event):
    """Put the caller on hold and ring this agent."""

    request: str
    agent_id: AgentId


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsultStepAsked(Event):
    request: str
    step: ConsultStep


# --- findings --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsultationStarted(Event):
    """The consulted agent has answered."""

    agent_id: AgentId


@dataclass(frozen=True, slots=True, kw_only=True)
class ConferenceStarted(Event):
    agent_id: AgentId


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsultationEnded(Event):
    """``reason``: ``not_answered``, ``hung_up``, ``cancelled``, ``completed``, ``call_ended``, ``engine_failed``."""

    agent_id: AgentId
    reason: str


FACTS: tuple[type[Event], ...] = (ConsultAsked, ConsultStepAsked)
FINDINGS: tuple[type[Event], ...] = (ConsultationStarted, ConferenceStarted, ConsultationEnded)
