"""One run: a stack with callers and agents, faults in it, and what the checker says of what is left."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from dialplans.schema import Engine
from tests.chaos import evidence
from tests.chaos.checker import Evidence, check
from tests.chaos.desk import Desk
from tests.chaos.faults import Faults
from tests.chaos.load import PATIENT, QUEUE, WHOLE, Callers, Course, agents
from tests.chaos.states import STATES, States
from tests.lab.errors import LabError, wait_until
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.stack import Stack, recordings_on_disk

SETTLE_S = 60.0
STORED_S = 15.0
AIMED_S = 30.0
"""How long a fault waits for a call in the state it is aimed at."""
TRIES = 3
"""So often a cell is tried: calls were on their way into other states, or the one before was not over for them."""
LINE = 6
"""Callers in line, in an aimed run, are enough."""
CLOCKS = ("clock set forward", "clock set back")


@dataclass(slots=True)
class Outcome:
    seed: int
    engine: Engine
    calls: int = 0
    struck: Counter[str] = field(default_factory=Counter)
    met: dict[str, Counter[str]] = field(default_factory=dict)
    """Fault -> how many calls were in which state when it struck."""
    aimed: dict[str, Counter[str]] = field(default_factory=dict)
    """Fault -> how often it struck while a call was in the state it was aimed at."""
    planned: set[tuple[str, str]] = field(default_factory=set)
    """Fault and state, of an aimed run."""
    desk: str = ""
    """What was not done of what the desk asked for, in words."""
    wrong: list[str] = field(default_factory=list)
    adopted: int = 0
    """How often a call went on under another controller."""
    crossed: int = 0
    """Offers to agents of another POP."""
    moves: int = 0
    """How often an agent's phone registered at another POP."""
    crashes: list[str] = field(default_factory=list)
    """How media servers ended by themselves."""


@contextlib.contextmanager
def capturing(host: Host) -> Iterator[Path]:
    """SIP that crosses the host's cable."""
    path = host.state_dir / "chaos.pcap"
    path.unlink(missing_ok=True)
    command: list[str | Path] = [
        "tcpdump",
        "--immediate-mode",  # else the last call's BYE is not in the file yet when all is judged
        "-U",
        "-n",
        "-i",
        "eth0",
        "-w",
        path,
        "udp",
        "port",
        "5060",
        "or",
        "udp",
        "port",
        "5080",
    ]
    process = host.spawn(command, name="tcpdump-chaos", rootfs=True)
    wait_until(lambda: path.exists() and path.stat().st_size >= 24, 10, "tcpdump to capture", process.log_text)
    try:
        yield path
    finally:
        process.stop(5)


async def at_the_centre(stack: Stack) -> None:
    """Every POP says, from now on, that the bus has all its events. Raises LabError."""
    since = time.time()

    def heard(page: dict[str, Any]) -> bool:
        return all(
            pop["connected"]
            and not pop["unsent_events"]
            and datetime.fromisoformat(pop["last_seen_at"]).timestamp() > since
            for pop in page["items"]
        )

    await stack.api.until("pops", heard, SETTLE_S)


async def ended(stack: Stack, of: Collection[str] | None = None) -> list[dict[str, Any]]:
    """The centre's records, ``of`` some calls or of all, when each has its end: what is on the bus is stored a moment
    later. Those that have none after ``STORED_S`` are among them."""
    late = time.monotonic() + STORED_S
    while True:
        rows = [row for row in await stack.calls() if of is None or row["call_id"] in of]
        if all(row["ended_at"] is not None for row in rows) or time.monotonic() > late:
            return rows
        await asyncio.sleep(0.25)


