"""Consultation, attended transfer, conference of three: every step and every way it can end."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from pbx.adapters.memory.engine import Answer, Callee
from pbx.domain.consent import Regime
from pbx.domain.errors import EngineRefused
from pbx.domain.hangup_cause import HangupCause
from pbx.wire import messages as wire
from tests.support.scene import Scene
from tests.support.world import SHORT_FLOW, World

MUSIC = {"music:default"}
Heard = tuple[set[str], set[str], set[str]]
TOGETHER = ({"anna"}, {"caller"})
PRIVATE: Heard = (MUSIC, {"boss"}, {"anna"})
APART: Heard = ({"anna"}, {"caller"}, MUSIC)
CONFERENCE: Heard = ({"anna", "boss"}, {"caller", "boss"}, {"caller", "anna"})


class Consulting(Scene):
    """Anna, who talks to the caller, consults Boss."""

    async def consult(self, who: str = "boss") -> str | None:
        return await self.world.command(wire.ConsultAgent(call_id=self.call_id, agent_id=who))

    async def step(self, step: str) -> str | None:
        answer = await self.world.command(wire.StepConsultation(call_id=self.call_id, step=step))
        await self.world.run(0.1)
        return answer

    async def private(self) -> None:
        assert await self.consult() is None
        await self.world.until(lambda: "ConsultationStarted" in self.world.kinds(self.caller)[self._seen() :])
        await self.world.run(0.1)
        assert self.hear() == PRIVATE

    def _seen(self) -> int:
        kinds = self.world.kinds(self.caller)
        return len(kinds) - kinds[::-1].index("ConsultAsked")

    async def at(self, stage: str) -> None:
        await self.private()
        if stage != "private":
            assert await self.step({"apart": "swap"}.get(stage, stage)) is None
        assert self.hear() == {"private": PRIVATE, "apart": APART, "conference": CONFERENCE}[stage]

    def together(self) -> bool:
        world = self.world
        heard = (world.hears(self.caller.leg_id), world.hears(self.anna.leg_id))
        return heard == TOGETHER and self.boss.leg_id not in world.engine.legs and world.state("boss")[2] == "IDLE"

    def boss_has_the_caller(self) -> bool:
        world = self.world
        heard = (world.hears(self.caller.leg_id), world.hears(self.boss.leg_id)) == ({"boss"}, {"caller"})
        return heard and world.state("boss")[2] == "ON_CALL" and self.anna.leg_id not in world.engine.legs


def fail_once(monkeypatch: pytest.MonkeyPatch, world: World, verb: str, before: Any = None) -> None:
    """The media server refuses the next ``verb``, or does it after ``before``."""
    real, first = getattr(world.engine, verb), iter([True])

    async def flaky(*args: Any) -> None:
        if next(first, False):
            if before is None:
                raise EngineRefused("no")
            before()
        await real(*args)

    monkeypatch.setattr(world.engine, verb, flaky)


# --- the way through -------------------------------------------------------------------------------------------------


async def test_consult_swap_and_complete(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW, wrap_up_s=5) as world:
        scene = Consulting(world)
        await scene.begin({"DE": Regime.NONE})
        scene.boss.behaviour = Answer.NEVER
        assert await scene.consult() is None
        assert (world.hears(scene.caller.leg_id), world.hears(scene.anna.leg_id)) == (MUSIC, {"tone:ringing"})
        assert world.state("boss") == ("NOT_READY", "SUPERVISING", "ENGAGED")
        for step in ("swap", "complete", "conference"):
            assert await scene.step(step) == "consulted_not_there"
        world.engine.pick_up(scene.boss.leg_id)  # type: ignore[arg-type]
        await world.run(0.1)
        assert scene.hear() == PRIVATE
        for _ in range(2):
            assert await scene.step("swap") is None
            assert scene.hear() == APART
            assert await scene.step("swap") is None
            assert scene.hear() == PRIVATE
        assert await scene.step("complete") is None
        assert scene.boss_has_the_caller()
        assert world.state("anna") == ("AVAILABLE", None, "WRAP_UP")
        assert await scene.step("complete") == "no_consultation"
        assert await world.command(wire.HoldCall(call_id=scene.call_id)) is None  # an ordinary conversation again
        assert await world.command(wire.ResumeCall(call_id=scene.call_id)) is None
        scene.hang_up(scene.boss)
        cdr = await scene.finish()
        assert [(t.agent_id, t.ended) for t in cdr.talks] == [("anna", "transferred"), ("boss", None)]
        assert (cdr.agent_id, cdr.end_reason, cdr.abandoned) == ("boss", "agent_hung_up", False)
        [record] = cdr.consultations
        assert (record.agent_id, record.ended, record.conference_at) == ("boss", "completed", None)
        assert record.started_at is not None
        assert record.ended_at == pytest.approx(cdr.talks[1].started_at, abs=0.1)


@pytest.mark.parametrize("stage", ["private", "apart"])
async def test_conference(tmp_path: Path, stage: str) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Consulting(world)
        await scene.begin()
        await scene.at(stage)
        assert await scene.step("conference") is None
        assert scene.hear() == CONFERENCE
        assert await scene.step("conference") == await scene.step("swap") == "in_conference"
        assert await world.command(wire.MuteAgent(call_id=scene.call_id, muted=True)) is None
        assert scene.hear() == ({"boss"}, {"caller", "boss"}, {"caller"})
        assert await world.command(wire.MuteAgent(call_id=scene.call_id, muted=False)) is None
        assert scene.hear() == CONFERENCE
        [record] = (await scene.finish()).consultations
        assert (record.ended, record.conference_at is not None) == ("call_ended", True)


@pytest.mark.parametrize("stage", ["private", "apart", "conference"])
@pytest.mark.parametrize("how", ["cancel", "boss"])
async def test_the_consulted_agent_leaves(tmp_path: Path, stage: str, how: str) -> None:
    """The caller is with the first agent again, who may consult once more."""
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Consulting(world)
        await scene.begin()
        await scene.at(stage)
        if how == "cancel":
            assert await scene.step("cancel") is None
        else:
            scene.hang_up(scene.boss)
        await world.until(scene.together)
        assert world.state("boss") == ("NOT_READY", "SUPERVISING", "IDLE")
        assert world.state("anna")[2] == "ON_CALL"
        assert await world.command(wire.ResumeCall(call_id=scene.call_id)) == "not_held"
        await scene.private()
        cdr = await scene.finish()
        reason = "cancelled" if how == "cancel" else "hung_up"
        assert [c.ended for c in cdr.consultations] == [reason, "call_ended"]
        assert [t.agent_id for t in cdr.talks] == ["anna"]


@pytest.mark.parametrize("stage", ["private", "apart", "conference"])
@pytest.mark.parametrize("how", ["complete", "anna"])
async def test_the_first_agent_leaves(tmp_path: Path, stage: str, how: str) -> None:
    """Who hangs up during a consultation has handed the caller over."""
    async with World(tmp_path, SHORT_FLOW, wrap_up_s=5) as world:
        scene = Consulting(world)
        await scene.begin()
        await scene.at(stage)
        if how == "complete":
            assert await scene.step("complete") is None
        else:
            scene.hang_up(scene.anna)
        await world.until(scene.boss_has_the_caller)
        assert world.state("anna") == ("AVAILABLE", None, "WRAP_UP")
        await world.run(3)
        cdr = await scene.finish()
        assert [(t.agent_id, t.ended) for t in cdr.talks] == [("anna", "transferred"), ("boss", None)]
        assert [c.ended for c in cdr.consultations] == ["completed"]


@pytest.mark.parametrize("stage", ["ringing", "private", "apart", "conference"])
async def test_the_caller_hangs_up(tmp_path: Path, stage: str) -> None:
    async with World(tmp_path, SHORT_FLOW, wrap_up_s=5) as world:
        scene = Consulting(world)
        await scene.begin()
        if stage == "ringing":
            scene.boss.behaviour = Answer.NEVER
            assert await scene.consult() is None
        else:
            await scene.at(stage)
        scene.caller.hang_up()
        cdr = await world.ended(scene.caller)
        assert world.state("anna")[2] == "WRAP_UP"
        assert world.state("boss") == ("NOT_READY", "SUPERVISING", "IDLE")
        await scene.finish()
        assert (cdr.end_reason, [c.ended for c in cdr.consultations]) == ("caller_hung_up", ["call_ended"])


# --- the consulted agent does not come -------------------------------------------------------------------------------


@pytest.mark.parametrize("behaviour", [Answer.NEVER, Answer.BUSY, Answer.REJECT])
async def test_no_answer(tmp_path: Path, behaviour: Answer) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Consulting(world)
        await scene.begin()
        scene.boss.behaviour = behaviour
        assert await scene.consult() is None
        await world.until(lambda: "ConsultationEnded" in world.kinds(scene.caller))
        await world.until(scene.together)
        [record] = (await scene.finish()).consultations
        assert (record.started_at, record.ended) == (None, "not_answered")


async def test_cancelled_while_the_phone_rings(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Consulting(world)
        await scene.begin()
        scene.boss.behaviour = Answer.NEVER
        answers = await asyncio.gather(scene.consult(), scene.step("cancel"), scene.consult())
        assert list(answers) == ["consultation_ended", None, None]
        assert await scene.step("cancel") is None
        await world.until(scene.together)
        assert [c.ended for c in (await scene.finish()).consultations] == ["cancelled", "cancelled"]


async def test_who_cannot_be_consulted_and_when(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Consulting(world)
        await scene.begin()
        assert await scene.step("swap") == await scene.step("cancel") == "no_consultation"
        assert await scene.step("dance") == "bad_step"
        assert await scene.consult("nobody") == "unknown_agent"
        assert await scene.consult("anna") == "agent_busy"
        world.engine.unregister(scene.boss)
        assert await scene.consult() == "agent_unreachable"
        assert world.hears(scene.caller.leg_id) == {"anna"}  # never on hold
        assert "HoldStarted" not in world.kinds(scene.caller)
        cora = world.agent("cora", available=False)
        assert await scene.consult("cora") is None
        await world.until(lambda: world.hears(cora.leg_id) == {"anna"})
        barred = (
            wire.ConsultAgent(call_id=scene.call_id, agent_id="cora"),
            wire.SuperviseCall(call_id=scene.call_id, agent_id="boss", mode="listen"),
            wire.TakeOverCall(call_id=scene.call_id),
            wire.HoldCall(call_id=scene.call_id),
            wire.ResumeCall(call_id=scene.call_id),
            wire.TransferCall(call_id=scene.call_id, queue_id="support"),
            wire.TransferCall(call_id=scene.call_id, number="+49305550999"),
            wire.TransferCall(call_id=scene.call_id, after=True),
            wire.ParkCall(call_id=scene.call_id),
        )
        for command in barred:
            assert await world.command(command) == "consultation_under_way"
        assert await world.command(wire.RetrieveCall(call_id=scene.call_id, agent_id="boss")) == "not_parked"
        assert world.hears(scene.caller.leg_id) == MUSIC
        assert not {"CallParked", "ForwardStarted", "TalkEnded"} & set(world.kinds(scene.caller))
        assert (await scene.finish()).consultations[0].agent_id == "cora"


async def test_the_supervisor_is_let_go(tmp_path: Path) -> None:
    """What agents say between themselves is not the supervised conversation."""
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Consulting(world)
        await scene.begin()
        await scene.attached()
        cora = world.agent("cora", available=False)
        assert await scene.consult("cora") is None
        await world.until(lambda: world.hears(cora.leg_id) == {"anna"})
        assert scene.boss.leg_id not in world.engine.legs
        assert world.state("boss") == ("NOT_READY", "SUPERVISING", "IDLE")
        assert await scene.step("cancel") is None
        await scene.attached()
        assert [s.ended for s in (await scene.finish()).supervisions] == ["consultation", "call_ended"]


# --- the first agent hangs up while the phone rings ------------------------------------------------------------------


async def test_the_caller_waits_for_a_consulted_agent_who_answers_late(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW, wrap_up_s=1) as world:
        scene = Consulting(world)
        await scene.begin({"DE": Regime.NONE})
        scene.boss.answers_after_s = 10
        assert await scene.consult() is None
        scene.hang_up(scene.anna)
        await world.run(5)
        assert (world.state("anna")[2], world.hears(scene.caller.leg_id)) == ("IDLE", MUSIC)
        assert await scene.step("complete") == "consultation_under_way"
        await world.until(scene.boss_has_the_caller)
        cdr = await scene.finish()
        assert [(t.agent_id, t.ended) for t in cdr.talks] == [("anna", "transferred"), ("boss", None)]
        assert len(cdr.recordings) == 2
        assert cdr.talks[1].started_at - (cdr.talks[0].ended_at or 0) == pytest.approx(10, abs=0.5)


@pytest.mark.parametrize("how", ["no answer", "cancel"])
async def test_the_caller_goes_back_to_the_queue_with_the_age(tmp_path: Path, how: str) -> None:
    async with World(tmp_path, SHORT_FLOW, wrap_up_s=600) as world:
        old = Consulting(world)
        world.agent("boss", available=False)
        old.caller = await world.call()
        await world.run(60)
        caller = old.caller
        old.anna = world.agent("anna")
        old.boss = world.engine.phone("boss")
        world.status("boss", "NOT_READY", "SUPERVISING")
        await world.until(lambda: caller.hears == "talk")
        old.call_id = world.call_id(caller)
        young = await world.call()
        await world.run(1)
        old.boss.behaviour = Answer.NEVER
        assert await old.consult() is None
        old.hang_up(old.anna)
        await world.run(1)
        assert world.state("boss")[2] == "ENGAGED"
        if how == "cancel":
            assert await old.step("cancel") is None
        await world.until(lambda: "CallTransferred" in world.kinds(caller))
        await world.run(1)
        order = world.pop.router.acd.waiting_calls("support")  # type: ignore[arg-type]
        assert order == [old.call_id, world.call_id(young)]
        assert world.state("boss") == ("NOT_READY", "SUPERVISING", "IDLE")
        world.agent("cora")
        await world.until(lambda: caller.hears == "talk")
        assert world.hears(caller.leg_id) == {"cora"}
        caller.hang_up()
        young.hang_up()
        cdr = await world.ended(caller)
        assert [(t.agent_id, t.ended) for t in cdr.talks] == [("anna", "transferred"), ("cora", None)]
        assert not cdr.abandoned


async def test_who_goes_back_to_the_queue_is_not_sent_off_to_a_number(tmp_path: Path) -> None:
    """By its age the call would overflow: that was before it had an agent."""
    out = wire.QueueStepConfig(after_s=30, action=wire.OverflowToNumberStep(number="+49305550999"))
    async with World(tmp_path, SHORT_FLOW, wrap_up_s=600, steps=(out,)) as world:
        world.engine.callees["+49305550999"] = Callee("+49305550999", HangupCause.USER_BUSY)
        scene = Consulting(world)
        scene.boss = world.agent("boss", available=False)
        scene.boss.behaviour = Answer.NEVER
        scene.caller = await world.call()
        scene.call_id = world.call_id(scene.caller)
        await world.run(40)
        scene.anna = world.agent("anna")
        await world.until(lambda: scene.caller.hears == "talk")
        assert await scene.consult() is None
        scene.hang_up(scene.anna)
        await world.until(lambda: "CallTransferred" in world.kinds(scene.caller))
        await world.run(60)
        world.agent("cora")
        await world.until(lambda: scene.caller.hears == "talk")
        scene.caller.hang_up()
        assert len((await world.ended(scene.caller)).forwards) == 1


async def test_a_parked_caller_is_retrieved_and_the_next_agent_consults(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW, wrap_up_s=1) as world:
        scene = Consulting(world)
        await scene.begin()
        assert await world.command(wire.ParkCall(call_id=scene.call_id)) is None
        await world.until(lambda: scene.caller.hears == "music:default")
        assert await scene.consult() == "not_in_conversation"
        assert await world.command(wire.RetrieveCall(call_id=scene.call_id, agent_id="anna")) is None
        await world.until(lambda: scene.caller.hears == "talk")
        await scene.private()
        assert await scene.step("complete") is None
        assert scene.boss_has_the_caller()
        assert await world.command(wire.ParkCall(call_id=scene.call_id)) is None
        cdr = await scene.finish()
        assert [(t.agent_id, t.ended) for t in cdr.talks] == [
            ("anna", "parked"),
            ("anna", "transferred"),
            ("boss", "parked"),
        ]
        assert [park.ended for park in cdr.parks] == ["retrieved", "call_ended"]


async def test_the_caller_gives_up_while_nobody_is_there(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Consulting(world)
        await scene.begin()
        scene.boss.behaviour = Answer.NEVER
        assert await scene.consult() is None
        scene.hang_up(scene.anna)
        await world.run(3)
        cdr = await scene.finish()
        assert (cdr.abandoned, cdr.end_reason) == (True, "caller_hung_up")


# --- recording -------------------------------------------------------------------------------------------------------


async def test_the_consultation_is_in_no_recording(tmp_path: Path) -> None:
    """Anna with the caller, Anna with the caller again, the conference, Boss with the caller: four parts, no more."""
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Consulting(world)
        await scene.begin({"DE": Regime.NONE})
        await world.run(4)
        await scene.private()
        assert not world.engine.recordings
        await world.run(50)
        assert await scene.step("swap") is None
        assert len(world.engine.recordings) == 1
        await world.run(6)
        assert await scene.step("swap") is None
        await world.run(0.1)
        assert not world.engine.recordings
        await world.run(50)
        assert await scene.step("conference") is None
        assert len(world.engine.recordings) == 1
        await world.run(8)
        assert await scene.step("complete") is None
        await world.run(2)
        cdr = await scene.finish()
        lengths = [(r.duration_ms or 0) / 1000 for r in cdr.recordings]
        assert lengths == pytest.approx([4 + 1.2, 6, 8, 2], abs=1.5)
        assert len(world.files()) == 4


@pytest.mark.parametrize("stage", ["private", "apart"])
@pytest.mark.parametrize("step", ["conference", "complete"])
async def test_the_consulted_agents_country_forbids_recording(tmp_path: Path, stage: str, step: str) -> None:
    """Nothing is being recorded when the consulted agent and the caller first hear each other."""
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Consulting(world)
        await scene.begin({"DE": Regime.NONE, "PL": Regime.PROHIBITED}, boss="PL")
        await world.run(2)
        await scene.at(stage)
        await world.run(2)
        before = len(world.engine.recorded)
        assert before == (1 if stage == "private" else 2)
        assert await scene.step(step) is None
        await world.run(5)
        assert (len(world.engine.recorded), world.engine.recordings) == (before, {})
        kinds = world.kinds(scene.caller)
        mark = "ConferenceStarted" if step == "conference" else "ConsultationEnded"
        assert kinds[: kinds.index(mark)].count("RecordingEnded") == before
        cdr = await scene.finish()
        assert {(c.granted, c.reason) for c in cdr.consents} == {(False, "agent_jurisdiction")}
        assert cdr.consents[0].jurisdictions == (
            ("DE", "DE", "PL") if (stage, step) == ("private", "complete") else ("DE", "DE", "DE", "PL")
        )


async def test_the_caller_and_the_consulted_agent_do_not_hear_each_other_before_the_recording_has_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Consulting(world)
        await scene.begin({"DE": Regime.NONE, "PL": Regime.PROHIBITED}, boss="PL")
        await scene.at("apart")
        stop, go = world.engine.stop_recording, asyncio.Event()

        async def slow(*args: Any) -> None:
            await go.wait()
            await stop(*args)

        monkeypatch.setattr(world.engine, "stop_recording", slow)
        asked = asyncio.ensure_future(scene.step("conference"))
        await world.run(2)
        assert scene.hear() == APART
        assert await scene.step("swap") == "consultation_moving"
        go.set()
        assert await asked is None
        assert scene.hear() == CONFERENCE
        await scene.finish()


async def test_a_recording_that_was_stopped_stays_stopped(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Consulting(world)
        await scene.begin({"DE": Regime.NONE})
        assert await world.command(wire.StopCallRecording(call_id=scene.call_id, by="agent")) is None
        for step in ("swap", "swap", "conference", "complete"):
            if world.state("boss")[2] == "IDLE":
                await scene.private()
            assert await scene.step(step) is None
        assert len(world.engine.recorded) == 1
        await scene.finish()


# --- the media server fails, and everybody hangs up at once ----------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "step", "verb"),
    [
        ("begin", "consult", "hold"),
        ("begin", "consult", "originate"),
        ("begin", "consult", "bridge"),
        ("private", "swap", "bridge"),
        ("apart", "swap", "hold"),
        ("apart", "swap", "bridge"),
        ("private", "complete", "bridge"),
        ("apart", "conference", "supervise"),
        ("private", "conference", "bridge"),
        ("private", "conference", "supervise"),
        ("conference", "complete", "bridge"),
    ],
)
async def test_what_the_media_server_refuses(
    tmp_path: Path, stage: str, step: str, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The consulted agent is let go; the caller and the first agent are together."""
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Consulting(world)
        await scene.begin()
        if stage != "begin":
            await scene.at(stage)
        fail_once(monkeypatch, world, verb)
        answer = await (scene.consult() if step == "consult" else scene.step(step))
        assert answer == (None if (step, verb) == ("consult", "bridge") else "engine_failed")
        await world.until(scene.together)
        assert world.state("anna")[2] == "ON_CALL"
        await scene.private()
        cdr = await scene.finish()
        # A phone that could not be rung counts like one that does not answer.
        first = "not_answered" if verb == "originate" else "engine_failed"
        assert [c.ended for c in cdr.consultations] == [first, "call_ended"]
        assert [t.agent_id for t in cdr.talks] == ["anna"]


