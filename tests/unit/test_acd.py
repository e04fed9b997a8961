"""The ACD under random events: its invariants hold after every step, and nobody is lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.acd import HOLD_S, Acd, Decision, ToCall
from pbx.domain.agent import TRANSITIONS, Agent, State, Status, Step
from pbx.domain.errors import IllegalTransition
from pbx.domain.ids import AgentId, CallId, OfferId, PhoneId, QueueId
from pbx.domain.queue import Queue
from pbx.domain.queue_rules import EndWithPrompt, Need, OverflowToQueue, RaisePriority, RelaxSkill, WaitStep
from tests.fuzz.acd_watch import Watch

AGENTS = [AgentId(f"a{n}") for n in range(4)]
QUEUES = [QueueId(f"q{n}") for n in range(3)]
STEPS = [
    WaitStep(2.0, RaisePriority(1)),
    WaitStep(4.0, RelaxSkill("x")),
    WaitStep(6.0, OverflowToQueue(QUEUES[0])),
    WaitStep(9.0, EndWithPrompt("sorry")),
]


def queue(name: QueueId, **requirement: int) -> Queue:
    return Queue(queue_id=name, requirement=frozenset(requirement.items()), wrap_up_s=5.0, max_waiting=6)


class AcdMachine(RuleBasedStateMachine):
    """People by choice of Hypothesis, which finds the shortest way to a fault; ``Watch`` says what must be true."""

    def __init__(self) -> None:
        super().__init__()
        self.watch = Watch()
        self.acd = self.watch.acd
        self.calls = 0

    @initialize()
    def configure(self) -> None:
        self.watch.do(lambda: self.acd.put_queue(queue(QUEUES[0], x=1), self.watch.now))
        self.watch.do(lambda: self.acd.put_queue(queue(QUEUES[1], x=3), self.watch.now))
        self.watch.do(lambda: self.acd.put_queue(queue(QUEUES[2], y=1), self.watch.now))

    @rule(agent=st.sampled_from(AGENTS), x=st.integers(0, 5), y=st.integers(0, 5))
    def put_agent(self, agent: AgentId, x: int, y: int) -> None:
        self.watch.do(lambda: self.acd.put_agent(agent, PhoneId(agent), {"x": x, "y": y}, "DE", self.watch.now))

    @rule(agent=st.sampled_from(AGENTS))
    def remove_agent(self, agent: AgentId) -> None:
        self.watch.do(lambda: self.acd.remove_agent(agent, self.watch.now))

    @rule(agent=st.sampled_from(AGENTS), reachable=st.booleans())
    def phone(self, agent: AgentId, reachable: bool) -> None:
        self.watch.do(lambda: self.acd.phone_reachable(PhoneId(agent), reachable, self.watch.now))

    @rule(agent=st.sampled_from(AGENTS), status=st.sampled_from(Status))
    def status(self, agent: AgentId, status: Status) -> None:
        if agent in self.acd.agents:
            self.watch.do(lambda: self.acd.set_status(agent, status, "LUNCH", self.watch.now))

    @rule(name=st.sampled_from(QUEUES), x=st.integers(1, 5), steps=st.lists(st.sampled_from(STEPS), max_size=2))
    def change_queue(self, name: QueueId, x: int, steps: list[WaitStep]) -> None:
        changed = replace(queue(name, x=x), steps=tuple(steps))
        self.watch.do(lambda: self.acd.put_queue(changed, self.watch.now))

    @rule(name=st.sampled_from(QUEUES))
    def remove_queue(self, name: QueueId) -> None:
        self.watch.do(lambda: self.acd.remove_queue(name, self.watch.now))

    @rule(
        name=st.sampled_from(QUEUES),
        priority=st.integers(0, 2),
        needs=st.sampled_from([(), (Need("y", 2),), (Need("y", 4, ((5.0, "x", 1),)),)]),
        preferred=st.none() | st.sampled_from(AGENTS),
    )
    def call(self, name: QueueId, priority: int, needs: tuple[Need, ...], preferred: AgentId | None) -> None:
        self.calls += 1
        call_id = CallId(f"c{self.calls:05}")
        self.watch.enter(call_id, cmd.JoinQueue(name, self.watch.now, priority, needs, preferred, 10.0))

    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        if open_calls := sorted(self.watch.waiting):
            self.watch.abandon(data.draw(st.sampled_from(open_calls)))

    @rule(data=st.data(), outcome=st.sampled_from(ev.OfferOutcome), rings=st.booleans())
    def offer_ends(self, data: st.DataObject, outcome: ev.OfferOutcome, rings: bool) -> None:
        if self.watch.offers:
            call_id = data.draw(st.sampled_from(sorted(self.watch.offers)))
            offer = self.watch.offers[call_id]
            if rings:
                self.watch.do(
                    lambda: self.acd.handle(call_id, cmd.AgentRings(offer.offer_id, offer.agent_id), self.watch.now)
                )
            self.watch.end_offer(call_id, outcome)

    @rule(data=st.data())
    def stale_offer_ends(self, data: st.DataObject) -> None:
        agent = data.draw(st.sampled_from(AGENTS))
        stale = cmd.EndOffer(OfferId("long gone"), agent, ev.OfferOutcome.ANSWERED)
        assert self.acd.handle(CallId("c0"), stale, self.watch.now) == []

    @rule(data=st.data())
    def talk_ends(self, data: st.DataObject) -> None:
        if self.watch.talking:
            self.watch.hang_up(data.draw(st.sampled_from(sorted(self.watch.talking))))

    @rule(data=st.data(), extend=st.booleans())
    def wrap_up(self, data: st.DataObject, extend: bool) -> None:
        if self.watch.wrapping:
            agent = data.draw(st.sampled_from(sorted(self.watch.wrapping)))
            if extend:
                self.watch.do(lambda: self.acd.extend_wrap_up(agent, 3.0, self.watch.now))
            else:
                self.watch.end_wrap_up(agent)

    @rule(data=st.data())
    def call_dies(self, data: st.DataObject) -> None:
        if live := sorted({*self.watch.waiting, *self.watch.talking}):
            self.watch.drop(data.draw(st.sampled_from(live)))

    @rule(seconds=st.floats(0.1, 20))
    def time_passes(self, seconds: float) -> None:
        self.watch.pass_time(self.watch.now + seconds)

    @invariant()
    def holds(self) -> None:
        self.watch.check()
        for name in QUEUES:
            calls = self.acd.waiting_calls(name)
            assert [self.acd.position(call_id) for call_id in calls] == list(range(1, len(calls) + 1))


AcdMachine.TestCase.settings = settings(
    max_examples=150, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAcd: Any = pytest.mark.long(AcdMachine.TestCase)


def ready(acd: Acd, name: str, now: float) -> None:
    acd.put_agent(AgentId(name), PhoneId(name), {"x": 1}, None, now)
    acd.phone_reachable(PhoneId(name), True, now)
    acd.set_status(AgentId(name), Status.AVAILABLE, None, now)


def offers(decisions: list[Decision]) -> list[tuple[str, str]]:
    made = [d for d in decisions if isinstance(d, ToCall) and isinstance(d.event, ev.OfferMade)]
    return [(d.call_id, d.event.agent_id) for d in made if isinstance(d.event, ev.OfferMade)]


def test_the_longest_idle_agent_is_rung() -> None:
    acd = Acd()
    acd.put_queue(queue(QUEUES[0], x=1), 0)
    for now, name in enumerate(["late", "later", "latest"]):
        ready(acd, name, now)
    calls = [acd.handle(CallId(f"c{n}"), cmd.JoinQueue(QUEUES[0], n), 10 + n) for n in range(3)]
    assert [offers(decisions) for decisions in calls] == [[("c0", "late")], [("c1", "later")], [("c2", "latest")]]


def test_a_freed_agent_takes_the_oldest_of_the_highest_priority() -> None:
    acd = Acd()
    for name in QUEUES[:2]:
        acd.put_queue(queue(name, x=1), 0)
    acd.handle(CallId("old"), cmd.JoinQueue(QUEUES[0], 1.0), 1)
    acd.handle(CallId("older"), cmd.JoinQueue(QUEUES[1], 0.5), 2)
    acd.handle(CallId("vip"), cmd.JoinQueue(QUEUES[0], 3.0, priority=1), 3)
    acd.put_agent(AgentId("a"), PhoneId("a"), {"x": 1}, None, 4)
    acd.phone_reachable(PhoneId("a"), True, 4)
    assert offers(acd.set_status(AgentId("a"), Status.AVAILABLE, None, 4)) == [("vip", "a")]


def test_an_agent_whose_phone_could_not_be_rung_is_held_for_a_moment() -> None:
    acd = Acd()
    acd.put_queue(queue(QUEUES[0], x=1), 0)
    ready(acd, "a", 0)
    acd.handle(CallId("c"), cmd.JoinQueue(QUEUES[0], 1), 1)
    offer_id = acd.agents[AgentId("a")].offer_id
    assert offer_id is not None
    failed = cmd.EndOffer(offer_id, AgentId("a"), ev.OfferOutcome.FAILED)
    decisions = acd.handle(CallId("c"), failed, 2)
    assert offers(decisions) == []
    assert cmd.SetTimer("hold:a", HOLD_S) in decisions
    assert offers(acd.timer("hold:a", 2 + HOLD_S)) == [("c", "a")]


def test_stale_entries_do_not_pile_up() -> None:
    """Agents who serve one queue for ever leave no trail in the index of another."""
    acd = Acd()
    acd.put_queue(queue(QUEUES[0], x=1), 0)
    acd.put_queue(Queue(queue_id=QUEUES[1], requirement=frozenset({("x", 1), ("y", 0)}), wrap_up_s=0), 0)
    for n in range(10):
        ready(acd, f"a{n}", n)
    for n in range(5000):
        call_id = CallId(f"c{n}")
        [(_, agent)] = offers(acd.handle(call_id, cmd.JoinQueue(QUEUES[0], 100.0 + n), 100.0 + n))
        offer_id = acd.agents[AgentId(agent)].offer_id
        assert offer_id is not None
        answered = cmd.EndOffer(offer_id, AgentId(agent), ev.OfferOutcome.ANSWERED)
        acd.handle(call_id, answered, 100.0 + n)
        acd.handle(call_id, cmd.ReleaseAgent(AgentId(agent)), 100.0 + n)
        acd.timer(f"wrap_up:{agent}", 100.0 + n)
    assert acd.idle_entries() < 300


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("step", Step)
def test_agent_table(state: State, step: Step) -> None:
    agent = Agent(agent_id=AgentId("a"), phone_id=PhoneId("a"), skills={}, country=None, state=state)
    if (state, step) in TRANSITIONS:
        agent.step(step)
        assert agent.state is TRANSITIONS[state, step]
    else:
        with pytest.raises(IllegalTransition, match=state.value):
            agent.step(step)
        assert agent.state is state
