"""What the router knows: calls that are open and agents that are free, as far as it has been told. Soft: a new router
begins with nothing and is told everything.

What it has proposed it takes for neither open nor free (*awaited*) until there is news of it. News may be lost; after a
while without any (``expire``) what was known before counts again, and the worst that comes of it is a refusal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pbx.domain.ids import AgentId, CallId, PopId
from pbx.domain.spanning.messages import AgentIs, Attempt, CallIs, Propose


@dataclass(slots=True)
class Known:
    pop_id: PopId
    count: int
    """The call's number, the agent's epoch."""
    there: bool
    """Open, free."""
    awaited: bool = False

    @property
    def to_be_had(self) -> bool:
        return self.there and not self.awaited


class Overview:
    def __init__(self, term: int) -> None:
        self.term = term
        self.calls: dict[CallId, Known] = {}
        self.agents: dict[AgentId, Known] = {}

    def call(self, told: CallIs) -> bool:
        """False: that is no news."""
        known = self.calls.get(told.call_id)
        if known is not None and known.count >= told.number:
            return False
        if told.open or known is not None:
            self.calls[told.call_id] = Known(told.pop_id, told.number, told.open)
        return True

    def agent(self, told: AgentIs) -> bool:
        """False: that is no news. Of two POPs the one counts that says *free*: the other one has lost the phone."""
        known = self.agents.get(told.agent_id)
        if known is not None and known.pop_id == told.pop_id and known.count >= told.epoch:
            return False
        if known is not None and known.pop_id != told.pop_id and not told.free:
            return False
        self.agents[told.agent_id] = Known(told.pop_id, told.epoch, told.free)
        return True

    def propose(self, call_id: CallId, agent_id: AgentId) -> Propose:
        """Both are to be had; until there is news they are not."""
        call, agent = self.calls[call_id], self.agents[agent_id]
        call.awaited = agent.awaited = True
        return Propose(self.term, Attempt(call_id, call.count), agent_id, agent.pop_id, agent.count)

    def expire(self, proposal: Propose) -> tuple[bool, bool]:
        """No news for too long. Whether the call, and whether the agent, is to be had again by that."""
        call = self.calls.get(proposal.attempt.call_id)
        agent = self.agents.get(proposal.agent_id)
        of_call = call is not None and call.awaited and call.count == proposal.attempt.number
        of_agent = (
            agent is not None and agent.awaited and (agent.pop_id, agent.count) == (proposal.owner, proposal.epoch)
        )
        if call is not None and of_call:
            call.awaited = False
        if agent is not None and of_agent:
            agent.awaited = False
        return of_call and call is not None and call.there, of_agent and agent is not None and agent.there

    def forget_pop(self, pop_id: PopId) -> tuple[list[CallId], list[AgentId]]:
        """Nothing is heard of a POP: what was known of it is not."""
        calls = [call_id for call_id, known in self.calls.items() if known.pop_id == pop_id]
        agents = [agent_id for agent_id, known in self.agents.items() if known.pop_id == pop_id]
        for call_id in calls:
            del self.calls[call_id]
        for agent_id in agents:
            del self.agents[agent_id]
        return calls, agents

    def pairs(self) -> Iterator[tuple[CallId, AgentId]]:
        """Every call and agent that are to be had; which of them meet, the ACD's rules say (``matching``)."""
        for call_id, call in self.calls.items():
            if call.to_be_had:
                for agent_id, agent in self.agents.items():
                    if agent.to_be_had:
                        yield call_id, agent_id
