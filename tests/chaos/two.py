"""Two POPs and a queue that spans both, callers and agents at each: faults at either, at the centre, and between them;
what the checker says of each POP, and of both together.

After every fault comes a calm in which one router serves all again: whether it does is a finding, and so is who is
passed in the line then, whichever POP the caller came to.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos import evidence
from tests.chaos.checker import Evidence, check
from tests.chaos.faults import Faults
from tests.chaos.load import LONGEST_S, QUEUE, SHORT, Callers
from tests.chaos.movers import Movers
from tests.chaos.runner import SETTLE_S, Outcome, at_the_centre, capturing, ended
from tests.chaos.states import STATES, States
from tests.chaos.together import check_together
from tests.lab.errors import LabError, wait_until
from tests.lab.lab import Lab
from tests.lab.second_pop import SECOND_ID, SecondPop, two_pops
from tests.lab.sipp import Sipp
from tests.lab.stack import DID, POP_ID, Agent, Stack

SECOND_DID = "+49305550101"
AGENTS = 4
"""At each POP."""
MOVERS = 2
"""Of the first POP's, whom the other one has, too."""
CLAIMED_S = 1.5
"""A phone does not leave a POP that it reaches when only the POPs do not reach each other: it has moved before."""
TALK_MS = 2500
RATE = 1.3
"""Callers a second, at each POP."""
CALM_S = 4.0
HEAL_S = 60.0
"""From a fault's end until all POPs know one router again, at most; a host that boots needs some of it."""

AT_A_POP = (
    "controller killed",
    "media server killed",
    "host powered off",
    "link to the centre cut",
    "link cut one way",
    "link cut the other way",
    "5 % of packets lost",
    "controller stands still",
    "disk of the journal full",
    "disk slow",
)
OF_ALL = ("bus killed", "centre killed", "database killed", "link between the POPs cut")
FAULTS = (
    *OF_ALL,
    *(f"{where}: {name}" for where in ("router's POP", "other POP") for name in AT_A_POP),
)


