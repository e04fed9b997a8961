"""What a replay sees people do: how long callers waited, talked and had patience, and what agents chose."""

from __future__ import annotations

from dataclasses import dataclass

from pbx.domain import commands as cmd
from pbx.domain.agent import Agent, Status
from pbx.domain.ids import AgentId, CallId
from pbx.domain.service_level import End


@dataclass(slots=True)
class Wait:
    """One wait, from its join on; a caller who is transferred waits again. None: it did not come to that."""

    call_id: CallId
    join: cmd.JoinQueue
    at: float
    over_at: float | None = None
    end: End | None = None
    ring_s: float | None = None
    """Of the offer that was answered."""
    talk_s: float | None = None
    wrap_up_s: float | None = None


@dataclass(frozen=True, slots=True)
class Chose:
    at: float
    agent_id: AgentId
    status: Status
    reason: str | None


class Observed:
    def __init__(self) -> None:
        self.waits: list[Wait] = []
        self.chosen: list[Chose] = []
        self._waiting: dict[CallId, Wait] = {}
        self._with: dict[AgentId, Wait] = {}
        """The wait that this agent ended."""

    def joined(self, call_id: CallId, join: cmd.JoinQueue, at: float) -> None:
        wait = self._waiting[call_id] = Wait(call_id, join, at)
        self.waits.append(wait)

    def over(self, call_id: CallId, at: float, end: End) -> None:
        wait = self._waiting.pop(call_id, None)
        if wait is not None:
            wait.over_at, wait.end = at, end

    def answered(self, agent: Agent, at: float) -> None:
        wait = self._waiting.get(agent.call_id or CallId(""))
        if wait is not None:
            self.over(wait.call_id, at, End.ANSWERED)
            wait.ring_s = at - agent.busy_since
            self._with[agent.agent_id] = wait

    def released(self, agent: Agent, at: float) -> None:
        wait = self._with.get(agent.agent_id)
        if wait is not None and wait.over_at is not None:
            wait.talk_s = at - wait.over_at

    def wrapped_up(self, agent: Agent, at: float) -> None:
        wait = self._with.pop(agent.agent_id, None)
        if wait is not None:
            wait.wrap_up_s = at - agent.wrap_up_since if agent.wrap_up_s > 0 else 0.0