class Run:
    """``visiting``: a stack that has other calls, too; judged are those of this run's callers."""

    def __init__(
        self, stack: Stack, outcome: Outcome, told: Callable[[str], None], course: Course, visiting: bool = False
    ) -> None:
        self.stack, self.outcome, self._told = stack, outcome, told
        self.chance = random.Random(outcome.seed)  # a run is repeated by its seed
        self.faults = Faults(stack, stack)
        self.struck_at = 0.0
        self.callers = Callers(stack, course)
        self._journal = stack.pop.state_dir / "controller" / "journal.sqlite"
        self.states = States(self._journal)
        self._prefixes = tuple(kind.prefix for kind in course.kinds) if visiting else ()
        self._rested = set(self._recordings())
        self.since = self._last_seq() if visiting else 0
        """Of the journal, when this run began."""
        if visiting:
            self.states.begin(self.since)

    async def strike(self, name: str, seconds: float) -> None:
        """At a moment of its own, whatever the calls are doing."""
        self._told(name)
        await asyncio.sleep(self.chance.uniform(0.2, 1.2))
        await self._struck(name, seconds)

    async def aim(self, desk: Desk, name: str, seconds: float, state: str) -> bool:
        """As soon as a call is in ``state``. False: none was, and nothing was done."""
        self._told(f"{name}: {state}")
        desk.aim = state
        try:
            if not await self._meets(state):
                return False
        finally:
            desk.aim = None
        self.outcome.aimed.setdefault(name, Counter())[state] += 1
        await self._struck(name, seconds)
        return True

    async def _struck(self, name: str, seconds: float) -> None:
        self.outcome.met.setdefault(name, Counter()).update(self.states.look())
        self.struck_at = time.time()
        await self.faults.all()[name](seconds)
        self.outcome.struck[name] += 1

    async def _meets(self, state: str) -> bool:
        end = time.monotonic() + AIMED_S
        while not self.states.look()[state]:
            if time.monotonic() > end:
                return False
            await asyncio.sleep(0.02)
        return True

    async def settle(self) -> None:
        """All calls end, all agents are free, and the centre has it all."""
        self._told("calls come to their end")

        def over() -> bool:
            found = self.states.look()
            return not any(found[state] for state in STATES)

        with contextlib.suppress(LabError):  # what does not end is the checker's to say
            await asyncio.to_thread(wait_until, over, SETTLE_S, "the calls' end")
        last = self._last_seq()
        await at_the_centre(self.stack)
        self._told(f"{last} events are at the centre")

    def _last_seq(self) -> int:
        events = evidence.journal(self._journal)
        return int(events[-1]["seq"]) if events else 0

    def _recordings(self) -> list[str]:
        return [path.stem for path in recordings_on_disk(self.stack.pop) if path.name != "filler"]

    async def judge(self, carrier: Path, phones: Path) -> None:
        events = evidence.journal(self._journal)
        if self._prefixes:
            events = evidence.of_callers(events, self._prefixes, self.since)
        mine = {event["call"] for event in events} if self._prefixes else None
        calls = await ended(self.stack, mine)
        on_disk = [one for one in self._recordings() if one not in self._rested]
        dialogs = evidence.dialogs(carrier, phones)
        seen = Evidence(events, dialogs, calls, on_disk, self.stack.pop.address)
        seen.deaths, seen.away, seen.unnoted = self.faults.deaths, self.faults.away, self.faults.unnoted
        seen.taken_at = time.time()
        self.outcome.adopted = sum(event["kind"] == "CallReadopted" for event in events)
        self.outcome.calls = sum(event["kind"] == "LegOffered" for event in events)
        self.outcome.wrong += check(seen)
        if "Traceback" in self.stack.controller.log_text():
            self.outcome.wrong.append("the controller's log has a traceback")

    def keep(self, directory: Path, *captures: Path) -> None:
        """What a person needs who looks into it."""
        directory.mkdir(parents=True, exist_ok=True)
        log = self._journal.with_name(f"{self._journal.name}-wal")
        logs = [path for path in (log, self.stack.server.process.log_path) if path.exists()]
        for path in (self._journal, self.stack.controller.log_path, self.stack.orchestrator.log_path, *logs, *captures):
            shutil.copy(path, directory / f"{path.parent.name}-{path.name}")


