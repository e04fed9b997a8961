"""Controllers that die during consultations, supervision, parking, outside numbers, messages, surveys and callbacks;
and the media server, in the same places."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from pbx.adapters.memory.engine import Answer
from pbx.adapters.memory.legs import Tone
from pbx.domain import events as ev
from pbx.domain.consent import Regime, RegimeTable
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import LegId
from pbx.wire import messages as wire
from tests.support.world import SHORT_FLOW, World
from tests.unit import test_survey as survey
from tests.unit.test_call_nodes import events
from tests.unit.test_callbacks import CONSENT_FLOW, QUEUE, Desk, morning
from tests.unit.test_consultation import APART, CONFERENCE, PRIVATE, Consulting
from tests.unit.test_forwarding import callee, out, rings, talks_outside
from tests.unit.test_parking import parked, parks, retrieve
from tests.unit.test_voicemail import mailbox, outcome, says, speaking

KILL = pytest.mark.parametrize("kill", [True, False], ids=["killed", "stopped"])
ALL_HEAR = {"private": PRIVATE, "apart": APART, "conference": CONFERENCE}
NONE = RegimeTable({"DE": Regime.NONE}, Regime.NONE)


@KILL
@pytest.mark.parametrize("stage", ["private", "apart", "conference"])
@pytest.mark.parametrize("then", ["cancel", "complete"])
async def test_consultation(tmp_path: Path, kill: bool, stage: str, then: str) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Consulting(world)
        await scene.begin()
        await scene.at(stage)
        changes = {leg_id: len(leg.hearing) for leg_id, leg in world.engine.legs.items()}
        await world.restart(kill=kill)
        await world.run(1)
        assert scene.hear() == ALL_HEAR[stage]
        assert {leg_id: len(leg.hearing) for leg_id, leg in world.engine.legs.items()} == changes
        assert (world.state("anna")[2], world.state("boss")[2]) == ("ON_CALL", "ENGAGED")
        assert await scene.step(then) is None
        await world.until(scene.together if then == "cancel" else scene.boss_has_the_caller)
        cdr = await scene.finish()
        assert [one.ended for one in cdr.consultations] == ["cancelled" if then == "cancel" else "completed"]
        assert len(cdr.consultations) == 1


@KILL
@pytest.mark.parametrize("answers", [True, False])
async def test_the_consulted_agents_phone_rings(tmp_path: Path, kill: bool, answers: bool) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Consulting(world)
        await scene.begin()
        scene.boss.behaviour = Answer.NEVER
        assert await scene.consult() is None
        await world.restart(kill=kill)
        assert scene.boss.rung == 1
        if answers:
            world.engine.pick_up(scene.boss.leg_id or LegId(""))
            await world.until(lambda: scene.hear() == PRIVATE)
        else:
            await world.until(scene.together)
        cdr = await scene.finish()
        assert [one.ended for one in cdr.consultations] == ["call_ended" if answers else "not_answered"]


@KILL
@pytest.mark.parametrize("mode", ["listen", "whisper", "barge"])
async def test_supervision_and_take_over(tmp_path: Path, kill: bool, mode: str) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Consulting(world)
        await scene.begin()
        await scene.attached(mode)
        heard = scene.hear()
        await world.restart(kill=kill)
        await world.run(1)
        assert scene.hear() == heard
        assert world.state("boss") == ("NOT_READY", "SUPERVISING", "ENGAGED")
        assert await scene.take_over() is None
        await world.until(lambda: world.state("boss")[2] == "ON_CALL")
        await world.restart(kill=kill)
        assert (world.hears(scene.caller.leg_id), world.hears(scene.boss.leg_id)) == ({"boss"}, {"caller"})
        cdr = await scene.finish()
        assert [(talk.agent_id, talk.ended) for talk in cdr.talks] == [("anna", "taken_over"), ("boss", None)]
        assert [(one.modes, one.ended) for one in cdr.supervisions] == [([mode], "took_over")]


@KILL
async def test_parked_and_retrieved(tmp_path: Path, kill: bool) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        world.config.regimes = NONE
        caller = await parked(world)
        bela = world.agent("bela", available=False)
        bela.behaviour = Answer.NEVER
        await world.restart(kill=kill)
        assert caller.hears == "music:default"
        assert await retrieve(world, caller, "bela") is None
        await world.until(lambda: bela.rung == 1)
        await world.restart(kill=kill)
        world.engine.pick_up(bela.leg_id or LegId(""))
        await world.until(lambda: caller.hears == "talk")
        await world.run(2)
        caller.hang_up()
        cdr = await world.ended(caller)
        assert parks(cdr) == [(701, "anna", "retrieved", "bela")]
        assert len(cdr.recordings) == len(world.files()) == 2
        assert bela.rung == 1


@KILL
async def test_parked_time_goes_on(tmp_path: Path, kill: bool) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        world.config.regimes = NONE
        caller = await parked(world)
        began = world.clock()
        await world.run(60)
        await world.restart(kill=kill, away_s=30)
        await world.until(lambda: "ParkEnded" in world.kinds(caller))
        assert world.clock() - began == pytest.approx(120, abs=1)
        caller.hang_up()
        await world.ended(caller)


@KILL
@pytest.mark.parametrize("moment", ["rings", "talks"])
async def test_outside_number(tmp_path: Path, kill: bool, moment: str) -> None:
    async with World(tmp_path, out()) as world:
        far = callee(world)
        caller = await world.call()
        leg = await (rings if moment == "rings" else lambda w, f: talks_outside(w, caller, f))(world, far)
        await world.restart(kill=kill)
        assert far.leg_id == leg
        if moment == "rings":
            world.engine.pick_up(leg)
        await world.until(lambda: caller.hears == "talk")
        await world.run(3)
        world.engine.end_leg(world.engine.legs[leg], HangupCause.NORMAL_CLEARING)
        cdr = await world.ended(caller)
        [forward] = cdr.forwards
        assert (forward.outcome, cdr.end_reason) == ("answered", "outside_hung_up")
        assert not world.engine.legs


@KILL
async def test_a_message_goes_on_in_the_same_file(tmp_path: Path, kill: bool) -> None:
    async with World(tmp_path, mailbox()) as world:
        caller = await speaking(world)
        [recording_id] = world.engine.recordings
        await world.run(3)
        await world.restart(kill=kill, away_s=1)
        await world.run(2)
        caller.press("#")
        cdr = await world.ended(caller)
        assert outcome(cdr) == ("terminator", None)
        [recording] = cdr.recordings
        assert recording.recording_id == recording_id
        assert recording.duration_ms == pytest.approx(6000, abs=300)
        assert world.files() == [f"{recording_id}.sealed"]


@KILL
async def test_a_message_that_goes_on_still_ends_by_silence(tmp_path: Path, kill: bool) -> None:
    async with World(tmp_path, mailbox(silence_s=3)) as world:
        caller = await speaking(world)
        says(world, caller, Tone(700))
        await world.run(4)
        await world.restart(kill=kill)
        await world.run(2)
        says(world, caller, None)
        cdr = await world.ended(caller)
        assert outcome(cdr) == ("silence", None)
        [silent] = [event for event in events(world, caller) if isinstance(event, ev.RecordingSilent)]
        assert silent.said_s >= 5


@KILL
@pytest.mark.parametrize("prompt", ["voicemail-greeting", "voicemail-tone"])
async def test_who_has_not_heard_the_tone_is_greeted_again(tmp_path: Path, kill: bool, prompt: str) -> None:
    async with World(tmp_path, mailbox()) as world:
        caller = await world.call()
        await world.until(lambda: caller.hears == f"de/{prompt}")
        await world.restart(kill=kill)
        await world.until(lambda: "RecordingStarted" in world.kinds(caller))
        await world.run(3)
        caller.hang_up()
        cdr = await world.ended(caller)
        assert outcome(cdr) == ("hang_up", None)
        assert caller.heard.count("de/voicemail-greeting") == 2


@KILL
async def test_survey(tmp_path: Path, kill: bool) -> None:
    async with World(tmp_path, survey.FLOW) as world:
        talk = survey.Talk(world)
        caller = await talk.begin()
        talk.hang_up(talk.anna)
        await world.until(lambda: caller.hears == "de/survey-solved")
        caller.press("1")
        await world.until(lambda: caller.hears == "de/survey-rating")
        await world.restart(kill=kill)
        await world.until(lambda: caller.hears == "de/survey-rating")
        caller.press("5")
        await world.until(lambda: caller.hears == "de/survey-thanks")
        await world.restart(kill=kill)
        await world.until(lambda: caller.hears == "de/survey-thanks")
        cdr = await world.ended(caller)
        assert [(one.question, one.digit, one.agent_id) for one in cdr.survey] == [
            ("solved", "1", "anna"),
            ("csat", "5", "anna"),
        ]


@KILL
@pytest.mark.parametrize("moment", ["rings", "greeting", "talks"])
async def test_a_callback_under_way_goes_on(tmp_path: Path, kill: bool, moment: str) -> None:
    async with World(tmp_path, CONSENT_FLOW, **QUEUE) as world:
        world.config.regimes = NONE
        await morning(world)
        desk = Desk(world)
        await desk.promised()
        anna = world.agent("anna")
        await desk.rung()
        if moment != "rings":
            desk.answer()
            await world.run(0.5)
        if moment == "talks":
            await world.until(lambda: desk.customer == {"anna"})
        await world.restart(kill=kill)
        assert len(desk.events("CallbackDialled")) == 1
        if moment == "rings":
            assert world.state("anna")[2] == "RESERVED"
            desk.answer()
        await world.until(lambda: desk.customer == {"anna"})
        await world.run(3)
        desk.hang_up()
        cdr = await desk.over()
        assert anna.rung == 1
        assert [len(desk.events(kind)) for kind in ("CallbackReached", "CallbackDone", "CallbackMissed")] == [1, 1, 0]
        assert [offer.outcome for offer in cdr.offers] == ["answered"]
        assert world.journal.callbacks() == []


# --- the media server dies --------------------------------------------------------------------------------------------


async def _waits(world: World) -> None:
    await world.call()


async def _rings(world: World) -> None:
    world.agent("anna").behaviour = Answer.NEVER
    await world.call()
    await world.until(lambda: world.state("anna")[2] == "RINGING")


async def _talks(world: World) -> None:
    world.agent("anna")
    caller = await world.call()
    await world.until(lambda: caller.hears == "talk")
    await world.run(3)


async def _held(world: World) -> None:
    await _talks(world)
    [call_id] = world.pop.calls
    assert await world.command(wire.HoldCall(call_id=call_id)) is None


async def _consults(world: World) -> None:
    world.agent("boss", available=False)
    await _talks(world)
    [call_id] = world.pop.calls
    assert await world.command(wire.ConsultAgent(call_id=call_id, agent_id="boss")) is None
    await world.run(3)


async def _parks(world: World) -> None:
    await parked(world)


@pytest.mark.parametrize("controller", ["lives", "dies", "died before"])
@pytest.mark.parametrize("step", [_waits, _rings, _talks, _held, _consults, _parks])
async def test_media_server_dies(tmp_path: Path, step: Callable[[World], Awaitable[None]], controller: str) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        world.config.regimes = NONE
        await step(world)
        [call_id] = world.pop.calls
        if controller == "died before":
            await world.die()
        world.engine.crash()
        if controller == "dies":
            await world.die()
        if world.dead:
            await world.live()
        await world.until(lambda: not world.pop.calls)
        await world.run(30)
        cdr = world.cdr(call_id)
        assert cdr.cause in (HangupCause.NETWORK_OUT_OF_ORDER, HangupCause.TEMPORARY_FAILURE)
        assert cdr.end_reason == "caller_hung_up"
        assert not world.engine.legs
        assert all(one.size_bytes and not one.discarded for one in cdr.recordings)
        assert len(world.files()) == len(cdr.recordings)
        assert {agent.state.value for agent in world.pop.router.acd.agents.values()} <= {"IDLE"}
        world.agent("anna").behaviour = Answer.ANSWER
        again = await world.call("+4917077777777")
        await world.until(lambda: again.hears == "talk")
        again.hang_up()
        await world.ended(again)
