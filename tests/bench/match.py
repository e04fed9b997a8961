"""``make bench-match``: how long one match decision takes, with every agent busy and with callers waiting everywhere.

Agents have 3 skills each of 50, at random proficiencies; each of 100 queues asks for one skill of at least 1 to 5, or
for two skills. The real ACD is driven through its own door. Two decisions are timed, each with all that belongs to it
(indexes, events, ids), by the thread's CPU time, in blocks of which the median counts:

* a freed agent takes a call: the wrap-up is over, the call is found, the offer made;
* a call finds an idle agent: it joins, the agent is found, the offer made.

Growth is the slower decision at ten times the size over that at the size, in turn within one run. Bytes per
waiting call are what tracemalloc counts for the calls that are let in; ids included.
"""

from __future__ import annotations

import argparse
import gc
import math
import random
import statistics
import sys
import time
import tracemalloc
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.acd import Acd, Decision, ToCall
from pbx.domain.agent import Status
from pbx.domain.ids import AgentId, CallId, PhoneId, QueueId, derive
from pbx.domain.queue import Queue
from pbx.simulation.svg import COLOURS, Panel, Series
from pbx.simulation.svg import picture as picture_of
from tests.bench.machine import describe, summary_line

SKILLS, QUEUES = 50, 100
SIZES = ((1_000, 10_000), (10_000, 100_000), (20_000, 200_000), (50_000, 500_000), (100_000, 1_000_000))
"""Agents, waiting calls. The second is the one with the budget, the last ten times that."""
BUDGET_US, BUDGET_GROWTH, BUDGET_BYTES = 20.0, 1.5, 1000.0
BLOCK = 200
START = 1_700_000_000.0


@dataclass(slots=True)
class Figures:
    agents: int
    calls: int
    freed_us: float
    joined_us: float
    bytes_per_call: float

    @property
    def worst_us(self) -> float:
        return max(self.freed_us, self.joined_us)


