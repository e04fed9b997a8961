"""What queues that span POPs add to the order in which a POP's ACD was told things. Written by the router of the POP
before the ACD is told, tied to no call; part of ``events``."""

from __future__ import annotations

from dataclasses import dataclass

from pbx.domain.event_base import Event
from pbx.domain.ids import AgentId, CallId, OfferId, QueueId

__all__ = ["AgentLent", "LentOfferEnded", "ProposalTaken", "QueuesShared", "RouterAwaited"]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuesShared(Event):
    """A router matches the calls of these queues from now on, and of no others."""

    queue_ids: tuple[QueueId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalTaken(Event):
    """The router's proposal for a call of this POP."""

    call_id: CallId
    agent_id: AgentId
    offer_id: OfferId | None
    """None: the agent is of this POP, whose ACD makes the offer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentLent(Event):
    """An agent of this POP is reserved for another POP's caller; ``talking``: is found so after a restart."""

    agent_id: AgentId
    call_id: CallId
    offer_id: OfferId
    queue_id: QueueId
    talking: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LentOfferEnded(Event):
    """How an offer ended whose call and agent are of different POPs; each of the two writes it."""

    call_id: CallId
    agent_id: AgentId
    offer_id: OfferId
    outcome: str
    """An ``OfferOutcome``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterAwaited(Event):
    """The agent is free, and is left to the router for a moment: a call of a queue that spans POPs is to be served
    before the own ones. Follows what the agent became free by."""

    agent_id: AgentId


FINDINGS: tuple[type[Event], ...] = (QueuesShared, ProposalTaken, AgentLent, LentOfferEnded, RouterAwaited)
