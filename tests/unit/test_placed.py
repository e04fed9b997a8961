"""Calls that agents place: the agent is kept, the number dialled, its owner asked, and nothing recorded before that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pbx.adapters.memory.engine import Answer, Callee, Caller, Phone
from pbx.domain.cdr import Cdr
from pbx.domain.consent import Regime, RegimeTable
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import CallId, LegId
from pbx.simulation.replay import replay
from pbx.simulation.replay_read import read
from pbx.wire import messages as wire
from tests.support.world import DID, SHORT_FLOW, World

NUMBER = "+49305550777"
PREMIUM, ALLOWED, UNKNOWN = "+499001234567", "+491371234567", "+9991234567"
NOTICE = RegimeTable({"DE": Regime.NOTICE}, Regime.OPT_IN)


class Desk:
    """Anna, and the number she calls."""

    def __init__(self, world: World, number: str = NUMBER, country: str = "DE") -> None:
        self.world, self.number = world, number
        self.phone: Phone = world.agent("anna", country=country)
        self.callee = world.engine.callees.setdefault(number, Callee(number))
        self.own: Caller | None = None
        self.call_id = CallId("")

    async def dials(self, shown: str | None = DID) -> Caller:
        self.own = self.world.engine.dial_number(self.phone, self.number, shown)
        self.phone.leg_id = self.own.leg_id
        await self.world.until(self._begun, "the call")
        return self.own

    def _begun(self) -> bool:
        rows = self.world.journal._db.execute("SELECT call_id FROM events WHERE kind = 'CallPlaced' ORDER BY seq")
        found = [call_id for (call_id,) in rows]
        self.call_id = CallId(found[-1]) if found else self.call_id
        return bool(found)

    async def rung(self) -> LegId:
        await self.world.until(lambda: self.callee.leg_id is not None, "the number to ring")
        assert self.callee.leg_id is not None
        return self.callee.leg_id

    async def answered(self) -> LegId:
        leg_id = await self.rung()
        self.world.engine.pick_up(leg_id)
        return leg_id

    async def talks(self) -> LegId:
        leg_id = await self.answered()
        await self.world.until(lambda: "anna" in self.world.hears(leg_id), "the conversation")
        return leg_id

    async def over(self) -> Cdr:
        await self.world.until(lambda: self.call_id not in self.world.pop.calls, "the end of the call")
        return self.world.cdr(self.call_id)


@pytest.fixture
async def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_from_the_phone_to_the_record(world: World) -> None:
    async with world:
        world.config.regimes = NOTICE
        desk = Desk(world)
        own = await desk.dials()
        number_leg = await desk.rung()
        assert world.state("anna")[2] == "ENGAGED"
        assert own.hears == "music:tone:ringing"
        assert world.files() == []
        world.engine.pick_up(number_leg)
        await world.until(lambda: world.engine.legs[number_leg].heard == ["de/consent-notice"], "the notice")
        assert own.hears == "music:tone:ringing", "the agent hears nothing of it"
        await world.run(1.5)
        assert world.files() == [], "captured before the notice was over"
        await world.until(lambda: "anna" in world.hears(number_leg), "the conversation")
        assert world.state("anna")[2] == "ON_CALL"
        await world.run(3)
        own.hang_up()
        cdr = await desk.over()
        assert world.state("anna")[2] == "WRAP_UP"
        await world.until(lambda: world.state("anna")[2] == "IDLE", "the end of wrap-up")
    assert replay(read(world.directory / "journal.sqlite")).difference is None
    assert (cdr.direction, cdr.placed_by, cdr.agent_id, cdr.cli, cdr.did) == ("outbound", "anna", "anna", NUMBER, DID)
    assert (cdr.end_reason, cdr.number_kind, cdr.caller_country, cdr.trunk) == (
        "agent_hung_up",
        "fixed",
        "DE",
        "carrier",
    )
    assert [(one.granted, one.regime, one.jurisdictions) for one in cdr.consents] == [(True, "notice", ("DE", "DE"))]
    assert [one.discarded for one in cdr.recordings] == [False]
    assert cdr.answered_at is not None
    assert cdr.offered_at is not None
    assert cdr.offered_at < cdr.answered_at < cdr.recordings[0].started_at


@pytest.mark.parametrize(("digit", "recorded"), [("1", True), ("2", False), (None, False)])
async def test_opt_in_is_asked_of_who_is_called(world: World, digit: str | None, recorded: bool) -> None:
    async with world:
        desk = Desk(world)
        await desk.dials()
        leg_id = await desk.answered()
        await world.until(lambda: "de/consent-keys-opt-in" in world.engine.legs[leg_id].heard, "the keys")
        if digit is not None:
            Caller(world.engine, world.engine.legs[leg_id]).press(digit)
        await world.until(lambda: "anna" in world.hears(leg_id), "the conversation")
        await world.run(2)
        world.engine.end_leg(world.engine.legs[leg_id], HangupCause.NORMAL_CLEARING)
        cdr = await desk.over()
    assert cdr.end_reason == "caller_hung_up"
    assert bool(cdr.recordings) is recorded
    assert [one.granted for one in cdr.consents] == [recorded]


@pytest.mark.parametrize("place", ["agent", "queue", "policy"])
async def test_the_strictest_of_agent_and_queue_is_asked_before_they_talk(tmp_path: Path, place: str) -> None:
    floors: dict[str, dict[str, Any]] = {
        "agent": {},
        "queue": {"consent_floor": "opt_in"},
        "policy": {"consent_policy": wire.ConsentPolicyConfig(places={"DE": "opt_in"})},
    }
    floor = floors[place]
    async with World(tmp_path, **floor) as world:
        world.config.regimes = RegimeTable({"DE": Regime.NONE, "PL": Regime.OPT_IN}, Regime.OPT_IN)
        desk = Desk(world, country="PL" if place == "agent" else "DE")
        await desk.dials()
        leg_id = await desk.answered()
        await world.until(lambda: "de/consent-ask" in world.engine.legs[leg_id].heard, "the question")
        await world.until(lambda: "anna" in world.hears(leg_id), "the conversation")
        world.engine.end_leg(world.engine.legs[leg_id], HangupCause.NORMAL_CLEARING)
        cdr = await desk.over()
    assert next((one.granted, one.regime, one.reason) for one in cdr.consents) == (False, "opt_in", "silence")
    assert cdr.recordings == []


async def test_without_asking_nothing_is_recorded_and_nobody_is_asked_in_a_queue_that_records_nothing(
    tmp_path: Path,
) -> None:
    async with World(tmp_path, recorded=False) as world:
        desk = Desk(world)
        await desk.dials()
        leg_id = await desk.talks()
        assert world.engine.legs[leg_id].heard == []
        world.engine.end_leg(world.engine.legs[leg_id], HangupCause.NORMAL_CLEARING)
        cdr = await desk.over()
    assert (cdr.consents, cdr.recordings) == ([], [])


async def test_shown_as_a_number_that_is_no_did_nothing_is_recorded(world: World) -> None:
    async with world:
        world.config.regimes = RegimeTable({}, Regime.NONE)
        desk = Desk(world)
        await desk.dials(shown="+49895550123")
        leg_id = await desk.talks()
        world.engine.end_leg(world.engine.legs[leg_id], HangupCause.NORMAL_CLEARING)
        cdr = await desk.over()
        asked = [row.kind for row in world.journal.read_call(desk.call_id)]
    assert (cdr.did, cdr.recordings, cdr.consents) == ("+49895550123", [], [])
    assert "CommandFailed" not in asked, "a recording was begun"


@pytest.mark.parametrize(
    ("cause", "tone"),
    [(HangupCause.USER_BUSY, "tone:busy"), (HangupCause.UNALLOCATED_NUMBER, "tone:congestion")],
)
async def test_a_number_that_is_not_reached_is_told_by_a_tone(world: World, cause: HangupCause, tone: str) -> None:
    async with world:
        desk = Desk(world)
        desk.callee.refusal = cause
        own = await desk.dials()
        await world.until(lambda: own.hears == f"music:{tone}", "the tone")
        assert world.state("anna")[2] == "ENGAGED", "not free before the tone is over"
        cdr = await desk.over()
        assert own.cause is cause
        assert world.state("anna")[2] == "IDLE"
    assert (cdr.end_reason, cdr.cause, cdr.answered_at, cdr.talks) == ("not_reached", int(cause), None, [])


async def test_nobody_answers(world: World) -> None:
    async with world:
        desk = Desk(world)
        await desk.dials()
        await desk.rung()
        cdr = await desk.over()
    assert (cdr.end_reason, cdr.cause) == ("not_reached", HangupCause.NO_ANSWER)


@pytest.mark.parametrize("moment", ["rings", "asked", "tone"])
async def test_the_agent_hangs_up_first(world: World, moment: str) -> None:
    async with world:
        desk = Desk(world)
        if moment == "tone":
            desk.callee.refusal = HangupCause.USER_BUSY
        own = await desk.dials()
        if moment == "tone":
            await world.until(lambda: own.hears == "music:tone:busy")
        else:
            leg_id = await desk.rung()
            if moment == "asked":
                world.engine.pick_up(leg_id)
                await world.until(lambda: world.engine.legs[leg_id].heard != [])
        own.hang_up()
        cdr = await desk.over()
        assert world.state("anna")[2] == "IDLE"
        assert not world.engine.legs
    assert cdr.end_reason == ("not_reached" if moment == "tone" else "agent_hung_up")
    assert [one.reason for one in cdr.consents] == (["hangup"] if moment == "asked" else [])


async def test_an_agent_who_is_busy_gets_no_second_call(world: World) -> None:
    async with world:
        desk = Desk(world)
        await desk.dials()
        await desk.talks()
        again = world.engine.dial_number(desk.phone, "+49305550778")
        await world.until(lambda: again.cause is not None)
        assert again.cause is HangupCause.USER_BUSY
        assert "+49305550778" not in world.engine.callees


@pytest.mark.parametrize("number", [PREMIUM, UNKNOWN, "+33899123456", "+88213123456"])
async def test_a_barred_number_is_refused_and_recorded(world: World, number: str) -> None:
    async with world:
        desk = Desk(world, number)
        own = await desk.dials()
        await world.until(lambda: own.cause is not None)
        assert own.cause is HangupCause.CALL_REJECTED
        cdr = await desk.over()
        assert desk.callee.leg_id is None, "it was dialled"
    assert (cdr.end_reason, cdr.placed_by) == ("number_refused", "anna")
    assert [(one.why, one.outcome) for one in cdr.forwards] == [("placed", "refused")]


async def test_an_allowed_number_is_dialled_and_its_record_says_by_what(world: World) -> None:
    async with world:
        desk = Desk(world, ALLOWED)
        await desk.dials()
        await desk.rung()
        cdr = world.cdr(desk.call_id)
    assert (cdr.number_kind, cdr.allowed_by) == ("premium", "+49137")


async def test_by_the_api_the_agents_phone_rings_first(world: World) -> None:
    world.trunk = "carrier"
    world._build()
    async with world:
        world.configure("queue.support", wire.QueueConfig(queue_id="support", name="S", skills={"support": 1}))
        world.configure("flow.main", wire.FlowConfig(flow_id="main", version=1, graph=SHORT_FLOW))
        world.configure("did.49305550100", _did())
        world.config.regimes = RegimeTable({"DE": Regime.NONE}, Regime.NONE)
        desk = Desk(world)
        desk.phone.behaviour = Answer.NEVER
        request = wire.CommandRequest("key", 9e9, wire.PlaceCall(agent_id="anna", number=NUMBER))
        reply = await world.pop.command(request)
        assert (reply.error_id, reply.call_id is not None) == (None, True)
        desk.call_id = CallId(reply.call_id or "")
        await world.until(lambda: desk.phone.rung == 1)
        assert desk.callee.leg_id is None, "the number is dialled only when the agent is there"
        assert await world.command(wire.PlaceCall(agent_id="anna", number=NUMBER)) == "agent_busy"
        world.engine.pick_up(desk.phone.leg_id or LegId(""))
        leg_id = await desk.talks()
        world.engine.end_leg(world.engine.legs[leg_id], HangupCause.NORMAL_CLEARING)
        cdr = await desk.over()
    assert (cdr.placed_by, cdr.end_reason, len(cdr.recordings)) == ("anna", "caller_hung_up", 1)


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (wire.PlaceCall(agent_id="nobody", number=NUMBER), "unknown_agent"),
        (wire.PlaceCall(agent_id="anna", number=PREMIUM), "number_refused"),
        (wire.PlaceCall(agent_id="anna", number=NUMBER, queue_id="none"), "unknown_queue"),
    ],
)
async def test_what_the_api_may_not_ask(world: World, command: wire.PlaceCall, error: str) -> None:
    world.trunk = "carrier"
    world._build()
    async with world:
        Desk(world)
        assert await world.command(command) == error
        assert world.pop.calls == {}


async def test_without_a_trunk_the_api_calls_nobody(world: World) -> None:
    async with world:
        Desk(world)
        assert await world.command(wire.PlaceCall(agent_id="anna", number=NUMBER)) == "no_trunk"


async def test_the_agents_phone_is_not_answered(world: World) -> None:
    world.trunk = "carrier"
    world._build()
    async with world:
        world.configure("did.49305550100", _did())
        desk = Desk(world)
        desk.phone.behaviour = Answer.NEVER
        assert await world.command(wire.PlaceCall(agent_id="anna", number=NUMBER)) is None
        await world.until(desk._begun)
        cdr = await desk.over()
        assert world.state("anna")[2] == "IDLE"
        assert desk.callee.leg_id is None
    assert (cdr.end_reason, cdr.cause) == ("agent_not_reached", HangupCause.NO_ANSWER)


async def test_who_is_called_may_withdraw(world: World) -> None:
    async with world:
        world.config.regimes = NOTICE
        desk = Desk(world)
        own = await desk.dials()
        leg_id = await desk.talks()
        await world.run(2)
        number = Caller(world.engine, world.engine.legs[leg_id])
        number.press("*")
        number.press("0")
        await world.run(2)
        assert world.files() == []
        own.hang_up()
        cdr = await desk.over()
    assert [one.discarded for one in cdr.recordings] == [True]
    assert cdr.consents[-1].reason == "withdrawn"


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "stopped"])
@pytest.mark.parametrize("moment", ["rings", "asked", "talks", "tone"])
async def test_another_controller_goes_on(world: World, kill: bool, moment: str) -> None:
    async with world:
        world.config.regimes = NOTICE
        desk = Desk(world)
        if moment == "tone":
            desk.callee.refusal = HangupCause.USER_BUSY
        own = await desk.dials()
        leg_id = LegId("")
        if moment == "tone":
            await world.until(lambda: own.hears == "music:tone:busy")
        else:
            leg_id = await desk.rung()
        if moment in ("asked", "talks"):
            world.engine.pick_up(leg_id)
            await world.until(lambda: world.engine.legs[leg_id].heard != [])
        if moment == "talks":
            await world.until(lambda: "anna" in world.hears(leg_id))
        await world.restart(kill=kill)
        await world.run(0.5)
        assert world.state("anna")[2] == ("ON_CALL" if moment == "talks" else "ENGAGED")
        if moment == "rings":
            world.engine.pick_up(leg_id)
        if moment != "tone":
            await world.until(lambda: "anna" in world.hears(leg_id), "the conversation")
            await world.run(1)
            own.hang_up()
        cdr = await desk.over()
        assert not world.engine.legs
        begun = [row.kind for row in world.journal.read_call(desk.call_id)].count("CallPlaced")
    assert cdr.end_reason == ("not_reached" if moment == "tone" else "agent_hung_up")
    assert len(cdr.recordings) == (0 if moment == "tone" else 1)
    assert begun == 1


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "stopped"])
async def test_the_agent_answers_while_no_controller_is_there(world: World, kill: bool) -> None:
    """The next one dials the number."""
    world.trunk = "carrier"
    world._build()
    async with world:
        world.configure("did.49305550100", _did())
        desk = Desk(world)
        desk.phone.behaviour = Answer.NEVER
        assert await world.command(wire.PlaceCall(agent_id="anna", number=NUMBER)) is None
        await world.until(lambda: desk.phone.rung == 1)
        await world.die(kill=kill)
        world.engine.pick_up(desk.phone.leg_id or LegId(""))
        await world.live()
        await desk.rung()
        assert desk.phone.rung == 1
        desk._begun()
        world.engine.end_leg(world.engine.legs[desk.phone.leg_id or LegId("")], HangupCause.NORMAL_CLEARING)
        cdr = await desk.over()
        assert world.state("anna")[2] == "IDLE"
        assert not world.engine.legs
    assert cdr.end_reason == "agent_hung_up"


async def test_a_queue_takes_the_called_number_over(world: World) -> None:
    """It is a call like any other once they talk."""
    async with world:
        world.config.regimes = NOTICE
        desk = Desk(world)
        bela = world.agent("bela")
        await desk.dials()
        leg_id = await desk.talks()
        assert await world.command(wire.TransferCall(call_id=desk.call_id, agent_id="bela")) is None
        await world.until(lambda: "bela" in world.hears(leg_id), "the second agent")
        assert bela.rung == 1
        await world.run(1)
        world.engine.end_leg(world.engine.legs[leg_id], HangupCause.NORMAL_CLEARING)
        cdr = await desk.over()
    assert [talk.agent_id for talk in cdr.talks] == ["anna", "bela"]
    assert len(cdr.recordings) == 2


def _did() -> wire.DidConfig:
    return wire.DidConfig(
        number=DID, flow_id="main", country="DE", language="de", time_zone="Europe/Berlin", region="eu"
    )