@contextlib.asynccontextmanager
async def started(
    lab: Lab,
    outcome: Outcome,
    told: Callable[[str], None],
    course: Course,
    count: int = 8,
    talk_ms: int = 2500,
    own_clock: bool = False,
) -> AsyncIterator[tuple[Run, Path, Path]]:
    """A stack with agents; the captures at the carrier's and the phones' cables."""
    more: dict[str, Any] = {"flow": course.flow, "queue": QUEUE, "postgres": True, "small_disk": "64m"}
    env = {"CALLPLANE_POP_OUTSIDE_TRUNK": "carrier", "CALLPLANE_POP_PARK_TIMEOUT_S": "15"}
    async with Stack.start(lab, engine=outcome.engine, own_clock=own_clock, more_env=env, **more) as stack:
        with capturing(stack.carrier) as carrier, capturing(stack.phones) as phones:
            async with agents(stack, count, talk_ms):
                made = Run(stack, outcome, told, course)
                watching = asyncio.create_task(made.faults.watch())
                try:
                    yield made, carrier, phones
                finally:
                    watching.cancel()


async def run(
    lab: Lab,
    outcome: Outcome,
    plan: list[tuple[str, float]],
    rate: float,
    told: Callable[[str], None] = lambda what: None,
    keep: Path | None = None,
    course: Course = WHOLE,
) -> Outcome:
    """Faults one after the other, callers all the while."""
    own_clock = any(name in CLOCKS for name, _ in plan)
    async with started(lab, outcome, told, course, own_clock=own_clock) as (one, carrier, phones):
        began = time.monotonic()
        one.callers.come(rate, 8.0)
        await one.stack.event("TalkStarted", deadline_s=40)
        for name, seconds in plan:
            one.callers.come(rate, 4.0 + seconds)
            try:
                await one.strike(name, seconds)
            except LabError as error:  # it did not become whole again: what is left is looked at
                outcome.wrong.append(f"{name}: {error}")
                break
        outcome.struck["seconds"] = round(time.monotonic() - began)
        await _judged(one, carrier, phones, keep)
    return outcome


async def run_aimed(
    lab: Lab,
    outcome: Outcome,
    plan: list[tuple[str, float, str]],
    rate: float,
    told: Callable[[str], None] = lambda what: None,
    keep: Path | None = None,
) -> Outcome:
    """Each fault of ``plan`` strikes when a call is in the state that goes with it."""
    own_clock = any(name in CLOCKS for name, _, _ in plan)
    outcome.planned = {(name, state) for name, _, state in plan}
    async with started(lab, outcome, told, PATIENT, 11, 9000, own_clock) as (one, carrier, phones):
        began = time.monotonic()
        desk = Desk(one.stack, one.states, outcome.seed)
        async with one.callers.coming(rate, lambda: one.states.count()["waiting"] >= LINE), desk.open():
            await one.stack.event("TalkStarted", deadline_s=60)
            for cell in await _missed(one, desk, plan, TRIES):
                told(f"not met: {cell[0]}: {cell[2]}")
        outcome.struck["seconds"] = round(time.monotonic() - began)
        outcome.desk = desk.report()
        await _judged(one, carrier, phones, keep)
    return outcome


async def _missed(one: Run, desk: Desk, plan: list[tuple[str, float, str]], tries: int) -> list[tuple[str, float, str]]:
    """What is left of the plan after so many tries. A fault that does not heal ends it: what is there is judged."""
    for _ in range(tries):
        left = []
        for cell in plan:
            try:
                if not await one.aim(desk, *cell):
                    left.append(cell)
            except LabError as error:
                one.outcome.wrong.append(f"{cell[0]}: {error}")
                return left
        plan = left
    return plan


async def _judged(one: Run, carrier: Path, phones: Path, keep: Path | None) -> None:
    one.outcome.crashes = one.faults.crashes
    try:
        await one.settle()
        one.callers.stop()
        await one.settle()
        await one.judge(carrier, phones)
    except LabError as error:
        one.outcome.wrong.append(str(error))
    if keep is not None and one.outcome.wrong:
        one.keep(keep, carrier, phones)
