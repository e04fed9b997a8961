"""Random callers, agents and configuration against the ACD: ``python -m tests.fuzz.acd --steps 1000000``.

``acd_watch`` says what must be true after every step, and checks it.

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
from pbx.domain.agent import Status
from pbx.domain.e164 import E164
from pbx.domain.ids import AgentId, CallId, PhoneId, PopId, QueueId
from pbx.domain.opening_hours import Interval, OpeningHours
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
from pbx.domain.timetable import Hours
from tests.fuzz.acd_watch import Watch

AGENTS = [AgentId(f"a{n}") for n in range(8)]
QUEUES = [QueueId(f"q{n}") for n in range(5)]
SKILLS = ("x", "y", "lang:de", "lang:en")
SITES = ("bonn", "ulm", "riga")
POPS = (PopId("p0"), PopId("p1"))
CALLERS = [E164(f"+4930123456{n}") for n in range(6)]
RENEW = 4000
"""Steps after which the world begins anew."""


class Model(Watch):
    """People and administrators by chance; ``Watch`` sees to what follows."""

    def __init__(self, seed: str) -> None:
        super().__init__()
        self.chance = random.Random(seed)
        self.calls = 0
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
            (7, self.consult),
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
        self.enter(call_id, join)

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

    def consult(self) -> None:
        """An agent who talks asks for one of a queue; whoever came is given the call, or let go."""
        if not self.talking:
            return
        call_id = self.chance.choice(sorted(self.consulted) or sorted(self.talking))
        if call_id in self.consulted:
            (self.complete if self.chance.random() < 0.5 else self.end_consultation)(call_id)
            self.seen["consulted"] += 1
        elif call_id not in self.waiting:
            self.callbacks.discard(call_id)
            self.enter(call_id, cmd.JoinQueue(self.chance.choice(QUEUES), self.now, self.chance.choice((0, 0, 2))))

    def talk_ends(self) -> None:
        if self.talking:
            call_id = self.chance.choice(sorted(self.talking))
            if call_id not in self.waiting or self.chance.random() < 0.1:  # who consults a queue rarely gives up
                self.hang_up(call_id)

    def leave(self) -> None:
        if self.waiting:
            self.abandon(self.chance.choice(sorted(self.waiting)))

    def call_dies(self) -> None:
        if live := sorted({*self.waiting, *self.talking}):
            self.drop(self.chance.choice(live))

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
                self.end_wrap_up(agent)

    def time_passes(self) -> None:
        self.pass_time(self.now + self.chance.expovariate(1 / 10))

    def step(self) -> None:
        self.chance.choices(self.rules, self.weights)[0][1]()
        self.check()
        if self.waiting and self.chance.random() < 0.25:
            self.estimate(self.chance.choice(sorted(self.waiting)))


def run(steps: int, seed: int, progress: Callable[[int], None] = lambda _: None) -> Counter[str]:
    """Raises AssertionError naming seed and step. Returns what was seen."""
    seen: Counter[str] = Counter()
    model: Model | None = None
    for number in range(steps):
        try:
            if model is None or number % RENEW == 0:
                model = Model(f"{seed}:{number // RENEW}")
            model.step()
        except Exception as error:
            raise AssertionError(f"seed {seed}, step {number}: {error!r}") from error
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
        try:
            seen = run(arguments.steps, arguments.seed, lambda done: progress.update(task, completed=done))
        except AssertionError as error:
            raise SystemExit(str(error)) from error
    took_s = time.perf_counter() - began
    shown = " ".join(f"{name}={number}" for name, number in sorted(seen.items()))
    print(f"fuzz-acd steps={arguments.steps} seed={arguments.seed} seconds={took_s:.1f} {shown}")


if __name__ == "__main__":
    main()
