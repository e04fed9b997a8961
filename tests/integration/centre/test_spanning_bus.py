"""Queues that span POPs over a real nats-server: simulated media servers, real time, the centre's own logins."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from nats.aio.client import Client

from orchestrator.bootstrap import Centre
from orchestrator.config import CentreSettings
from pbx.adapters.link.nats import NatsLink, _Client
from pbx.domain.ids import AgentId, PhoneId, PopId
from pbx.wire import pop_key, subjects
from tests.integration.centre.support import Api, pop, until
from tests.support.world import SHORT_FLOW, World

NAMES = ("de-fra-1", "de-ber-1")


@pytest.fixture
def database_url() -> str:
    """The default, SQLite: one database is enough for what happens on the bus."""
    return ""


@asynccontextmanager
async def pops(api: Api, settings: CentreSettings, tmp_path: Path) -> AsyncIterator[list[World]]:
    worlds: list[World] = []
    async with AsyncExitStack() as stack:
        for name in NAMES:
            key = await api.new_pop(name)
            (tmp_path / name).mkdir()
            site = await stack.enter_async_context(pop(tmp_path / f"{name}.db", settings.bus_port, key, name))
            link = site.link
            assert isinstance(link, NatsLink)
            world = World(
                tmp_path / name, SHORT_FLOW, time.time, pop_id=name, mesh=link.mesh, wrap_up_s=0.0, pops=NAMES
            )
            worlds.append(await stack.enter_async_context(world))
        for world in worlds:
            world.engine.mesh = {other.pop_id: other.engine for other in worlds if other is not world}
        await until(lambda: _router(worlds))
        yield worlds


def _router(worlds: list[World]) -> PopId | None:
    found = {world.pop.spanning.router_pop for world in worlds if world.pop.spanning is not None}
    return found.pop() if len(found) == 1 else None


async def test_calls_cross_and_a_bus_that_dies_costs_nothing(
    api: Api, centre: tuple[Centre, str], settings: CentreSettings, tmp_path: Path
) -> None:
    async with pops(api, settings, tmp_path) as (one, two):
        two.agent("bo").answers_after_s = 0.1
        caller = await one.call()
        await until(lambda: caller.hears == "talk")
        assert two.state("bo")[2] == "ON_CALL"
        waits = [await world.call() for world in (one, two, one, two)]
        server = centre[0].server
        assert server is not None
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        caller.hang_up()
        # Either the router is still believed in, or POP two is alone: its agent goes to its own caller.
        await until(lambda: waits[1].hears == "talk")
        assert waits[0].hears != "talk"
        await until(lambda: _router([one, two]))
        waits[1].hang_up()
        await until(lambda: waits[0].hears == "talk")
        for first, then in ((0, 2), (2, 3)):
            waits[first].hang_up()
            await until(lambda now=then: waits[now].hears == "talk")
        waits[3].hang_up()
        await until(lambda: not one.pop.calls and not two.pop.calls)
        assert two.engine.phones[next(iter(two.engine.phones))].rung == 5, "one ring for each caller"


async def test_an_agent_moves_with_the_phone_and_comes_back(api: Api, settings: CentreSettings, tmp_path: Path) -> None:
    async with pops(api, settings, tmp_path) as (one, two):
        one.agent("bo", pops=list(NAMES))
        two.configure("agent.bo", one.config.agents[AgentId("bo")])
        for former, now in ((one, two), (two, one)):
            phone = now.engine.phone("bo")
            phone.answers_after_s = 0.1
            former.engine.unregister(former.engine.phones[PhoneId("bo")])
            await until(lambda now=now, former=former: _has(now) and not _has(former))
            assert now.state("bo") == ("AVAILABLE", None, "IDLE")
            caller = await former.call()
            await until(lambda caller=caller: caller.hears == "talk")
            assert phone.rung == 1
            caller.hang_up()
            await until(lambda now=now: now.state("bo")[2] == "IDLE")


def _has(world: World) -> bool:
    assert world.pop.spanning is not None
    return world.pop.spanning.moving.elsewhere(AgentId("bo")) is None


async def test_the_lease_goes_to_the_other_pop_and_its_terms_rise(
    api: Api, settings: CentreSettings, tmp_path: Path
) -> None:
    async with pops(api, settings, tmp_path) as worlds:
        leader = _router(worlds)
        former = next(world.pop.spanning for world in worlds if world.pop_id == leader)
        assert former is not None
        assert former.election.router is not None
        term = former.election.router.term
        former.election.stop()
        former.election.look = lambda *_: None  # type: ignore[method-assign]
        await until(lambda: _router(worlds) not in (None, leader))
        other = next(world.pop.spanning for world in worlds if world.pop_id != leader)
        assert other is not None
        assert other.election.router is not None
        assert other.election.router.term > term


async def test_a_pop_cannot_speak_for_another_or_hear_what_is_said_to_it(api: Api, settings: CentreSettings) -> None:
    keys = {name: await api.new_pop(name) for name in NAMES}
    refused: list[str] = []
    heard: list[str] = []

    async def client(name: str) -> Client:
        async def on_error(error: Exception) -> None:
            refused.append(str(error))

        made = _Client(pop_key.public_nkey(keys[name]))
        await made.connect(
            f"nats://127.0.0.1:{settings.bus_port}",
            signature_cb=lambda nonce: pop_key.sign(keys[name], nonce),
            inbox_prefix=subjects.inbox_prefix(name),
            allow_reconnect=False,
            error_cb=on_error,
        )
        return made

    one, two = [await client(name) for name in NAMES]
    try:

        async def hear(message: object) -> None:
            heard.append(message.subject)  # type: ignore[attr-defined]

        await two.subscribe(subjects.mesh(NAMES[1], "*"), cb=hear)
        await two.subscribe(subjects.mesh(subjects.EVERYBODY, "*"), cb=hear)
        await two.flush()
        await one.publish(subjects.mesh(NAMES[1], NAMES[1]), b"forged")
        await one.publish(subjects.mesh(NAMES[1], NAMES[0]), b"honest")
        await one.publish(subjects.mesh(subjects.EVERYBODY, NAMES[0]), b"to all")
        await one.flush()
        await until(lambda: len(heard) == 2)
        await until(lambda: any("publish" in one.lower() for one in refused))
        assert sorted(heard) == sorted([subjects.mesh(NAMES[1], NAMES[0]), subjects.mesh(subjects.EVERYBODY, NAMES[0])])
        refused.clear()
        await one.subscribe(subjects.mesh(NAMES[1], "*"))
        await until(lambda: any("subscription" in text.lower() for text in refused))
    finally:
        await asyncio.gather(one.close(), two.close())


async def test_a_queue_names_pops_that_there_are_and_keeps_them(api: Api, settings: CentreSettings) -> None:
    for name in NAMES:
        await api.new_pop(name)
    queue = {"queue_id": "sales", "name": "Sales"}
    for pops, field in (([NAMES[0]], "pops"), ([NAMES[0], "nowhere"], "pops.1"), ([NAMES[0], NAMES[0]], "pops")):
        refused = await api.post("/queues", {**queue, "pops": pops})
        assert refused.status == 422, refused.body
        assert field in "".join(f"{error['field']} {error['reason']}" for error in refused.body["errors"])
    made = await api.made("/queues", {**queue, "pops": list(NAMES)})
    assert made["pops"] == list(NAMES)
    assert (await api.delete(f"/pops/{NAMES[0]}")).status == 409
    assert (await api.get(f"/pops/{NAMES[0]}")).body["router_pop_id"] is None
    await api.put("/queues/sales", {"name": "Sales"})
    assert (await api.get("/queues/sales")).body["pops"] == []
    assert (await api.delete(f"/pops/{NAMES[0]}")).status == 204
