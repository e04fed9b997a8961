"""Journals of POPs that share queues, run again: each gives the decisions that it holds, whatever the router did."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pbx.adapters.memory.engine import Answer
from pbx.domain.e164 import cli_of
from pbx.domain.ids import AgentId
from pbx.simulation.replay import Report, replay
from pbx.simulation.replay_read import read
from pbx.wire import messages as wire
from tests.support.pops import Site, pops
from tests.support.world import CALLER, DID, SHORT_FLOW, World

OWN: dict[str, Any] = {"queue_id": "own", "name": "Own", "skills": {"own": 1}, "wrap_up_s": 3, "ring_timeout_s": 6}
WAIT: dict[str, Any] = {**SHORT_FLOW["nodes"]["wait"], "queue": "own"}
SECONDS = 600.0


def _prepare(world: World, name: str) -> list[str]:
    """A number for the POP's own queue, and agents: for both queues, for the shared one, for the own."""
    world.configure("queue.own", wire.QueueConfig(**OWN))
    world.put_flow("own", {**SHORT_FLOW, "nodes": {**SHORT_FLOW["nodes"], "wait": WAIT}})
    number = DID[:-1] + "1"
    did = wire.DidConfig(
        number=number, flow_id="own", country="DE", language="de", time_zone="Europe/Berlin", region="eu"
    )
    world.configure(f"did.{number[1:]}", did)
    skills = ({"support": 1, "own": 1}, {"support": 1, "own": 1}, {"support": 2}, {"own": 2})
    agents = [f"{name}-{number}" for number in range(len(skills))]
    for agent, has in zip(agents, skills, strict=True):
        world.agent(agent, skills=has).answers_after_s = 2.0
    return agents


async def _caller(world: World, chance: random.Random, after_s: float) -> None:
    patience_s, talk_s = chance.expovariate(1 / 40), chance.uniform(3, 50)
    await asyncio.sleep(after_s)
    caller = world.engine.call(DID[:-1] + chance.choice("001"), cli_of(CALLER), "DE")
    end = world.clock() + patience_s
    while caller.cause is None and caller.hears != "talk" and world.clock() < end:  # noqa: ASYNC110  virtual time
        await asyncio.sleep(0.31)
    if caller.hears == "talk":
        await asyncio.sleep(talk_s)
    if caller.cause is None:
        caller.hang_up()


async def _agents(world: World, agents: list[str], chance: random.Random) -> None:
    end = world.clock() + SECONDS
    while world.clock() < end:
        await asyncio.sleep(chance.expovariate(1 / 4))
        name = chance.choice(agents)
        phone = world.engine.phones[AgentId(name)]  # type: ignore[index]  # phones are named as their agents here
        match chance.choice((*["ready"] * 8, "break", "out", "phone", "line", "skills")):
            case "ready":
                world.status(name, "AVAILABLE")
            case "break":
                world.status(name, "NOT_READY", "LUNCH")
            case "out":
                world.status(name, "LOGGED_OUT")
            case "phone":
                phone.behaviour = chance.choice((*Answer, *[Answer.ANSWER] * 4))
            case "line":
                world.engine.unregister(phone)
                await asyncio.sleep(chance.uniform(0, 5))
                world.engine.phone(name)
            case "skills":
                has = {"support": chance.randint(0, 2), "own": chance.randint(0, 1)}
                world.agent(name, available=False, skills=has)


async def _bus(site: Site, chance: random.Random) -> None:
    """The bus is slow; now and then a POP is cut off or its controller dies, that of the router too."""
    site.bus.delay_s = 0.02
    end = site.one.clock() + SECONDS
    while site.one.clock() < end:
        await asyncio.sleep(chance.uniform(30, 60))
        name = chance.choice(sorted(site.worlds))
        if chance.random() < 0.4:
            await site.worlds[name].restart(away_s=chance.uniform(0.5, 8))
            continue
        site.part(name, media=chance.random() < 0.5)
        await asyncio.sleep(chance.uniform(1, 15))
        site.heal(name)


async def _hour(directory: Path, seed: int) -> list[Path]:
    chance = random.Random(seed)
    async with pops(directory, wrap_up_s=4.0, ring_timeout_s=7.0) as site:
        people = []
        for name, world in site.worlds.items():
            agents = _prepare(world, name)
            people.append(_agents(world, agents, random.Random(f"{seed} {name}")))
            people += [_caller(world, chance, chance.uniform(0, SECONDS)) for _ in range(110)]
        await asyncio.gather(*people, _bus(site, chance))
    return [directory / name / "journal.sqlite" for name in site.worlds]


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])
async def test_each_pop_decides_the_same_again(tmp_path: Path, seed: int) -> None:
    kinds: Counter[str] = Counter()
    for path in await _hour(tmp_path, seed):
        journal = read(path)
        report: Report = replay(journal)
        assert report.difference is None, str(report.difference)
        assert report.offers > 40
        kinds.update(type(row.event).__name__ for run in journal.runs for row in run.rows)
        kinds.update(row.event.outcome for run in journal.runs for row in run.rows if hasattr(row.event, "outcome"))
    for kind in ("QueuesShared", "ProposalTaken", "AgentLent", "LentOfferEnded", "RouterAwaited"):
        assert kinds[kind] > 3, kinds
    assert all(kinds[outcome] for outcome in ("answered", "no_answer", "caller_gone")), kinds
