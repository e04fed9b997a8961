"""Automatic call distribution of one POP: which waiting call goes to which agent. Pure: no clock, no I/O.

Invariants, checked by the property tests after every step:

* an agent has at most one offer, and has one exactly in RESERVED and RINGING;
* a call is waiting in exactly one queue or in none, and is under at most one offer;
* no agent is offered anything unless AVAILABLE, IDLE, reachable and not held;
* whenever a call waits without an offer, no agent who could take it could be offered it.

Strategy is longest idle; a freed agent takes the best head among its queues. The indexes are in ``waiting_line``.
"""

from __future__ import annotations

from dataclasses import dataclass

from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.agent import Agent, State, Status, Step
from pbx.domain.ids import AgentId, CallId, OfferId, PhoneId, QueueId, derive
from pbx.domain.queue import Queue
from pbx.domain.waiting_line import Entry, IdleAgents, Line, Waiting

HOLD_S = 5.0
"""Pause before an agent whose phone the media server could not ring is offered another call."""


@dataclass(frozen=True, slots=True)
class ToCall:
    """Tell the call's actor."""

    call_id: CallId
    event: ev.Event


@dataclass(frozen=True, slots=True)
class Changed:
    """An agent's status or state is another than before; goes to the journal."""

    event: ev.AgentChanged


Decision = ToCall | Changed | cmd.SetTimer | cmd.CancelTimer


