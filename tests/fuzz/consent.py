"""Random callers, agents who call, supervisors and withdrawals against a whole POP on the simulated media server:
``make fuzz-consent ARGS="--calls N --seed S"``.

Every call, one in four placed by an agent, is a random sequence: places of caller, DID and agents, what is pressed
and when, prompts that break off, hang-ups, transfers, consultations, conferences, supervisors, pauses, stops,
withdrawals, a media server that refuses or is slow. ``consent_watch`` judges every moment that is captured by a rule
of its own. At the end of a call nothing may rest of one whose caller withdrew. A failure prints the seed, and the
others go on; the same seed gives the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from pbx.adapters.memory.engine import Callee, Caller
from pbx.controller.phone_codes import PhoneCodes
from pbx.domain.consent import RegimeTable, regime_of
from pbx.domain.dialling import Outbound, OutsideNumber
from pbx.domain.e164 import E164, cli_of
from pbx.domain.errors import EngineRefused
from pbx.domain.flow import AskConsent
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import QueueId
from pbx.wire import messages as wire
from tests.fuzz.consent_watch import OUTSIDE as OUTSIDE_PARTY
from tests.fuzz.consent_watch import STRICTNESS, Line, WatchedEngine
from tests.support.virtual_time import VirtualTimeLoop
from tests.support.world import World

PLACES = {"AA": "none", "BB": "notice", "CC": "opt_out", "DD": "opt_in", "EE": "prohibited"}
AGENTS = [(f"a{n}", country) for n, country in enumerate(("AA", "AA", "BB", "BB", "CC", "DD", "DD", "EE"))]
MIX = (6, 5, 5, 6, 1)
"""How often callers and DIDs are of each place."""
FLOORS = {"q0": "none", "q1": "none", "q2": "opt_in"}
OUTSIDE = "+49305550777"
TALK = {
    "talk": 6, "withdraw": 1, "stop": 1, "pause": 3, "go_on": 3, "hand_on": 4, "to_agent": 2, "outside": 2,
    "hold": 2, "supervise": 4, "take_over": 2, "consult": 4, "step": 6, "park": 1, "agent_hangs_up": 1,
}  # fmt: skip
"""What happens in a conversation, and how often."""
DONE = (None, "engine_failed")
"""A pause that the media server refuses ends the part; where it refuses to go on, another part begins."""
AT_ONCE = 24
"""Callers at a time."""
TOLD_EVERY = 50
"""Rounds."""
MEMORY = "/dev/shm"  # noqa: S108 - a directory of its own in it
"""Where journals and captures are a third faster than on a disk."""
ROUND = 400
"""Calls of one POP; then comes a new one, or its journal would grow for ever."""


def flow(queue: str, *asks: dict[str, Any]) -> dict[str, Any]:
    """Asks so often, then waits in ``queue``; and may be asked again after the conversation."""
    nodes: dict[str, Any] = {
        "wait": {"type": "queue", "queue": queue, "on_refused": "full", "max_wait_s": 60, "on_timeout": "full"},
        "full": {"type": "hang_up", "prompts": ["queue-full"]},
    }
    names = [f"consent{at}" for at in range(len(asks))]
    steps = [*names, "wait"]
    for at, ask in enumerate(asks):
        nodes[steps[at]] = {"type": "consent", "next": steps[at + 1], "timeout_s": 1, **ask}
    return {"start": steps[0], "languages": ["de"], "nodes": nodes}


def flows() -> dict[str, dict[str, Any]]:
    made = {}
    for queue in FLOORS:
        made[f"{queue}-silent"] = flow(queue)
        made[f"{queue}-twice"] = flow(queue, {"tries": 1}, {"tries": 2, "at_least": "opt_in"})
        for word in STRICTNESS[:4]:
            made[f"{queue}-{word}"] = flow(queue, {"tries": 2, "at_least": word})
    return made


class Fuzz:
    def __init__(self, world: World, chance: random.Random) -> None:
        self.world, self.chance = world, chance
        self.engine: WatchedEngine = world.engine  # type: ignore[assignment]
        self.seen = self.engine.seen
        self.dids: dict[str, tuple[str, str]] = {}
        """DID -> its place, and the queue of its flow."""
        self.silent: set[str] = set()
        """DIDs whose flow asks nobody."""
        self.countries: dict[str, str | None] = {}
        """Of numbers that agents call."""

    def prepare(self) -> None:
        world = self.world
        world.config.regimes = RegimeTable({place: regime_of(word) for place, word in PLACES.items()})
        world.pop.codes = PhoneCodes(world.pop.router, world.config, True)
        for queue, floor in FLOORS.items():
            config = wire.QueueConfig(
                queue_id=queue, name=queue, skills={queue: 1}, wrap_up_s=0.5, ring_timeout_s=3.0, consent_floor=floor
            )
            world.configure(f"queue.{queue}", config)
        for flow_id, graph in flows().items():
            world.put_flow(flow_id, graph)
            for place in PLACES:
                number = f"+4930555{len(self.dids):04}"
                self.dids[number] = (place, flow_id.partition("-")[0])
                if flow_id.endswith("-silent"):
                    self.silent.add(number)
                did = {"number": number, "flow_id": flow_id, "country": place, "region": "eu", "language": "de"}
                world.configure(f"did.{number[1:]}", wire.DidConfig(time_zone="Europe/Berlin", **did))
        for name, country in AGENTS:
            phone = world.agent(name, country=country, skills=dict.fromkeys(FLOORS, 3))
            phone.answers_after_s = 0.5
        self.engine.callees[OUTSIDE] = Callee(OUTSIDE)
        self.outbound_queue = self.chance.choice(list(FLOORS))
        outbound = Outbound(lambda text: OutsideNumber(E164(text), "fixed"), country_of=self.countries.get)
        world.pop.placing._outbound = replace(outbound, queue_id=QueueId(self.outbound_queue))
        self._refusing("start_recording", "pause_recording", "resume_recording", "bridge", "supervise")

    def _refusing(self, *names: str) -> None:
        """A media server that does not do everything it is asked for."""
        for name in names:
            setattr(self.engine, name, partial(self._refuse, getattr(self.engine, name)))

    async def _refuse(self, do: Any, *arguments: Any) -> None:
        if self.chance.random() < 0.06:
            self.seen["refused by engine"] += 1
            raise EngineRefused("not this time")
        await do(*arguments)

    async def call(self, number: int) -> None:
        c, engine = self.chance, self.engine
        wanted, country = c.choices(list(PLACES), MIX)[0], c.choices([*PLACES, None], (*MIX, 1))[0]
        did = c.choice([one for one, (place, _) in self.dids.items() if place == wanted])
        place, queue = self.dids[did]
        cli = cli_of(f"+4917{number % 10**8:08}")
        # The line is there before its call is: the media server tells at once.
        leg_id = f"in-{engine._count + 1}"
        engine.lines[leg_id] = line = Line((place, country or "?"), FLOORS[queue])  # type: ignore[index]
        caller = engine.call(did, cli, country)
        assert caller.leg_id == leg_id
        try:
            for _ in range(c.randrange(5, 20)):
                await asyncio.sleep(c.choice((0.05, 0.3, 0.8, 1.5, 2.2)))
                if caller.cause is not None:
                    break
                await self._something(caller, line)
            await asyncio.sleep(c.random() * 3)
        finally:
            if caller.cause is None:
                caller.hang_up()
        await asyncio.sleep(12)
        engine.moment()
        self._at_the_end(line)
        self.seen["calls"] += 1
        del engine.lines[caller.leg_id]

    async def place(self, number: int) -> None:
        """An agent calls somebody, who mostly answers; from then on it is a call like any other."""
        c, engine = self.chance, self.engine
        wanted, country = c.choices(list(PLACES), MIX)[0], c.choices([*PLACES, None], (*MIX, 1))[0]
        did = c.choice([one for one, (place, _) in self.dids.items() if place == wanted])
        called = f"+49306{number % 10**7:07}"
        self.countries[called] = country
        line = engine.called[called] = Line((wanted, country or "?"), FLOORS[self.outbound_queue])
        if did in self.silent:  # asked as by default
            line.answer_s = AskConsent(next="").timeout_s
        callee = engine.callees[called] = Callee(called)
        phone = c.choice(list(engine.phones.values()))
        own = engine.dial_number(phone, called, did)
        engine.who[own.leg_id] = phone.phone_id
        await asyncio.sleep(c.choice((0.3, 0.8)))
        caller: Caller | None = None
        if callee.leg_id is not None and callee.leg_id in engine.legs and c.random() < 0.9:
            caller = Caller(engine, engine.legs[callee.leg_id])
            engine.pick_up(callee.leg_id)
            self.seen["placed"] += 1
            for _ in range(c.randrange(5, 20)):
                await asyncio.sleep(c.choice((0.05, 0.3, 0.8, 1.5, 2.2)))
                if caller.cause is not None:
                    break
                await self._something(caller, line)
        if own.cause is None and (caller is None or c.random() < 0.5):
            own.hang_up()
        await asyncio.sleep(c.random() * 3)
        if caller is not None and caller.cause is None:
            caller.hang_up()
        await asyncio.sleep(12)
        engine.moment()
        self._at_the_end(line)
        self.seen["captured of placed"] += bool(line.recordings)
        self.seen["calls"] += 1
        del engine.called[called]
        if callee.leg_id is not None:
            del engine.lines[callee.leg_id]

    def _at_the_end(self, line: Line) -> None:
        rest = [one for one in line.recordings if self.world.vault.find(one) is not None]
        left = [one for one in line.recordings if (self.world.recordings / f"{one}.raw").exists()]
        assert not left, "a capture was left behind"
        if line.withdrawn:
            self.seen["withdrawn"] += bool(line.recordings)
            assert not rest, "something is left of what the caller took back"
        self.seen["kept"] += len(rest)

    # --- what happens -----------------------------------------------------------------------------------------------

    async def _something(self, caller: Caller, line: Line) -> None:
        c = self.chance
        talking = self.engine.legs[caller.leg_id].bridge_id is not None
        if not talking:
            self._before_the_talk(caller)
            return
        [what] = c.choices(list(TALK), list(TALK.values()))
        actor = self.world.pop._legs.get(caller.leg_id)
        if actor is not None:
            self.seen[what] += 1
            await getattr(self, f"_{what}")(caller, line, actor.call.call_id)

    def _before_the_talk(self, caller: Caller) -> None:
        c, engine = self.chance, self.engine
        match c.choices(("wait", "press", "cut", "hang_up"), (12, 12, 2, 0.3))[0]:
            case "press":
                digit = c.choices("125", (8, 1, 1))[0]
                engine.pressed(caller.leg_id, digit)
                caller.press(digit)
            case "cut":
                leg = engine.legs[caller.leg_id]
                if leg.play_id is not None:
                    engine._end_play(leg.play_id, completed=False)
            case "hang_up":
                caller.hang_up()
            case _:
                pass

    async def _ask(self, command: Any) -> str | None:
        return await self.world.command(command)

    async def _talk(self, caller: Caller, line: Line, call_id: str) -> None:
        return

    async def _withdraw(self, caller: Caller, line: Line, call_id: str) -> None:
        if self.chance.random() < 0.5:
            if OUTSIDE_PARTY in self.engine.parties(self.engine.legs[caller.leg_id]):
                return  # what is pressed there is for whoever is outside, and nothing is captured
            caller.press("*")
            caller.press("0")
            await asyncio.sleep(0.2)
            if caller.cause is None:
                self._over(line)
        elif await self._ask(wire.StopCallRecording(call_id=call_id, by="caller")) is None:
            await asyncio.sleep(0.2)
            self._over(line)

    def _over(self, line: Line) -> None:
        self.engine.moment()
        line.withdrawn = True

    async def _stop(self, caller: Caller, line: Line, call_id: str) -> None:
        if await self._ask(wire.StopCallRecording(call_id=call_id, by="agent")) is None:
            await asyncio.sleep(0.2)
            self.engine.moment()
            line.stopped = True

    async def _pause(self, caller: Caller, line: Line, call_id: str) -> None:
        if await self._ask(wire.PauseRecording(call_id=call_id, paused=True)) in DONE:
            await asyncio.sleep(0.2)  # one that the media server refuses ends the part instead
            self.engine.moment()
            line.paused = True

    async def _go_on(self, caller: Caller, line: Line, call_id: str) -> None:
        was, line.paused = line.paused, False
        if await self._ask(wire.PauseRecording(call_id=call_id, paused=False)) not in DONE:
            line.paused = was

    async def _hand_on(self, caller: Caller, line: Line, call_id: str) -> None:
        queue = self.chance.choice(list(FLOORS))
        was, line.floor = line.floor, "none"  # the weaker of both until it is known who has the caller
        if await self._ask(wire.TransferCall(call_id=call_id, queue_id=queue)) is None:
            await asyncio.sleep(0.2)
            line.floor = FLOORS[queue]
        else:
            line.floor = was

    async def _to_agent(self, caller: Caller, line: Line, call_id: str) -> None:
        await self._ask(wire.TransferCall(call_id=call_id, agent_id=self.chance.choice(AGENTS)[0]))

    async def _outside(self, caller: Caller, line: Line, call_id: str) -> None:
        command = wire.TransferCall if self.chance.random() < 0.3 else wire.ConsultAgent
        if await self._ask(command(call_id=call_id, number=OUTSIDE)) is None:
            await self._picks_up()

    async def _picks_up(self) -> None:
        await asyncio.sleep(0.05)
        leg_id = self.engine.callees[OUTSIDE].leg_id
        if leg_id in self.engine.legs and not self.engine.legs[leg_id].answered and self.chance.random() < 0.8:
            self.engine.pick_up(leg_id)

    async def _hold(self, caller: Caller, line: Line, call_id: str) -> None:
        await self._ask(self.chance.choice((wire.HoldCall, wire.ResumeCall))(call_id=call_id))

    async def _supervise(self, caller: Caller, line: Line, call_id: str) -> None:
        mode, agent = self.chance.choice(("listen", "whisper", "barge")), self.chance.choice(AGENTS)[0]
        await self._ask(wire.SuperviseCall(call_id=call_id, agent_id=agent, mode=mode))

    async def _take_over(self, caller: Caller, line: Line, call_id: str) -> None:
        command = wire.TakeOverCall if self.chance.random() < 0.7 else wire.EndSupervision
        await self._ask(command(call_id=call_id))

    async def _consult(self, caller: Caller, line: Line, call_id: str) -> None:
        await self._ask(wire.ConsultAgent(call_id=call_id, agent_id=self.chance.choice(AGENTS)[0]))

    async def _step(self, caller: Caller, line: Line, call_id: str) -> None:
        step = self.chance.choice(("swap", "complete", "cancel", "conference", "conference"))
        await self._ask(wire.StepConsultation(call_id=call_id, step=step))

    async def _park(self, caller: Caller, line: Line, call_id: str) -> None:
        if await self._ask(wire.ParkCall(call_id=call_id)) is None:
            await asyncio.sleep(0.5)
            await self._ask(wire.RetrieveCall(call_id=call_id, agent_id=self.chance.choice(AGENTS)[0]))

    async def _agent_hangs_up(self, caller: Caller, line: Line, call_id: str) -> None:
        others = list(self.engine._room.others(self.engine.legs[caller.leg_id]))
        if others:
            self.engine.end_leg(self.chance.choice(others), HangupCause.NORMAL_CLEARING)


async def _round(seed: str, calls: int, directory: Path) -> Counter[str]:
    chance = random.Random(seed)
    world = World(directory)
    world.engine.__class__ = WatchedEngine
    engine: WatchedEngine = world.engine  # type: ignore[assignment]
    engine.watch(PLACES, dict(AGENTS), chance)
    async with world:
        fuzz = Fuzz(world, chance)
        fuzz.prepare()
        numbers = iter(range(calls))

        async def callers() -> None:
            for number in numbers:
                await asyncio.sleep(chance.random())
                await (fuzz.place(number) if chance.random() < 0.25 else fuzz.call(number))
                for name, _ in AGENTS:
                    world.status(name, "AVAILABLE")

        async with asyncio.TaskGroup() as group:
            for _ in range(min(AT_ONCE, calls)):
                group.create_task(callers())
        await asyncio.sleep(60)
        engine.moment()
        assert not engine.recordings, "a recording goes on without its call"
    return fuzz.seen


class Failed(AssertionError):
    """Names the seed."""


def _tried(calls: int, seed: str) -> Counter[str] | str:
    """In a process of a pool, which must live on."""
    try:
        return run(calls, seed)
    except Failed as error:
        return str(error)


def run(calls: int, seed: str) -> Counter[str]:
    """One POP's calls. Raises Failed naming the seed and what was captured."""
    directory = Path(tempfile.mkdtemp(prefix="fuzz-consent-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
    try:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            return runner.run(_round(seed, calls, directory))
    except Exception as error:
        causes = error.exceptions if isinstance(error, ExceptionGroup) else (error,)
        raise Failed(f"seed {seed}: {'; '.join(map(repr, causes))}") from error
    finally:
        shutil.rmtree(directory)


def _quiet() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.disable(logging.CRITICAL)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    seen: Counter[str] = Counter()
    failures = 0
    seeds = [f"{arguments.seed}-{number}" for number in range(max(1, arguments.calls // ROUND))]
    with get_context("spawn").Pool(arguments.processes, initializer=_quiet) as pool:
        for found in pool.imap_unordered(partial(_tried, min(ROUND, arguments.calls)), seeds):
            if isinstance(found, str):
                failures += 1
                print(found, file=sys.stderr)
                continue
            seen += found
            if seen["calls"] % (TOLD_EVERY * ROUND) == 0:
                print(f"{seen['calls']} calls", file=sys.stderr)
    shown = " ".join(f"{name.replace(' ', '-')}={count}" for name, count in sorted(seen.items()))
    print(f"fuzz-consent seed={arguments.seed} failures={failures} {shown}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
