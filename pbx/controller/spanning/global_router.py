"""The router of the queues that span POPs, while this POP holds the lease.

It matches by the same rules as a POP's own router: an ``Acd`` of its own is fed with what the POPs tell, and what it
decides is proposed. ``Overview`` keeps apart what is news and what is old. All of it is soft: a new router begins with
nothing and is told everything. It proposes nothing until each POP has told it, or ``GATHER_S`` is over: it hears its
own POP first, whose callers may have come after others'.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from zoneinfo import ZoneInfo

from pbx.controller.spanning.counts import SpanningCounts
from pbx.controller.spanning.reach import Reach
from pbx.controller.timers import Timers
from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.acd import Acd, Decision, ToCall
from pbx.domain.agent import State, Status
from pbx.domain.ids import AgentId, CallId, PhoneId, PopId, QueueId
from pbx.domain.opening_hours import OpeningHours
from pbx.domain.queue import Queue
from pbx.domain.queue_rules import Closing, Need, NoAgent, RaisePriority, RelaxSkill, WidenSites
from pbx.domain.spanning.messages import AgentIs, CallIs, Propose
from pbx.domain.spanning.overview import Overview
from pbx.domain.timetable import Hours
from pbx.ports.media_engine import Clock
from pbx.wire import mesh as wire

EXPIRE_S = 2.0
"""A proposal of which nothing is heard is as if it had not been made."""
GATHER_S = 0.5
"""How long a new router waits for what the POPs tell."""
POP_SILENT_S = 5.0
"""What a POP told is forgotten when it has told nothing for so long."""
GATHER = "gather"
_REACHED = "@reached:"
"""With a POP's id a skill of agents whom calls of that POP reach; no skill of a queue or an agent is called so."""
_NEVER = Hours(OpeningHours(zone=ZoneInfo("UTC"), weekly=((),) * 7, special={}, holidays=frozenset()))
"""The shifts of an agent who is not on shift now; when that changes the owner tells."""
_LASTING = (RelaxSkill, RaisePriority, WidenSites)
"""The steps of a queue that change whom a call may go to; what ends a wait is done by the caller's POP."""


def as_matched(queue: Queue) -> Queue:
    """The queue as far as matching goes."""
    return replace(
        queue,
        steps=tuple(step for step in queue.steps if isinstance(step.action, _LASTING)),
        max_wait_s=None,
        max_waiting=1_000_000,
        hours=None,
        closing=Closing.SERVE,
        no_agent=NoAgent.WAIT,
        last_agent_s=0.0,
        wrap_up_s=0.0,
    )


