"""The estimated wait beside theory, and what it must never say."""

from __future__ import annotations

import itertools
import math
import random
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.acd import Acd, Decision, ToCall
from pbx.domain.agent import Status
from pbx.domain.ids import AgentId, CallId, PhoneId, QueueId
from pbx.domain.measured import ENOUGH, Handling, Patience, slot_of
from pbx.domain.queue import Queue
from pbx.domain.wait_estimate import Estimate
from pbx.simulation.centre import centre
from tests.bench.estimate import Watched, below_p80, errors, naive, ours

NOW = 1_000_000.0


class Floor:
    """Agents and callers; whoever is offered a call answers at once."""

    def __init__(self, queues: dict[str, dict[str, int]], wrap_up_s: float = 0.0) -> None:
        self.acd, self.now = Acd(), NOW
        self.talking: dict[str, AgentId] = {}
        self.number = 0
        for name, requirement in queues.items():
            queue = Queue(queue_id=QueueId(name), requirement=frozenset(requirement.items()), wrap_up_s=wrap_up_s)
            self.do(self.acd.put_queue(queue, self.now))

    def do(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            if isinstance(decision, ToCall) and isinstance(decision.event, ev.OfferMade):
                offer = decision.event
                self.talking[decision.call_id] = offer.agent_id
                answer = cmd.EndOffer(offer.offer_id, offer.agent_id, ev.OfferOutcome.ANSWERED)
                self.do(self.acd.handle(decision.call_id, answer, self.now))

    def hire(self, name: str, skills: dict[str, int], status: Status = Status.AVAILABLE) -> None:
        self.do(self.acd.put_agent(AgentId(name), PhoneId(name), skills, None, self.now))
        self.do(self.acd.phone_reachable(PhoneId(name), True, self.now))
        self.do(self.acd.set_status(AgentId(name), status, None, self.now))

    def call(self, queue: str) -> CallId:
        self.number += 1
        call_id = CallId(f"c{self.number:05}")
        self.do(self.acd.handle(call_id, cmd.JoinQueue(QueueId(queue), self.now), self.now))
        return call_id

    def hang_up(self, call_id: CallId) -> None:
        self.do(self.acd.handle(call_id, cmd.ReleaseAgent(self.talking.pop(call_id)), self.now))

    def learn(self, queue: str, values: list[float]) -> None:
        """The queue has measured these handling times."""
        self.acd._lines[QueueId(queue)].handling.ended.extend(values)

    def told(self, call_id: CallId) -> Estimate:
        estimate = self.acd.estimate(call_id, self.now)
        assert estimate is not None
        return estimate


def exponential(mean: float, number: int = 2000) -> list[float]:
    """Quantiles, so that mean and shape are those of the distribution; shuffled, as the newest weigh most."""
    values = [-mean * math.log1p(-(n + 0.5) / number) for n in range(number)]
    random.Random(1).shuffle(values)
    return values


# --- None -----------------------------------------------------------------------------------------------------------


def test_nothing_is_said_while_too_few_calls_were_measured() -> None:
    floor = Floor({"q": {"x": 1}})
    floor.hire("a", {"x": 1})
    for _ in range(ENOUGH):
        call = floor.call("q")
        waiting = floor.call("q")
        assert floor.acd.estimate(waiting, floor.now) is None
        assert floor.acd.why_waiting(waiting, floor.now).estimate is None
        floor.do(floor.acd.handle(waiting, cmd.LeaveQueue(QueueId("q")), floor.now))
        floor.now += 60.0
        floor.hang_up(call)
    floor.call("q")
    waiting = floor.call("q")
    assert floor.acd.why_waiting(waiting, floor.now).estimate == floor.told(waiting)
    with pytest.raises(KeyError):
        floor.acd.estimate(CallId("nobody"), floor.now)


def test_wrap_up_is_part_of_what_is_measured() -> None:
    floor = Floor({"q": {"x": 1}}, wrap_up_s=30.0)
    floor.hire("a", {"x": 1})
    for _ in range(ENOUGH):
        call = floor.call("q")
        floor.now += 60.0
        floor.hang_up(call)
        floor.now += 30.0
        floor.do(floor.acd.timer("wrap_up:a", floor.now))
    floor.call("q")
    assert floor.acd._lines[QueueId("q")].handling.mean == pytest.approx(90.0)
    assert floor.told(floor.call("q")).mean_s == pytest.approx(90.0, rel=0.1), "each took exactly that long"


@pytest.mark.parametrize(
    "why", ["nobody", "lacks the skill", "not ready", "logged out", "phone gone", "will be gone", "phone dies"]
)
def test_agents_who_cannot_take_the_call_do_not_count(why: str) -> None:
    """Without anybody else there is no estimate; beside ten others they change nothing."""
    for others in (0, 10):
        floor = Floor({"q": {"x": 2}, "r": {"y": 1}})
        for queue in "qr":
            floor.learn(queue, exponential(180.0))
        for number in range(others):
            floor.hire(f"a{number}", {"x": 3})
        for _ in range(others):
            floor.call("q")
        status = {"not ready": Status.NOT_READY, "logged out": Status.LOGGED_OUT}.get(why, Status.AVAILABLE)
        if why in ("will be gone", "phone dies"):  # during a call
            floor.hire("odd", {"x": 2, "y": 1})
            floor.call("r")
            if why == "phone dies":
                floor.do(floor.acd.phone_reachable(PhoneId("odd"), False, floor.now))
            else:
                floor.do(floor.acd.set_status(AgentId("odd"), Status.NOT_READY, "LUNCH", floor.now))
        elif why != "nobody":
            waits = Status.NOT_READY if why == "phone gone" else status
            floor.hire("odd", {"x": 1 if why == "lacks the skill" else 2}, waits)
            if why == "phone gone":
                floor.do(floor.acd.phone_reachable(PhoneId("odd"), False, floor.now))
                floor.do(floor.acd.set_status(AgentId("odd"), Status.AVAILABLE, None, floor.now))
        call = floor.call("q")
        if others:
            assert floor.told(call).agents == others
            assert floor.told(call).mean_s == pytest.approx(18.0, rel=0.25), "fresh calls, coarse buckets"
        else:
            assert floor.acd.estimate(call, floor.now) is None


# --- right ----------------------------------------------------------------------------------------------------------


def test_a_new_line_without_impatience_is_that_of_m_m_n() -> None:
    """n busy agents, place k: k/(n mu). The shape of the histogram errs by a bucket for the first places only."""
    floor = Floor({"q": {"x": 1}})
    floor.learn("q", exponential(180.0))
    for number in range(20):
        floor.hire(f"a{number}", {"x": 1})
    mean = floor.acd._lines[QueueId("q")].handling.mean
    for _ in range(20):
        floor.call("q")
    floor.now += 90.0
    for place in range(1, 101):
        told = floor.told(floor.call("q"))
        assert told.position == place
        assert told.mean_s == pytest.approx(place * mean / 20, rel=0.1 if place > 5 else 0.25)
        assert told.median_s < told.mean_s < told.p80_s


@pytest.mark.long
def test_simulated_m_m_n_waits_are_those_estimated() -> None:
    """5 agents, exponential handling times of mean 180 s drawn and measured as the line goes: of callers at place k,
    the mean of the waits is k/(n mu) and so is that of the estimates, each within 4 standard errors of the waits
    (sqrt(k)/(n mu sqrt(samples)), and 6 % for the mean handling time as measured), and 80 % of waits are below p80
    within 4 binomial standard errors and 3 points."""
    chance, agents, mean = random.Random(7), 5, 180.0
    floor = Floor({"q": {"x": 1}})
    for number in range(agents):
        floor.hire(f"a{number}", {"x": 1})
    told: dict[CallId, tuple[float, Estimate]] = {}
    waits: dict[int, list[tuple[float, Estimate]]] = {}
    # Memoryless: the next to hang up is any of those who talk.
    for _ in range(12_000):
        for _ in range(0 if floor.acd.waiting_calls(QueueId("q")) else 7):
            call = floor.call("q")
            estimate = floor.acd.estimate(call, floor.now) if call not in floor.talking else None
            if estimate is not None:
                told[call] = (floor.now, estimate)
        while len(floor.talking) < agents:
            floor.call("q")
        floor.now += chance.expovariate(agents / mean)
        floor.hang_up(CallId(chance.choice(sorted(floor.talking))))
        for taken in [CallId(one) for one in floor.talking if one in told]:
            at, estimate = told.pop(taken)
            waits.setdefault(estimate.position, []).append((floor.now - at, estimate))
    assert set(waits) >= set(range(1, 8))
    for place in range(1, 8):
        pairs = waits[place]
        right, number = place * mean / agents, len(pairs)
        error = 4 * math.sqrt(place) * mean / agents / math.sqrt(number) + 0.06 * right
        assert number > 300
        assert statistics.fmean(wait for wait, _ in pairs) == pytest.approx(right, abs=error)
        assert statistics.fmean(one.mean_s for _, one in pairs) == pytest.approx(right, abs=error)
        below = sum(wait <= one.p80_s for wait, one in pairs) / number
        assert below == pytest.approx(0.8, abs=4 * math.sqrt(0.16 / number) + 0.03)


def test_impatience_of_those_ahead_shortens_the_wait() -> None:
    """M/M/n+M: at place k the mean wait is the sum of 1/(n mu + j theta) for j < k."""
    waits = []
    for patience_s in (None, 120.0):
        floor = Floor({"q": {"x": 1}})
        floor.learn("q", exponential(180.0))
        for number in range(10):
            floor.hire(f"a{number}", {"x": 1})
        if patience_s is not None:
            for _ in range(2000):
                floor.acd._lines[QueueId("q")].patience.over(60.0, left=False)
                floor.acd._lines[QueueId("q")].patience.over(60.0, left=True)
        for _ in range(49):
            floor.call("q")
        waits.append(floor.told(floor.call("q")).mean_s)
    rate = 1 / 120.0
    assert waits[0] == pytest.approx(40 * 18.0, rel=0.1)
    assert waits[1] == pytest.approx(sum(1 / (10 / 180.0 + j * rate) for j in range(40)), rel=0.1)


def test_patience_is_measured_from_those_who_leave_and_those_who_stay() -> None:
    """Of two who wait, one leaves after 20 s and one is answered after 50 s: one leaves in 70 s of waiting."""
    floor = Floor({"q": {"x": 1}})
    floor.hire("a", {"x": 1})
    talking = floor.call("q")
    for _ in range(300):
        stays, leaves = floor.call("q"), floor.call("q")
        floor.now += 20.0
        floor.do(floor.acd.handle(leaves, cmd.LeaveQueue(QueueId("q")), floor.now))
        floor.now += 30.0
        floor.hang_up(talking)
        talking = stays
    assert floor.acd._lines[QueueId("q")].patience.rate == pytest.approx(1 / 70, rel=0.01)


def test_how_long_agents_have_been_busy_counts() -> None:
    """All calls last about 300 s: an agent who has talked for 250 s is free soon. 50 s are right; the histogram's
    buckets are a fifth wide, so 300 s may be 362 s."""
    floor = Floor({"q": {"x": 1}})
    floor.learn("q", [290.0 + n % 21 for n in range(600)])
    floor.hire("a", {"x": 1})
    floor.call("q")
    call = floor.call("q")
    fresh = floor.told(call).mean_s
    floor.now += 250.0
    assert fresh == pytest.approx(300.0, rel=0.15)
    assert 25.0 < floor.told(call).mean_s < 112.0


def test_calls_ahead_count_as_far_as_they_compete() -> None:
    """A line of another queue in front: all of it where the agents are the same, none where they are others, and an
    agent who may not take it is free at once."""
    waits = {}
    for who, skills in {"same": {"x": 1, "y": 1}, "others": {"y": 1}}.items():
        floor = Floor({"q": {"x": 1}, "r": {"y": 1}})
        for queue in "qr":
            floor.learn(queue, exponential(180.0))
        for number in range(10):
            floor.hire(f"a{number}", skills)
        if who == "others":
            for number in range(10):
                floor.hire(f"b{number}", {"x": 1})
        for _ in range(30):
            floor.call("r")
        for _ in range(10):
            floor.call("q")
        waits[who] = floor.told(floor.call("q")).mean_s
    assert waits["same"] == pytest.approx(31 * 18.0, rel=0.1)
    assert waits["others"] == pytest.approx(18.0, rel=0.25)


def test_a_call_whose_agent_is_being_rung_waits_no_longer() -> None:
    floor = Floor({"q": {"x": 1}})
    floor.learn("q", exponential(180.0))
    floor.hire("a", {"x": 1})
    call = CallId("rung")
    floor.acd.handle(call, cmd.JoinQueue(QueueId("q"), floor.now), floor.now)
    assert floor.told(call) == Estimate(1, 0.0, 0.0, 0.0, 1)


# --- never ----------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    agents=st.lists(st.dictionaries(st.sampled_from("xyz"), st.integers(1, 5), min_size=1), min_size=1, max_size=12),
    calls=st.lists(st.sampled_from("xyz"), max_size=30),
    values=st.lists(st.floats(0.0, 20_000.0), min_size=ENOUGH, max_size=60),
    left=st.integers(0, 30),
    passed=st.floats(0.0, 5000.0),
)
def test_never_negative_and_never_shorter_further_back(
    agents: list[dict[str, int]], calls: list[str], values: list[float], left: int, passed: float
) -> None:
    floor = Floor({name: {name: 1} for name in "xyz"})
    for name in "xyz":
        floor.learn(name, values)
        for number in range(ENOUGH + 10):
            floor.acd._lines[QueueId(name)].patience.over(40.0, left=number < left)
    for number, skills in enumerate(agents):
        floor.hire(f"a{number}", skills)
    for name in calls:
        floor.call(name)
    floor.now += passed
    for name in "xyz":
        told = [floor.acd.estimate(call, floor.now) for call in floor.acd.waiting_calls(QueueId(name))]
        known = [one for one in told if one is not None]
        assert len(known) in (0, len(told)), "for all of a line or for none"
        for one in known:
            assert 0 <= one.median_s <= one.p80_s
            assert 0 <= one.mean_s < math.inf
        for first, second in itertools.pairwise(known):
            assert first.position < second.position
            assert first.mean_s <= second.mean_s * (1 + 1e-9)


