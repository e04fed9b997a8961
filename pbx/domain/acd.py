"""Automatic call distribution of one POP: which waiting call goes to which agent. Pure: no clock, no I/O.

Invariants, checked by the property tests after every step:

* an agent has at most one offer, and has one exactly in RESERVED and RINGING;
* a call is waiting in exactly one queue or in none, and is under at most one offer;
* no agent is offered anything unless AVAILABLE, IDLE, reachable and not held;
* whenever a call waits without an offer, no agent who could take it could be offered it;
* a freed agent takes the call of the highest effective priority among those it can take, whatever their queues.

``matching`` makes the offers, ``waits`` leads a call through its queue, ``shifts`` knows who is there when,
``acd_views`` tells those who look; here are agents, configuration and the door.
"""

from __future__ import annotations

from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.agent import Act, Agent, State, Status, Step
from pbx.domain.agent_status import BUSY, CHOOSE, REJECTED, RONA
from pbx.domain.decisions import Changed, Decision, Remembered, ToCall
from pbx.domain.errors import IllegalTransition
from pbx.domain.ids import AgentId, CallId, PhoneId, PopId, QueueId
from pbx.domain.kept_places import KeptPlace
from pbx.domain.queue import Queue
from pbx.domain.shared_offers import SharedOffers
from pbx.domain.strategies import load_after
from pbx.domain.timetable import Hours
from pbx.domain.waiting_line import Line

__all__ = ["HOLD_S", "Acd", "Changed", "Decision", "Remembered", "ToCall"]

HOLD_S = 5.0
"""Pause before an agent whose phone the media server could not ring is offered another call."""

_NO_QUEUE = Queue(queue_id=QueueId(""), requirement=frozenset())
"""Its wrap-up follows a conversation that came from no queue, or from one that is no more."""

_WRAP_UP, _FINISH = State.WRAP_UP, Step.FINISH
_MISSED = {
    ev.OfferOutcome.NO_ANSWER: RONA,
    ev.OfferOutcome.BUSY: BUSY,
    ev.OfferOutcome.REJECTED: REJECTED,
}