@dataclass(slots=True)
class Two:
    """The stack, and what happens to it."""

    stack: Stack
    second: SecondPop
    outcome: Outcome
    told: Callable[[str], None]
    faults: dict[str, Faults]
    """By POP."""
    states: dict[str, States]
    callers: list[Callers]
    calm: list[tuple[float, float]] = field(default_factory=list)
    movers: Movers | None = None

    @property
    def journals(self) -> dict[str, Path]:
        """By POP."""
        return {pop_id: one.site.pop.state_dir / "controller" / "journal.sqlite" for pop_id, one in self.faults.items()}

    def come(self, seconds: float) -> None:
        for callers in self.callers:
            callers.come(RATE, seconds)

    async def router(self) -> str | None:
        """The POP that both say is the router; None: they do not agree, or one does not say."""
        pops = await self.stack.api.items("pops")
        named = {pop["router_pop_id"] if pop["connected"] else None for pop in pops}
        return named.pop() if len(named) == 1 else None

    async def agreed(self, deadline_s: float = HEAL_S) -> str:
        """Wait until there is one router again. Raises LabError."""
        end = time.monotonic() + deadline_s
        while time.monotonic() < end:
            with contextlib.suppress(LabError, OSError):  # the centre is coming back
                if (found := await self.router()) is not None:
                    return found
            await asyncio.sleep(0.25)
        raise LabError(f"the POPs know no router together {deadline_s:g} s after the fault")

    async def strike(self, name: str, seconds: float) -> None:
        self.told(name)
        where, _, fault = name.rpartition(": ")
        router = await self.agreed()
        others = {POP_ID: SECOND_ID, SECOND_ID: POP_ID}
        at = self.faults[others[router] if where == "other POP" else router]
        found = Counter[str]()
        for states in self.states.values():
            found += states.look()
        self.outcome.met.setdefault(name, Counter()).update(found)
        if self.movers is not None:
            await self.movers.move()
            if "cut" in fault:
                await asyncio.sleep(CLAIMED_S)
        if fault == "link between the POPs cut":
            await at.cut_from(self.faults[others[router]].site.pop, seconds)
        else:
            await at.all()[fault](seconds)
        self.outcome.struck[name] += 1
        if self.movers is not None:
            await self.movers.refresh()
        await self.rest()

    async def rest(self) -> None:
        """Until one router serves all; then a calm, which is judged."""
        try:
            await self.agreed()
        except LabError as error:
            self.outcome.wrong.append(str(error))
            return
        await asyncio.sleep(3.0)  # what the router was not told yet, and offers that ring
        began = time.time()
        await asyncio.sleep(CALM_S)
        self.calm.append((began, time.time()))

    async def settle(self) -> None:
        self.told("calls come to their end")
        over = lambda: not any(s.look()[one] for s in self.states.values() for one in STATES)  # noqa: E731
        with contextlib.suppress(LabError):  # what does not end is the checker's to say
            await asyncio.to_thread(wait_until, over, SETTLE_S, "the calls' end")
        await at_the_centre(self.stack)

    async def judge(self, captures: list[Path]) -> None:
        rows, dialogs = await ended(self.stack), evidence.dialogs(*captures)
        pops: dict[str, Evidence] = {}
        for pop_id, faults in self.faults.items():
            host = faults.site.pop
            events = evidence.journal(self.journals[pop_id])
            own = [one for one in dialogs if host.address in (one.source, one.target)]
            of_pop = [row for row in rows if row["pop_id"] == pop_id]
            pops[pop_id] = Evidence(events, own, of_pop, [], host.address, faults.deaths, faults.away, spans=True)
            pops[pop_id].taken_at = time.time()
            self.outcome.wrong += [f"{pop_id}: {line}" for line in check(pops[pop_id])]
            kinds = Counter(event["kind"] for event in events)
            self.outcome.calls += kinds["LegOffered"]
            self.outcome.adopted += kinds["CallReadopted"]
            self.outcome.crossed += sum(e["kind"] == "OfferMade" and e.get("pop_id") is not None for e in events)
            self.outcome.crashes += faults.crashes
            if "Traceback" in faults.site.controller.log_text():
                self.outcome.wrong.append(f"{pop_id}: the controller's log has a traceback")
        self.outcome.wrong += check_together(pops, rows, self.calm)


async def _second_agents(second: SecondPop, count: int) -> dict[str, str]:
    """Made at the second POP; name -> password of the phone."""
    for number in range(count):
        name = f"two{number:04}"
        body = {"name": name, "phone_id": name, "skills": {"support": 3}, "country": "DE", "pop_id": SECOND_ID}
        made = await second.stack.api.post("agents", body)
        second.agents[name] = Agent(made["agent_id"], made["phone_id"], made["sip"]["password"], name)
    await second.synced()
    return {name: agent.password for name, agent in second.agents.items()}


async def _registered(second: SecondPop, users: dict[str, str], contact_port: int) -> None:
    """On a busy machine a media server may not have read all new accounts yet when the POP says so: phones try again,
    as all do."""
    end = time.monotonic() + 60
    while True:
        register = Sipp.register(second.phones, second.host.address, users, contact_port=contact_port)
        result = await asyncio.to_thread(register.finish, 60)
        if result.successful == len(users):
            return
        if time.monotonic() > end:
            result.require_success(len(users))
        await asyncio.sleep(1.0)


@contextlib.asynccontextmanager
async def second_agents(second: SecondPop, count: int, talk_ms: int) -> AsyncIterator[None]:
    """On one sipp, registered and AVAILABLE."""
    users = await _second_agents(second, count)
    with Sipp.agents(second.phones, ring_ms=300, talk_ms=talk_ms, limit_s=LONGEST_S) as answering:
        await _registered(second, users, answering.port)
        for agent in second.agents.values():
            await second.stack.api.post(f"agents/{agent.agent_id}/status", {"status": "AVAILABLE"})
        yield


async def second_did(second: SecondPop) -> None:
    """A number of the second POP with the same flow."""
    former = await second.stack.api.get(f"dids/{DID}")
    wanted = ("flow_id", "country", "language", "time_zone", "region")
    await second.stack.api.post(
        "dids", {name: former[name] for name in wanted} | {"number": SECOND_DID, "pop_id": SECOND_ID}
    )
    await second.synced()


