"""Phones that are heard of before the media server's snapshot: nobody may be offered to a call not yet taken up."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pbx.adapters.memory.engine import SimulatedEngine
from pbx.domain import events as ev
from pbx.domain.ids import PhoneId
from pbx.ports.media_engine import EngineListener
from tests.support.world import SHORT_FLOW, World


async def test_a_caller_who_waits_is_offered_to_an_agent_whose_phone_was_heard_of_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asterisk tells of phones over AMI, which may be connected before the websocket is."""
    starts = SimulatedEngine.start

    async def early(engine: SimulatedEngine, listener: EngineListener) -> None:
        listener.engine_event(ev.PhoneReachable(at=engine.clock(), phone_id=PhoneId("anna"), reachable=True))
        await asyncio.sleep(0.2)
        await starts(engine, listener)

    async with World(tmp_path, SHORT_FLOW, wrap_up_s=3) as world:
        world.agent("anna")
        first = await world.call("+4917011111111")
        await world.until(lambda: first.hears == "talk", "the first talk")
        second = await world.call("+4917022222222")
        await world.until(lambda: "QueueJoined" in world.kinds(second), "the second in the queue")
        first.hang_up()
        await world.until(lambda: world.state("anna")[2] == "WRAP_UP", "wrap-up")
        monkeypatch.setattr(SimulatedEngine, "start", early)
        await world.restart(away_s=5)  # the wrap-up is over by then
        await world.until(lambda: second.hears == "talk", "the second talk")
        second.hang_up()
        await world.ended(second)


async def test_a_phone_that_went_before_the_snapshot_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = SimulatedEngine.start

    async def early(engine: SimulatedEngine, listener: EngineListener) -> None:
        listener.engine_event(ev.PhoneReachable(at=engine.clock(), phone_id=PhoneId("anna"), reachable=False))
        await starts(engine, listener)
        engine.phones[PhoneId("anna")].registered = False  # after the snapshot was taken; no other word comes of it

    async with World(tmp_path, SHORT_FLOW) as world:
        world.agent("anna")
        monkeypatch.setattr(SimulatedEngine, "start", early)
        await world.restart()
        await world.run(1)
        agent = world.pop.router.agent(next(iter(world.pop.router.acd.agents)))
        assert agent is not None
        assert not agent.reachable
