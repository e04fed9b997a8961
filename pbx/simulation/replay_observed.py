"""What a replay sees people do: how long callers waited, talked and had patience, and what agents chose."""

from __future__ import annotations

from dataclasses import dataclass

from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.agent import Agent, Status
from pbx.domain.ids import AgentId, CallbackId, CallId
from pbx.domain.service_level import End


@dataclass(slots=True)
class Wait:
    """One wait, from its join on; a caller who is transferred waits again, and so does a promise to call back for each
    attempt (``join.callback``). None: it did not come to that."""

    call_id: CallId
    join: cmd.JoinQueue
    at: float
    over_at: float | None = None
    end: End | None = None
    ring_s: float | None = None
    """Of the offer that was answered; of a callback, from the agent's reservation to the conversation."""
    talk_s: float | None = None
    wrap_up_s: float | None = None
    callback_offered_at: float | None = None
    """When the caller was told that a number can be left."""
    promised: bool = False
    """The caller left one; ``end`` is ABANDONED."""
    promise: Wait | None = None
    """The callback that was promised then, unless there was one already."""
    vain_s: float | None = None
    """How long an agent was reserved for a number that did not answer."""
    again: Wait | None = None
    """The next attempt after it."""


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
        self._attempts: dict[CallId, Wait] = {}
        self._promises: dict[CallbackId, Wait] = {}
        """The last attempt."""

    def joined(self, call_id: CallId, join: cmd.JoinQueue, at: float) -> None:
        wait = self._waiting[call_id] = Wait(call_id, join, at)
        self.waits.append(wait)

    def promise(self, call_id: CallId, callback: ev.CallbackRequested | None) -> None:
        """Whose wait this is, that of ``call_id``: of which promise."""
        wait = self._attempts[call_id] = self._waiting[call_id]
        if callback is None:
            return
        former = self._promises.get(callback.callback_id)
        self._promises[callback.callback_id] = wait
        if former is not None and former.vain_s is not None:
            former.again = wait
        elif former is None and callback.call_id is not None:
            asked = next((w for w in reversed(self.waits) if w.call_id == callback.call_id and w.promised), None)
            if asked is not None:
                asked.promise = wait

    def offered_callback(self, call_id: CallId, at: float) -> None:
        wait = self._waiting.get(call_id)
        if wait is not None:
            wait.callback_offered_at = at

    def left_a_number(self, call_id: CallId, at: float) -> None:
        wait = self._waiting.get(call_id)
        if wait is not None:
            wait.promised = True
            self.over(call_id, at, End.ABANDONED)

    def not_reached(self, agent: Agent, at: float) -> None:
        wait = self._attempts.get(agent.call_id or CallId(""))
        if wait is not None and wait.talk_s is None:
            wait.vain_s = at - agent.busy_since

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