class Acd(SharedOffers):
    """See the module's docstring. All methods return decisions in the order in which they must be carried out."""

    def __init__(self) -> None:
        super().__init__()
        self._by_phone: dict[PhoneId, AgentId] = {}

    # --- configuration ------------------------------------------------------------------------------------------

    def put_queue(self, queue: Queue, now: float) -> list[Decision]:
        """Create or change a queue. Calls that wait in one whose rules change keep their age under the new rules."""
        line = self._lines.get(queue.queue_id)
        if line is not None:
            line.removed = False
            kept = self._keeps_hours(line, queue.hours, now)
            return kept + (self._replan(line, queue, now) if line.queue != queue else [])
        line = self._lines[queue.queue_id] = Line(queue)
        self._plan(line, ())
        return self._keeps_hours(line, queue.hours, now)

    def remove_queue(self, queue_id: QueueId, now: float) -> list[Decision]:
        """Calls that wait in it are told that there is no such queue; those an agent is being rung for may end well."""
        line = self._lines.get(queue_id)
        if line is None:
            return []
        line.removed = True
        decisions = self._keeps_hours(line, None, now)
        for _, call_id in list(line.all):
            waiting = self._waiting[call_id]
            if waiting.offer_id is None:
                self._close(waiting)
                decisions += self._turn_out(waiting, "unknown_queue", now)
        if queue_id in self._lines and not line.all:
            del self._lines[queue_id]
            self._shared_lines = tuple(line for line in self._lines.values() if line.shared)
            self._sweep()
        return decisions

    def put_agent(
        self,
        agent_id: AgentId,
        phone_id: PhoneId,
        skills: dict[str, int],
        country: str | None,
        now: float,
        *,
        cost: float = 0.0,
        weight: float = 1.0,
        shifts: Hours | None = None,
        site: str | None = None,
        home_pop: PopId | None = None,
    ) -> list[Decision]:
        """Create or change an agent; status and state of one that exists stay as they are. ``shifts``: None is always
        on shift; ``home_pop``: None is this POP."""
        agent = self.agents.get(agent_id)
        if agent is None:
            agent = Agent(agent_id=agent_id, phone_id=phone_id, skills=skills, country=country, idle_since=now)
            self.agents[agent_id] = agent
        elif agent.phone_id != phone_id:
            self._by_phone.pop(agent.phone_id, None)
            agent.reachable = False
        agent.phone_id, agent.skills, agent.country = phone_id, dict(skills), country
        agent.cost, agent.weight, agent.removed = cost, weight, False
        agent.site, agent.home_pop = site, home_pop
        self._by_phone[phone_id] = agent_id
        return self._keeps_shifts(agent, shifts, now) + self._reclassified(agent, now)

    def remove_agent(self, agent_id: AgentId, now: float) -> list[Decision]:
        """An agent in a call keeps it; the record goes when the agent is idle again."""
        agent = self.agents.get(agent_id)
        if agent is None:
            return []
        decisions = self.set_status(agent_id, Status.LOGGED_OUT, None, now)
        agent.removed = True
        decisions += self._keeps_none(agent_id, now)
        if agent.state is State.IDLE:
            decisions += self._forget(agent)
        return decisions

    def agent_of(self, phone_id: PhoneId) -> AgentId | None:
        """Whose phone it is; None for nobody's."""
        return self._by_phone.get(phone_id)

    def _forget(self, agent: Agent) -> list[Decision]:
        self._pools.discharge(agent)
        self.agents.pop(agent.agent_id, None)
        if self._by_phone.get(agent.phone_id) == agent.agent_id:
            del self._by_phone[agent.phone_id]
        return [cmd.CancelTimer(f"hold:{agent.agent_id}")] if agent.held else []

    # --- agents -------------------------------------------------------------------------------------------------

    def set_status(self, agent_id: AgentId, status: Status, reason: str | None, now: float) -> list[Decision]:
        """What the agent chose. An offer that is ringing is withdrawn when the agent is no longer AVAILABLE."""
        agent = self.agents[agent_id]
        if agent.removed or (agent.status is status and (agent.reason == reason or status is not Status.NOT_READY)):
            return []
        came = agent.status is not Status.AVAILABLE
        agent.act(CHOOSE[status], reason)
        if came and status is Status.AVAILABLE:
            agent.idle_since = now
        return self._told(agent, now) + self._withdraw_or_offer(agent, now)

    def _told(self, agent: Agent, now: float) -> list[Decision]:
        """The agent's status changed: say so, and see to the calls that counted on this agent."""
        emptied = self._pools.note(agent)
        decisions: list[Decision] = [self._changed(agent, now)]
        if agent.status is Status.LOGGED_OUT:
            decisions += self._gone(agent, emptied, now)
        return decisions

    def phone_reachable(self, phone_id: PhoneId, reachable: bool, now: float) -> list[Decision]:
        agent = self.agents.get(self._by_phone.get(phone_id, AgentId("")))
        if agent is None or agent.reachable is reachable:
            return []
        agent.reachable = reachable
        self._pools.note(agent)
        # A phone whose registration ended may be ringing still: the offer's own timeout settles that.
        return self._offer_to(agent, now) if agent.can_be_offered else []

    def _withdraw_or_offer(self, agent: Agent, now: float) -> list[Decision]:
        if agent.can_be_offered:
            return self._offer_to(agent, now)
        ringing = agent.state in (State.RESERVED, State.RINGING)
        if ringing and agent.status is not Status.AVAILABLE and agent.call_id and agent.offer_id:
            return [ToCall(agent.call_id, ev.OfferWithdrawn(at=now, offer_id=agent.offer_id))]
        return []

    def timer(self, name: str, now: float) -> list[Decision]:
        """``wrap_up:AGENT``, ``hold:AGENT``, ``router:AGENT``, ``step:CALL``, ``prefer:CALL`` or ``hours:`` fired."""
        kind, _, subject = name.partition(":")
        if kind == "hours":
            return self._boundary(now)
        if kind in ("step", "prefer"):
            return self._wait_timer(kind, CallId(subject), now)
        agent = self.agents.get(AgentId(subject))
        if agent is None:
            return []
        if kind == "hold" and agent.held:
            agent.held = False
            self._pools.note(agent)
            return self._offer_to(agent, now) if agent.can_be_offered else []
        if kind == "router" and agent.can_be_offered and not agent.in_heaps:
            return self._offer_to(agent, now, asked_router=True)
        if kind == "wrap_up" and agent.state is _WRAP_UP:
            return self._finish(agent, now)
        return []

    # --- wrap-up --------------------------------------------------------------------------------------------------

    def end_wrap_up(self, agent_id: AgentId, now: float) -> list[Decision]:
        """The agent is done early. Raises KeyError, and IllegalTransition outside of wrap-up."""
        agent = self.agents[agent_id]
        if agent.state is not State.WRAP_UP:
            raise IllegalTransition("agent", agent.state.value, Step.FINISH.value)
        return [cmd.CancelTimer(f"wrap_up:{agent_id}"), *self._finish(agent, now)]

    def extend_wrap_up(self, agent_id: AgentId, by_s: float, now: float) -> list[Decision]:
        """The agent asks for ``by_s`` more, up to the queue's longest wrap-up. Raises like ``end_wrap_up``."""
        agent = self.agents[agent_id]
        agent.step(Step.EXTEND)
        longest = max(agent.wrap_up_until, agent.wrap_up_since + agent.wrap_up_max_s)
        agent.wrap_up_until = min(agent.wrap_up_until + max(0.0, by_s), longest)
        return [self._changed(agent, now), cmd.SetTimer(f"wrap_up:{agent_id}", max(0.0, agent.wrap_up_until - now))]

    def _release(self, call_id: CallId, agent_id: AgentId, now: float) -> list[Decision]:
        agent = self.agents.get(agent_id)
        if agent is None or agent.call_id != call_id or agent.state is not State.ON_CALL:
            return []
        agent.step(Step.RELEASE)
        if agent.handling is not None:
            agent.handling.fold_if_long()
        self._freed(agent)
        agent.wrap_up_since, agent.wrap_up_until = now, now + max(0.0, agent.wrap_up_s)
        if agent.wrap_up_s <= 0:
            return [self._changed(agent, now), *self._finish(agent, now)]
        return [self._changed(agent, now), cmd.SetTimer(f"wrap_up:{agent_id}", agent.wrap_up_s)]

    def _wrapped_up(self, agent: Agent, now: float) -> Changed:
        agent.step(_FINISH)
        agent.idle_since = now
        if agent.handling is not None:
            agent.handling.ended.append(now - agent.busy_since)
        agent.load = load_after(agent.load, agent.busy_since, now)
        return self._changed(agent, now)

    def _finish(self, agent: Agent, now: float) -> list[Decision]:
        decisions: list[Decision] = [self._wrapped_up(agent, now)]
        if agent.removed:
            decisions += self._forget(agent)
        elif agent.can_be_offered:
            decisions += self._offer_to(agent, now)
        return decisions

    # --- agents who are called to another's conversation --------------------------------------------------------

    def why_not_engaged(self, agent_id: AgentId, *, from_wrap_up: bool) -> str | None:
        """Why the agent cannot be engaged, whatever its status; None: can be."""
        agent = self.agents.get(agent_id)
        if agent is None or agent.removed:
            return "unknown_agent"
        if agent.state is not State.IDLE and not (from_wrap_up and agent.state is State.WRAP_UP):
            return "agent_busy"
        return None if agent.reachable else "agent_unreachable"

    def _engage(self, call_id: CallId, command: cmd.EngageAgent, now: float) -> list[Decision]:
        """Whatever its status, unless the command asks for one who is ready, an idle agent with a phone can be engaged;
        it is offered nothing until it is freed."""
        agent_id, request = command.agent_id, command.request
        agent = self.agents.get(agent_id)
        reason = self.why_not_engaged(agent_id, from_wrap_up=command.from_wrap_up)
        if reason is None and agent is not None and command.ready and not agent.can_be_offered:
            reason = "agent_not_ready"
        if agent is None or reason is not None:
            refused = ev.AgentNotEngaged(at=now, request=request, agent_id=agent_id, reason=reason or "")
            return [ToCall(call_id, refused)]
        decisions: list[Decision] = []
        if agent.state is State.WRAP_UP:
            decisions = [cmd.CancelTimer(f"wrap_up:{agent_id}"), self._wrapped_up(agent, now)]
        agent.step(Step.ENGAGE)
        self._restamp(agent)
        agent.call_id = call_id
        self._serving[call_id] = (*self._serving.get(call_id, ()), agent_id)
        engaged = ev.AgentEngaged(
            at=now, request=request, agent_id=agent_id, phone_id=agent.phone_id, agent_country=agent.country
        )
        return [*decisions, self._changed(agent, now), ToCall(call_id, engaged)]

    def _disengage(self, call_id: CallId, agent_id: AgentId, now: float) -> list[Decision]:
        """The agent is what it was before, with its place among the idle."""
        agent = self.agents.get(agent_id)
        if agent is None or agent.call_id != call_id or agent.state is not State.ENGAGED:
            return []
        agent.step(Step.DISENGAGE)
        self._freed(agent)
        decisions: list[Decision] = [self._changed(agent, now)]
        if agent.removed:
            decisions += self._forget(agent)
        elif agent.can_be_offered:
            decisions += self._offer_to(agent, now)
        return decisions

    def _put_on_call(self, call_id: CallId, command: cmd.PutOnCall, now: float) -> list[Decision]:
        agent = self.agents.get(command.agent_id)
        if agent is None or agent.call_id != call_id or agent.state is not State.ENGAGED:
            return []
        agent.step(Step.TAKE_OVER)
        agent.queue_id, agent.busy_since = command.queue_id, now
        line = self._lines.get(command.queue_id)
        queue = line.queue if line is not None else _NO_QUEUE
        agent.wrap_up_s, agent.wrap_up_max_s = queue.wrap_up_s, queue.wrap_up_max_s
        return [self._changed(agent, now)]

    # --- what calls ask -----------------------------------------------------------------------------------------

    def handle(self, call_id: CallId, command: cmd.RouterCommand, now: float) -> list[Decision]:
        match command:
            case cmd.JoinQueue():
                return self._join(call_id, command, now)
            case cmd.LeaveQueue():
                return self._leave(call_id, now)
            case cmd.KeepPlace(queue_id=queue_id, caller=caller, entered_at=entered_at):
                self.kept_places.keep(KeptPlace(queue_id, caller, entered_at, now))
                return []
            case cmd.AskPosition(estimated=estimated):
                waiting = self._waiting.get(call_id)
                if waiting is None:
                    return []
                wait_s = self.wait_p80_s(call_id, now) if estimated else None
                position = self.position(call_id)
                told = ev.PositionTold(at=now, queue_id=waiting.queue_id, position=position, wait_s=wait_s)
                return [ToCall(call_id, told)]
            case cmd.AgentRings(offer_id=offer_id, agent_id=agent_id):
                agent = self.agents.get(agent_id)
                if agent is None or agent.offer_id != offer_id or agent.state is not State.RESERVED:
                    return []
                agent.step(Step.RING)
                return [self._changed(agent, now)]
            case cmd.EndOffer():
                return self._end_offer(call_id, command, now)
            case cmd.ReleaseAgent(agent_id=agent_id):
                return self._release(call_id, agent_id, now)
            case cmd.EngageAgent():
                return self._engage(call_id, command, now)
            case cmd.FreeAgent(agent_id=agent_id):
                return self._disengage(call_id, agent_id, now)
            case cmd.PutOnCall():
                return self._put_on_call(call_id, command, now)

    def drop_call(self, call_id: CallId, now: float) -> list[Decision]:
        """A call died without a word (a defect): nothing may stay reserved for it."""
        decisions = self._leave(call_id, now)
        for agent_id in self._serving.get(call_id, ()):
            agent = self.agents[agent_id]
            if agent.offer_id is not None:
                gone = cmd.EndOffer(agent.offer_id, agent_id, ev.OfferOutcome.CALLER_GONE)
                decisions += self._end_offer(call_id, gone, now)
            else:
                decisions += self._disengage(call_id, agent_id, now) + self._release(call_id, agent_id, now)
        return decisions

    def _end_offer(self, call_id: CallId, command: cmd.EndOffer, now: float) -> list[Decision]:
        agent = self.agents.get(command.agent_id)
        if agent is None or agent.offer_id != command.offer_id:
            return self._ended_elsewhere(call_id, command, now)
        waiting = self._waiting.get(call_id)
        if waiting is not None and waiting.offer_id != command.offer_id:
            waiting = None
        if command.outcome is ev.OfferOutcome.ANSWERED:
            agent.offer_id = None
            agent.step(Step.ANSWER)
            line = self._lines.get(agent.queue_id) if agent.queue_id is not None else None
            agent.handling = None if line is None else line.handling
            if waiting is not None and not waiting.callback:
                waiting.line.patience.over(agent.busy_since - waiting.since, left=False)
            decisions: list[Decision] = [self._changed(agent, now)]
            if waiting is not None:
                decisions += self._drop(waiting)
                if waiting.caller is not None and waiting.line.queue.last_agent_s > 0:
                    decisions += self.last_agents.served(waiting.queue_id, waiting.caller, agent.agent_id, now)
            return decisions
        agent.step(Step.GIVE_BACK)
        self._freed(agent)
        agent.load = load_after(agent.load, agent.busy_since, now)
        decisions = []
        reason = _MISSED.get(command.outcome)
        if reason is not None and agent.status is Status.AVAILABLE:
            agent.act(Act.MISS, reason)
        elif command.outcome is ev.OfferOutcome.UNREACHABLE:
            agent.reachable = False
        elif command.outcome is ev.OfferOutcome.FAILED:
            agent.held = True
            decisions.append(cmd.SetTimer(f"hold:{agent.agent_id}", HOLD_S))
        # else: the agent did nothing wrong and keeps the place among the idle
        decisions.insert(0, self._changed(agent, now))
        if agent.removed:
            decisions += self._forget(agent)
        if waiting is not None:
            if command.outcome is ev.OfferOutcome.CALLER_GONE:
                if not waiting.callback:
                    waiting.line.patience.over(now - waiting.since, left=True)
                decisions += self._drop(waiting)
            else:
                decisions += self._reopen(waiting, now)
        if agent.can_be_offered:
            decisions += self._offer_to(agent, now)
        return decisions
