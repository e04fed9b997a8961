"""What the ACD tells those who look; nothing here changes anything. Base of ``acd``."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from pbx.domain import explain, wait_estimate
from pbx.domain.agent import State
from pbx.domain.ids import AgentId, CallId, OfferId, QueueId
from pbx.domain.matching import Choice
from pbx.domain.shifts import Shifts
from pbx.domain.wait_estimate import Estimate


@dataclass(slots=True)
class LineView:
    """A queue as it is now."""

    waiting: int = 0
    """Calls, those included whose agent is being rung."""
    callbacks: int = 0
    """Promised ones whose time has come."""
    oldest_at: float | None = None
    """When the call entered that waits longest, seconds since the epoch."""
    talking: int = 0
    closed: bool = False


class Views(Shifts):
    def line_views(self) -> dict[QueueId, LineView]:
        """All queues. Looks at every waiting call and every agent once."""
        views = {queue_id: LineView(closed=line.closed) for queue_id, line in self._lines.items()}
        for waiting in self._waiting.values():
            view = views[waiting.queue_id]
            if waiting.callback:
                view.callbacks += 1
                continue
            view.waiting += 1
            view.oldest_at = waiting.entered_at if view.oldest_at is None else min(view.oldest_at, waiting.entered_at)
        talks = State.ON_CALL
        for agent in self.agents.values():
            if agent.state is talks and agent.queue_id in views:
                views[agent.queue_id].talking += 1
        return views

    def waiting_calls(self, queue_id: QueueId) -> list[CallId]:
        """In the order in which they will be served."""
        line = self._lines.get(queue_id)
        return [] if line is None else [call_id for _, call_id in line.all]

    def longest_waits(self, queue_id: QueueId | None, most: int) -> list[CallId]:
        """Of one queue or of all, the longest wait first, ``most`` of them."""
        found = (one for one in self._waiting.values() if queue_id is None or one.queue_id == queue_id)
        return [one.call_id for one in heapq.nsmallest(most, found, key=lambda one: (one.entered_at, one.call_id))]

    def waits(self, call_id: CallId, now: float) -> explain.Waits:
        """How the call stands in its queue. Raises KeyError like ``why_waiting``."""
        return explain.waits(self._waiting[call_id], now)

    def why_waiting(self, call_id: CallId, now: float) -> explain.Why:
        """Why nobody has the call yet. Raises KeyError where it is not waiting."""
        estimate = self.estimate(call_id, now)
        return explain.why_waiting(self._waiting[call_id], self.agents, self._pools, now, estimate)

    def estimate(self, call_id: CallId, now: float) -> Estimate | None:
        """How long the call will still wait; None where that cannot be told. Raises KeyError like ``why_waiting``."""
        return wait_estimate.estimate(self._waiting[call_id], self._waiting, self._lines, now)

    def why_not(self, call_id: CallId, agent_id: AgentId) -> tuple[explain.Reason, ...]:
        """Why this agent does not have the waiting call. Raises KeyError where it is not waiting, or no such agent."""
        return explain.why_not(self._waiting[call_id], self.agents[agent_id])

    def why_agent(self, offer_id: OfferId) -> Choice:
        """Why this offer went to this agent; known until the conversation is over. Raises KeyError."""
        return Choice(*self._choices[offer_id])

    def why_these_agents(self, call_id: CallId) -> list[Choice]:
        """Why the agents who are rung for the call, or talk, have it; not those who were called to it by name."""
        serving = (self.agents[agent_id].chosen for agent_id in self._serving.get(call_id, ()))
        return [self.why_agent(offer_id) for offer_id in serving if offer_id is not None]

    def idle_entries(self) -> int:
        """Entries in the indexes of idle agents, stale ones included."""
        return self._pools.entries()
