"""What a drill does: each fault once, under calls, and what came of the calls; in a lab of its own or in one that is
running."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.chaos import evidence
from tests.chaos.load import SHORT, WHOLE, agents
from tests.chaos.report import Row
from tests.chaos.runner import Outcome, Run, capturing, started
from tests.lab.lab import Lab
from tests.lab.stack import Stack

RATE = 3.0
CUT_OFF = (38, 41)
"""Causes (Q.850) of calls that a media server lost."""
AGENTS = 8
PLAN = {
    "controller killed": ("The program that decides about calls is killed", 1.0),
    "media server killed": ("The telephone server itself is killed", 1.0),
    "bus killed": ("The bus to the centre is killed", 1.0),
    "centre killed": ("The centre is killed", 3.0),
    "database killed": ("The database is killed", 3.0),
    "link to the centre cut": ("The line to the centre is cut", 3.0),
    "link cut one way": ("The line to the centre is cut in one direction", 3.0),
    "5 % of packets lost": ("One in twenty packets is lost", 4.0),
    "disk of recordings full": ("The disk of recordings is full", 3.0),
    "disk of the journal full": ("The disk of the calls' log is full", 3.0),
    "disk slow": ("The disk is slow", 3.0),
    "host powered off": ("The site's machine loses power", 1.0),
}


@dataclass(slots=True)
class Found:
    """What came of a drill."""

    calls: int = 0
    rows: list[Row] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """What the checker says."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Faults that this lab cannot have, and why."""

    @classmethod
    def of(cls, document: dict[str, Any]) -> Self:
        rows = [Row(**row) for row in document["rows"]]
        return cls(document["calls"], rows, document["wrong"], document["left_out"])


async def one(run: Run, fault: str, seconds: float) -> Row:
    path = run.stack.pop.state_dir / "controller" / "journal.sqlite"
    run.callers.come(RATE, 8.0 + seconds)
    live = sum(run.states.look().values())
    began = time.time()
    await run.strike(fault, seconds)
    struck = run.struck_at
    await run.stack.event("LegAnswered", deadline_s=30, after=evidence.journal(path)[-1]["seq"])
    events = [event for event in evidence.journal(path) if event["at"] >= began]
    ended = [e for e in events if e["kind"] == "CallEnded" and e["cause"] in CUT_OFF]
    answered = [e["at"] for e in events if e["kind"] == "FlowStarted" and e["at"] > struck]
    back_s = min((at - struck for at in answered), default=float("nan"))
    return Row(fault, PLAN[fault][0], live, len(ended), len(answered), round(back_s, 2))


async def struck(
    run: Run, carrier: Path, phones: Path, faults: Sequence[str], gone: Callable[[], bool] = lambda: False
) -> Found:
    """All of them, one after the other, and the judgement. ``gone``: whoever wanted it does not any more; the stack is
    whole then."""
    found = Found(left_out=await asyncio.to_thread(left_out, run.stack, faults))
    run.callers.come(RATE, 5.0)
    await run.stack.event("TalkStarted", deadline_s=60, after=run.since)
    for fault in faults:
        if fault not in found.left_out and not gone():
            found.rows.append(await one(run, fault, PLAN[fault][1]))
    await run.settle()
    run.callers.stop()
    await run.settle()
    await run.judge(carrier, phones)
    found.calls, found.wrong = run.outcome.calls, run.outcome.wrong
    return found


def left_out(stack: Stack, faults: Sequence[str]) -> dict[str, str]:
    """Faults that cannot be had there, and why."""
    why: dict[str, str] = {}
    if stack.postgres is None:
        why["database killed"] = "its centre keeps its tables in a file, without a database server"
    recordings = ["mountpoint", "-q", stack.settings.recording_dir]
    if stack.pop.run(recordings, rootfs=False, check=False).returncode != 0:
        why["disk of recordings full"] = "its recordings are on no disk of their own, and others' would be full, too"
    return {fault: reason for fault, reason in why.items() if fault in faults}


async def own(lab: Lab, outcome: Outcome, faults: Sequence[str], told: Callable[[str], None]) -> Found:
    """In a stack that is started for it."""
    async with started(lab, outcome, told, SHORT) as (run, carrier, phones):
        return await struck(run, carrier, phones, faults)


def statuses(stack: Stack) -> dict[str, str]:
    """Agent -> status, by the last word of the POP's journal."""
    return {event["agent_id"]: event["status"] for event in stack.journal("kind = 'AgentChanged'")}


@contextlib.asynccontextmanager
async def _stepped_back(stack: Stack) -> AsyncIterator[None]:
    """The lab's own agents take no calls meanwhile: a call with one of them would have no end."""
    back: list[str] = []
    known = statuses(stack)
    for name, agent in list(stack.agents.items()):
        if known.get(agent.agent_id) == "AVAILABLE":
            await stack.status(name, "NOT_READY", "DRILL")
            back.append(name)
    try:
        yield
    finally:
        for name in back:
            await stack.status(name, "AVAILABLE")


@contextlib.asynccontextmanager
async def _visitors(stack: Stack) -> AsyncIterator[None]:
    """Agents of the drill's own, who are no more afterwards."""
    known = set(stack.agents)
    try:
        async with agents(stack, AGENTS):
            yield
    finally:
        for name in set(stack.agents) - known:
            await stack.api.ask("DELETE", f"agents/{stack.agents.pop(name).agent_id}")


async def visit(
    stack: Stack, faults: Sequence[str], told: Callable[[str], None], gone: Callable[[], bool] = lambda: False
) -> Found:
    """In a stack that is running, with callers and agents of the drill's own. It is left as it was found; judged is
    what the drill's callers went through. Raises ValueError for a fault that is none of ``PLAN``."""
    if unknown := set(faults) - PLAN.keys():
        raise ValueError(f"no fault {', '.join(sorted(unknown))}; there are {', '.join(PLAN)}")
    outcome = Outcome(1, stack.settings.engine)
    told("the lab's agents step back, the drill's come")
    with capturing(stack.carrier) as carrier, capturing(stack.phones) as phones:
        async with _stepped_back(stack), _visitors(stack):
            run = Run(stack, outcome, told, WHOLE, visiting=True)
            watching = asyncio.create_task(run.faults.watch())
            try:
                return await struck(run, carrier, phones, faults, gone)
            finally:
                watching.cancel()
