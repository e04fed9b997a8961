"""What must be true of the ACD, seen from outside: ``Watch`` carries the decisions out as the router does, keeps the
timers, and knows who rings, talks and wraps up. After every step:

* no agent has two offers, and no agent is offered anything in wrap-up, not ready, logged out, talking or unreachable;
* no call is lost or in two places, under two offers, or offered after it left;
* no call of higher effective priority that the agent could take as well stays behind when an agent gets a call;
* nobody off shift is offered a call of a queue that demands a shift, no call enters a queue that is closed;
* a callback is not given up;
* every waiting call has a reason, and the reasons' counts are those that looking at every agent gives;
* every timer belongs to something that waits for it, and whatever waits has its timer.

Random steps (``acd``) and Hypothesis (``tests/unit/test_acd.py``) are watched by the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain import explain
from pbx.domain.acd import Acd, Decision, ToCall
from pbx.domain.agent import Agent, Condition, State, Status
from pbx.domain.explain import Because
from pbx.domain.ids import AgentId, CallId, QueueId
from pbx.domain.pools import Pool
from pbx.domain.queue_rules import Requirement, ShiftRule
from pbx.domain.shifts import TIMER
from pbx.domain.sorted_blocks import Place
from pbx.domain.waiting_line import Waiting

AGE_S = 60
"""Of waiting are worth one point of priority; written out here, not taken from what is watched."""
_CLASSES = {"~shift": Because.OFF_SHIFT, "~site:": Because.OTHER_SITE, "~pop:": Because.OTHER_POP}
"""How a class begins -> the reason of those who lack it."""
_LACKS = (*_CLASSES.values(), Because.LACKS_SKILL)


def rank_of(waiting: Waiting) -> Place:
    """The order of effective priority, lowest first, worked out anew: age counts from ``entered_at``."""
    queue = waiting.line.queue
    priority = waiting.priority + queue.priority + (waiting.value * queue.value_weight if waiting.value else 0)
    priority += waiting.raised
    return waiting.entered_at - AGE_S * priority, waiting.call_id


def missing(agent: Agent, requirement: Requirement) -> list[str]:
    skills, classes = agent.skills, agent.classes
    return [skill for skill, least in requirement if (1 if skill in classes else skills.get(skill, 0)) < least]


def could_take(agent: Agent, waiting: Waiting) -> bool:
    if waiting.preferred is not None:
        return waiting.preferred == agent.agent_id
    return any(not missing(agent, pool.requirement) for pool in waiting.pools)


def lacks(skill: str) -> str:
    """The reason of those who lack it."""
    because = next((because for of, because in _CLASSES.items() if skill.startswith(of)), None)
    return f"lacks {skill}" if because is None else because.name


class Watch:
    def __init__(self) -> None:
        self.acd = Acd()
        self.now = 1_000_000.0
        self.timers: dict[str, float] = {}
        self.offers: dict[CallId, ev.OfferMade] = {}
        self.waiting: set[CallId] = set()
        self.talking: dict[CallId, AgentId] = {}
        self.wrapping: set[AgentId] = set()
        self.engaged: dict[CallId, AgentId] = {}
        """Supervisors of calls that are talking."""
        self.consulted: dict[CallId, AgentId] = {}
        """Agents whom a queue gave to a call that is talking, and that waited there for one to consult."""
        self.callbacks: set[CallId] = set()
        """Those of the calls for which nobody holds the line."""
        self.seen: Counter[str] = Counter()
        self._counted: tuple[object, ...] = ()
        """The agents as the reasons were counted last."""
        self._right: set[Pool] = set()
        """Those whose reasons were found right since."""

    # --- the router's part ----------------------------------------------------------------------------------------

    def do(self, act: Callable[[], list[Decision]]) -> None:
        before = {w.call_id: rank_of(w) for w in self.acd._waiting.values() if w.offer_id is None}
        decisions = act()
        made: list[tuple[AgentId, Place]] = []
        withdrawn: list[CallId] = []
        for decision in decisions:
            match decision:
                case ToCall(call_id=call_id, event=ev.OfferMade() as offer):
                    assert call_id in self.waiting, "only waiting calls are offered"
                    assert call_id not in self.offers, "a call has one offer at most"
                    rung = [other.agent_id for other in self.offers.values()]
                    assert offer.agent_id not in rung, "an agent has one offer at most"
                    on_call = (*self.talking.values(), *self.consulted.values())
                    assert offer.agent_id not in on_call, "nobody is rung while on a call"
                    assert offer.agent_id not in self.wrapping, "wrap-up is honoured"
                    assert offer.agent_id not in self.engaged.values(), "nobody is rung while supervising"
                    agent = self.acd.agents[offer.agent_id]
                    assert agent.status is Status.AVAILABLE, "nobody not ready is rung"
                    assert agent.reachable, "nobody unreachable is rung"
                    assert self.acd.why_agent(offer.offer_id).call_id == call_id
                    rule = self.acd._lines[offer.queue_id].queue.shift
                    assert agent.on_shift or rule is not ShiftRule.ONLY, "nobody off shift is rung"
                    self.offers[call_id] = offer
                    made.append((offer.agent_id, rank_of(self.acd._waiting[call_id])))
                case ToCall(call_id=call_id, event=ev.QueueRefused() | ev.WaitEnded() as ended):
                    assert call_id in self.waiting, "the wait of a call ends once"
                    assert call_id not in self.offers, "no wait ends while an agent is being rung for it"
                    lasting = call_id in self.callbacks and ended.reason not in ("unknown_queue", "bad_needs")
                    assert not lasting, "a callback is not given up"
                    self.waiting.discard(call_id)
                    self.seen[ended.reason] += 1
                case ToCall(call_id=call_id, event=ev.OfferWithdrawn()):
                    withdrawn.append(call_id)
                case cmd.SetTimer(timer=timer, delay_s=delay_s):
                    self.timers[timer] = self.now + delay_s
                case cmd.CancelTimer(timer=timer):
                    self.timers.pop(timer, None)
                case ToCall(call_id=call_id, event=ev.AgentEngaged(agent_id=agent_id)):
                    on_call = (*self.talking.values(), *self.consulted.values())
                    busy = (*on_call, *self.wrapping, *self.engaged.values())
                    assert agent_id not in busy, "who is busy is not engaged"
                    self.engaged[call_id] = agent_id
                    self.seen["AgentEngaged"] += 1
                case ToCall(call_id=call_id, event=ev.QueueJoined(queue_id=queue_id)):
                    hours = self.acd._lines[queue_id].queue.hours
                    let_in = hours is None or hours.open(self.now) or call_id in self.callbacks
                    assert let_in, "nobody enters a queue that is closed"
                    self.seen["QueueJoined"] += 1
                case ToCall(event=event):
                    self.seen[type(event).__name__] += 1
                case _:
                    pass
            if isinstance(decision, ToCall) and isinstance(decision.event, ev.OfferMade):
                self.seen["offers"] += 1
        self._fair(before, made)
        for call_id in withdrawn:
            if call_id in self.offers:
                self.end_offer(call_id, ev.OfferOutcome.WITHDRAWN)

    def _fair(self, before: dict[CallId, Place], made: list[tuple[AgentId, Place]]) -> None:
        if not made:
            return
        for waiting in self.acd._waiting.values():
            place = rank_of(waiting)
            if waiting.offer_id is not None or before.get(waiting.call_id, place) != place:
                continue  # its priority was raised in this very step, maybe after the offer
            for agent_id, taken in made:
                if place < taken:
                    assert not could_take(self.acd.agents[agent_id], waiting), (
                        "a call of higher effective priority stays behind"
                    )

    def end_offer(self, call_id: CallId, outcome: ev.OfferOutcome) -> None:
        offer = self.offers.pop(call_id)
        if outcome is ev.OfferOutcome.ANSWERED:
            self.waiting.discard(call_id)
            (self.consulted if call_id in self.talking else self.talking)[call_id] = offer.agent_id
        if outcome is ev.OfferOutcome.CALLER_GONE:
            self.waiting.discard(call_id)
        self.do(lambda: self.acd.handle(call_id, cmd.EndOffer(offer.offer_id, offer.agent_id, outcome), self.now))

    # --- what people do -------------------------------------------------------------------------------------------

    def enter(self, call_id: CallId, join: cmd.JoinQueue) -> None:
        if join.callback:
            self.callbacks.add(call_id)
        self.waiting.add(call_id)
        self.do(lambda: self.acd.handle(call_id, join, self.now))

    def abandon(self, call_id: CallId) -> None:
        """A waiting caller hangs up."""
        if call_id in self.offers:
            self.end_offer(call_id, ev.OfferOutcome.CALLER_GONE)
        else:
            self.waiting.discard(call_id)
            self.do(lambda: self.acd.handle(call_id, cmd.LeaveQueue(QueueId("")), self.now))

    def hang_up(self, call_id: CallId) -> None:
        """A conversation ends."""
        self._let_go(call_id)
        self.end_consultation(call_id)
        self._hang_up(call_id, lambda agent: self.acd.handle(call_id, cmd.ReleaseAgent(agent), self.now))

    def end_consultation(self, call_id: CallId) -> None:
        """At whatever point it is."""
        if call_id in self.waiting:
            self.abandon(call_id)
        agent_id = self.consulted.pop(call_id, None)
        if agent_id is not None:
            self._release(call_id, agent_id)

    def complete(self, call_id: CallId) -> None:
        """The consulted agent has the call, the first one wraps up."""
        former, self.talking[call_id] = self.talking[call_id], self.consulted.pop(call_id)
        self._release(call_id, former)

    def _release(self, call_id: CallId, agent_id: AgentId) -> None:
        if self.acd.agents[agent_id].wrap_up_s > 0:
            self.wrapping.add(agent_id)
        self.do(lambda: self.acd.handle(call_id, cmd.ReleaseAgent(agent_id), self.now))

    def drop(self, call_id: CallId) -> None:
        """A call dies without a word."""
        self.waiting.discard(call_id)
        self.offers.pop(call_id, None)
        self.engaged.pop(call_id, None)
        consulted = self.consulted.pop(call_id, None)
        if consulted is not None and self.acd.agents[consulted].wrap_up_s > 0:
            self.wrapping.add(consulted)
        if call_id in self.talking:
            self._hang_up(call_id, lambda _: self.acd.drop_call(call_id, self.now))
        else:
            self.do(lambda: self.acd.drop_call(call_id, self.now))

    def end_wrap_up(self, agent_id: AgentId) -> None:
        self.wrapping.discard(agent_id)
        self.do(lambda: self.acd.end_wrap_up(agent_id, self.now))

    def _let_go(self, call_id: CallId) -> None:
        agent_id = self.engaged.pop(call_id, None)
        if agent_id is not None:
            before = self.acd.agents[agent_id].idle_since
            self.do(lambda: self.acd.handle(call_id, cmd.FreeAgent(agent_id), self.now))
            after = self.acd.agents.get(agent_id)
            assert after is None or after.idle_since == before, "supervising costs nobody the place"

    def _hang_up(self, call_id: CallId, act: Callable[[AgentId], list[Decision]]) -> None:
        agent_id = self.talking.pop(call_id)
        if self.acd.agents[agent_id].wrap_up_s > 0:
            self.wrapping.add(agent_id)
        self.do(lambda: act(agent_id))

    def pass_time(self, end: float) -> None:
        """Until ``end``; timers fire on the way."""
        while self.timers and min(self.timers.values()) <= end:
            name = min(self.timers, key=lambda timer: (self.timers[timer], timer))
            self.now = self.timers.pop(name)
            if name.startswith("wrap_up:"):
                self.wrapping.discard(AgentId(name.partition(":")[2]))
            self.do(lambda name=name: self.acd.timer(name, self.now))  # type: ignore[misc]
        self.now = end

    # --- what must be true ----------------------------------------------------------------------------------------

    def check(self) -> None:
        self.acd.check()
        waiting = [call_id for queue_id in self.acd._lines for call_id in self.acd.waiting_calls(queue_id)]
        assert sorted(waiting) == sorted(self.waiting), "no call is lost or in two places"
        assert self.offers.keys() <= self.waiting, "an offer is a waiting call's"
        for call_id, agent_id in (*self.talking.items(), *self.consulted.items()):
            assert self.acd.agents[agent_id].call_id == call_id, "who talks is on the call"
        for agent_id in self.wrapping:
            assert self.acd.agents[agent_id].state is State.WRAP_UP, "wrap-up is not cut short"
        self._timers()
        self._reasons()

    def _timers(self) -> None:
        wanted = set()
        for waiting in self.acd._waiting.values():
            more = waiting.step < len(waiting.plan.stages)
            assert waiting.offer_id is not None or more == waiting.armed, "a stage to come has a timer"
            if waiting.armed:
                wanted.add(f"step:{waiting.call_id}")
            if waiting.preferred is not None and waiting.offer_id is None:
                wanted.add(f"prefer:{waiting.call_id}")
        agents = self.acd.agents.values()
        wanted |= {f"wrap_up:{agent.agent_id}" for agent in agents if agent.state is State.WRAP_UP}
        wanted |= {f"hold:{agent.agent_id}" for agent in agents if agent.held}
        if self.acd._timetable.next_at() is not None:
            wanted.add(TIMER)
        assert wanted <= self.timers.keys(), "whatever waits for a timer has it"
        for name in self.timers.keys() - wanted:
            kind, _, subject = name.partition(":")
            rings = kind == "prefer" and self.acd._waiting[CallId(subject)].offer_id is not None
            assert rings, f"{name} is nobody's"

    def _reasons(self) -> None:
        """Calls that wait by one requirement have the same reasons, but that the calls before one are a reason more.
        They hang on the agents alone: what was right is right until an agent, or how agents are counted, changes."""
        pools = self.acd._pools
        agents = [(agent.agent_id, agent.condition, agent.skills, agent.classes) for agent in self.acd.agents.values()]
        counted = (agents, [tuple(profile.counts) for profile in pools._profiles.values()])
        if counted != self._counted:
            self._counted = counted
            self._right.clear()
        for waiting in self.acd._waiting.values():
            if waiting.offer_id is not None or waiting.preferred is not None:
                groups = tuple(explain._groups(waiting, self.acd.agents, pools))
                assert groups, "every waiting call has a reason"
                assert all(group.reasons for group in groups), "every group has a reason"
                continue
            assert waiting.pools, "every waiting call has a reason"
            for pool in waiting.pools:
                if pool not in self._right:
                    self._told_right(waiting, pool)
                    self._right.add(pool)

    def _told_right(self, waiting: Waiting, pool: Pool) -> None:
        reasons = [r for r in explain._pool(waiting, pool, self.acd._pools) if r.because is not Because.EARLIER_CALLS]
        assert reasons, "every group has a reason"
        told = Counter({r.because.name: r.agents for r in reasons if r.because.name in Condition.__members__})
        for r in reasons:
            if r.because in _LACKS:
                told[r.because.name if r.skill is None else f"lacks {r.skill}"] += r.agents
        expected = self._count(pool.requirement)
        assert told == expected, f"counted {expected}, told {told}"

    def _count(self, requirement: Requirement) -> Counter[str]:
        """The reasons that looking at every agent gives."""
        counts: Counter[str] = Counter()
        for agent in self.acd.agents.values():
            match missing(agent, requirement):
                case []:
                    counts[agent.condition.name] += 1
                case [skill] if agent.status is not Status.LOGGED_OUT:
                    counts[lacks(skill)] += 1
        return counts

    def estimate(self, call_id: CallId) -> None:
        """What the caller would be told; dearer than all the rest, so of one call at a time."""
        estimate = self.acd.why_waiting(call_id, self.now).estimate
        if estimate is not None:
            assert 0 <= estimate.median_s <= estimate.p80_s < 1e9, "an estimated wait is a length of time"
            assert 0 <= estimate.mean_s < 1e9
            self.seen["estimated"] += 1
