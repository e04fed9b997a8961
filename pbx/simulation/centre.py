"""A made-up contact centre: queues with their own traffic, and agents with skills and shifts to match it.

The arrival profile is that of a consumer hotline: little at night, a peak before noon, a lower one in the afternoon.
Handling times are log-normal, as measured in call centres (L. Brown et al., "Statistical analysis of a telephone call
center", JASA 100, 2005), patience is exponential.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from pbx.domain.ids import AgentId, QueueId

SLOT_S = 900.0
SLOTS = 96
HOURS = (3, 2, 2, 2, 3, 6, 18, 45, 80, 100, 104, 98, 84, 82, 90, 94, 88, 74, 58, 44, 32, 20, 11, 6)
"""Calls in each hour of the day, in proportion."""
SHIFTS_S = (8 * 3600.0, 8 * 3600.0, 6 * 3600.0, 4 * 3600.0)
BREAK_S = 1800.0


@dataclass(frozen=True, slots=True)
class Service:
    """One queue and those who call it."""

    queue_id: QueueId
    skill: str
    share: float
    """Of all calls, in proportion."""
    talk_s: float
    spread: float
    """Standard deviation of the talk time over its mean."""
    wrap_up_s: float
    patience_s: float


@dataclass(frozen=True, slots=True)
class Worker:
    agent_id: AgentId
    home: int
    """Number of the queue the agent was hired for."""
    skills: tuple[tuple[str, int], ...]
    start_s: float
    end_s: float
    break_s: float | None
    """When the break begins."""


@dataclass(frozen=True, slots=True)
class Centre:
    services: tuple[Service, ...]
    workers: tuple[Worker, ...]
    calls: int


def services(number: int) -> tuple[Service, ...]:
    return tuple(
        Service(
            queue_id=QueueId(f"q{n}"),
            skill=f"s{n}",
            share=1.0 / (1.0 + 0.35 * n),
            talk_s=130.0 + 25.0 * (n * 3 % 5),
            spread=0.6 + 0.1 * (n % 4),
            wrap_up_s=10.0 + 5.0 * (n % 3),
            patience_s=120.0 + 60.0 * (n % 3),
        )
        for n in range(number)
    )


def rates() -> list[float]:
    """Share of the day's calls in each slot, from the hours by straight lines."""
    raw = []
    for slot in range(SLOTS):
        at = (slot + 0.5) / 4 - 0.5
        hour, part = math.floor(at), at - math.floor(at)
        raw.append(HOURS[hour % 24] * (1 - part) + HOURS[(hour + 1) % 24] * part)
    total = sum(raw)
    return [one / total for one in raw]


def centre(calls: int, queues: int, seed: int, occupancy: float = 0.88) -> Centre:
    """Agents are hired queue by queue, slot by slot, until the load is ``occupancy`` of them. Half of them learn the
    skill of a second queue."""
    chance = random.Random(f"{seed}:hire")  # noqa: S311
    offered = services(queues)
    all_shares = sum(one.share for one in offered)
    shares = rates()
    workers: list[Worker] = []
    for home, service in enumerate(offered):
        erlangs = calls * service.share / all_shares * (service.talk_s + service.wrap_up_s) / SLOT_S
        here = [0] * (SLOTS + 40)
        for slot, share in enumerate(shares):
            wanted = math.ceil(erlangs * share / occupancy)
            for _ in range(wanted - here[slot]):
                shift_s = SHIFTS_S[len(workers) % len(SHIFTS_S)]
                start_s = slot * SLOT_S
                for later in range(slot, slot + int(shift_s / SLOT_S)):
                    here[later] += 1
                rest = start_s + shift_s * chance.uniform(0.35, 0.65) if shift_s >= 6 * 3600 else None
                skills = [(service.skill, chance.randint(1, 5))]
                if queues > 1 and chance.random() < 0.5:
                    skills.append((offered[(home + chance.choice((1, queues - 1))) % queues].skill, 1))
                name = AgentId(f"a{len(workers)}")
                workers.append(Worker(name, home, tuple(skills), start_s, start_s + shift_s, rest))
    return Centre(offered, tuple(workers), calls)


def arrivals(calls: int, seed: int) -> list[float]:
    """Seconds after midnight, in order: a Poisson process at the day's rates, given its number."""
    chance = random.Random(f"{seed}:arrive")  # noqa: S311
    edges = [0.0, *accumulate(rates())]
    return sorted(_at(chance.random() * edges[-1], edges) for _ in range(calls))


def _at(u: float, edges: Sequence[float]) -> float:
    slot = min(SLOTS, bisect_right(edges, u)) - 1
    return (slot + (u - edges[slot]) / (edges[slot + 1] - edges[slot])) * SLOT_S