def test_measured_values_fade() -> None:
    handling = Handling()
    handling.ended.extend([100.0] * 3000)
    handling.ended.extend([200.0] * 3000)
    assert handling.mean == pytest.approx(200.0, rel=0.01)
    assert not handling.ended
    many = Handling()
    for _ in range(100):
        many.ended.extend([50.0] * 1000)
        many.fold_if_long()
    assert many.mean == pytest.approx(50.0)
    assert many.variance == pytest.approx(0.0, abs=1e-6)
    patience = Patience()
    for number in range(4000):
        patience.over(30.0, left=number % 3 == 0)
        patience.over(0.0, left=False)
    assert patience.rate == pytest.approx(1 / 90, rel=0.01)


@given(st.lists(st.floats(0.0, 1e5), min_size=1, max_size=50), st.floats(0.0, 20_000.0))
def test_completions_grow_with_time(values: list[float], busy_s: float) -> None:
    handling = Handling()
    handling.ended.extend([*values, 1.0])
    row = handling.completions(slot_of(busy_s))
    assert row[0] >= 0
    assert all(a <= b + 1e-9 for a, b in itertools.pairwise(row))


def test_the_benchmarks_figures() -> None:
    """Errors by hand, and a small day in which what followed is what was compared."""
    two = errors([(20.0, 10.0), (60.0, 100.0)])
    assert (two.samples, two.wait_s, two.bias_s, two.mae_s, two.close) == (2, 55.0, -15.0, 25.0, 0.5)
    assert errors([]).relative == 0.0
    day = Watched(centre(1500, 2, 1, 1.1), 1)
    report = day.run()
    assert day.asked > day.silent > 0, "nothing was measured at first"
    assert 0 < len([one for one in day.samples if one.entry]) <= report.choices
    assert all(one.truth_s >= 0 and one.p80_s >= one.median_s for one in day.samples)
    assert ours(day.samples).samples == naive(day.samples).samples == len(day.samples)
    assert 0 <= below_p80(day.samples) <= 1