@contextlib.asynccontextmanager
async def started(
    lab: Lab, outcome: Outcome, told: Callable[[str], None], postgres: bool = True
) -> AsyncIterator[tuple[Two, list[Path]]]:
    """Two POPs without agents, and the captures at the cables of carrier and phones."""
    engines = (outcome.engine, outcome.engine)
    async with two_pops(lab, flow=SHORT.flow, engines=engines, postgres=postgres) as (stack, second):
        await stack.api.ask(
            "PUT", "queues/support", {"name": "Support", **QUEUE, "max_waiting": 500, "pops": [POP_ID, SECOND_ID]}
        )
        await second_did(second)
        await stack.synced()
        with contextlib.ExitStack() as cables:
            captures = [cables.enter_context(capturing(host)) for host in (stack.carrier, stack.phones, second.phones)]
            faults = {POP_ID: Faults(stack, stack), SECOND_ID: Faults(stack, second)}
            callers = [
                Callers(stack, SHORT),
                Callers(stack, SHORT, target=second.host.address, did=SECOND_DID, first=50_000),
            ]
            two = Two(stack, second, outcome, told, faults, {}, callers)
            two.states |= {pop_id: States(path) for pop_id, path in two.journals.items()}
            watching = [asyncio.create_task(one.watch()) for one in faults.values()]
            try:
                yield two, captures
            finally:
                for task in watching:
                    task.cancel()


async def run_two(
    lab: Lab,
    outcome: Outcome,
    plan: list[tuple[str, float]],
    told: Callable[[str], None] = lambda what: None,
    keep: Path | None = None,
) -> Outcome:
    """Faults one after the other, callers at both POPs all the while."""
    async with started(lab, outcome, told) as (two, captures):
        await two.second.backs_up()
        phones = two.stack.sipp_agents(AGENTS, ring_ms=300, talk_ms=TALK_MS, limit_s=LONGEST_S)
        async with phones as answering, second_agents(two.second, AGENTS, TALK_MS):
            names = sorted(two.stack.agents)[:MOVERS]
            users = {name: two.stack.agents[name].password for name in names}
            pops = {pop_id: faults.site.pop.address for pop_id, faults in two.faults.items()}
            two.movers = Movers(two.stack.phones, answering.port, users, pops, outcome.seed)
            began = time.monotonic()
            async with contextlib.AsyncExitStack() as coming:
                for callers, states in zip(two.callers, two.states.values(), strict=True):
                    enough = lambda states=states: states.look()["waiting"] >= 12  # noqa: E731
                    await coming.enter_async_context(callers.coming(RATE, enough))
                await two.stack.event("TalkStarted", deadline_s=60)
                await two.rest()
                for name, seconds in plan:
                    await two.strike(name, seconds)
            outcome.struck["seconds"] = round(time.monotonic() - began)
            await two.settle()
            for callers in two.callers:
                callers.stop()
            await two.settle()
            agents = {name: two.stack.agents[name].agent_id for name in names}
            outcome.wrong += await two.movers.misplaced(two.journals, agents)
            outcome.moves = two.movers.moves
            await two.judge(captures)
            if keep is not None and outcome.wrong:
                keep_evidence(two, keep, captures)
    return outcome


def keep_evidence(two: Two, directory: Path, captures: list[Path]) -> None:
    """What a person needs who looks into it."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "calm").write_text("\n".join(f"{begin:.3f} {end:.3f}" for begin, end in two.calm))
    for pop_id, faults in two.faults.items():
        journal = two.journals[pop_id]
        for suffix in ("", "-wal"):
            path = journal.with_name(journal.name + suffix)
            if path.exists():
                (directory / f"{pop_id}-{path.name}").write_bytes(path.read_bytes())
        (directory / f"{pop_id}.log").write_text(faults.site.controller.log_text())
    (directory / "centre.log").write_text(two.stack.orchestrator.log_text())
    for path in captures:
        (directory / f"{path.parent.name}-{path.name}").write_bytes(path.read_bytes())
