"""A line of callers at two POPs, and the router of their queue fails while they are served: who is served when.

The callers come to both POPs in turn and wait; then agents come to both. When some are served the program that is the
router is killed with ``kill -9`` (``how``: ``killed``), or its POP is cut off from the centre and the other POP for
some seconds (``cut``). The place of a caller is the moment of coming, at whichever POP and whoever is the router.
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


@dataclass(frozen=True, slots=True)
class Place:
    """One caller: when he came, and when an agent was first rung for him; seconds since the epoch."""

    call: str
    entered_at: float
    offered_at: float


@dataclass(frozen=True, slots=True)
class Line:
    """How a line was served."""

    callers: int
    served: int
    gap_s: float
    """From the router's failure until both POPs knew one again."""
    furthest: int
    """By how many places anybody was served earlier or later than he came, in the whole line."""
    furthest_after: int
    """The same among those who were first offered after there was a router again."""


def furthest(places: list[Place]) -> int:
    """By how many places anybody is out of the order of coming."""
    came = {place.call: number for number, place in enumerate(sorted(places, key=lambda one: one.entered_at))}
    offered = sorted(places, key=lambda one: one.offered_at)
    return max((abs(came[place.call] - number) for number, place in enumerate(offered)), default=0)


def places(two: Two) -> list[Place]:
    """Of all who were offered to an agent."""
    found: list[Place] = []
    for faults in two.faults.values():
        entered: dict[str, float] = {}
        offered: dict[str, float] = {}
        for event in evidence.journal(faults.site.pop.state_dir / "controller" / "journal.sqlite"):
            if event["kind"] == "QueueJoined":
                entered.setdefault(event["call"], event["asked"]["entered_at"])
            elif event["kind"] == "OfferMade":
                offered.setdefault(event["call"], event["at"])
        found += [Place(call, entered[call], at) for call, at in offered.items() if call in entered]
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
        if keep is not None and outcome.wrong:
            keep_evidence(two, keep, captures)
    after = [place for place in found if place.offered_at > again + 3.0]
    return Line(callers, len(found), again - failed, furthest(found), furthest(after))


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
    return (
        f"{line.callers} callers in line at two POPs, {what}: {line.served} served, a router again after"
        f" {line.gap_s:.1f} s; furthest from the order of coming: {line.furthest} places in the whole line,"
        f" {line.furthest_after} among those served once there was a router"
    )