class Acd:
    """See the module's docstring. All methods return decisions in the order in which they must be carried out."""

    def __init__(self) -> None:
        self.agents: dict[AgentId, Agent] = {}
        self._by_phone: dict[PhoneId, AgentId] = {}
        self._lines: dict[QueueId, Line] = {}
        self._waiting: dict[CallId, Waiting] = {}
        self._idle = IdleAgents()

    # --- configuration ------------------------------------------------------------------------------------------

    def put_queue(self, queue: Queue, now: float) -> list[Decision]:
        line = self._lines.get(queue.queue_id)
        if line is None:
            self._lines[queue.queue_id] = Line(queue)
        else:
            line.queue = queue
        decisions: list[Decision] = []
        for agent in self.agents.values():
            others = tuple(queue_id for queue_id in agent.queues if queue_id != queue.queue_id)
            fits = queue.accepts(agent.skills)
            agent.queues = (*others, queue.queue_id) if fits else others
            if fits and agent.can_be_offered:
                decisions += self._offer_to(agent, now)
        return decisions

    def remove_queue(self, queue_id: QueueId, now: float) -> list[Decision]:
        """Calls that wait in it are told that there is no such queue."""
        line = self._lines.get(queue_id)
        if line is None:
            return []
        decisions: list[Decision] = []
        for _, _, call_id in list(line.all):
            waiting = self._waiting[call_id]
            if waiting.offer_id is None:
                self._drop(waiting)
                refused = ev.QueueRefused(at=now, queue_id=queue_id, reason="unknown_queue")
                decisions.append(ToCall(call_id, refused))
        if not line.all:
            del self._lines[queue_id]
            for agent in self.agents.values():
                agent.queues = tuple(other for other in agent.queues if other != queue_id)
        return decisions

    def put_agent(
        self, agent_id: AgentId, phone_id: PhoneId, skills: dict[str, int], country: str | None, now: float
    ) -> list[Decision]:
        """Create or change an agent; status and state of one that exists stay as they are."""
        agent = self.agents.get(agent_id)
        if agent is None:
            agent = Agent(agent_id=agent_id, phone_id=phone_id, skills=skills, country=country, idle_since=now)
            self.agents[agent_id] = agent
        else:
            if agent.phone_id != phone_id:
                self._by_phone.pop(agent.phone_id, None)
                agent.reachable = False
            agent.phone_id, agent.skills, agent.country = phone_id, skills, country
            agent.epoch += 1  # entries among the idle agents were made for the former skills
        self._by_phone[phone_id] = agent_id
        agent.queues = tuple(q for q, line in self._lines.items() if line.queue.accepts(skills))
        return self._offer_to(agent, now) if agent.can_be_offered else []

    def remove_agent(self, agent_id: AgentId, now: float) -> list[Decision]:
        """An agent in a call keeps it; the record goes when the agent is idle again."""
        agent = self.agents.get(agent_id)
        if agent is None:
            return []
        decisions: list[Decision] = self.set_status(agent_id, Status.LOGGED_OUT, None, now)
        if agent.state is State.IDLE:
            self._forget(agent)
        else:
            agent.skills = {}
            agent.queues = ()
        return decisions

    def _forget(self, agent: Agent) -> None:
        self.agents.pop(agent.agent_id, None)
        if self._by_phone.get(agent.phone_id) == agent.agent_id:
            del self._by_phone[agent.phone_id]

    # --- agents -------------------------------------------------------------------------------------------------

    def set_status(self, agent_id: AgentId, status: Status, reason: str | None, now: float) -> list[Decision]:
        """What the agent chose. An offer that is ringing is withdrawn when the agent is no longer AVAILABLE."""
        agent = self.agents[agent_id]
        if agent.status is status and agent.reason == reason:
            return []
        came = status is Status.AVAILABLE and agent.status is not Status.AVAILABLE
        agent.status, agent.reason = status, reason if status is Status.NOT_READY else None
        decisions: list[Decision] = [self._changed(agent, now)]
        if came:
            agent.idle_since = now
        decisions += self._withdraw_or_offer(agent, now)
        return decisions

    def phone_reachable(self, phone_id: PhoneId, reachable: bool, now: float) -> list[Decision]:
        agent = self.agents.get(self._by_phone.get(phone_id, AgentId("")))
        if agent is None or agent.reachable is reachable:
            return []
        agent.reachable = reachable
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
        """``wrap_up:ID`` or ``hold:ID`` fired."""
        kind, _, agent_id = name.partition(":")
        agent = self.agents.get(AgentId(agent_id))
        if agent is None:
            return []
        if kind == "hold" and agent.held:
            agent.held = False
            return self._offer_to(agent, now) if agent.can_be_offered else []
        if kind == "wrap_up" and agent.state is State.WRAP_UP:
            return self._finish(agent, now)
        return []

    def _finish(self, agent: Agent, now: float) -> list[Decision]:
        agent.step(Step.FINISH)
        agent.call_id = agent.queue_id = None
        agent.idle_since = now
        decisions: list[Decision] = [self._changed(agent, now)]
        if not agent.skills and agent.status is Status.LOGGED_OUT and not agent.queues:
            self._forget(agent)
        elif agent.can_be_offered:
            decisions += self._offer_to(agent, now)
        return decisions

    # --- what calls ask -----------------------------------------------------------------------------------------

    def handle(self, call_id: CallId, command: cmd.RouterCommand, now: float) -> list[Decision]:
        match command:
            case cmd.JoinQueue():
                return self._join(call_id, command, now)
            case cmd.LeaveQueue():
                self._leave(call_id)
                return []
            case cmd.AskPosition(queue_id=queue_id):
                waiting = self._waiting.get(call_id)
                if waiting is None or waiting.queue_id != queue_id:
                    return []
                told = ev.PositionTold(at=now, queue_id=queue_id, position=self.position(call_id))
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

    def drop_call(self, call_id: CallId, now: float) -> list[Decision]:
        """A call died without a word (a defect): nothing may stay reserved for it."""
        self._leave(call_id)
        decisions: list[Decision] = []
        for agent in list(self.agents.values()):
            if agent.call_id == call_id and agent.offer_id is not None:
                gone = cmd.EndOffer(agent.offer_id, agent.agent_id, ev.OfferOutcome.CALLER_GONE)
                decisions += self._end_offer(call_id, gone, now)
            elif agent.call_id == call_id and agent.state is State.ON_CALL:
                decisions += self._release(call_id, agent.agent_id, now)
        return decisions

    def position(self, call_id: CallId) -> int:
        """Place in the queue, from 1. Calls whose agent is being rung still count: they may come to nothing."""
        waiting = self._waiting[call_id]
        return self._lines[waiting.queue_id].position(waiting.place)

    def _join(self, call_id: CallId, command: cmd.JoinQueue, now: float) -> list[Decision]:
        line = self._lines.get(command.queue_id)
        reason = "unknown_queue" if line is None else "full" if len(line.all) >= line.queue.max_waiting else None
        if line is None or reason is not None or call_id in self._waiting:
            refused = ev.QueueRefused(at=now, queue_id=command.queue_id, reason=reason or "already_waiting")
            return [ToCall(call_id, refused)]
        place = (-command.priority, command.entered_at, call_id)
        self._waiting[call_id] = Waiting(call_id, command.queue_id, place)
        line.enter(place)
        joined = ev.QueueJoined(at=now, queue_id=command.queue_id, position=self.position(call_id))
        return [ToCall(call_id, joined), *self._serve(line, now)]

    def _leave(self, call_id: CallId) -> None:
        waiting = self._waiting.get(call_id)
        if waiting is not None:
            self._drop(waiting)

    def _drop(self, waiting: Waiting) -> None:
        self._lines[waiting.queue_id].leave(waiting.place)
        del self._waiting[waiting.call_id]

    def _end_offer(self, call_id: CallId, command: cmd.EndOffer, now: float) -> list[Decision]:
        agent = self.agents.get(command.agent_id)
        if agent is None or agent.offer_id != command.offer_id:
            return []
        agent.offer_id = None
        waiting = self._waiting.get(call_id)
        if command.outcome is ev.OfferOutcome.ANSWERED:
            agent.step(Step.ANSWER)
            if waiting is not None:
                self._drop(waiting)
            return [self._changed(agent, now)]
        agent.step(Step.GIVE_BACK)
        agent.call_id = agent.queue_id = None
        decisions: list[Decision] = []
        match command.outcome:
            case ev.OfferOutcome.NO_ANSWER:
                agent.status, agent.reason = Status.NOT_READY, "RONA"
            case ev.OfferOutcome.BUSY | ev.OfferOutcome.REJECTED as outcome:
                agent.status, agent.reason = Status.NOT_READY, outcome.name
            case ev.OfferOutcome.UNREACHABLE:
                agent.reachable = False
            case ev.OfferOutcome.FAILED:
                agent.held = True
                decisions.append(cmd.SetTimer(f"hold:{agent.agent_id}", HOLD_S))
            case _:
                pass  # the agent did nothing wrong and keeps its place among the idle
        decisions.insert(0, self._changed(agent, now))
        if waiting is not None and waiting.offer_id == command.offer_id:
            waiting.offer_id = None
            if command.outcome is ev.OfferOutcome.CALLER_GONE:
                self._drop(waiting)
            else:
                line = self._lines[waiting.queue_id]
                line.reopen(waiting.place)
                decisions += self._serve(line, now)
        if agent.can_be_offered:
            decisions += self._offer_to(agent, now)
        return decisions

    def _release(self, call_id: CallId, agent_id: AgentId, now: float) -> list[Decision]:
        agent = self.agents.get(agent_id)
        if agent is None or agent.call_id != call_id or agent.state is not State.ON_CALL:
            return []
        agent.step(Step.RELEASE)
        line = self._lines.get(agent.queue_id) if agent.queue_id else None
        wrap_up_s = line.queue.wrap_up_s if line else 0.0
        if wrap_up_s <= 0:
            return [self._changed(agent, now), *self._finish(agent, now)]
        return [self._changed(agent, now), cmd.SetTimer(f"wrap_up:{agent_id}", wrap_up_s)]

    # --- matching -----------------------------------------------------------------------------------------------

    def _offer_to(self, agent: Agent, now: float) -> list[Decision]:
        """``agent`` can be offered a call: take the best head among its queues, or wait in the heaps."""
        best: Line | None = None
        for queue_id in agent.queues:
            line = self._lines[queue_id]
            if line.open and (best is None or line.open[0] < best.open[0]):
                best = line
        if best is not None:
            return self._offer(best, agent, now)
        entry = (agent.idle_since, agent.agent_id, agent.epoch)
        for requirement in {self._lines[queue_id].queue.requirement for queue_id in agent.queues}:
            self._idle.enter(requirement, entry, self._is_current)
        return []

    def _is_current(self, entry: Entry) -> bool:
        idle_since, agent_id, epoch = entry
        agent = self.agents.get(agent_id)
        if agent is None or agent.epoch != epoch or agent.idle_since != idle_since:
            return False
        return agent.can_be_offered

    def _serve(self, line: Line, now: float) -> list[Decision]:
        """Give the line's open calls to idle agents while there are both."""
        decisions: list[Decision] = []
        while line.open:
            agent_id = self._idle.pop(line.queue.requirement, self._is_current)
            if agent_id is None:
                break
            decisions += self._offer(line, self.agents[agent_id], now)
        return decisions

    def _offer(self, line: Line, agent: Agent, now: float) -> list[Decision]:
        place = line.open.pop(0)
        waiting = self._waiting[place[2]]
        agent.step(Step.RESERVE)
        agent.epoch += 1
        offer_id = OfferId(derive(now, "offer", agent.agent_id, agent.epoch, waiting.call_id))
        agent.offer_id, agent.call_id, agent.queue_id = offer_id, waiting.call_id, waiting.queue_id
        waiting.offer_id = offer_id
        made = ev.OfferMade(
            at=now,
            offer_id=offer_id,
            queue_id=waiting.queue_id,
            agent_id=agent.agent_id,
            phone_id=agent.phone_id,
            agent_country=agent.country,
            epoch=agent.epoch,
            ring_timeout_s=line.queue.ring_timeout_s,
        )
        return [self._changed(agent, now), ToCall(waiting.call_id, made)]

    @staticmethod
    def _changed(agent: Agent, now: float) -> Changed:
        return Changed(
            ev.AgentChanged(
                at=now,
                agent_id=agent.agent_id,
                status=agent.status.value,
                reason=agent.reason,
                state=agent.state.value,
            )
        )

    # --- for those who look ---------------------------------------------------------------------------------------

    def waiting_calls(self, queue_id: QueueId) -> list[CallId]:
        """In the order in which they will be served."""
        line = self._lines.get(queue_id)
        return [] if line is None else [call_id for _, _, call_id in line.all]

    def check(self) -> None:
        """Assert the invariants of the module's docstring; for tests."""
        for agent in self.agents.values():
            if (agent.offer_id is not None) != (agent.state in (State.RESERVED, State.RINGING)):
                raise AssertionError("an agent has an offer exactly in RESERVED and RINGING")
        for line in self._lines.values():
            if line.all != sorted(line.all) or line.open != sorted(line.open):
                raise AssertionError("a line is out of order")
            for place in line.all:
                waiting = self._waiting[place[2]]
                if (waiting.offer_id is None) != (place in line.open):
                    raise AssertionError("a call is open exactly when nobody is offered it")
            if line.open:
                for agent in self.agents.values():
                    if agent.can_be_offered and line.queue.accepts(agent.skills):
                        raise AssertionError("a call waits although an agent could take it")
        offered = [w.offer_id for w in self._waiting.values() if w.offer_id is not None]
        held = {agent.offer_id for agent in self.agents.values()}
        if len(offered) != len(set(offered)) or not held.issuperset(offered):
            raise AssertionError("an offer belongs to one call and one agent")