class Centre:
    """An ACD with agents on calls and callers waiting; ``now`` goes on by a millisecond for each thing done."""

    def __init__(self, agents: int, seed: int) -> None:
        self.chance = random.Random(seed)
        self.acd = Acd()
        self.now = START
        self.number = 0
        self.queues = [QueueId(f"q{n}") for n in range(QUEUES)]
        for n, name in enumerate(self.queues):
            requirement = {(f"s{n % SKILLS}", 1 + n // 2 % 5)}
            if n % 4 == 3:
                requirement.add((f"s{(n * 7 + 1) % SKILLS}", 1))
            self.acd.put_queue(
                Queue(queue_id=name, requirement=frozenset(requirement), wrap_up_s=5.0, max_waiting=10_000_000),
                self.now,
            )
        self.agents = [AgentId(f"agent-{n}") for n in range(agents)]
        for agent in self.agents:
            skills = {f"s{s}": self.chance.randint(1, 5) for s in self.chance.sample(range(SKILLS), 3)}
            self.acd.put_agent(agent, PhoneId(agent), skills, "DE", self.now)
            self.acd.phone_reachable(PhoneId(agent), True, self.now)

    def tick(self) -> float:
        self.now += 0.001
        return self.now

    def call_id(self) -> CallId:
        self.number += 1
        return CallId(derive(self.now, self.number))

    def join(self, queue_id: QueueId | None = None) -> tuple[CallId, list[Decision]]:
        now, call_id = self.tick(), self.call_id()
        join = cmd.JoinQueue(queue_id or self.chance.choice(self.queues), now)
        return call_id, self.acd.handle(call_id, join, now)

    def answered(self, decisions: list[Decision]) -> tuple[CallId, AgentId] | None:
        """The offer among the decisions, answered; None where there is none."""
        for decision in decisions:
            if isinstance(decision, ToCall) and isinstance(decision.event, ev.OfferMade):
                offer = decision.event
                answer = cmd.EndOffer(offer.offer_id, offer.agent_id, ev.OfferOutcome.ANSWERED)
                self.acd.handle(decision.call_id, answer, self.tick())
                return decision.call_id, offer.agent_id
        return None


def waiting_bytes(centre: Centre, calls: int) -> float:
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(calls):
        centre.join()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return (after - before) / calls


class Freed:
    """Agents who take calls from full lines; each call that is taken is replaced by a new one."""

    def __init__(self, centre: Centre, calls: int, measured: int) -> None:
        self.centre = centre
        self.bytes_per_call = waiting_bytes(centre, measured)
        for _ in range(calls - measured):
            centre.join()
        self.talking: list[tuple[CallId, AgentId]] = []
        for agent in centre.agents[: 20 * BLOCK]:
            pair = centre.answered(centre.acd.set_status(agent, Status.AVAILABLE, None, centre.tick()))
            if pair is not None:
                self.talking.append(pair)

    def block(self) -> float:
        """Microseconds of one decision, over a block."""
        centre, acd = self.centre, self.centre.acd
        chosen = [self.talking.pop(centre.chance.randrange(len(self.talking))) for _ in range(BLOCK)]
        for call_id, agent_id in chosen:
            acd.handle(call_id, cmd.ReleaseAgent(agent_id), centre.tick())
        names = [f"wrap_up:{agent_id}" for _, agent_id in chosen]
        now = centre.tick()
        began = time.thread_time()
        made = [acd.timer(name, now) for name in names]
        took = time.thread_time() - began
        for decisions in made:
            pair = centre.answered(decisions)
            if pair is None:
                raise AssertionError("a freed agent found no call among full lines")
            self.talking.append(pair)
            centre.join()
        return took / BLOCK * 1e6


class Joined:
    """Calls that find an idle agent: all agents are idle but for those of the block."""

    def __init__(self, centre: Centre) -> None:
        self.centre = centre
        for agent in centre.agents:
            centre.acd.set_status(agent, Status.AVAILABLE, None, centre.tick())

    def block(self) -> float:
        centre, acd = self.centre, self.centre.acd
        asked = [
            (centre.call_id(), cmd.JoinQueue(centre.chance.choice(centre.queues), centre.now)) for _ in range(BLOCK)
        ]
        now = centre.tick()
        began = time.thread_time()
        made = [acd.handle(call_id, join, now) for call_id, join in asked]
        took = time.thread_time() - began
        for (call_id, _), decisions in zip(asked, made, strict=True):
            pair = centre.answered(decisions)
            if pair is None:
                centre.acd.handle(call_id, cmd.LeaveQueue(QueueId("")), centre.tick())
                continue
            acd.handle(pair[0], cmd.ReleaseAgent(pair[1]), centre.tick())
            acd.timer(f"wrap_up:{pair[1]}", centre.tick())
        return took / BLOCK * 1e6


def measure(sizes: tuple[tuple[int, int], ...], blocks: int, console: Console) -> list[Figures]:
    sides: list[tuple[int, int, Freed, Joined]] = []
    for agents, calls in sizes:
        console.print(f"building {agents:,} agents and {calls:,} waiting calls")
        sides.append((agents, calls, Freed(Centre(agents, 1), calls, min(calls, 100_000)), Joined(Centre(agents, 2))))
    gc.collect()
    gc.freeze()  # as a controller does once it is configured: the collector does not walk what stays
    console.print(f"measuring {blocks} blocks of {BLOCK} decisions, the sizes in turn")
    times: list[tuple[list[float], list[float]]] = [([], []) for _ in sides]
    for _ in range(blocks):
        for (_, _, freed, joined), (freed_us, joined_us) in zip(sides, times, strict=True):
            freed_us.append(freed.block())
            joined_us.append(joined.block())
    return [
        Figures(agents, calls, statistics.median(freed_us), statistics.median(joined_us), freed.bytes_per_call)
        for (agents, calls, freed, _), (freed_us, joined_us) in zip(sides, times, strict=True)
    ]


def picture(figures: list[Figures]) -> str:
    """The growth as SVG: both decisions and the memory of a waiting call, by the number of agents, logarithmic."""
    ticks = [(math.log10(f.agents), f"{f.agents:,} / {f.calls:,}") for f in figures]

    def line(values: list[float]) -> list[tuple[float, float]]:
        return [(x, value) for (x, _), value in zip(ticks, values, strict=True)]

    decisions = [
        Series("freed agent takes a call", line([f.freed_us for f in figures])),
        Series("call finds an idle agent", line([f.joined_us for f in figures]), COLOURS[2]),
    ]
    memory = [Series("", line([f.bytes_per_call for f in figures]))]
    panels = [
        Panel("microseconds", decisions, ticks, marks=[(BUDGET_US, f"budget {BUDGET_US:g}")]),
        Panel("bytes per waiting call", memory, ticks, height=120, marks=[(BUDGET_BYTES, f"budget {BUDGET_BYTES:g}")]),
    ]
    return picture_of("One match decision, by agents / waiting calls", panels)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=60)
    parser.add_argument("--small", action="store_true", help="the first two sizes only; growth is theirs")
    parser.add_argument(
        "--svg", type=Path, default=Path(__file__).with_name("match.svg"), help="where to write time and memory by size"
    )
    options = parser.parse_args()
    console = Console(width=max(100, Console().width))
    console.print(f"machine: {describe()}")
    figures = measure(SIZES[:2] if options.small else SIZES, options.blocks, console)
    table = Table(title=f"one match decision (medians of {options.blocks} blocks of {BLOCK})")
    for column in ("agents", "waiting calls", "freed agent us", "joining call us", "bytes per waiting call"):
        table.add_column(column, justify="right")
    for f in figures:
        row = (f"{f.agents:,}", f"{f.calls:,}", f"{f.freed_us:.2f}", f"{f.joined_us:.2f}", f"{f.bytes_per_call:.0f}")
        table.add_row(*row)
    console.print(table)
    options.svg.write_text(picture(figures))
    console.print(f"picture: {options.svg}")
    console.print(f"machine: {describe()}")
    tenth = next(f for f in figures if f.agents * 10 == figures[-1].agents)
    growth = figures[-1].worst_us / tenth.worst_us
    line = summary_line(
        "match",
        us=figures[1].worst_us,
        growth=growth,
        bytes_per_call=max(f.bytes_per_call for f in figures),
    )
    sys.stdout.write(line + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
