"""Random callers, agents and configuration against the ACD: ``python -m tests.fuzz.acd --steps 1000000``.

A model of what must be true looks on from outside: it carries the decisions out as the router does, keeps the timers,
and knows who rings, talks and wraps up. After every step:

* no agent has two offers, and no agent is offered anything in wrap-up, not ready, logged out, talking or unreachable;
* no call is lost or in two places, under two offers, or offered after it left;
* no call of higher effective priority that the agent could take as well stays behind when an agent gets a call;
* nobody off shift is offered a call of a queue that demands a shift, no call enters a queue that is closed;
* every waiting call has a reason, and the reasons' counts are those that looking at every agent gives;
* every timer belongs to something that waits for it, and whatever waits has its timer.

A failure prints the seed and the step; the same seed gives the same run.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.acd import Acd, Decision, ToCall
from pbx.domain.agent import Condition, State, Status
from pbx.domain.e164 import E164
from pbx.domain.explain import Because
from pbx.domain.ids import AgentId, CallId, PhoneId, PopId, QueueId
from pbx.domain.opening_hours import Interval, OpeningHours
from pbx.domain.pools import Pool
from pbx.domain.queue import Queue
from pbx.domain.queue_rules import (
    Closing,
    EndWithPrompt,
    Need,
    NoAgent,
    OverflowToNumber,
    OverflowToQueue,
    RaisePriority,
    RelaxSkill,
    ShiftRule,
    Strategy,
    ToVoicemail,
    WaitStep,
    WidenSites,
)
from pbx.domain.shifts import TIMER
from pbx.domain.sorted_blocks import Place
from pbx.domain.timetable import Hours

AGENTS = [AgentId(f"a{n}") for n in range(8)]
QUEUES = [QueueId(f"q{n}") for n in range(5)]
SKILLS = ("x", "y", "lang:de", "lang:en")
SITES = ("bonn", "ulm", "riga")
POPS = (PopId("p0"), PopId("p1"))
CALLERS = [E164(f"+4930123456{n}") for n in range(6)]
RENEW = 4000
"""Steps after which the world begins anew."""

_LACKS = {
    Because.OFF_SHIFT: "~shift",
    Because.OTHER_SITE: "~site:",
    Because.OTHER_POP: "~pop:",
    Because.LACKS_SKILL: " ",
}
"""Reason -> how the class begins that is lacking."""

Open = tuple[Place, tuple[Pool, ...], AgentId | None]


class Model:
    def __init__(self, seed: str) -> None:
        self.chance = random.Random(seed)
        self.acd = Acd()
        self.now = 1_000_000.0
        self.timers: dict[str, float] = {}
        self.offers: dict[CallId, ev.OfferMade] = {}
        self.waiting: set[CallId] = set()
        self.talking: dict[CallId, AgentId] = {}
        self.wrapping: set[AgentId] = set()
        self.engaged: dict[CallId, AgentId] = {}
        """Supervisors of calls that are talking."""
        self.calls = 0
        self.callbacks: set[CallId] = set()
        """Those of the calls for which nobody holds the line."""
        self.seen: Counter[str] = Counter()
        for name in QUEUES:
            self.put_queue(name)
        for agent in AGENTS:
            self.put_agent(agent)
        c = self.chance
        self.rules: list[tuple[int, Callable[[], None]]] = [
            (24, self.join),
            (20, self.offer_ends),
            (14, self.talk_ends),
            (14, self.time_passes),
            (6, self.supervise),
            (8, lambda: self.status(c.choice(AGENTS), c.choice(list(Status)))),
            (5, lambda: self.phone(c.choice(AGENTS), c.random() < 0.8)),
            (5, self.leave),
            (3, self.wrap_up),
            (2, lambda: self.put_agent(c.choice(AGENTS))),
            (3, lambda: self.put_queue(c.choice(QUEUES))),
            (1, self.remove),
            (1, self.call_dies),
        ]
        self.weights = [weight for weight, _ in self.rules]

    # --- the router's part ----------------------------------------------------------------------------------------

    def do(self, act: Callable[[], list[Decision]]) -> None:
        before = self._open_calls()
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
                    assert offer.agent_id not in self.talking.values(), "nobody is rung while on a call"
                    assert offer.agent_id not in self.wrapping, "wrap-up is honoured"
                    assert offer.agent_id not in self.engaged.values(), "nobody is rung while supervising"
                    agent = self.acd.agents[offer.agent_id]
                    assert agent.status is Status.AVAILABLE, "nobody not ready is rung"
                    assert agent.reachable, "nobody unreachable is rung"
                    assert self.acd.why_agent(offer.offer_id).call_id == call_id
                    rule = self.acd._lines[offer.queue_id].queue.shift
                    assert agent.on_shift or rule is not ShiftRule.ONLY, "nobody off shift is rung"
                    self.offers[call_id] = offer
                    made.append((offer.agent_id, self.acd._waiting[call_id].place))
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
                    busy = (*self.talking.values(), *self.wrapping, *self.engaged.values())
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

    def _open_calls(self) -> dict[CallId, Open]:
        calls = self.acd._waiting.values()
        return {w.call_id: (w.place, w.pools, w.preferred) for w in calls if w.offer_id is None}

    def _fair(self, before: dict[CallId, Open], made: list[tuple[AgentId, Place]]) -> None:
        if not made:
            return
        for call_id, (place, pools, preferred) in self._open_calls().items():
            if call_id in before and before[call_id][0] != place:
                continue  # its priority was raised in this very step, maybe after the offer
            for agent_id, taken in made:
                profile = self.acd.agents[agent_id].profile
                meets = profile is not None and any(profile.meets(pool.requirement) for pool in pools)
                could = preferred == agent_id if preferred is not None else meets
                assert not (could and place < taken), "a call of higher effective priority stays behind"

    def end_offer(self, call_id: CallId, outcome: ev.OfferOutcome) -> None:
        offer = self.offers.pop(call_id)
        if outcome is ev.OfferOutcome.ANSWERED:
            self.waiting.discard(call_id)
            self.talking[call_id] = offer.agent_id
        if outcome is ev.OfferOutcome.CALLER_GONE:
            self.waiting.discard(call_id)
        self.do(lambda: self.acd.handle(call_id, cmd.EndOffer(offer.offer_id, offer.agent_id, outcome), self.now))

    # --- what happens ---------------------------------------------------------------------------------------------

    def put_queue(self, name: QueueId) -> None:
        c = self.chance
        requirement = frozenset((skill, c.randint(1, 4)) for skill in c.sample(SKILLS[:3], c.randint(0, 2)))
        actions = (
            lambda: RelaxSkill(c.choice(SKILLS), c.randint(0, 2)),
            lambda: RaisePriority(c.randint(1, 3)),
            lambda: OverflowToQueue(c.choice(QUEUES)),
            lambda: OverflowToNumber(E164("+493012345678")),
            lambda: EndWithPrompt("sorry"),
            lambda: ToVoicemail("sales"),
            lambda: WidenSites(tuple(c.sample(SITES, c.randint(0, 2)))),
        )
        steps = [
            WaitStep(float(c.randint(0, 60)), c.choices(actions, (6, 4, 4, 1, 1, 1, 3))[0]())
            for _ in range(c.randint(0, 3))
        ]
        queue = Queue(
            queue_id=name,
            requirement=requirement,
            wrap_up_s=c.choice((0.0, 5.0, 20.0)),
            wrap_up_max_s=30.0,
            max_waiting=c.choice((3, 20)),
            max_wait_s=c.choice((None, None, 90.0)),
            strategy=c.choice(list(Strategy)),
            priority=c.randint(0, 1),
            steps=tuple(steps),
            no_agent=c.choice(list(NoAgent)),
            shift=c.choice((*ShiftRule, ShiftRule.ANY, ShiftRule.ANY)),
            sites=tuple(c.sample(SITES, c.choice((0, 0, 0, 0, 0, 2)))),
            hours=self.hours() if c.random() < 0.08 else None,
            closing=c.choice(list(Closing)),
            closing_prompt=c.choice((None, "sorry")),
            last_agent_s=c.choice((0.0, 20.0)),
            value_weight=c.choice((0.0, 0.5)),
        )
        self.do(lambda: self.acd.put_queue(queue, self.now))

    def hours(self) -> Hours:
        """Some minutes of each hour."""
        begin = self.chance.randint(0, 15)
        lasts = self.chance.randint(30, 59 - begin)
        every = tuple(Interval(60 * hour + begin, 60 * hour + begin + lasts) for hour in range(24))
        return Hours(OpeningHours(zone=ZoneInfo("UTC"), weekly=(every,) * 7, special={}, holidays=frozenset()))

    def put_agent(self, name: AgentId) -> None:
        c = self.chance
        skills = {skill: c.randint(1, 5) for skill in c.sample(SKILLS, c.randint(0, 4))}
        more: dict[str, Any] = {
            "cost": float(c.randint(1, 3)),
            "weight": c.choice((1.0, 4.0)),
            "shifts": self.hours() if c.random() < 0.4 else None,
            "site": c.choice((None, *SITES)),
            "home_pop": c.choice((None, *POPS)),
        }
        self.do(lambda: self.acd.put_agent(name, PhoneId(name), skills, "DE", self.now, **more))

    def remove(self) -> None:
        if self.chance.random() < 0.5:
            name = self.chance.choice(QUEUES)
            self.do(lambda: self.acd.remove_queue(name, self.now))
        else:
            agent = self.chance.choice(AGENTS)
            self.do(lambda: self.acd.remove_agent(agent, self.now))

    def join(self) -> None:
        c = self.chance
        self.calls += 1
        call_id = CallId(f"c{self.calls:06}")
        needs: list[Need] = []
        if c.random() < 0.3:
            fallbacks = ((float(c.randint(0, 30)), "lang:en", c.randint(1, 3)),) if c.random() < 0.6 else ()
            needs.append(Need("lang:de", c.randint(1, 4), fallbacks))
        join = cmd.JoinQueue(
            c.choice(QUEUES),
            self.now - c.choice((0.0, 0.0, 10.0)),
            c.choice((0, 0, 0, 1, 3)),
            tuple(needs),
            c.choice(AGENTS) if c.random() < 0.2 else None,
            float(c.randint(0, 30)),
            c.choice((None, *CALLERS)),
            c.choice((0.0, 0.0, 4.0, 10.0)),
            c.choice((None, *POPS)),
            callback=self.calls % 5 == 0,
            tried=(E164("+493012345678"),) if c.random() < 0.3 else (),
            again=c.random() < 0.3,
        )
        if join.callback:
            self.callbacks.add(call_id)
        self.waiting.add(call_id)
        self.do(lambda: self.acd.handle(call_id, join, self.now))

    def offer_ends(self) -> None:
        if self.offers:
            call_id = self.chance.choice(sorted(self.offers))
            offer = self.offers[call_id]
            if self.chance.random() < 0.5:
                self.do(lambda: self.acd.handle(call_id, cmd.AgentRings(offer.offer_id, offer.agent_id), self.now))
            outcomes = list(ev.OfferOutcome)
            outcome = ev.OfferOutcome.ANSWERED if self.chance.random() < 0.6 else self.chance.choice(outcomes)
            self.end_offer(call_id, outcome)

    def supervise(self) -> None:
        """A supervisor comes, goes, or takes over."""
        if not self.talking:
            return
        call_id = self.chance.choice(sorted(self.talking))
        if call_id not in self.engaged:
            ready, wrapped = self.chance.choice(((False, False), (False, True), (True, False)))
            engage = cmd.EngageAgent("r", self.chance.choice(AGENTS), ready, wrapped)
            wraps_up = {engage.agent_id} & self.wrapping if wrapped else set[AgentId]()
            self.wrapping -= wraps_up
            self.do(lambda: self.acd.handle(call_id, engage, self.now))
            if self.engaged.get(call_id) != engage.agent_id:
                self.wrapping |= wraps_up
        elif self.chance.random() < 0.6:
            self._let_go(call_id)
        else:
            former, agent_id = self.talking[call_id], self.engaged.pop(call_id)
            queue_id = self.acd.agents[former].queue_id or QUEUES[0]
            self.do(lambda: self.acd.handle(call_id, cmd.PutOnCall(agent_id, queue_id), self.now))
            self._hang_up(call_id, lambda agent: self.acd.handle(call_id, cmd.ReleaseAgent(agent), self.now))
            self.talking[call_id] = agent_id
            self.seen["taken over"] += 1

    def _let_go(self, call_id: CallId) -> None:
        agent_id = self.engaged.pop(call_id, None)
        if agent_id is not None:
            before = self.acd.agents[agent_id].idle_since
            self.do(lambda: self.acd.handle(call_id, cmd.FreeAgent(agent_id), self.now))
            after = self.acd.agents.get(agent_id)
            assert after is None or after.idle_since == before, "supervising costs nobody the place"

    def talk_ends(self) -> None:
        if self.talking:
            call_id = self.chance.choice(sorted(self.talking))
            self._let_go(call_id)
            self._hang_up(call_id, lambda agent: self.acd.handle(call_id, cmd.ReleaseAgent(agent), self.now))

    def _hang_up(self, call_id: CallId, act: Callable[[AgentId], list[Decision]]) -> None:
        agent_id = self.talking.pop(call_id)
        if self.acd.agents[agent_id].wrap_up_s > 0:
            self.wrapping.add(agent_id)
        self.do(lambda: act(agent_id))

    def leave(self) -> None:
        if self.waiting:
            call_id = self.chance.choice(sorted(self.waiting))
            if call_id in self.offers:
                self.end_offer(call_id, ev.OfferOutcome.CALLER_GONE)
            else:
                self.waiting.discard(call_id)
                self.do(lambda: self.acd.handle(call_id, cmd.LeaveQueue(QUEUES[0]), self.now))

    def call_dies(self) -> None:
        if live := sorted({*self.waiting, *self.talking}):
            call_id = self.chance.choice(live)
            self.waiting.discard(call_id)
            self.offers.pop(call_id, None)
            self.engaged.pop(call_id, None)
            if call_id in self.talking:
                self._hang_up(call_id, lambda _: self.acd.drop_call(call_id, self.now))
            else:
                self.do(lambda: self.acd.drop_call(call_id, self.now))

    def status(self, name: AgentId, status: Status) -> None:
        if name in self.acd.agents:
            status = Status.AVAILABLE if self.chance.random() < 0.5 else status
            self.do(lambda: self.acd.set_status(name, status, "LUNCH", self.now))

    def phone(self, name: AgentId, reachable: bool) -> None:
        self.do(lambda: self.acd.phone_reachable(PhoneId(name), reachable, self.now))

    def wrap_up(self) -> None:
        if self.wrapping:
            agent = self.chance.choice(sorted(self.wrapping))
            if self.chance.random() < 0.5:
                self.do(lambda: self.acd.extend_wrap_up(agent, 7.0, self.now))
            else:
                self.wrapping.discard(agent)
                self.do(lambda: self.acd.end_wrap_up(agent, self.now))

    def time_passes(self) -> None:
        end = self.now + self.chance.expovariate(1 / 10)
        while self.timers and min(self.timers.values()) <= end:
            name = min(self.timers, key=lambda timer: (self.timers[timer], timer))
            self.now = self.timers.pop(name)
            if name.startswith("wrap_up:"):
                self.wrapping.discard(AgentId(name.partition(":")[2]))
            self.do(lambda name=name: self.acd.timer(name, self.now))  # type: ignore[misc]
        self.now = end

    # --- what must be true ----------------------------------------------------------------------------------------

    def step(self) -> None:
        self.chance.choices(self.rules, self.weights)[0][1]()
        waiting = [call_id for name in QUEUES for call_id in self.acd.waiting_calls(name)]
        assert sorted(waiting) == sorted(self.waiting), "no call is lost or in two places"
        for call_id, agent_id in self.talking.items():
            assert self.acd.agents[agent_id].call_id == call_id, "who talks is on the call"
        self._timers()
        if waiting:
            self._reason(self.chance.choice(waiting))

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

    def _reason(self, call_id: CallId) -> None:
        why = self.acd.why_waiting(call_id, self.now)
        assert why.groups, "every waiting call has a reason"
        if why.estimate is not None:
            assert 0 <= why.estimate.median_s <= why.estimate.p80_s < 1e9, "an estimated wait is a length of time"
            assert 0 <= why.estimate.mean_s < 1e9
            self.seen["estimated"] += 1
        agents = self.acd.agents.values()
        for group in why.groups:
            assert group.reasons, "every group has a reason"
            if group.requirement is None:
                continue
            fit = [a for a in agents if all(a.abilities.get(s, 0) >= least for s, least in group.requirement)]
            counts = Counter(a.condition.name.lower() for a in fit)
            told = {r.because.value: r.agents for r in group.reasons if r.because.name in Condition.__members__}
            assert told == counts, f"counted {counts}, told {told}"
            lacking = [r for r in group.reasons if r.because in _LACKS]
            for skill, least in group.requirement:
                rest = [
                    a
                    for a in agents
                    if a.status is not Status.LOGGED_OUT
                    and a.abilities.get(skill, 0) < least
                    and all(a.abilities.get(s, 0) >= m for s, m in group.requirement if s != skill)
                ]
                because = next((b for b, of in _LACKS.items() if skill.startswith(of)), Because.LACKS_SKILL)
                told_of = [r for r in lacking if r.because is because and r.skill in (None, skill)]
                assert len(rest) == sum(r.agents for r in told_of), "who lacks one skill"


def run(steps: int, seed: int, progress: Callable[[int], None] = lambda _: None) -> Counter[str]:
    """Raises SystemExit naming seed and step. Returns what was seen."""
    seen: Counter[str] = Counter()
    model: Model | None = None
    for number in range(steps):
        try:
            if model is None or number % RENEW == 0:
                model = Model(f"{seed}:{number // RENEW}")
            model.step()
            if number % 20 == 0:
                model.acd.check()
        except Exception as error:
            raise SystemExit(f"seed {seed}, step {number}: {error!r}") from error
        if number % RENEW == RENEW - 1 or number == steps - 1:
            seen += model.seen
            progress(number + 1)
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    began = time.perf_counter()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task("steps", total=arguments.steps)
        seen = run(arguments.steps, arguments.seed, lambda done: progress.update(task, completed=done))
    took_s = time.perf_counter() - began
    shown = " ".join(f"{name}={number}" for name, number in sorted(seen.items()))
    print(f"fuzz-acd steps={arguments.steps} seed={arguments.seed} seconds={took_s:.1f} {shown}")


if __name__ == "__main__":
    main()
