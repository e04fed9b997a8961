"""The agent's side of a conversation."""

from __future__ import annotations

from dataclasses import dataclass

from pbx.domain.flow_nodes import EnterQueue
from pbx.domain.ids import AgentId, BridgeId, LegId, OfferId, PopId, QueueId
from pbx.domain.queue import Queue


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """Who serves the caller, for which queue, on which leg and bridge; ``node`` is where the flow goes on."""

    agent_id: AgentId
    agent_country: str | None
    queue_id: QueueId
    queue: Queue | None
    leg: LegId
    bridge_id: BridgeId
    node: EnterQueue
    lent: tuple[PopId, OfferId] | None = None
    """An agent of another POP, and the offer by which that POP knows the conversation."""
