"""Hold, mute and blind transfer."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from pbx.adapters.memory.engine import Answer, Caller, Phone
from pbx.domain.consent import Regime, RegimeTable
from pbx.domain.errors import EngineRefused
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import AgentId, LegId
from pbx.wire import messages as wire
from tests.support.world import SHORT_FLOW, World


def billing(world: World, **more: Any) -> None:
    """A second queue, with a skill of its own."""
    settings: dict[str, Any] = {"queue_id": "billing", "name": "Billing", "skills": {"billing": 1}} | more
    world.configure("queue.billing", wire.QueueConfig(**settings))


def agent(world: World, name: str, skill: str = "billing", country: str = "DE") -> Phone:
    config = wire.AgentConfig(agent_id=name, name=name, phone_id=name, ha1="0" * 32, skills={skill: 3}, country=country)
    world.configure(f"agent.{name}", config)
    phone = world.engine.phone(name)
    world.status(name, "AVAILABLE")
    return phone


async def talking(world: World) -> Caller:
    caller = await world.call()
    await world.until(lambda: caller.hears == "talk")
    return caller


async def transfer(world: World, caller: Caller, **to: Any) -> str | None:
    return await world.command(wire.TransferCall(call_id=world.call_id(caller), **to))


# --- hold and mute ---------------------------------------------------------------------------------------------------


async def test_hold_and_resume(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW, music_class="jazz") as world:
        anna = world.agent("anna")
        caller = await talking(world)
        call_id = world.call_id(caller)
        assert await world.command(wire.ResumeCall(call_id=call_id)) == "not_held"
        assert await world.command(wire.HoldCall(call_id=call_id)) is None
        assert (world.hears(caller.leg_id), world.hears(anna.leg_id)) == ({"music:jazz"}, set())
        assert await world.command(wire.HoldCall(call_id=call_id)) == "already_held"
        assert await world.command(wire.ResumeCall(call_id=call_id)) is None
        assert (world.hears(caller.leg_id), world.hears(anna.leg_id)) == ({"anna"}, {"caller"})
        caller.hang_up()
        await world.ended(caller)
        kinds = [kind for kind in world.kinds(caller) if kind in ("HoldStarted", "HoldEnded")]
        assert kinds == ["HoldStarted", "HoldEnded"]


@pytest.mark.parametrize("who", ["caller", "anna"])
async def test_hang_up_on_hold(tmp_path: Path, who: str) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        anna = world.agent("anna")
        caller = await talking(world)
        assert await world.command(wire.HoldCall(call_id=world.call_id(caller))) is None
        if who == "caller":
            caller.hang_up()
        else:
            world.engine.end_leg(world.engine.legs[anna.leg_id or LegId("")], HangupCause.NORMAL_CLEARING)
        cdr = await world.ended(caller)
        assert cdr.end_reason == ("caller_hung_up" if who == "caller" else "agent_hung_up")
        assert not world.engine.legs
        assert world.state("anna")[2] == "WRAP_UP"


async def test_a_hold_that_the_engine_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        world.agent("anna")
        caller = await talking(world)
        hold, failures = world.engine.hold, iter([True])

        async def flaky(*args: Any) -> None:
            if next(failures, False):
                raise EngineRefused("no")
            await hold(*args)

        monkeypatch.setattr(world.engine, "hold", flaky)
        assert await world.command(wire.HoldCall(call_id=world.call_id(caller))) == "engine_failed"
        assert await world.command(wire.HoldCall(call_id=world.call_id(caller))) is None
        assert caller.hears == "music:default"
        caller.hang_up()
        await world.ended(caller)


async def test_mute(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        anna = world.agent("anna")
        caller = await talking(world)
        call_id = world.call_id(caller)
        for _ in range(2):  # asked twice, done once
            assert await world.command(wire.MuteAgent(call_id=call_id, muted=True)) is None
            assert (world.hears(caller.leg_id), world.hears(anna.leg_id)) == (set(), {"caller"})
        assert await world.command(wire.MuteAgent(call_id=call_id, muted=False)) is None
        assert world.hears(caller.leg_id) == {"anna"}
        caller.hang_up()
        await world.ended(caller)
        assert world.kinds(caller).count("MuteChanged") == 2


# --- to a queue ------------------------------------------------------------------------------------------------------


async def test_to_another_queue(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW, wrap_up_s=5) as world:
        world.config.regimes = RegimeTable({"DE": Regime.NONE})
        billing(world)
        world.agent("anna")
        caller = await talking(world)
        await world.run(10)
        before = len(caller.heard)
        assert await transfer(world, caller, queue_id="billing") is None
        await world.until(lambda: caller.hears == "music:default")
        assert world.state("anna") == ("AVAILABLE", None, "WRAP_UP")
        assert not world.engine.bridges
        assert not world.engine.recordings
        await world.run(20)
        assert caller.heard[before:] == ["de/position-1", "music:default"]
        bela = agent(world, "bela")
        await world.until(lambda: caller.hears == "talk")
        assert world.hears(caller.leg_id) == {"bela"}
        assert world.hears(bela.leg_id) == {"caller"}
        assert world.state("anna") == ("AVAILABLE", None, "IDLE")
        await world.run(4)
        caller.hang_up()
        cdr = await world.ended(caller)
        assert [(t.agent_id, t.queue_id, t.ended) for t in cdr.talks] == [
            ("anna", "support", "transferred"),
            ("bela", "billing", None),
        ]
        assert (cdr.agent_id, cdr.queue_id, cdr.abandoned) == ("bela", "billing", False)
        assert cdr.talk_s == pytest.approx(14, abs=0.5)
        assert cdr.wait_s == pytest.approx(cdr.talks[0].started_at - (cdr.queued_at or 0))
        first, second = cdr.recordings
        assert len(world.files()) == 2
        assert first.duration_ms == pytest.approx(10_000, abs=1000)
        assert second.duration_ms == pytest.approx(4_000, abs=1000)
        assert not world.engine.legs


async def test_the_age_is_kept(tmp_path: Path) -> None:
    """Who waited a minute before the first agent is before one who has waited half a minute; talking is no waiting."""
    async with World(tmp_path, SHORT_FLOW) as world:
        billing(world)
        old = await world.call()
        await world.run(60)
        world.agent("anna")
        await world.until(lambda: old.hears == "talk")
        await world.run(600)
        flow = dict(SHORT_FLOW["nodes"]["wait"], queue="billing")
        graph = {**SHORT_FLOW, "nodes": {**SHORT_FLOW["nodes"], "wait": flow}}
        world.configure("flow.main", wire.FlowConfig(flow_id="main", version=2, graph=graph))
        oldest = await world.call()
        await world.run(40)
        middle = await world.call()
        await world.run(30)
        young = await world.call()
        await world.run(1)
        assert await transfer(world, old, queue_id="billing") is None
        await world.run(1)
        order = world.pop.router.acd.waiting_calls("billing")  # type: ignore[arg-type]
        assert order == [world.call_id(c) for c in (oldest, old, middle, young)]
        for caller in (old, oldest, middle, young):
            caller.hang_up()
        assert (await world.ended(old)).abandoned


@pytest.mark.parametrize("when", ["talking", "held", "muted", "supervised", "supervisor_rings"])
async def test_whatever_the_conversation_is_in(tmp_path: Path, when: str) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        billing(world)
        world.agent("anna")
        boss = world.agent("boss", available=False)
        caller = await talking(world)
        call_id = world.call_id(caller)
        if when == "held":
            assert await world.command(wire.HoldCall(call_id=call_id)) is None
        elif when == "muted":
            assert await world.command(wire.MuteAgent(call_id=call_id, muted=True)) is None
        elif when.startswith("super"):
            boss.behaviour = Answer.NEVER if when == "supervisor_rings" else Answer.ANSWER
            assert await world.command(wire.SuperviseCall(call_id=call_id, agent_id="boss", mode="barge")) is None
            await world.run(2)
        assert await transfer(world, caller, queue_id="billing") is None
        assert await transfer(world, caller, queue_id="billing") == "not_in_conversation"
        await world.run(5)
        assert world.state("boss") == ("LOGGED_OUT", None, "IDLE")
        assert list(world.engine.legs) == [caller.leg_id]
        agent(world, "bela")
        await world.until(lambda: caller.hears == "talk")
        assert world.hears(caller.leg_id) == {"bela"}
        caller.hang_up()
        cdr = await world.ended(caller)
        assert [s.ended for s in cdr.supervisions] == (["transferred"] if when.startswith("super") else [])


async def test_refused_transfers_change_nothing(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        billing(world)
        world.agent("anna")
        agent(world, "bela")
        world.agent("cora", available=False)
        caller = await talking(world)
        assert await transfer(world, caller, queue_id="nothing") == "unknown_queue"
        assert await transfer(world, caller, agent_id="nobody") == "unknown_agent"
        assert await transfer(world, caller, agent_id="anna") == "agent_busy"
        assert await transfer(world, caller, agent_id="bela") == "agent_lacks_skills"
        assert await transfer(world, caller, agent_id="cora") == "agent_logged_out"
        assert await transfer(world, caller) == "bad_target"
        assert await transfer(world, caller, agent_id="bela", queue_id="billing") == "bad_target"
        assert (caller.hears, world.state("anna")[2]) == ("talk", "ON_CALL")
        caller.hang_up()
        assert [t.ended for t in (await world.ended(caller)).talks] == [None]


async def test_two_transfers_at_once(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        billing(world)
        world.agent("anna")
        caller = await talking(world)
        answers = await asyncio.gather(
            transfer(world, caller, queue_id="billing"), transfer(world, caller, queue_id="support")
        )
        assert list(answers) == [None, "not_in_conversation"]
        caller.hang_up()
        assert (await world.ended(caller)).queue_id == "billing"


async def test_a_full_queue_takes_the_flows_way_out(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW, wrap_up_s=0) as world:
        billing(world, max_waiting=1)
        world.agent("anna")
        first = await talking(world)
        assert await transfer(world, first, queue_id="billing") is None
        second = await talking(world)
        assert await transfer(world, second, queue_id="billing") is None
        cdr = await world.ended(second)
        assert (second.heard[-1], cdr.end_reason) == ("de/queue-full", "flow_ended")
        first.hang_up()
        await world.ended(first)


async def test_the_new_agents_country_is_asked(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        world.config.regimes = RegimeTable({"DE": Regime.NONE, "PL": Regime.OPT_OUT}, Regime.PROHIBITED)
        billing(world)
        world.agent("anna")
        agent(world, "bela", country="PL")
        caller = await talking(world)
        assert len(world.engine.recorded) == 1
        assert await transfer(world, caller, queue_id="billing") is None
        await world.until(lambda: caller.hears == "talk")
        await world.run(2)
        assert len(world.engine.recorded) == 1
        caller.hang_up()
        cdr = await world.ended(caller)
        assert [(c.granted, c.regime, c.reason) for c in cdr.consents] == [(False, "opt_out", "agent_jurisdiction")]
        assert len(cdr.recordings) == 1


# --- to an agent -----------------------------------------------------------------------------------------------------


async def test_to_an_agent(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW, wrap_up_s=0) as world:
        world.agent("anna")
        caller = await talking(world)
        world.agent("cora")
        await world.run(5)
        world.agent("bela")  # idle for a shorter time, and named
        assert await transfer(world, caller, agent_id="bela") is None
        await world.until(lambda: caller.hears == "talk")
        assert world.hears(caller.leg_id) == {"bela"}
        caller.hang_up()
        cdr = await world.ended(caller)
        assert [o.agent_id for o in cdr.offers] == ["anna", "bela"]
        assert [t.agent_id for t in cdr.talks] == ["anna", "bela"]


async def test_to_an_agent_who_is_busy_and_then_free(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW, wrap_up_s=0) as world:
        world.agent("anna")
        caller = await talking(world)
        world.agent("bela")
        other = await talking(world)
        assert await transfer(world, caller, agent_id="bela") is None
        await world.run(10)
        assert caller.hears == "music:default"  # anna is idle: the caller waits for bela alone
        assert world.state("anna")[2] == "IDLE"
        other.hang_up()
        await world.until(lambda: caller.hears == "talk")
        assert world.hears(caller.leg_id) == {"bela"}
        caller.hang_up()
        await world.ended(caller)
        await world.ended(other)


async def test_to_an_agent_who_does_not_answer(tmp_path: Path) -> None:
    """RONA: the caller goes to whoever is there."""
    async with World(tmp_path, SHORT_FLOW, ring_timeout_s=10) as world:
        world.agent("anna")
        caller = await talking(world)
        world.agent("bela").behaviour = Answer.NEVER
        world.agent("cora")
        assert await transfer(world, caller, agent_id="bela") is None
        await world.until(lambda: caller.hears == "talk")
        assert world.state("bela") == ("NOT_READY", "RONA", "IDLE")
        assert world.hears(caller.leg_id) & {"anna", "cora"}
        caller.hang_up()
        await world.ended(caller)


async def test_caller_hangs_up_while_the_next_agent_rings(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        world.agent("anna")
        caller = await talking(world)
        world.agent("bela").behaviour = Answer.NEVER
        assert await transfer(world, caller, agent_id="bela") is None
        await world.until(lambda: world.state("bela")[2] == "RINGING")
        caller.hang_up()
        cdr = await world.ended(caller)
        assert [o.outcome for o in cdr.offers] == ["answered", "caller_gone"]
        assert cdr.abandoned
        assert world.state("bela") == ("AVAILABLE", None, "IDLE")
        assert AgentId("anna") in world.pop.router.acd.agents
        assert not world.engine.legs
