"""A busy hour of a whole POP on the simulated engine: what a replay of its journal is tried on."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from pathlib import Path
from typing import Any

from pbx.adapters.memory.engine import Answer
from pbx.domain.e164 import cli_of
from pbx.domain.ids import AgentId
from pbx.wire import messages as wire
from tests.support.world import CALLER, DID, SHORT_FLOW, World

STEPS = (
    wire.QueueStepConfig(after_s=8, action=wire.RaisePriorityStep(by=2)),
    wire.QueueStepConfig(after_s=15, action=wire.RelaxSkillStep(skill="support", least=1)),
    wire.QueueStepConfig(after_s=35, action=wire.OverflowToQueueStep(queue_id="second")),
)
SUPPORT: dict[str, Any] = {
    "skills": {"support": 3}, "steps": STEPS, "wrap_up_s": 6, "ring_timeout_s": 7, "max_waiting": 10,
}  # fmt: skip
SECOND = wire.QueueConfig(
    queue_id="second", name="Second", skills={"second": 1}, wrap_up_s=0, strategy="least_occupied", max_wait_s=40
)
VIP: dict[str, Any] = {"type": "queue", "queue": "support", "on_refused": "full", "priority": 2}
LANGUAGE: dict[str, Any] = {
    "type": "queue", "queue": "second", "on_refused": "full",
    "needs": [{"skill": "support", "least": 4, "fallbacks": [{"after_s": 9, "skill": "second", "least": 2}]}],
}  # fmt: skip
AGENTS = {f"agent{n}": {"support": 1 + n % 5} | ({"second": 1 + n % 3} if n % 2 else {}) for n in range(8)}


def world_of(directory: Path) -> World:
    """Three numbers: of the queue, of the same with priority, and of the second queue with a need of its own."""
    world = World(directory, SHORT_FLOW, **SUPPORT)
    world.configure("queue.second", SECOND)
    for flow_id, digit, wait in (("vip", "1", VIP), ("language", "2", LANGUAGE)):
        world.put_flow(flow_id, {**SHORT_FLOW, "nodes": {**SHORT_FLOW["nodes"], "wait": wait}})
        number = DID[:-1] + digit
        did = wire.DidConfig(
            number=number, flow_id=flow_id, country="DE", language="de", time_zone="Europe/Berlin", region="eu"
        )
        world.configure(f"did.{number[1:]}", did)
    return world


async def busy(world: World, calls: int, seed: int) -> None:
    """Callers and agents by chance, until all have hung up or, for some who talk, until the time is over."""
    chance = random.Random(seed)
    for name, skills in AGENTS.items():
        world.agent(name, skills=skills).answers_after_s = 3.0
    people = [asyncio.create_task(_caller(world, chance, chance.uniform(0, 3.0 * calls))) for _ in range(calls)]
    people.append(asyncio.create_task(_agents(world, chance, 3.0 * calls)))
    await asyncio.gather(*people)


async def _caller(world: World, chance: random.Random, after_s: float) -> None:
    patience_s, talk_s = chance.expovariate(1 / 40), chance.uniform(3, 60)
    await asyncio.sleep(after_s)
    caller = world.engine.call(DID[:-1] + chance.choice("00012"), cli_of(CALLER), "DE")
    end = world.clock() + patience_s
    while caller.cause is None and caller.hears != "talk" and world.clock() < end:  # noqa: ASYNC110
        await asyncio.sleep(0.31)
    if caller.hears == "talk":
        await asyncio.sleep(talk_s)
    if caller.cause is None:
        caller.hang_up()


async def _agents(world: World, chance: random.Random, for_s: float) -> None:
    end = world.clock() + for_s
    while world.clock() < end:
        await asyncio.sleep(chance.expovariate(1 / 4))
        name = chance.choice(sorted(AGENTS))
        phone, agent = world.engine.phones[AgentId(name)], world.pop.router.agent(AgentId(name))  # type: ignore[index]
        match chance.choice((*["ready"] * 6, "break", "break", "phone", "phone", "wrap_up", "line", "queue", "skills")):
            case "ready":
                world.status(name, "AVAILABLE")
            case "break":
                world.status(name, chance.choice(("NOT_READY", "LOGGED_OUT")), "LUNCH")
            case "phone":
                phone.behaviour = chance.choice((*Answer, *[Answer.ANSWER] * 4))
            case "wrap_up" if agent is not None and agent.state.value == "WRAP_UP":
                command = chance.choice((wire.EndWrapUp(agent_id=name), wire.ExtendWrapUp(agent_id=name, by_s=4)))
                world.told(command)
            case "line":
                world.engine.unregister(phone)
                await asyncio.sleep(chance.uniform(0, 5))
                world.engine.phone(name)
            case "queue":
                settings = {"queue_id": "support", "name": "Support"} | SUPPORT
                world.configure("queue.support", wire.QueueConfig(**settings | {"priority": chance.randint(0, 2)}))
            case "skills":
                world.agent(name, available=False, skills=AGENTS[name] | {"second": chance.randint(0, 3)})


def killed(world: World, directory: Path) -> Path:
    """The journal as the disk has it if the controller dies now."""
    directory.mkdir()
    copy = sqlite3.connect(directory / "journal.sqlite")
    world.journal._db.backup(copy)
    copy.close()
    return directory
