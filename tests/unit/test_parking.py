"""Parked callers: slots, retrieval by command and by code, and what becomes of those whom nobody retrieves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pbx.adapters.memory.engine import Answer, Caller
from pbx.controller.parking_lot import ParkingLot
from pbx.domain.cdr import Cdr
from pbx.domain.consent import Regime, RegimeTable
from pbx.domain.errors import EngineRefused
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import LegId, PhoneId
from pbx.wire import messages as wire
from tests.support.world import SHORT_FLOW, World


async def talking(world: World, name: str = "anna") -> Caller:
    world.agent(name)
    caller = await world.call()
    await world.until(lambda: caller.hears == "talk")
    return caller


async def park(world: World, caller: Caller, slot: int | None = None) -> wire.CommandReply:
    world.commands += 1
    command = wire.ParkCall(call_id=world.call_id(caller), slot=slot)
    return await world.pop.command(
        wire.CommandRequest(idempotency_key=f"p{world.commands}", deadline_at=9e9, command=command)
    )


async def parked(world: World) -> Caller:
    caller = await talking(world)
    assert (await park(world, caller)).slot == 701
    await world.until(lambda: caller.hears == "music:default")
    return caller


async def retrieve(world: World, caller: Caller, agent_id: str) -> str | None:
    return await world.command(wire.RetrieveCall(call_id=world.call_id(caller), agent_id=agent_id))


def parks(cdr: Cdr) -> list[tuple[int, str, str | None, str | None]]:
    return [(one.slot, one.parked_by, one.ended, one.retrieved_by) for one in cdr.parks]


async def test_parked_and_retrieved_by_another_agent(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        world.config.regimes = RegimeTable({"DE": Regime.NONE})
        caller = await parked(world)
        assert world.state("anna")[2] == "WRAP_UP"
        assert not world.engine.bridges
        bela = world.agent("bela", available=False)
        await world.run(20)
        assert await retrieve(world, caller, "bela") is None
        await world.until(lambda: caller.hears == "talk")
        assert (world.hears(caller.leg_id), world.hears(bela.leg_id)) == ({"bela"}, {"caller"})
        assert world.state("bela")[2] == "ON_CALL"
        await world.run(4)
        caller.hang_up()
        cdr = await world.ended(caller)
        assert world.state("bela") == ("LOGGED_OUT", None, "WRAP_UP")
        assert parks(cdr) == [(701, "anna", "retrieved", "bela")]
        assert [(t.agent_id, t.queue_id, t.ended) for t in cdr.talks] == [
            ("anna", "support", "parked"),
            ("bela", "support", None),
        ]
        assert len(cdr.recordings) == len(world.files()) == 2
        assert not cdr.abandoned
        assert not world.engine.legs


async def test_consent_is_evaluated_again_at_the_retrieval(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        world.config.regimes = RegimeTable({"DE": Regime.NONE, "CH": Regime.OPT_IN})
        caller = await parked(world)
        world.agent("bela", country="CH")
        assert await retrieve(world, caller, "bela") is None
        await world.until(lambda: caller.hears == "talk")
        caller.hang_up()
        cdr = await world.ended(caller)
        assert len(cdr.recordings) == 1
        assert [(c.granted, c.reason) for c in cdr.consents] == [(False, "agent_jurisdiction")]


async def test_the_agent_who_parked_it_retrieves_out_of_wrap_up(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW, wrap_up_s=600) as world:
        caller = await parked(world)
        waiting = await world.call()
        assert await retrieve(world, caller, "anna") is None
        await world.until(lambda: caller.hears == "talk")
        assert world.hears(caller.leg_id) == {"anna"}
        assert waiting.hears != "talk"
        caller.hang_up()
        await world.ended(caller)
        assert world.state("anna")[2] == "WRAP_UP"
        waiting.hang_up()
        await world.ended(waiting)


@pytest.mark.parametrize("answers", [Answer.NEVER, Answer.BUSY, Answer.REJECT])
async def test_a_retrieval_in_vain_changes_nothing(tmp_path: Path, answers: Answer) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        caller = await parked(world)
        bela = world.agent("bela", available=False)
        bela.behaviour = answers
        assert await retrieve(world, caller, "bela") is None
        await world.until(lambda: world.state("bela")[2] == "ENGAGED" or bela.rung == 1)
        if answers is Answer.NEVER:
            assert await retrieve(world, caller, "anna") == "retrieval_under_way"
        await world.until(lambda: world.state("bela") == ("LOGGED_OUT", None, "IDLE"))
        assert caller.hears == "music:default"
        bela.behaviour = Answer.ANSWER
        assert await retrieve(world, caller, "bela") is None
        await world.until(lambda: caller.hears == "talk")
        caller.hang_up()
        await world.ended(caller)


async def test_who_cannot_be_rung_is_named(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        other = await talking(world, "bela")
        caller = await parked(world)
        away = world.agent("cleo", available=False)
        world.engine.unregister(away)
        for agent_id, error in [("nobody", "unknown_agent"), ("bela", "agent_busy"), ("cleo", "agent_unreachable")]:
            assert await retrieve(world, caller, agent_id) == error
        assert await retrieve(world, other, "anna") == "not_parked"
        assert await world.command(wire.HoldCall(call_id=world.call_id(caller))) == "not_in_conversation"
        assert (await park(world, caller)).error_id == "not_in_conversation"
        for one in (caller, other):
            one.hang_up()
            await world.ended(one)


async def test_nobody_comes_and_the_caller_is_back_with_the_same_agent(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW, wrap_up_s=5) as world:
        caller = await parked(world)
        bela = world.agent("bela")
        await world.run(115)
        assert caller.hears == "music:default"
        assert world.state("anna")[2] == "IDLE"
        await world.until(lambda: caller.hears == "talk")
        assert world.hears(caller.leg_id) == {"anna"}
        assert bela.rung == 0
        caller.hang_up()
        cdr = await world.ended(caller)
        assert parks(cdr) == [(701, "anna", "timed_out", None)]
        assert (cdr.parks[0].ended_at or 0) - cdr.parks[0].started_at == pytest.approx(120, abs=0.1)


async def test_time_that_is_up_does_not_cut_a_retrieval_short(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW, wrap_up_s=5) as world:
        caller = await parked(world)
        bela = world.agent("bela", available=False)
        bela.behaviour = Answer.NEVER
        await world.run(110)
        assert await retrieve(world, caller, "bela") is None
        await world.run(15)
        assert world.state("bela")[2] == "ENGAGED"
        await world.until(lambda: caller.hears == "talk")
        assert world.hears(caller.leg_id) == {"anna"}
        assert world.state("bela")[2] == "IDLE"
        caller.hang_up()
        assert parks(await world.ended(caller)) == [(701, "anna", "timed_out", None)]


@pytest.mark.parametrize("when", ["parked", "rung", "timed_out"])
async def test_the_caller_hangs_up(tmp_path: Path, when: str) -> None:
    async with World(tmp_path, SHORT_FLOW, wrap_up_s=600) as world:
        caller = await parked(world)
        bela = world.agent("bela", available=False)
        bela.behaviour = Answer.NEVER
        if when == "rung":
            assert await retrieve(world, caller, "bela") is None
            await world.until(lambda: bela.rung == 1)
        elif when == "timed_out":
            await world.run(121)
        caller.hang_up()
        cdr = await world.ended(caller)
        assert cdr.abandoned is (when == "timed_out")
        assert parks(cdr)[0][2] == ("timed_out" if when == "timed_out" else "call_ended")
        assert world.state("bela") == ("LOGGED_OUT", None, "IDLE")
        assert not world.engine.legs


async def test_slots(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        world.pop.parking.lot = ParkingLot(701, 2)
        callers = [await talking(world, name) for name in ("anna", "bela", "cleo")]
        assert (await park(world, callers[0], 702)).slot == 702
        for wanted in (702, 700, 703):
            assert (await park(world, callers[1], wanted)).error_id == "no_slot"
        assert callers[1].hears == "talk"
        assert (await park(world, callers[1])).slot == 701
        assert (await park(world, callers[2])).error_id == "no_slot"
        callers[0].hang_up()
        await world.ended(callers[0])
        assert (await park(world, callers[2])).slot == 702
        for caller in callers[1:]:
            caller.hang_up()
            await world.ended(caller)


async def test_a_retrieval_that_the_media_server_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        caller = await parked(world)
        world.agent("bela", available=False)
        bridge, failures = world.engine.bridge, iter([True])

        async def flaky(*args: Any) -> None:
            if next(failures, False):
                raise EngineRefused("no")
            await bridge(*args)

        monkeypatch.setattr(world.engine, "bridge", flaky)
        assert await retrieve(world, caller, "bela") is None
        await world.until(lambda: world.state("bela") == ("LOGGED_OUT", None, "IDLE"))
        await world.until(lambda: caller.hears == "music:default")
        assert await retrieve(world, caller, "bela") is None
        await world.until(lambda: caller.hears == "talk")
        caller.hang_up()
        cdr = await world.ended(caller)
        assert parks(cdr) == [(701, "anna", "retrieved", "bela")]


async def test_a_held_caller_is_parked_and_retrieved(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        caller = await talking(world)
        assert await world.command(wire.HoldCall(call_id=world.call_id(caller))) is None
        assert (await park(world, caller)).error_id is None
        await world.run(5)
        assert caller.hears == "music:default"
        bela = world.agent("bela", available=False)
        assert await retrieve(world, caller, "bela") is None
        await world.until(lambda: world.state("bela")[2] == "ON_CALL")
        assert (world.hears(caller.leg_id), world.hears(bela.leg_id)) == ({"bela"}, {"caller"})
        caller.hang_up()
        await world.ended(caller)
        assert [k for k in world.kinds(caller) if k in ("HoldStarted", "HoldEnded")] == ["HoldStarted", "HoldEnded"]


async def test_a_supervisor_is_let_go_when_the_call_is_parked(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        caller = await talking(world)
        world.agent("boss", available=False)
        call_id = world.call_id(caller)
        assert await world.command(wire.SuperviseCall(call_id=call_id, agent_id="boss", mode="listen")) is None
        await world.until(lambda: "SupervisionStarted" in world.kinds(caller))
        assert (await park(world, caller)).error_id is None
        await world.until(lambda: world.state("boss") == ("LOGGED_OUT", None, "IDLE"))
        caller.hang_up()
        cdr = await world.ended(caller)
        assert [one.ended for one in cdr.supervisions] == ["parked"]


# --- by feature code ------------------------------------------------------------------------------------------------


async def test_an_agent_dials_the_slot(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        caller = await parked(world)
        bela = world.agent("bela", available=False)
        dialled = world.engine.dial_feature(bela, "*7701")
        await world.until(lambda: caller.hears == "talk")
        assert dialled.hears == "talk"
        assert bela.rung == 0
        assert world.state("bela")[2] == "ON_CALL"
        dialled.hang_up()
        cdr = await world.ended(caller)
        assert (cdr.end_reason, parks(cdr)) == ("agent_hung_up", [(701, "anna", "retrieved", "bela")])
        assert world.state("bela")[2] == "WRAP_UP"


async def test_an_empty_slot_says_so(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        bela = world.agent("bela", available=False)
        dialled = world.engine.dial_feature(bela, "*7701")
        await world.until(lambda: dialled.cause is not None)
        assert dialled.heard == ["de/agent-code-refused"]


async def test_who_comes_second_or_is_busy_hears_busy(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        other = await talking(world, "bela")
        caller = await parked(world)
        cleo = world.agent("cleo", available=False)
        busy = world.engine.dial_feature(world.engine.phones[PhoneId("bela")], "*7701")
        await world.until(lambda: busy.cause is not None)
        assert busy.cause is HangupCause.USER_BUSY
        cleo.behaviour = Answer.NEVER
        assert await retrieve(world, caller, "cleo") is None
        late = world.engine.dial_feature(cleo, "*7701")
        await world.until(lambda: late.cause is not None)
        assert late.cause is HangupCause.USER_BUSY
        assert caller.hears == "music:default"
        for one in (caller, other):
            one.hang_up()
            await world.ended(one)
        assert not world.engine.legs


async def test_who_hangs_up_before_the_answer_leaves_the_caller_parked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        caller = await parked(world)
        bela = world.agent("bela", available=False)

        async def nothing(leg_id: LegId) -> None:
            """The answer is still on its way."""

        monkeypatch.setattr(world.engine, "answer", nothing)
        dialled = world.engine.dial_feature(bela, "*7701")
        await world.until(lambda: world.state("bela")[2] == "ENGAGED")
        dialled.hang_up()
        await world.until(lambda: world.state("bela") == ("LOGGED_OUT", None, "IDLE"))
        assert caller.hears == "music:default"
        caller.hang_up()
        await world.ended(caller)


async def test_a_leg_that_comes_as_the_caller_leaves_is_hung_up(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        caller = await parked(world)
        bela = world.agent("bela", available=False)
        caller.hang_up()
        dialled = world.engine.dial_feature(bela, "*7701")
        await world.until(lambda: dialled.cause is not None)
        await world.ended(caller)
        assert world.state("bela") == ("LOGGED_OUT", None, "IDLE")
        assert not world.engine.legs
