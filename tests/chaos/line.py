"""A line of callers at two POPs, and the router of their queue fails while they are served: who is served when.

The callers come to both POPs in turn and wait; then agents come to both. When some are served the program that is the
router is killed with ``kill -9`` (``how``: ``killed``), or its POP is cut off from the centre and the other POP for
some seconds (``cut``). The place of a caller is the moment of coming, at whichever POP and whoever is the router.

Nobody may be offered to an agent after somebody who came later. There is one exception, and the command says how often
it was made: a POP that is cut off serves its own callers with its own agents, and knows of nobody else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.chaos import evidence
from tests.chaos.load import LONGEST_S
from tests.chaos.runner import Outcome
from tests.chaos.two import AGENTS, SECOND_DID, Two, keep_evidence, second_agents, started
from tests.lab.errors import LabError, wait_until
from tests.lab.lab import Lab
from tests.lab.sipp import Sipp
from tests.lab.stack import DID

How = Literal["killed", "cut"]
TALK_MS = 1500
SERVED_BEFORE = 40
"""Callers who are served before the router fails."""
RATE = 5.0
"""At each POP, a second."""
SAME_MOMENT_S = 0.05
"""What the router proposes to two POPs one after the other each of them takes and journals when it comes."""


@dataclass(frozen=True, slots=True)
class Place:
    """One caller: when he came, and when an agent was first rung for him; seconds since the epoch."""

    call: str
    entered_at: float
    offered_at: float
    pop: str = ""
    alone: bool = False
    """His POP served its callers alone then: it knew no router."""


@dataclass(frozen=True, slots=True)
class Passed:
    """A caller who was offered later than somebody who came after him, by ``seconds``."""

    place: Place
    by: Place
    seconds: float

    def __str__(self) -> str:
        by, place = self.by, self.place
        return (
            f"{place.call} of {place.pop}{' (alone)' if place.alone else ''} was offered {self.seconds:.3f} s after"
            f" {by.call} of {by.pop}{' (alone)' if by.alone else ''}, who came {by.entered_at - place.entered_at:.3f} s"
            " later"
        )


@dataclass(frozen=True, slots=True)
class Line:
    """How a line was served."""

    callers: int
    served: int
    failed_at: float
    gap_s: float
    """From the router's failure until both POPs knew one again."""
    furthest: int
    """By how many places anybody was served earlier or later than he came, the same moment or not."""
    passed: list[Passed]

    def parted(self, one: Passed) -> bool:
        """Whether he was passed by a caller of another POP before there was one router again."""
        return one.place.pop != one.by.pop and self.failed_at <= one.by.offered_at <= self.failed_at + self.gap_s

    def wrong(self, how: How) -> list[str]:
        """A POP that is cut off may serve its own; while the POPs reach each other there is one line."""
        found = [one for one in self.passed if not (how == "cut" and self.parted(one))]
        return [str(one) for one in longest(found)]


def furthest(places: list[Place]) -> int:
    """By how many places anybody is out of the order of coming."""
    came = {place.call: number for number, place in enumerate(sorted(places, key=lambda one: one.entered_at))}
    offered = sorted(places, key=lambda one: one.offered_at)
    return max((abs(came[place.call] - number) for number, place in enumerate(offered)), default=0)


def all_passed(places: list[Place]) -> list[Passed]:
    """Each caller with each of those who came after him and were offered before him, if not in the same moment."""
    came = sorted(places, key=lambda one: (one.entered_at, one.call))
    return [
        Passed(place, by, place.offered_at - by.offered_at)
        for number, place in enumerate(came)
        for by in came[number + 1 :]
        if place.offered_at - by.offered_at > SAME_MOMENT_S
    ]


def longest(passed: list[Passed]) -> list[Passed]:
    """Each caller once, by whom he was passed for longest."""
    worst = {one.place.call: one for one in sorted(passed, key=lambda one: one.seconds)}
    return list(worst.values())