@pytest.mark.parametrize("who", ["caller", "anna", "boss"])
@pytest.mark.parametrize(
    ("stage", "step"),
    [("begin", "consult"), ("private", "swap"), ("apart", "swap"), ("private", "complete"), ("private", "conference")],
)
async def test_hang_up_while_the_media_server_is_at_it(
    tmp_path: Path, stage: str, step: str, who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with World(tmp_path, SHORT_FLOW, wrap_up_s=1) as world:
        scene = Consulting(world)
        await scene.begin()
        if stage != "begin":
            await scene.at(stage)
        phones = {"anna": scene.anna, "boss": scene.boss}
        gone = scene.caller.hang_up if who == "caller" else lambda: scene.hang_up(phones[who])
        fail_once(monkeypatch, world, "bridge", before=gone)
        await (scene.consult() if step == "consult" else scene.step(step))
        await world.run(3)
        if who == "caller":
            assert scene.call_id not in world.pop.calls
        elif who == "boss":
            assert scene.together()
        else:
            # Whether the legs could still be joined or not, somebody has the caller.
            assert scene.boss_has_the_caller() or world.hears(scene.caller.leg_id) in ({"anna"}, {"boss"})
            assert scene.caller.cause is None
        cdr = await scene.finish()
        assert cdr.end_reason == "caller_hung_up"
        assert all(c.ended for c in cdr.consultations)


async def test_both_agents_hang_up_at_once(tmp_path: Path) -> None:
    """The first to go has handed the caller over; with the second gone as well the queue has the caller again."""
    async with World(tmp_path, SHORT_FLOW, wrap_up_s=1) as world:
        scene = Consulting(world)
        await scene.begin()
        await scene.private()
        scene.hang_up(scene.anna)
        scene.hang_up(scene.boss)
        await world.until(lambda: world.kinds(scene.caller).count("TalkStarted") == 2)
        cdr = await scene.finish()
        assert [t.agent_id for t in cdr.talks] == ["anna", "anna"]


async def test_the_media_server_dies(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Consulting(world)
        await scene.begin()
        await scene.at("conference")
        world.engine.crash()
        await world.ended(scene.caller)
        await world.run(30)
        assert world.state("boss") == ("NOT_READY", "SUPERVISING", "IDLE")
        assert world.state("anna") == ("AVAILABLE", None, "IDLE")


async def test_consulted_while_the_caller_is_on_hold_already(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Consulting(world)
        await scene.begin()
        assert await world.command(wire.HoldCall(call_id=scene.call_id)) is None
        await scene.private()
        assert await scene.step("cancel") is None
        await world.until(scene.together)
        assert world.kinds(scene.caller).count("HoldStarted") == world.kinds(scene.caller).count("HoldEnded") == 1
        await scene.finish()


@pytest.mark.parametrize("seed", range(30))
async def test_whatever_comes_in_whatever_order(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller is never alone without music while an agent is there or rung, and nobody is kept when it is over."""
    chance = random.Random(seed)
    async with World(tmp_path, SHORT_FLOW, wrap_up_s=1) as world:
        scene = Consulting(world)
        await scene.begin({"DE": Regime.NONE, "PL": Regime.NOTICE}, boss=chance.choice(["DE", "PL"]))
        agents = {name: world.engine.phones[name] for name in ("anna", "boss")}  # type: ignore[index]
        asked: list[asyncio.Future[str | None]] = []
        for _ in range(40):
            if scene.call_id not in world.pop.calls:
                break
            action = chance.choice(
                ["consult", "swap", "swap", "complete", "cancel", "conference", "hang up", "fail", ""]
            )
            scene.boss.answers_after_s = chance.choice([0.0, 0.0, 1.0, 30.0])
            if action == "consult":
                asked.append(asyncio.ensure_future(scene.consult(chance.choice(["anna", "boss"]))))
            elif action == "hang up":
                phone, talk = chance.choice(list(agents.values())), world.pop.calls[scene.call_id].call.talk
                if phone.leg_id in world.engine.legs and talk is not None and talk.consultation is not None:
                    scene.hang_up(phone)
            elif action == "fail":
                fail_once(monkeypatch, world, chance.choice(["bridge", "hold", "supervise", "originate"]))
            elif action:
                asked.append(asyncio.ensure_future(scene.step(action)))
            await world.run(chance.choice([0.0, 0.01, 0.5, 5.0]))
        await world.run(40)
        if scene.caller.cause is None:
            assert world.hears(scene.caller.leg_id), "the caller is left in silence"
            scene.caller.hang_up()
        await world.ended(scene.caller)
        assert all(isinstance(answer, str | None) for answer in await asyncio.gather(*asked))
        await world.run(30)
        assert not world.engine.legs
        assert not world.engine.bridges
        assert not world.engine.recordings
        assert {world.state(name)[2] for name in agents} == {"IDLE"}
        cdr = world.cdr(scene.call_id)
        assert all(talk.ended_at for talk in cdr.talks)
        assert all(one.ended for one in cdr.consultations)
