"""Strategies, steps over time, needs, one agent first, wrap-up, and the reasons for it all."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.acd import Acd, Decision, ToCall
from pbx.domain.agent import STATUS_TRANSITIONS, Act, Agent, State, Status
from pbx.domain.e164 import E164
from pbx.domain.errors import BadValue, IllegalTransition
from pbx.domain.explain import Because
from pbx.domain.ids import AgentId, CallId, PhoneId, QueueId, derive, ulid
from pbx.domain.pools import IdleHeap, agent_entry
from pbx.domain.queue import Queue
from pbx.domain.queue_rules import (
    Action,
    EndWithPrompt,
    Need,
    NoAgent,
    OverflowToNumber,
    OverflowToQueue,
    RaisePriority,
    RelaxSkill,
    Strategy,
    ToVoicemail,
    WaitStep,
)
from pbx.domain.sorted_blocks import BLOCK, Place, SortedBlocks
from pbx.domain.strategies import OCCUPANCY_S, key, load_after, occupancy
from tests.fuzz.acd import run

Q, R = QueueId("q"), QueueId("r")


class Floor:
    """A short way to say who is there and who calls; time is ``now``."""

    def __init__(self, *queues: Queue) -> None:
        self.acd = Acd()
        self.now = 1000.0
        self.timers: dict[str, float] = {}
        self.told: list[tuple[str, ev.Event]] = []
        for queue in queues:
            self.do(self.acd.put_queue(queue, self.now))

    def do(self, decisions: list[Decision]) -> list[tuple[str, str]]:
        """The offers among the decisions: call, agent."""
        offers = []
        for decision in decisions:
            match decision:
                case ToCall(call_id=call_id, event=event):
                    self.told.append((call_id, event))
                    if isinstance(event, ev.OfferMade):
                        offers.append((str(call_id), str(event.agent_id)))
                case cmd.SetTimer(timer=timer, delay_s=delay_s):
                    self.timers[timer] = self.now + delay_s
                case cmd.CancelTimer(timer=timer):
                    self.timers.pop(timer, None)
                case _:
                    pass
        return offers

    def agent(self, name: str, *, cost: float = 0, weight: float = 1, **skills: int) -> list[tuple[str, str]]:
        self.now += 1
        agent_id, phone_id = AgentId(name), PhoneId(name)
        self.do(self.acd.put_agent(agent_id, phone_id, skills, None, self.now, cost=cost, weight=weight))
        self.do(self.acd.phone_reachable(phone_id, True, self.now))
        return self.status(name, Status.AVAILABLE)

    def status(self, name: str, status: Status) -> list[tuple[str, str]]:
        return self.do(self.acd.set_status(AgentId(name), status, None, self.now))

    def call(self, name: str, queue_id: QueueId = Q, **join: Any) -> list[tuple[str, str]]:
        self.now += 1
        command = cmd.JoinQueue(queue_id, join.pop("entered_at", self.now), **join)
        return self.do(self.acd.handle(CallId(name), command, self.now))

    def end(self, call: str, name: str, outcome: ev.OfferOutcome = ev.OfferOutcome.ANSWERED) -> list[tuple[str, str]]:
        offer_id = self.acd.agents[AgentId(name)].offer_id
        assert offer_id is not None
        return self.do(self.acd.handle(CallId(call), cmd.EndOffer(offer_id, AgentId(name), outcome), self.now))

    def talk(self, call: str, name: str, talk_s: float = 10) -> list[tuple[str, str]]:
        offers = self.end(call, name)
        self.now += talk_s
        return offers + self.talk_over(call, name)

    def talk_over(self, call: str, name: str) -> list[tuple[str, str]]:
        return self.do(self.acd.handle(CallId(call), cmd.ReleaseAgent(AgentId(name)), self.now))

    def wait(self, seconds: float) -> list[tuple[str, str]]:
        offers, end = [], self.now + seconds
        while self.timers and min(self.timers.values()) <= end:
            name = min(self.timers, key=lambda timer: self.timers[timer])
            self.now = self.timers.pop(name)
            offers += self.do(self.acd.timer(name, self.now))
        self.now = end
        return offers

    def last(self, kind: type[ev.Event]) -> Any:
        return next((event for _, event in reversed(self.told) if isinstance(event, kind)), None)

    def reasons(self, call: str) -> list[tuple[str, int, int]]:
        why = self.acd.why_waiting(CallId(call), self.now)
        return [(reason.because.value, reason.agents, reason.calls) for group in why.groups for reason in group.reasons]


def queue(queue_id: QueueId = Q, *steps: tuple[float, Action], **fields: Any) -> Queue:
    requirement = frozenset(fields.pop("skills", {"x": 1}).items())
    waits = tuple(WaitStep(after_s, action) for after_s, action in steps)
    merged: dict[str, Any] = {"wrap_up_s": 0.0, "steps": waits, **fields}
    return Queue(queue_id=queue_id, requirement=requirement, **merged)


# --- the agent's axes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("act", Act)
def test_status_table(status: Status, act: Act) -> None:
    agent = Agent(agent_id=AgentId("a"), phone_id=PhoneId("a"), skills={}, country=None, status=status, reason="old")
    if (status, act) in STATUS_TRANSITIONS:
        agent.act(act, "LUNCH")
        assert agent.status is STATUS_TRANSITIONS[status, act]
        assert agent.reason == ("LUNCH" if agent.status is Status.NOT_READY else None)
    else:
        with pytest.raises(IllegalTransition, match=status.value):
            agent.act(act, "LUNCH")
        assert (agent.status, agent.reason) == (status, "old")


def test_who_logged_out_while_the_phone_rang_stays_logged_out() -> None:
    floor = Floor(queue())
    floor.agent("a", x=1)
    floor.call("c")
    floor.status("a", Status.LOGGED_OUT)
    floor.end("c", "a", ev.OfferOutcome.NO_ANSWER)
    assert floor.acd.agents[AgentId("a")].status is Status.LOGGED_OUT


def test_rona_makes_not_ready_and_the_call_goes_to_the_next_agent() -> None:
    floor = Floor(queue())
    floor.agent("a", x=1)
    floor.agent("b", x=1)
    assert floor.call("c") == [("c", "a")]
    assert floor.end("c", "a", ev.OfferOutcome.NO_ANSWER) == [("c", "b")]
    agent = floor.acd.agents[AgentId("a")]
    assert (agent.status, agent.reason) == (Status.NOT_READY, "RONA")


def test_wrap_up_ends_early_is_extended_and_is_never_skipped() -> None:
    floor = Floor(queue(wrap_up_s=10.0, wrap_up_max_s=25.0))
    floor.agent("a", x=1)
    floor.call("c")
    with pytest.raises(IllegalTransition):
        floor.acd.extend_wrap_up(AgentId("a"), 5, floor.now)
    with pytest.raises(IllegalTransition):
        floor.acd.end_wrap_up(AgentId("a"), floor.now)
    assert floor.acd.agents[AgentId("a")].state is State.RESERVED
    floor.end("c", "a")
    floor.do(floor.acd.remove_queue(Q, floor.now))  # what was promised stays
    floor.do(floor.acd.handle(CallId("c"), cmd.ReleaseAgent(AgentId("a")), floor.now))
    floor.do(floor.acd.put_queue(queue(wrap_up_s=10.0), floor.now))
    assert floor.call("d") == []
    assert floor.wait(8) == []
    floor.do(floor.acd.extend_wrap_up(AgentId("a"), 100, floor.now))
    assert floor.wait(15) == [], "extended to the longest: 25 s since its beginning, of which 24 are over"
    assert floor.wait(2) == [("d", "a")]
    floor.talk("d", "a")
    floor.call("e")
    assert floor.do(floor.acd.end_wrap_up(AgentId("a"), floor.now)) == [("e", "a")]
    assert "wrap_up:a" not in floor.timers


# --- whom to choose ---------------------------------------------------------------------------------------------------


def chosen(strategy: Strategy, count: int, floor_agents: dict[str, dict[str, Any]], talk_s: int = 10) -> list[str]:
    floor = Floor(queue(strategy=strategy))
    for name, fields in floor_agents.items():
        floor.agent(name, **{"x": 1} | fields)
    names = []
    for number in range(count):
        [(call, name)] = floor.call(f"c{number}")
        names.append(name)
        floor.talk(call, name, talk_s)
    return names


def test_best_skill() -> None:
    assert chosen(Strategy.BEST_SKILL, 3, {"a": {"x": 2}, "b": {"x": 5}, "c": {"x": 3, "y": 5}}) == ["b"] * 3


def test_lowest_cost_then_longest_idle() -> None:
    agents = {"a": {"cost": 2.0}, "b": {"cost": 1.0}, "c": {"cost": 1.0}}
    assert chosen(Strategy.LOWEST_COST, 4, agents) == ["b", "c", "b", "c"]


def test_round_robin() -> None:
    assert chosen(Strategy.ROUND_ROBIN, 6, {"a": {}, "b": {}, "c": {}}) == ["a", "b", "c"] * 2


def test_least_occupied_prefers_who_worked_least_not_who_is_idle_longest() -> None:
    floor = Floor(queue(strategy=Strategy.LEAST_OCCUPIED))
    floor.agent("a", x=1)
    floor.call("long")
    floor.talk("long", "a", 600)
    floor.agent("b", x=1)
    floor.call("short")
    floor.talk("short", "b", 5)
    assert floor.call("c") == [("c", "b")]


@given(st.lists(st.tuples(st.floats(0, 5000), st.floats(0, 5000)), min_size=1, max_size=20))
def test_occupancy_is_what_its_differential_equation_gives(spans: list[tuple[float, float]]) -> None:
    load, now, expected = float("-inf"), 1.7e9, 0.0
    for idle_s, busy_s in spans:
        expected *= 2.718281828459045 ** (-idle_s / OCCUPANCY_S)
        expected = 1 - (1 - expected) * 2.718281828459045 ** (-busy_s / OCCUPANCY_S)
        load = load_after(load, now + idle_s, now + idle_s + busy_s)
        now += idle_s + busy_s
    assert occupancy(load, now) == pytest.approx(expected, abs=1e-5)


def test_random_goes_by_weight_and_is_the_same_again() -> None:
    agents = {"a": {"weight": 1.0}, "b": {"weight": 2.0}, "c": {"weight": 5.0}}
    names = chosen(Strategy.RANDOM, 4000, agents)
    share = {name: number / 4000 for name, number in Counter(names).items()}
    assert share == pytest.approx({"a": 1 / 8, "b": 2 / 8, "c": 5 / 8}, abs=0.025)  # 3 standard deviations
    assert names == chosen(Strategy.RANDOM, 4000, agents)


def test_the_preferred_agent_first_for_a_while() -> None:
    floor = Floor(queue())
    floor.agent("a", x=1)
    floor.agent("b", x=1)
    assert floor.call("c1", preferred=AgentId("b"), preferred_s=20.0) == [("c1", "b")]
    assert floor.call("c2", preferred=AgentId("b"), preferred_s=20.0) == [], "b is busy; a is not asked yet"
    assert ("prefers", 1, 0) in floor.reasons("c2")
    assert floor.talk("c1", "b") == [("c2", "b")]
    assert floor.call("c3", preferred=AgentId("b"), preferred_s=20.0) == []
    assert floor.wait(20) == [("c3", "a")]
    floor.talk("c3", "a")
    assert floor.call("c4", preferred=AgentId("b"), preferred_s=20.0) == []
    assert floor.status("b", Status.LOGGED_OUT) == [("c4", "a")], "nobody waits for who has gone"
    floor.talk("c4", "a")
    assert floor.call("c5", preferred=AgentId("b"), preferred_s=20.0) == [("c5", "a")]


# --- while a call waits -----------------------------------------------------------------------------------------------


def test_priority_ages_across_queues() -> None:
    """One point of priority is a minute of waiting, whichever queue."""
    floor = Floor(queue(), queue(R, skills={"x": 2}))
    floor.call("old", Q, entered_at=940.0)
    floor.call("urgent", R, entered_at=999.5, priority=1)
    floor.call("older", Q, entered_at=939.0)
    order = [floor.agent("a", x=3), floor.talk("older", "a"), floor.talk("urgent", "a")]
    assert order == [[("older", "a")], [("urgent", "a")], [("old", "a")]]


def test_a_skill_is_relaxed_and_priority_raised_over_time() -> None:
    floor = Floor(queue(Q, (30, RelaxSkill("x", 2)), (60, RaisePriority(5)), skills={"x": 4}))
    floor.agent("expert", x=5)
    floor.call("busy")
    floor.agent("novice", x=2)
    floor.agent("none", y=5)
    floor.call("c")
    assert floor.reasons("c") == [("being_offered", 1, 0), ("lacks_skill", 2, 0)]
    assert floor.wait(29) == []
    assert floor.wait(1) == [("c", "novice")]
    floor.call("d")
    floor.call("vip", priority=2)
    assert floor.acd.waiting_calls(Q) == ["vip", "busy", "c", "d"]
    floor.wait(60)
    assert floor.acd.waiting_calls(Q) == ["vip", "d", "busy", "c"]


def test_a_stage_nobody_could_serve_is_not_waited_out() -> None:
    floor = Floor(queue(Q, (30, RelaxSkill("x")), skills={"x": 4, "y": 1}))
    floor.agent("expert", x=5, y=1)
    floor.agent("novice", y=1)
    floor.call("talking")
    assert floor.call("c") == [], "an expert is logged in: 30 s are waited for one"
    assert floor.status("expert", Status.LOGGED_OUT) == [("c", "novice")]
    floor.talk("c", "novice")
    assert floor.call("d") == [("d", "novice")]


def test_overflow_keeps_the_age_and_goes_only_where_somebody_is() -> None:
    floor = Floor(queue(Q, (30, OverflowToQueue(R)), (50, OverflowToQueue(R))), queue(R, skills={"y": 1}))
    floor.agent("a", x=1)
    floor.call("first")
    floor.call("c")
    floor.wait(40)
    assert floor.acd.waiting_calls(R) == [], "nobody there"
    floor.agent("b", y=1)
    floor.call("young", R, entered_at=floor.now)
    assert floor.wait(15) == []
    assert floor.acd.waiting_calls(R) == ["c", "young"]
    moved = floor.last(ev.QueueOverflowed)
    assert (moved.queue_id, moved.from_queue_id, moved.position) == (R, Q, 1)
    assert floor.end("young", "b", ev.OfferOutcome.CALLER_GONE) == [("c", "b")]


def test_queues_that_overflow_into_each_other_end() -> None:
    floor = Floor(queue(Q, (0, OverflowToQueue(R))), queue(R, (0, OverflowToQueue(Q))))
    floor.agent("a", x=1)
    floor.call("first")
    floor.call("c")
    assert len([1 for _, event in floor.told if isinstance(event, ev.QueueOverflowed)]) == 16
    floor.acd.check()


@pytest.mark.parametrize("callback", [True, False])
def test_a_number_is_waited_for_by_callers_and_not_by_callbacks(callback: bool) -> None:
    """Nobody has x: what comes after the number counts at once for who is never led out."""
    out, relax = OverflowToNumber(E164("+4930123456")), RelaxSkill("x", 0)
    floor = Floor(queue(Q, steps=(WaitStep(30, out), WaitStep(60, relax))))
    floor.agent("a", y=1)
    assert floor.call("c", callback=callback) == ([("c", "a")] if callback else [])
    floor.wait(100)
    ended = [event.reason for _, event in floor.told if isinstance(event, ev.WaitEnded)]
    assert ended == ([] if callback else ["number"])
    floor.acd.check()


@pytest.mark.parametrize(
    ("fields", "reason", "target"),
    [
        ({"steps": (WaitStep(30, OverflowToNumber(E164("+4930123456"))),)}, "number", "+4930123456"),
        ({"steps": (WaitStep(30, EndWithPrompt("sorry")),)}, "prompt", "sorry"),
        ({"steps": (WaitStep(30, ToVoicemail("sales")),)}, "voicemail", "sales"),
        ({"max_wait_s": 30.0}, "max_wait", ""),
    ],
)
def test_the_end_of_a_wait(fields: dict[str, Any], reason: str, target: str) -> None:
    floor = Floor(queue(Q, **fields))
    floor.agent("a", x=1)
    floor.call("ringing")
    floor.call("c")
    floor.wait(30)
    assert floor.last(ev.WaitEnded) is not None
    ended = [(call, event.reason, event.target) for call, event in floor.told if isinstance(event, ev.WaitEnded)]
    assert ended == [("c", reason, target)], "not the call whose agent is being rung"
    floor.end("ringing", "a", ev.OfferOutcome.FAILED)
    assert floor.last(ev.WaitEnded).reason == reason
    assert floor.acd.waiting_calls(Q) == []
    assert [name for name in floor.timers if name.startswith("step")] == []


def test_a_language_with_a_fallback() -> None:
    needs = (Need("lang:de", 3, ((20.0, "lang:en", 2),)),)
    floor = Floor(queue())
    floor.agent("german", x=1, **{"lang:de": 4})
    floor.agent("english", x=1, **{"lang:en": 5})
    assert floor.call("c1", needs=needs) == [("c1", "german")]
    assert floor.call("c2", needs=needs) == []
    assert floor.wait(20) == [("c2", "english")]
    floor.call("c3", needs=needs)
    floor.wait(25)
    assert floor.talk("c1", "german") == [("c3", "german")], "who speaks German may still take it"
    with pytest.raises(BadValue):
        Need("lang:de", 6)


def test_no_agent_policies_and_limits() -> None:
    for policy, joined, stays in (
        (NoAgent.WAIT, True, True),
        (NoAgent.REFUSE, False, True),
        (NoAgent.END, False, False),
    ):
        floor = Floor(queue(no_agent=policy, max_waiting=2))
        floor.call("c0")
        assert floor.acd.waiting_calls(Q) == (["c0"] if joined else [])
        floor.do(floor.acd.handle(CallId("c0"), cmd.LeaveQueue(Q), floor.now))
        floor.agent("a", x=1)
        floor.status("a", Status.NOT_READY)
        for call in ("c1", "c2", "c3"):
            floor.call(call)
        assert floor.acd.waiting_calls(Q) == ["c1", "c2"], "NOT_READY is logged in; two are all"
        assert floor.last(ev.QueueRefused).reason == "full"
        floor.status("a", Status.LOGGED_OUT)
        assert floor.acd.waiting_calls(Q) == (["c1", "c2"] if stays else [])


def test_new_rules_of_a_queue_hold_for_those_who_wait() -> None:
    floor = Floor(queue(skills={"x": 5}))
    floor.agent("a", x=3)
    floor.call("c")
    floor.wait(10)
    assert floor.do(floor.acd.put_queue(queue(Q, (5, RaisePriority(1)), skills={"x": 3}), floor.now)) == [("c", "a")]
    floor.acd.check()


# --- reasons ----------------------------------------------------------------------------------------------------------


def test_reasons_for_waiting_and_for_an_offer() -> None:
    floor = Floor(queue(wrap_up_s=30.0, skills={"x": 3, "y": 1}))
    floor.call("c")
    assert floor.reasons("c") == [("no_agent", 0, 0)]
    for name in ("talking", "wrapping", "away", "deaf", "gone"):
        floor.agent(name, x=3, y=1)
        if name in ("talking", "wrapping"):
            call = "c" if name == "talking" else "c2"
            if name == "wrapping":
                floor.call(call)
                floor.talk(call, name)
            else:
                floor.end(call, name)
        elif name == "away":
            floor.status(name, Status.NOT_READY)
        elif name == "deaf":
            floor.do(floor.acd.phone_reachable(PhoneId(name), False, floor.now))
        else:
            floor.status(name, Status.LOGGED_OUT)
    floor.agent("novice", x=2, y=1)
    floor.call("d")
    floor.call("e")
    why = floor.acd.why_waiting(CallId("e"), floor.now + 5)
    assert (why.position, why.waited_s) == (2, 5)
    [group] = why.groups
    assert {r.because: r.agents for r in group.reasons if r.agents} == {
        Because.NOT_LOGGED_IN: 1,
        Because.ON_CALL: 1,
        Because.WRAP_UP: 1,
        Because.NOT_READY: 1,
        Because.UNREACHABLE: 1,
        Because.LACKS_SKILL: 1,
    }
    [lack] = [r for r in group.reasons if r.because is Because.LACKS_SKILL]
    assert (lack.skill, lack.least) == ("x", 3)
    assert group.reasons[-1].because is Because.EARLIER_CALLS
    assert group.reasons[-1].calls == 1
    floor.wait(30)
    offer_id = floor.acd.agents[AgentId("wrapping")].offer_id
    assert offer_id is not None
    choice = floor.acd.why_agent(offer_id)
    assert (choice.call_id, choice.asked_by, choice.requirement) == ("d", "agent", frozenset({("x", 3), ("y", 1)}))
    assert floor.reasons("d") == [("ringing", 1, 0)]
    floor.end("d", "wrapping", ev.OfferOutcome.CALLER_GONE)
    with pytest.raises(KeyError):
        floor.acd.why_agent(offer_id)


# --- indexes and chance -----------------------------------------------------------------------------------------------


def test_sorted_blocks_are_a_sorted_list() -> None:
    chance, blocks = random.Random(1), SortedBlocks()
    model: list[Place] = []
    for number in range(6 * BLOCK):
        if model and chance.random() < 0.3:
            place = model.pop(0 if chance.random() < 0.5 else chance.randrange(len(model)))
            blocks.discard(place)
            assert place not in blocks
        else:
            place = (float(chance.randrange(1000)), CallId(str(number)))
            blocks.add(place)
            model.append(place)
            model.sort()
        blocks.discard((chance.random() * 1000, CallId("none")))
        assert blocks.first == (model[0] if model else None)
    assert list(blocks) == model
    assert len(blocks) == len(model)
    assert all(blocks.rank(place) == at and place in blocks for at, place in enumerate(model))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(list(Strategy)), st.integers(0, 2**32))
def test_the_idle_come_in_the_strategys_order(strategy: Strategy, seed: int) -> None:
    """Entered in order or not, taken, gone and come back; against a look at everybody."""
    chance, heap = random.Random(seed), IdleHeap(strategy, frozenset({("x", 1)}))
    agents = [Agent(agent_id=AgentId(f"a{n}"), phone_id=PhoneId(""), skills={}, country=None) for n in range(12)]
    model: dict[str, tuple[float, float, str]] = {}
    for number in range(1, 400):
        agent = chance.choice(agents)
        if chance.random() < 0.6:
            agent.skills, agent.cost, agent.load = {"x": chance.randint(1, 5)}, chance.randint(1, 3), chance.random()
            agent.turn = chance.randint(0, number)
            agent.idle_since = float(number if chance.random() < 0.7 else chance.randint(0, number))
            agent.status, agent.reachable, agent.stamp, agent.epoch = Status.AVAILABLE, True, 1000 + number, number
            first = key(strategy, agent, heap.requirement, heap.clock)
            model[agent.agent_id] = (first, agent.idle_since, agent.agent_id)
            heap.enter(agent_entry(agent))
        elif chance.random() < 0.5:
            agent.status = Status.NOT_READY
            model.pop(agent.agent_id, None)
        else:
            expected = min(model, key=model.__getitem__, default=None)
            found = heap.pop()
            assert (found and found.agent_id) == expected
            if found is not None:
                found.stamp = -number
                del model[found.agent_id]
        assert len(model) <= len(heap) <= 2 * 12 + 65


@pytest.mark.long
@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32))
def test_random_steps(seed: int) -> None:
    seen = run(500, seed)
    assert seen["offers"] > 0


@given(st.floats(0, 2**47 / 1000), st.text(max_size=40))
def test_a_derived_id_is_the_ulid_of_its_hash(at: float, part: str) -> None:
    tail = int.from_bytes(hashlib.blake2b(f"x\0{part}".encode(), digest_size=10).digest(), "big")
    assert derive(at, "x", part) == ulid(at, tail)