def places(two: Two) -> list[Place]:
    """Of all who were offered to an agent."""
    found: list[Place] = []
    for pop_id, path in two.journals.items():
        entered: dict[str, float] = {}
        offered: dict[str, Place] = {}
        alone = True
        for event in evidence.journal(path):
            call = event["call"]
            if event["kind"] == "QueuesShared":
                alone = not event["queue_ids"]
            elif event["kind"] == "QueueJoined":
                entered.setdefault(call, event["asked"]["entered_at"])
            elif event["kind"] == "OfferMade" and call in entered:
                offered.setdefault(call, Place(call, entered[call], event["at"], pop_id, alone))
        found += offered.values()
    return found


async def run_line(
    lab: Lab,
    outcome: Outcome,
    callers: int,
    how: How,
    told: Callable[[str], None] = lambda what: None,
    keep: Path | None = None,
) -> Line:
    async with started(lab, outcome, told, postgres=False) as (two, captures):
        router = await two.agreed()
        told(f"{callers} callers come")
        runs = [_callers(two, number, callers // 2) for number in range(2)]

        def in_line() -> bool:
            return sum(states.look()["waiting"] for states in two.states.values()) >= callers

        await asyncio.to_thread(wait_until, in_line, 240, f"{callers} callers in line", two.stack.logs)
        phones = two.stack.sipp_agents(AGENTS, ring_ms=300, talk_ms=TALK_MS, limit_s=LONGEST_S)
        began = time.time()
        async with phones, second_agents(two.second, AGENTS, TALK_MS):
            await _served(two, SERVED_BEFORE, 120)
            told(f"the router fails at {router}")
            failed = time.time()
            faults = two.faults[router]
            await (faults.controller(0.5) if how == "killed" else faults.link_cut(6.0))
            await two.agreed()
            again = time.time()
            two.calm = [(began, failed), (again + 3.0, again + 600.0)]
            told("there is a router again")
            await _served(two, callers, 240)
            await two.settle()
            for run in runs:
                run.stop()
            await two.settle()
            await two.judge(captures)
        found = places(two)
        line = Line(callers, len(found), failed, again - failed, furthest(found), all_passed(found))
        outcome.wrong += line.wrong(how)
        if line.served != callers:
            outcome.wrong.append(f"{callers - line.served} callers were never offered to anybody")
        if keep is not None and outcome.wrong:
            keep_evidence(two, keep, captures)
    return line


async def _served(two: Two, count: int, deadline_s: float) -> None:
    end = time.monotonic() + deadline_s
    while (found := len(places(two))) < count:
        if time.monotonic() > end:
            raise LabError(f"{found} of {count} callers served within {deadline_s:g} s\n{two.stack.logs()}")
        await asyncio.sleep(0.5)  # journals are read whole


def _callers(two: Two, pop: int, count: int) -> Sipp:
    """Callers of one POP, who press 1 and wait until an agent has talked to them."""
    target, did = ((two.stack.pop.address, DID), (two.second.host.address, SECOND_DID))[pop]
    calls = [(f"+4917080{pop}{number:05}", did) for number in range(count)]
    return Sipp.callers(
        two.stack.carrier,
        target,
        calls,
        rate=RATE,
        digits=[(600, "1")],
        speaks=True,
        at_once=count,
        limit_s=LONGEST_S,
    )


def summary(line: Line, how: How) -> str:
    what = {"killed": "the router's program killed", "cut": "the router's POP cut off for 6 s"}[how]
    passed = longest(line.passed)
    order = "nobody offered after somebody who came later"
    if passed:
        wrong, at_most = len(line.wrong(how)), max(one.seconds for one in passed)
        order = f"{len(passed)} offered after somebody who came later, by at most {at_most:.2f} s, {wrong} wrongly"
    return (
        f"{line.callers} callers in line at two POPs, {what}: {line.served} served, a router again after"
        f" {line.gap_s:.1f} s; {order}; furthest from the order of coming, the same moment counted too:"
        f" {line.furthest} places"
    )
