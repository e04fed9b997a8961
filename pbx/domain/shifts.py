"""Agents' shifts and queues' hours in the ACD. Base of ``acd``.

One timer, ``hours:``, is set to the next boundary of all of them. An agent whose shift begins or ends changes class
(``agent_classes``) and is what it was before otherwise: who is talking finishes, who is rung is rung on.
"""

from __future__ import annotations

from collections import deque

from pbx.domain import commands as cmd
from pbx.domain.agent import Agent
from pbx.domain.agent_classes import classes_of
from pbx.domain.decisions import Decision
from pbx.domain.ids import AgentId, QueueId
from pbx.domain.queue_rules import Closing
from pbx.domain.timetable import Hours, Timetable
from pbx.domain.waiting_line import Line
from pbx.domain.waits import Waits

TIMER = "hours:"
MAX_TIMER_S = 900.0
"""The wall clock may be set while the timer runs: look at it that often."""
SLICE = 100
"""So many agents and queues are seen to at once; then other events have their turn."""
_AGENT, _QUEUE = "agent:", "queue:"


class Shifts(Waits):
    def __init__(self) -> None:
        super().__init__()
        self._timetable = Timetable()
        self._waits_until: float | None = None
        """The boundary for which the timer is set."""
        self._turning: deque[str] = deque()
        """Whose hours began or ended, and who is yet to be seen to; the timer is set for at once."""

    def _keeps_shifts(self, agent: Agent, shifts: Hours | None, now: float) -> list[Decision]:
        """Before the agent is enlisted: its classes follow from the shifts."""
        on_shift = self._timetable.keep(_AGENT + agent.agent_id, shifts, now)
        agent.classes = classes_of(on_shift=on_shift, site=agent.site, home_pop=agent.home_pop)
        return self._wait_for_boundary(now)

    def _keeps_hours(self, line: Line, hours: Hours | None, now: float) -> list[Decision]:
        line.closed = not self._timetable.keep(_QUEUE + line.queue.queue_id, hours, now)
        return self._wait_for_boundary(now)

    def _keeps_none(self, agent_id: AgentId, now: float) -> list[Decision]:
        self._timetable.keep(_AGENT + agent_id, None, now)
        return self._wait_for_boundary(now)

    def _wait_for_boundary(self, now: float) -> list[Decision]:
        next_at = self._timetable.next_at()
        if next_at == self._waits_until or self._turning:
            return []
        self._waits_until = next_at
        if next_at is None:
            return [cmd.CancelTimer(TIMER)]
        return [cmd.SetTimer(TIMER, min(MAX_TIMER_S, max(0.0, next_at - now)))]

    def _boundary(self, now: float) -> list[Decision]:
        """The timer fired."""
        decisions: list[Decision] = []
        if not self._turning:
            self._turning.extend(self._timetable.turn(now))
        for _ in range(min(SLICE, len(self._turning))):
            keeper = self._turning.popleft()
            is_open = self._timetable.is_open(keeper)
            if is_open is None:
                continue  # configured anew while it was to be seen to
            if keeper.startswith(_AGENT):
                decisions += self._shift_turned(self.agents[AgentId(keeper.removeprefix(_AGENT))], is_open, now)
            else:
                decisions += self._queue_turned(self._lines[QueueId(keeper.removeprefix(_QUEUE))], is_open, now)
        if self._turning:
            return [*decisions, cmd.SetTimer(TIMER, 0.0)]
        self._waits_until = None  # the timer is gone, whatever it was set for
        return decisions + self._wait_for_boundary(now)

    def _shift_turned(self, agent: Agent, on_shift: bool, now: float) -> list[Decision]:
        if agent.on_shift is on_shift:
            return []
        agent.classes = classes_of(on_shift=on_shift, site=agent.site, home_pop=agent.home_pop)
        return self._reclassified(agent, now)

    def _reclassified(self, agent: Agent, now: float) -> list[Decision]:
        """The agent's abilities changed: it may take other calls than before, and no longer some of them."""
        emptied = self._pools.enlist(agent)
        self._restamp(agent)
        decisions = self._gone(agent, emptied, now)
        return decisions + (self._offer_to(agent, now) if agent.can_be_offered else [])

    def _queue_turned(self, line: Line, is_open: bool, now: float) -> list[Decision]:
        line.closed = not is_open
        if is_open or line.queue.closing is not Closing.END:
            return []
        calls = [self._waiting[call_id] for _, call_id in line.all]
        ended = [waiting for waiting in calls if waiting.offer_id is None]
        for waiting in ended:
            self._close(waiting)
        return self._settle(ended, now)  # who is being rung for may end well, or ends when that comes to nothing
