"""Queues that several POPs share: their calls are open for a router's proposals, and agents are offered calls of other
POPs (``spanning``). Base of ``acd``."""

from __future__ import annotations

from collections.abc import Callable, Collection

from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.adoption import Adoption
from pbx.domain.agent import Agent, State, Step
from pbx.domain.decisions import Decision, ToCall
from pbx.domain.ids import AgentId, CallId, OfferId, QueueId
from pbx.domain.waiting_line import Line, Waiting


class SharedOffers(Adoption):
    def watch(self, on_call: Callable[[Waiting, bool], None], on_agent: Callable[[Agent], None]) -> None:
        """``on_call``: a call of a shared queue is open for proposals, or is not any more. ``on_agent``: what an agent
        can, or whether the agent can be offered a call, has changed. Both are called within other methods."""
        self.on_call, self._pools.on_agent = on_call, on_agent

    def share(self, queue_ids: Collection[QueueId], now: float) -> list[Decision]:
        """A router matches the calls of these queues from now on, and of no others. Calls whose router is no more go to
        agents of this POP, in their order, with the age they have."""
        decisions: list[Decision] = []
        freed: list[Waiting] = []
        for queue_id, line in self._lines.items():
            shared = queue_id in queue_ids
            if line.shared is shared:
                continue
            waiting = [one for one in self._open_calls(line) if one.preferred is None]
            for one in waiting:
                self._close(one)
            line.shared = shared
            if shared:
                for one in waiting:
                    self._open(one)
            else:
                freed += waiting
        self._shared_lines = tuple(line for line in self._lines.values() if line.shared)
        return decisions + self._settle(freed, now)

    def differs(self, queue_ids: Collection[QueueId]) -> bool:
        """Whether to ``share`` these would change anything."""
        return any(line.shared is not (queue_id in queue_ids) for queue_id, line in self._lines.items())

    def _open_calls(self, line: Line) -> list[Waiting]:
        calls = (self._waiting[call_id] for _, call_id in line.all)
        return [waiting for waiting in calls if waiting.offer_id is None]

    def is_open_for_router(self, call_id: CallId) -> bool:
        waiting = self._waiting.get(call_id)
        open_ = waiting is not None and waiting.offer_id is None and waiting.preferred is None
        return open_ and waiting is not None and waiting.line.shared

    def offer_of(self, call_id: CallId) -> tuple[OfferId, AgentId] | None:
        """The offer that a waiting call is under, and whose; None without one, and for one at another POP."""
        waiting = self._waiting.get(call_id)
        if waiting is None or waiting.offer_id is None:
            return None
        serving = (self.agents[agent_id] for agent_id in self._serving.get(call_id, ()))
        found = (agent.agent_id for agent in serving if agent.offer_id == waiting.offer_id)
        agent_id = next(found, None)
        return None if agent_id is None else (waiting.offer_id, agent_id)

    def waiting(self, call_id: CallId) -> Waiting | None:
        return self._waiting.get(call_id)

    def take_here(self, call_id: CallId, agent_id: AgentId, now: float) -> list[Decision]:
        """The router's proposal for an agent of this POP, who can be offered a call; the call is open for it."""
        waiting, agent = self._waiting[call_id], self.agents[agent_id]
        self._close(waiting)
        return self._offer(waiting, agent, None, "router", now)

    def take_elsewhere(self, call_id: CallId, offer: ev.OfferMade) -> list[Decision]:
        """The same for an agent of another POP, who is asked by the leg that rings there."""
        waiting = self._waiting[call_id]
        self._close(waiting)
        waiting.offer_id = offer.offer_id
        return [ToCall(call_id, offer)]

    def _ended_elsewhere(self, call_id: CallId, command: cmd.EndOffer, now: float) -> list[Decision]:
        """How an offer to an agent of another POP ended; that POP sees to the agent."""
        waiting = self._waiting.get(call_id)
        if waiting is None or waiting.offer_id != command.offer_id:
            return []
        left = command.outcome is ev.OfferOutcome.CALLER_GONE
        if left or command.outcome is ev.OfferOutcome.ANSWERED:
            if not waiting.callback:
                waiting.line.patience.over(now - waiting.since, left=left)
            return self._drop(waiting)
        return self._reopen(waiting, now)

    def adopt_guest(self, lent: ev.AgentLent, now: float) -> list[Decision]:
        """The agent has been talking to another POP's caller since before this run, and is IDLE here by mistake."""
        agent = self.agents.get(lent.agent_id)
        if agent is None or agent.state is not State.IDLE:
            return []
        agent.step(Step.ENGAGE)
        agent.step(Step.TAKE_OVER)
        self._taken(agent, lent, now)
        return [self._changed(agent, now)]

    def reserve(self, lent: ev.AgentLent, now: float) -> list[Decision]:
        """Another POP's offer, which its agent's owner accepts: the agent can be offered a call. From here on the leg's
        keeper says what becomes of it, as a call does (AgentRings, EndOffer, ReleaseAgent)."""
        agent = self.agents[lent.agent_id]
        agent.step(Step.RESERVE)
        agent.epoch += 1
        agent.offer_id = lent.offer_id
        self._taken(agent, lent, now)
        return [self._changed(agent, now)]

    def _taken(self, agent: Agent, lent: ev.AgentLent, now: float) -> None:
        self._restamp(agent)
        self._turns = agent.turn = self._turns + 1
        agent.call_id, agent.queue_id = lent.call_id, lent.queue_id
        line = self._lines.get(lent.queue_id)
        if line is not None:
            agent.wrap_up_s, agent.wrap_up_max_s = line.queue.wrap_up_s, line.queue.wrap_up_max_s
        agent.busy_since = now
        self._serving[lent.call_id] = (*self._serving.get(lent.call_id, ()), agent.agent_id)