class GlobalRouter:
    def __init__(
        self, term: int, clock: Clock, propose: Callable[[PopId, wire.Proposed], None], counts: SpanningCounts
    ) -> None:
        """``propose`` sends to a POP, this one included."""
        self.term, self._counts = term, counts
        self._clock, self._propose = clock, propose
        self._acd = Acd()
        self._known = Overview(term)
        self._timers = Timers(self._timer)
        self._under_way: dict[str, Propose] = {}
        self._calls: dict[CallId, wire.CallTold] = {}
        self._heard: dict[PopId, float] = {}
        self._agents: dict[AgentId, wire.AgentTold] = {}
        """Those who were free when last heard of."""
        self.reach = Reach(clock)
        self._unreached: Mapping[PopId, frozenset[PopId]] = {}
        """Home -> whose agents its callers are not proposed to, as it is in force."""
        self._asked: dict[AgentId, PopId] = {}
        """Whose caller the agent was proposed to, where nothing has been heard of the agent since."""
        self._expected: frozenset[PopId] = frozenset()
        self._gathered: dict[PopId, list[wire.Told]] | None = {}
        """What each POP has told since it told everything; None: that is over."""
        self._timers.set(GATHER, GATHER_S)

    def stop(self) -> None:
        self._timers.cancel_all()

    def put_queues(self, queues: Mapping[QueueId, Queue]) -> None:
        """All that span POPs; what is not among them is routed no more."""
        now = self._clock()
        self._expected = frozenset(pop_id for queue in queues.values() for pop_id in queue.pops)
        for queue in self._acd.queues():
            if queue.queue_id not in queues:
                self._carry_out(self._acd.remove_queue(queue.queue_id, now))
        for queue in queues.values():
            self._carry_out(self._acd.put_queue(as_matched(queue), now))

    def line(self, queue_id: QueueId) -> list[CallId]:
        """The calls that wait in it, all POPs' together, in their order."""
        return self._acd.waiting_calls(queue_id)

    def pops(self) -> set[PopId]:
        """Those that are heard."""
        return set(self._heard)

    def first_of_others(self, pop_id: PopId, queue_ids: Iterable[QueueId]) -> dict[str, tuple[float, str]]:
        """Of each queue, the place of the first call that is of another POP than this and that nobody is rung for."""
        found: dict[str, tuple[float, str]] = {}
        for queue_id in queue_ids:
            for call_id in self.line(queue_id):
                waiting = self._acd.waiting(call_id)
                if waiting is not None and waiting.offer_id is None and self.home_of(call_id) != pop_id:
                    found[queue_id] = waiting.place
                    break
        return found

    def home_of(self, call_id: CallId) -> PopId:
        return self._known.calls[call_id].pop_id

    # --- what the POPs tell -----------------------------------------------------------------------------------------

    def told(self, pop_id: PopId, told: wire.Told) -> None:
        self._heard[pop_id] = self._clock()
        if self._gathered is None:
            self._take([(pop_id, told)])
            if told.all:
                self._forget_untold(pop_id, told)
            return
        before = self._gathered.get(pop_id)
        if told.all:
            self._gathered[pop_id] = [told]
            if self._gathered.keys() >= self._expected:
                self._begin()
        elif before is not None:  # or it will tell all, this among it
            before.append(told)

    def _begin(self) -> None:
        """Propose from now on."""
        gathered, self._gathered = self._gathered or {}, None
        self._timers.cancel(GATHER)
        self._take([(pop_id, told) for pop_id, all_told in gathered.items() for told in all_told])

    def _take(self, all_told: Collection[tuple[PopId, wire.Told]]) -> None:
        """Calls find the best of all agents who are free; but where others wait already they are put in their places
        first, or an agent would take one who came later."""
        if waited_for := bool(self._calls):
            self._calls_told(all_told)
        for pop_id, told in all_told:
            for agent in told.agents:
                self._agent(pop_id, agent)
        if not waited_for:
            self._calls_told(all_told)

    def _regroup(self) -> None:
        """While a POP does not reach another one its calls need an agent whom they reach, which is a skill here."""
        unreached = self.reach.unreached()
        if unreached == self._unreached:
            return
        changed = {h for h in unreached.keys() | self._unreached.keys() if unreached.get(h) != self._unreached.get(h)}
        self._unreached = unreached
        now = self._clock()
        for agent_id, agent in self._agents.items():
            self._carry_out(self._put_agent(agent_id, agent, now))
        for call_id in [call_id for call_id in self._calls if self.home_of(call_id) in changed]:
            if self._acd.waits_in(call_id) is not None and self._acd.offer_of(call_id) is None:
                self._out(call_id)
                self._in(call_id)

    def _calls_told(self, all_told: Collection[tuple[PopId, wire.Told]]) -> None:
        newest: dict[str, tuple[PopId, wire.CallTold]] = {}
        for pop_id, told in all_told:
            for call in told.calls:
                if call.call_id not in newest or newest[call.call_id][1].number < call.number:
                    newest[call.call_id] = pop_id, call
        # The longest wait first, or those who tell first would be served first.
        for pop_id, call in sorted(newest.values(), key=lambda one: one[1].entered_at):
            self._call(pop_id, call)

    def _forget_untold(self, pop_id: PopId, told: wire.Told) -> None:
        """``told`` is everything: what else was known of the POP is no more."""
        calls, agents = {one.call_id for one in told.calls}, {one.agent_id for one in told.agents}
        for call_id, known in list(self._known.calls.items()):
            if known.pop_id == pop_id and call_id not in calls:
                self._forget_call(call_id)
        for agent_id, known in list(self._known.agents.items()):
            if known.pop_id == pop_id and agent_id not in agents:
                self._forget_agent(agent_id)

    def look_around(self) -> None:
        """Forget POPs that have fallen silent: their callers are served by their own agents."""
        now = self._clock()
        self._regroup()
        for pop_id in [pop_id for pop_id, at in self._heard.items() if now - at > POP_SILENT_S]:
            del self._heard[pop_id]
            calls, agents = self._known.forget_pop(pop_id)
            for call_id in calls:
                self._forget_call(call_id)
            for agent_id in agents:
                self._forget_agent(agent_id)

    def _forget_call(self, call_id: CallId) -> None:
        self._known.calls.pop(call_id, None)
        self._calls.pop(call_id, None)
        self._out(call_id)

    def _forget_agent(self, agent_id: AgentId) -> None:
        self._agents.pop(agent_id, None)
        self._known.agents.pop(agent_id, None)
        agent = self._acd.agents.get(agent_id)
        if agent is not None:
            now = self._clock()
            self._carry_out(self._acd.phone_reachable(agent.phone_id, False, now))
            self._carry_out(self._acd.remove_agent(agent_id, now))

    def _call(self, pop_id: PopId, told: wire.CallTold) -> None:
        call_id = CallId(told.call_id)
        if not self._known.call(CallIs(pop_id, call_id, told.number, told.open)):
            return
        self._out(call_id)
        if told.open:
            self._calls[call_id] = told
            self._in(call_id)
        else:
            self._calls.pop(call_id, None)

    def _in(self, call_id: CallId) -> None:
        told = self._calls[call_id]
        home = self._known.calls[call_id].pop_id
        needs = tuple(Need(skill, least, tuple(map(tuple, more))) for skill, least, more in told.needs)
        if self._unreached.get(home):
            needs += (Need(_REACHED + home, 1),)
        join = cmd.JoinQueue(
            QueueId(told.queue_id),
            entered_at=told.entered_at,
            priority=told.priority,
            needs=needs,
            value=told.value,
            pop_id=home,
        )
        self._carry_out(self._acd.handle(call_id, join, self._clock()))

    def _out(self, call_id: CallId) -> None:
        """Out of the line. An agent who was proposed for it stays taken until there is news of the agent."""
        now = self._clock()
        offer = self._acd.offer_of(call_id)
        if offer is not None:
            offer_id, agent_id = offer
            answered = cmd.EndOffer(offer_id, agent_id, ev.OfferOutcome.ANSWERED)
            self._carry_out(self._acd.handle(call_id, answered, now))
        elif (queue_id := self._acd.waits_in(call_id)) is not None:
            self._carry_out(self._acd.handle(call_id, cmd.LeaveQueue(queue_id), now))

    def _agent(self, pop_id: PopId, told: wire.AgentTold) -> None:
        agent_id, now = AgentId(told.agent_id), self._clock()
        if not self._known.agent(AgentIs(pop_id, agent_id, told.epoch, told.free)):
            return
        if (home := self._asked.pop(agent_id, None)) is not None:
            self.reach.got_there(home, pop_id)
        phone_id = PhoneId(agent_id)
        if not told.free:
            self._agents.pop(agent_id, None)
            self._carry_out(self._acd.phone_reachable(phone_id, False, now))
            return
        self._carry_out(self._acd.phone_reachable(phone_id, False, now))  # or it is offered before all is right
        self._agents[agent_id] = told
        put = self._put_agent(agent_id, told, now)
        self._carry_out(put)
        agent = self._acd.agents[agent_id]
        if agent.status is not Status.AVAILABLE:
            self._carry_out(self._acd.set_status(agent_id, Status.AVAILABLE, None, now))
        if agent.offer_id is not None and agent.call_id is not None:
            # Of the call nothing has been heard; it is out of the line until it is, or until the proposal expires.
            self._out(agent.call_id)
        if agent.state is State.ON_CALL and agent.call_id is not None:
            self._carry_out(self._acd.handle(agent.call_id, cmd.ReleaseAgent(agent_id), now))
        agent.idle_since = told.idle_since
        self._carry_out(self._acd.phone_reachable(phone_id, True, now))

    def _put_agent(self, agent_id: AgentId, told: wire.AgentTold, now: float) -> list[Decision]:
        pop_id = self._known.agents[agent_id].pop_id
        reached = {_REACHED + home: 1 for home, unreached in self._unreached.items() if pop_id not in unreached}
        return self._acd.put_agent(
            agent_id,
            PhoneId(agent_id),
            told.skills | reached,
            told.country,
            now,
            cost=told.cost,
            weight=told.weight,
            site=told.site,
            home_pop=pop_id,
            shifts=None if told.on_shift else _NEVER,
        )

    # --- what is proposed -------------------------------------------------------------------------------------------

    def _carry_out(self, decisions: Iterable[Decision]) -> None:
        for decision in decisions:
            match decision:
                case ToCall(call_id=call_id, event=ev.OfferMade() as offer):
                    self._offer(call_id, offer)
                case cmd.SetTimer(timer=timer, delay_s=delay_s):
                    self._timers.set(timer, delay_s)
                case cmd.CancelTimer(timer=timer):
                    self._timers.cancel(timer)
                case _:
                    pass  # that is the POPs' to know

    def _offer(self, call_id: CallId, offer: ev.OfferMade) -> None:
        proposal = self._known.propose(call_id, offer.agent_id)
        name = f"expire:{call_id}:{offer.agent_id}"
        self._under_way[name] = proposal
        self._timers.set(name, EXPIRE_S)
        told = wire.Proposed(
            self.term, call_id, proposal.attempt.number, offer.agent_id, proposal.owner, proposal.epoch,
            offer.agent_country,
        )  # fmt: skip
        self._counts.proposed["made"] += 1
        self._asked[offer.agent_id] = self._known.calls[call_id].pop_id
        self._propose(self._known.calls[call_id].pop_id, told)

    def _timer(self, name: str) -> None:
        if name == GATHER:
            self._begin()
            return
        if not name.startswith("expire:"):
            self._carry_out(self._acd.timer(name, self._clock()))
            return
        proposal = self._under_way.pop(name, None)
        if proposal is None:
            return
        of_call, of_agent = self._known.expire(proposal)
        self._counts.proposed["expired"] += of_call or of_agent
        agent_id, call_id = proposal.agent_id, proposal.attempt.call_id
        if of_agent:
            home, call = self._asked.pop(agent_id, None), self._known.calls.get(call_id)
            taken = call is not None and call.count > proposal.attempt.number
            if home is not None and home != proposal.owner and taken:
                # The caller's POP took it, and the agent's has noticed nothing: it did not get there.
                self.reach.vain(home, proposal.owner)
            known, agent = self._known.agents[agent_id], self._acd.agents[agent_id]
            if agent.call_id == call_id and agent.offer_id is not None:
                self._out(call_id)
            if agent.state is State.ON_CALL and agent.call_id is not None and known.to_be_had:
                self._carry_out(self._acd.handle(agent.call_id, cmd.ReleaseAgent(agent_id), self._clock()))
        if of_call and self._acd.waits_in(call_id) is None:
            self._in(call_id)
