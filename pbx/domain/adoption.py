"""What the ACD takes up of the last run: agents as they were, waiting calls at their places. Base of ``acd``.

It comes after the configuration and before any phone is known to be registered: so nobody is offered anything until
all of it is there.
"""

from __future__ import annotations

from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.acd_views import Views
from pbx.domain.agent import Agent, State, Status
from pbx.domain.decisions import Decision, ToCall
from pbx.domain.e164 import E164
from pbx.domain.errors import BadValue
from pbx.domain.ids import AgentId, CallId
from pbx.domain.queue_rules import OfferCallback, OverflowToNumber, OverflowToQueue, RaisePriority
from pbx.domain.wait_plan import ENDS, Stage
from pbx.domain.waiting_line import Waiting, place_of


class Adoption(Views):
    def _adopt_busy(self, agent: Agent, event: ev.AgentAdopted) -> None:
        if event.call_id is None:
            raise AssertionError("an agent who is busy is busy with a call")
        agent.call_id, agent.queue_id, agent.busy_since = event.call_id, event.queue_id, event.since
        agent.offer_id = agent.chosen = event.offer_id
        line = self._lines.get(event.queue_id) if event.queue_id is not None else None
        if line is not None:
            agent.wrap_up_s, agent.wrap_up_max_s = line.queue.wrap_up_s, line.queue.wrap_up_max_s
            if agent.state is State.ON_CALL:
                agent.handling = line.handling
        serving = self._serving.get(event.call_id, ())
        self._serving[event.call_id] = (*serving, agent.agent_id)

    def adopt_agent(self, event: ev.AgentAdopted, now: float) -> list[Decision]:
        """The agent is new here, logged out and idle. One who is not configured any more is left out."""
        agent = self.agents.get(event.agent_id)
        if agent is None:
            return []
        agent.status, agent.reason = Status[event.status], event.reason
        agent.state, agent.epoch = State[event.state], event.epoch
        decisions: list[Decision] = []
        match agent.state:
            case State.IDLE:
                agent.idle_since = event.since
            case State.WRAP_UP:
                until = event.until if event.until is not None else now
                agent.wrap_up_since, agent.wrap_up_until = event.since, until
                agent.wrap_up_max_s = max((line.queue.wrap_up_max_s for line in self._lines.values()), default=0.0)
                decisions.append(cmd.SetTimer(f"wrap_up:{agent.agent_id}", max(0.0, until - now)))
            case _:
                self._adopt_busy(agent, event)
        self._pools.note(agent)
        if event.state != event.was:
            decisions.insert(0, self._changed(agent, now))
        return decisions

    def adopt_wait(self, event: ev.WaitAdopted, caller: E164 | None, now: float) -> list[Decision]:
        """The call waits on at its place. Steps of the queue that were taken are not taken again; those that became due
        meanwhile are, now."""
        call_id, asked = event.call_id, event.asked
        line = self._lines.get(event.queue_id)
        try:
            plan = None if line is None else self._plan(line, asked.needs, asked.pop_id)
        except BadValue:
            plan = None
        if line is None or plan is None:
            refused = ev.QueueRefused(at=now, queue_id=event.queue_id, reason="unknown_queue")
            return [ToCall(call_id, refused)]
        place = place_of(0.0, asked.entered_at, call_id)
        waiting = Waiting(
            call_id, line, place, asked.priority, event.since, asked.entered_at, asked.needs, plan, plan.pools
        )
        waiting.value, waiting.pop_id, waiting.caller = asked.value, asked.pop_id, caller
        waiting.callback, waiting.tried, waiting.hops = asked.callback, event.tried, event.hops
        self._waiting[call_id] = waiting
        line.callbacks += asked.callback
        for stage in plan.stages:
            if event.since + stage.after_s > now or not _is_past(stage, event):
                break
            waiting.step, waiting.pools = waiting.step + 1, stage.pools
            if isinstance(stage.change, RaisePriority):
                waiting.raised += stage.change.by
        waiting.place = place_of(waiting.effective_priority, asked.entered_at, call_id)
        line.all.add(waiting.place)
        decisions: list[Decision] = []
        preferred = asked.preferred if event.preferred_until is not None else None
        if preferred is not None and event.preferred_until is not None and event.preferred_until > now:
            self._prefer(waiting, AgentId(preferred), event.preferred_until - now, decisions)
        if event.offer_id is not None:
            waiting.offer_id = event.offer_id
            return decisions
        return decisions + self._settle((waiting,), now)

    def adopted_calls(self) -> frozenset[CallId]:
        """Calls that wait or have an agent."""
        return frozenset(self._waiting.keys() | self._serving.keys())


def _is_past(stage: Stage, event: ev.WaitAdopted) -> bool:
    """Whether a stage whose time is over has been taken. One that ends the wait has not, or the call would not wait."""
    match stage.change:
        case OfferCallback():
            return event.callback_told or event.asked.callback
        case OverflowToNumber(number=number):
            return number in event.tried or event.asked.callback
        case OverflowToQueue():
            return False
        case change:
            return event.asked.callback or not isinstance(change, ENDS)
