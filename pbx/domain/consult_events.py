"""Events of a consultation: an agent asks somebody else while the caller waits. Part of ``events``."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pbx.domain.e164 import E164
from pbx.domain.event_base import Event
from pbx.domain.ids import AgentId, QueueId

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
    """The consulted party gets the caller, the first agent leaves."""
    CANCEL = "cancel"
    """The consulted party leaves, the first agent is with the caller again."""
    CONFERENCE = "conference"
    """All three hear one another."""


# --- facts -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsultAsked(Event):
    """Put the caller on hold and ring one of them: this agent, whomever the queue offers, or the outside number."""

    request: str
    agent_id: AgentId | None = None
    queue_id: QueueId | None = None
    number: E164 | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsultStepAsked(Event):
    request: str
    step: ConsultStep


# --- findings --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsultationStarted(Event):
    """Who is consulted has answered: an agent, who came by ``queue_id`` where one is named, or, where there is no
    agent, an outside number, of which ``ForwardStarted`` tells."""

    agent_id: AgentId | None
    queue_id: QueueId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConferenceStarted(Event):
    agent_id: AgentId | None
    queue_id: QueueId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsultationEnded(Event):
    """``reason``: ``not_answered``, ``hung_up``, ``cancelled``, ``completed``, ``call_ended``, ``engine_failed``."""

    agent_id: AgentId | None
    queue_id: QueueId | None = None
    reason: str


FACTS: tuple[type[Event], ...] = (ConsultAsked, ConsultStepAsked)
FINDINGS: tuple[type[Event], ...] = (ConsultationStarted, ConferenceStarted, ConsultationEnded)
