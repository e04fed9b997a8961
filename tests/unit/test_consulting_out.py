"""Consultation of a queue and of an outside number: as of an agent, and what is different."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from pbx.adapters.memory.engine import Answer, Callee, Phone
from pbx.domain import events as ev
from pbx.domain.consent import Regime
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import LegId
from pbx.simulation.replay import replay
from pbx.simulation.replay_read import read
from pbx.wire import messages as wire
from pbx.wire.codec import decode_event
from tests.support.scene import Scene
from tests.support.world import DID, SHORT_FLOW, World
from tests.unit.test_consultation import fail_once

NUMBER = "+493055501234"
MUSIC, RINGING = {"music:default"}, {"tone:ringing"}
BILLING: dict[str, Any] = {"queue_id": "billing", "name": "Billing", "skills": {"billing": 1}, "wrap_up_s": 7}
NONE = {"DE": Regime.NONE}


class Out(Scene):
    """Anna consults the queue of Bela, or a number; ``far`` is who is there."""

    far_name = "bela"

    def __init__(self, world: World, kind: str, **billing: Any) -> None:
        super().__init__(world)
        self.kind = kind
        self.bela: Phone | None = None
        self.callee = world.engine.callees[NUMBER] = Callee(NUMBER)
        world.configure("queue.billing", wire.QueueConfig(**(BILLING | billing)))

    def billed(self, name: str = "bela", country: str = "DE", **more: Any) -> Phone:
        return self.world.agent(name, skills={"billing": 2}, country=country, **more)

    async def consult(self) -> str | None:
        to = {"queue_id": "billing"} if self.kind == "queue" else {"number": NUMBER}
        return await self.world.command(wire.ConsultAgent(call_id=self.call_id, **to))

    async def step(self, step: str) -> str | None:
        answer = await self.world.command(wire.StepConsultation(call_id=self.call_id, step=step))
        await self.world.run(0.1)
        return answer

    @property
    def far_leg(self) -> LegId | None:
        if self.kind == "number":
            return self.callee.leg_id
        return None if self.bela is None else self.bela.leg_id

    def heard(self, leg_id: LegId | None) -> set[str]:
        leg = self.world.engine.legs.get(leg_id or LegId(""))
        if leg is None:
            return {"gone"}
        names = {f"leg:{self.caller.leg_id}": "caller", f"leg:{self.far_leg}": "far", f"leg:{self.anna.leg_id}": "anna"}
        return {names.get(sound, sound) for sound in (leg.hearing[-1][1] if leg.hearing else ())}

    def all_hear(self) -> tuple[set[str], set[str], set[str]]:
        return self.heard(self.caller.leg_id), self.heard(self.anna.leg_id), self.heard(self.far_leg)

    async def ringing(self) -> None:
        if self.kind == "queue" and self.bela is None:
            self.bela = self.billed()
            self.bela.behaviour = Answer.NEVER
        assert await self.consult() is None
        await self.world.until(lambda: self.far_leg in self.world.engine.legs)
        await self.world.run(0.1)
        assert self.all_hear() == (MUSIC, RINGING, set())

    async def at(self, stage: str) -> None:
        await self.ringing()
        self.world.engine.pick_up(self.far_leg)  # type: ignore[arg-type]
        await self.world.run(0.1)
        assert self.all_hear() == (MUSIC, {"far"}, {"anna"})
        if stage != "private":
            assert await self.step({"apart": "swap"}.get(stage, stage)) is None
            apart = ({"anna"}, {"caller"}, MUSIC)
            conference = ({"anna", "far"}, {"caller", "far"}, {"anna", "caller"})
            assert self.all_hear() == (apart if stage == "apart" else conference)

    def hang_far_up(self) -> None:
        self.world.engine.end_leg(self.world.engine.legs[self.far_leg or LegId("")], HangupCause.NORMAL_CLEARING)

    def together(self) -> bool:
        caller, anna, far = self.all_hear()
        return (caller, anna, far) == ({"anna"}, {"caller"}, {"gone"})

    def handed_over(self) -> bool:
        return self.all_hear() == ({"far"}, {"gone"}, {"caller"})

    def events(self, kind: type[Any]) -> list[Any]:
        rows = self.world.journal.read_call(self.call_id)
        return [decode_event(row.kind, row.data) for row in rows if row.kind == kind.__name__]


KINDS = pytest.mark.parametrize("kind", ["queue", "number"])
STAGES = pytest.mark.parametrize("stage", ["private", "apart", "conference"])


@KINDS
@STAGES
@pytest.mark.parametrize("how", ["complete", "anna"])
async def test_handed_over(tmp_path: Path, kind: str, stage: str, how: str) -> None:
    """The first agent completes, or hangs up, which is the same."""
    async with World(tmp_path, SHORT_FLOW, wrap_up_s=5) as world:
        scene = Out(world, kind)
        await scene.begin(NONE)
        await scene.at(stage)
        if how == "complete":
            assert await scene.step("complete") is None
        else:
            scene.hang_up(scene.anna)
        await world.until(scene.handed_over)
        assert world.state("anna") == ("AVAILABLE", None, "WRAP_UP")
        await world.run(20)
        scene.hang_far_up()
        cdr = await world.ended(scene.caller)
        [one] = cdr.consultations
        assert (one.ended, one.started_at is not None, cdr.abandoned) == ("completed", True, False)
        if kind == "queue":
            assert (one.agent_id, one.queue_id, one.number) == ("bela", "billing", None)
            assert [(t.agent_id, t.queue_id, t.ended) for t in cdr.talks] == [
                ("anna", "support", "transferred"),
                ("bela", "billing", None),
            ]
            assert (cdr.queue_id, cdr.agent_id, cdr.forwards) == ("billing", "bela", [])
            assert world.state("bela")[2] == "WRAP_UP"
            await world.run(8)
            assert world.state("bela")[2] == "IDLE"
        else:
            assert (one.agent_id, one.queue_id, one.number) == (None, None, NUMBER)
            [forward] = cdr.forwards
            assert (forward.why, forward.number, forward.outcome) == ("consultation", NUMBER, "answered")
            assert forward.answered_at == pytest.approx(one.ended_at, abs=0.1)
            assert (cdr.end_reason, [t.ended for t in cdr.talks]) == ("outside_hung_up", ["transferred"])
        await scene.finish()


@KINDS
@STAGES
@pytest.mark.parametrize("how", ["cancel", "far"])
async def test_who_was_consulted_leaves(tmp_path: Path, kind: str, stage: str, how: str) -> None:
    """The caller and the first agent are together again and are recorded again; a second consultation is possible."""
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Out(world, kind)
        await scene.begin(NONE)
        await scene.at(stage)
        if how == "cancel":
            assert await scene.step("cancel") is None
        else:
            scene.hang_far_up()
        await world.until(scene.together)
        await world.run(0.1)
        assert len(world.engine.recordings) == 1
        await world.run(8)
        if kind == "queue":
            assert world.state("bela") == ("AVAILABLE", None, "IDLE")
        await scene.at("private")
        cdr = await scene.finish()
        assert [c.ended for c in cdr.consultations] == ["cancelled" if how == "cancel" else "hung_up", "call_ended"]
        assert ([t.agent_id for t in cdr.talks], cdr.queue_id) == (["anna"], "support")
        assert [f.outcome for f in cdr.forwards] == (["answered"] * 2 if kind == "number" else [])
        assert all(forward.answered_at is None for forward in cdr.forwards)


@KINDS
async def test_cancelled_while_it_rings(tmp_path: Path, kind: str) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Out(world, kind)
        await scene.begin()
        await scene.ringing()
        for step in ("swap", "complete", "conference"):
            assert await scene.step(step) == "consulted_not_there"
        assert await scene.step("cancel") is None
        await world.until(scene.together)
        if kind == "queue":
            assert world.state("bela") == ("AVAILABLE", None, "IDLE")
        cdr = await scene.finish()
        assert [c.ended for c in cdr.consultations] == ["cancelled"]
        assert [f.outcome for f in cdr.forwards] == (["caller_gone"] if kind == "number" else [])


@KINDS
async def test_the_caller_hangs_up_while_it_rings(tmp_path: Path, kind: str) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Out(world, kind)
        await scene.begin()
        await scene.ringing()
        cdr = await scene.finish()
        assert ([c.ended for c in cdr.consultations], cdr.end_reason) == (["call_ended"], "caller_hung_up")
        if kind == "queue":
            assert world.state("bela") == ("AVAILABLE", None, "IDLE")


# --- a number ---------------------------------------------------------------------------------------------------------


async def test_nothing_said_outside_is_recorded(tmp_path: Path) -> None:
    """Anna and the caller, in two parts, and nothing else: not the private talk, not the conference, nor afterwards."""
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Out(world, "number")
        await scene.begin(NONE)
        await world.run(4)
        await scene.at("private")
        assert not world.engine.recordings
        await world.run(50)
        assert await scene.step("swap") is None
        assert len(world.engine.recordings) == 1
        await world.run(6)
        assert await scene.step("conference") is None
        assert not world.engine.recordings
        await world.run(50)
        assert await scene.step("complete") is None
        await world.run(50)
        cdr = await scene.finish()
        lengths = [(r.duration_ms or 0) / 1000 for r in cdr.recordings]
        assert lengths == pytest.approx([4, 6], abs=1.5)
        kinds = world.kinds(scene.caller)
        assert kinds[: kinds.index("ConferenceStarted")].count("RecordingEnded") == 2
        assert [c.reason for c in cdr.consents if not c.granted] == []


async def test_the_number_and_the_caller_do_not_hear_each_other_before_the_recording_has_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Out(world, "number")
        await scene.begin(NONE)
        await scene.at("apart")
        stop, go = world.engine.stop_recording, asyncio.Event()

        async def slow(*args: Any) -> None:
            await go.wait()
            await stop(*args)

        monkeypatch.setattr(world.engine, "stop_recording", slow)
        asked = asyncio.ensure_future(scene.step("complete"))
        await world.run(2)
        assert scene.all_hear() == ({"anna"}, {"caller"}, MUSIC)
        go.set()
        assert await asked is None
        assert scene.handed_over()
        await scene.finish()


@pytest.mark.parametrize(
    ("number", "error"),
    [("+49110", "number_refused"), ("+499001234567", "number_refused"), ("+33140205050", "number_refused")],
)
async def test_numbers_that_may_not_be_called(tmp_path: Path, number: str, error: str) -> None:
    """Emergency, premium, abroad: the caller is never on hold for it."""
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Out(world, "number")
        await scene.begin()
        assert await world.command(wire.ConsultAgent(call_id=scene.call_id, number=number)) == error
        assert "HoldStarted" not in world.kinds(scene.caller)
        assert (await scene.finish()).consultations == []


@pytest.mark.parametrize(
    "asked", [{}, {"agent_id": "boss", "number": NUMBER}, {"queue_id": "billing", "agent_id": "boss"}]
)
async def test_exactly_one_is_consulted(tmp_path: Path, asked: dict[str, Any]) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Out(world, "number")
        await scene.begin()
        assert await world.command(wire.ConsultAgent(call_id=scene.call_id, **asked)) == "bad_target"
        await scene.finish()


@pytest.mark.parametrize(
    ("refusal", "outcome"),
    [(HangupCause.USER_BUSY, "busy"), (HangupCause.NO_ROUTE, "unreachable"), (None, "no_answer")],
)
async def test_a_number_that_does_not_answer(tmp_path: Path, refusal: HangupCause | None, outcome: str) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Out(world, "number")
        scene.callee.refusal = refusal
        await scene.begin()
        assert await scene.consult() is None
        await world.until(lambda: "ConsultationEnded" in world.kinds(scene.caller))
        await world.until(lambda: world.hears(scene.caller.leg_id) == {"anna"})
        cdr = await scene.finish()
        assert [c.ended for c in cdr.consultations] == ["not_answered"]
        assert [f.outcome for f in cdr.forwards] == [outcome]


@pytest.mark.parametrize("answers", [True, False])
async def test_the_first_agent_leaves_while_the_number_rings(tmp_path: Path, answers: bool) -> None:
    """The caller waits with music for the number; if that does not answer, in the queue of before."""
    async with World(tmp_path, SHORT_FLOW, wrap_up_s=1) as world:
        scene = Out(world, "number")
        await scene.begin()
        await scene.ringing()
        scene.hang_up(scene.anna)
        await world.run(5)
        assert world.hears(scene.caller.leg_id) == MUSIC
        if answers:
            world.engine.pick_up(scene.far_leg)  # type: ignore[arg-type]
            await world.until(scene.handed_over)
            assert (await scene.finish()).end_reason == "caller_hung_up"
        else:
            await world.until(lambda: world.kinds(scene.caller).count("TalkStarted") == 2)
            cdr = await scene.finish()
            assert [(t.agent_id, t.queue_id) for t in cdr.talks] == [("anna", "support")] * 2
            assert [f.outcome for f in cdr.forwards] == ["no_answer"]


async def test_the_number_is_shown_the_did_and_keys_for_it_are_in_no_journal(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Out(world, "number")
        await scene.begin()
        shown: list[Any] = []
        originate = world.engine.originate

        async def seen(leg: Any) -> None:
            shown.append(leg.cli.number)
            await originate(leg)

        world.engine.originate = seen  # type: ignore[method-assign]
        await scene.at("conference")
        scene.caller.press("7")
        await world.run(0.1)
        assert (shown, [press.digit for press in scene.events(ev.DigitPressed)]) == ([DID], ["?"])
        await scene.finish()


# --- a queue ----------------------------------------------------------------------------------------------------------


async def test_waiting_in_the_consulted_queue(tmp_path: Path) -> None:
    """Music while nobody is rung, ringing while somebody is; who does not answer makes way for the next."""
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Out(world, "queue", ring_timeout_s=6)
        await scene.begin()
        assert await scene.consult() is None
        await world.run(5)
        assert (scene.heard(scene.caller.leg_id), scene.heard(scene.anna.leg_id)) == (MUSIC, MUSIC)
        assert world.pop.router.acd.waits_in(scene.call_id) == "billing"
        assert await scene.step("complete") == "consulted_not_there"
        scene.billed("cora").behaviour = Answer.NEVER
        await world.run(3)
        assert (scene.heard(scene.anna.leg_id), world.state("cora")[2]) == (RINGING, "RINGING")
        await world.run(5)
        assert (scene.heard(scene.anna.leg_id), world.state("cora")[1]) == (MUSIC, "RONA")
        scene.bela = scene.billed()
        await world.until(lambda: scene.all_hear() == (MUSIC, {"far"}, {"anna"}))
        assert (world.state("bela")[2], world.pop.router.acd.waits_in(scene.call_id)) == ("ON_CALL", None)
        cdr = await scene.finish()
        assert [(o.agent_id, o.outcome) for o in cdr.offers][1:] == [("cora", "no_answer"), ("bela", "answered")]
        assert (cdr.queue_id, [c.agent_id for c in cdr.consultations]) == ("support", ["bela"])


async def test_logged_out_while_rung_for_a_consultation(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Out(world, "queue")
        await scene.begin()
        await scene.ringing()
        world.status("bela", "LOGGED_OUT")
        await world.run(0.5)
        assert (scene.heard(scene.anna.leg_id), scene.far_leg in world.engine.legs) == (MUSIC, False)
        cora = scene.billed("cora")
        await world.until(lambda: scene.heard(cora.leg_id) == {"anna"})
        await scene.finish()


@pytest.mark.parametrize(
    ("billing", "error"),
    [({"max_waiting": 0}, "queue_refused"), ({"no_agent": "refuse"}, "queue_refused")],
)
async def test_a_queue_that_takes_nobody(tmp_path: Path, billing: dict[str, Any], error: str) -> None:
    """Refused at once; the caller was never on hold."""
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Out(world, "queue", **billing)
        await scene.begin()
        assert await scene.consult() == error
        assert world.hears(scene.caller.leg_id) == {"anna"}
        assert await world.command(wire.ConsultAgent(call_id=scene.call_id, queue_id="nowhere")) == "unknown_queue"
        assert await world.command(wire.HoldCall(call_id=scene.call_id)) is None
        cdr = await scene.finish()
        assert (cdr.consultations, cdr.queue_id) == ([], "support")


async def test_a_wait_that_the_queue_ends(tmp_path: Path) -> None:
    """Its longest wait is over, or the centre deletes it: the agents talk to callers again."""
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Out(world, "queue", max_wait_s=20.0)
        await scene.begin()
        assert await scene.consult() is None
        await world.until(lambda: "WaitEnded" in world.kinds(scene.caller))
        await world.until(lambda: world.hears(scene.caller.leg_id) == {"anna"})
        world.configure("queue.billing", wire.QueueConfig(**BILLING))
        assert await scene.consult() is None
        world.pop.config_changed("queue.billing", None)
        await world.until(lambda: world.hears(scene.caller.leg_id) == {"anna"})
        cdr = await scene.finish()
        assert [c.ended for c in cdr.consultations] == ["not_answered", "not_answered"]


@pytest.mark.parametrize("rings", [False, True])
async def test_the_first_agent_leaves_while_the_caller_could_only_wait(tmp_path: Path, rings: bool) -> None:
    """The caller waits on in the consulted queue."""
    async with World(tmp_path, SHORT_FLOW, wrap_up_s=1) as world:
        scene = Out(world, "queue", ring_timeout_s=6)
        await scene.begin()
        if rings:
            await scene.ringing()
        else:
            assert await scene.consult() is None
            await world.run(3)
        scene.hang_up(scene.anna)
        await world.until(lambda: "CallTransferred" in world.kinds(scene.caller))
        await world.until(lambda: world.hears(scene.caller.leg_id) == MUSIC)
        assert world.pop.router.acd.waits_in(scene.call_id) == "billing"
        cora = scene.billed("cora")
        await world.until(lambda: world.hears(scene.caller.leg_id) == {"cora"})
        assert cora.rung == 1
        cdr = await scene.finish()
        assert [(t.agent_id, t.queue_id) for t in cdr.talks] == [("anna", "support"), ("cora", "billing")]


async def test_a_queue_that_is_not_recorded(tmp_path: Path) -> None:
    """Its conversations are not, and neither are those that its agents join."""
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Out(world, "queue", recorded=False)
        await scene.begin(NONE)
        await scene.at("apart")
        assert len(world.engine.recordings) == 1
        assert await scene.step("conference") is None
        assert not world.engine.recordings
        assert await scene.step("complete") is None
        await world.run(5)
        assert not world.engine.recordings
        await scene.finish()


async def test_consultations_of_queues_replay(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW, wrap_up_s=5) as world:
        for step in ("complete", "cancel"):
            scene = Out(world, "queue", ring_timeout_s=6)
            scene.billed("cora").behaviour = Answer.NEVER
            scene.bela = scene.billed(available=False)
            world.status("bela", "NOT_READY", "LUNCH")
            await scene.begin()
            assert await scene.consult() is None
            await world.run(10)
            world.status("bela", "AVAILABLE")
            await world.until(lambda s=scene: s.heard(s.anna.leg_id) == {"far"})
            await world.run(30)
            assert await scene.step(step) is None
            await world.run(30)
            await scene.finish()
    report = replay(read(tmp_path / "journal.sqlite"))
    assert report.difference is None
    assert report.offers >= 5


@pytest.mark.parametrize("seed", range(30))
async def test_whatever_comes_in_whatever_order(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller is never left in silence, no agent is kept when it is over, nothing outside is recorded."""
    chance = random.Random(seed)
    async with World(tmp_path, SHORT_FLOW, wrap_up_s=1) as world:
        scene = Out(world, "queue", ring_timeout_s=4, wrap_up_s=1)
        await scene.begin(NONE)
        phones = [scene.anna, scene.billed(), scene.billed("cora"), scene.boss]
        asked: list[asyncio.Future[str | None]] = []
        for _ in range(60):
            if scene.call_id not in world.pop.calls:
                break
            for phone in phones:
                phone.behaviour = chance.choice([Answer.ANSWER, Answer.ANSWER, Answer.NEVER, Answer.BUSY])
                phone.answers_after_s = chance.choice([0.0, 1.0, 3.0])
            talk = world.pop.calls[scene.call_id].call.talk
            busy = talk is not None and talk.consultation is not None
            match chance.choice(
                ["consult", "consult", "swap", "complete", "cancel", "conference", "gone", "fail", "up"]
            ):
                case "consult":
                    scene.kind = chance.choice(["queue", "number"])
                    asked.append(asyncio.ensure_future(scene.consult()))
                case "gone" if busy:
                    live = [p.leg_id for p in phones if p.leg_id in world.engine.legs]
                    if live:
                        leg = world.engine.legs[chance.choice(live)]
                        world.engine.end_leg(leg, HangupCause.NORMAL_CLEARING)
                case "fail":
                    fail_once(monkeypatch, world, chance.choice(["bridge", "hold", "supervise", "originate"]))
                case "up" if scene.callee.leg_id in world.engine.legs:
                    if not world.engine.legs[scene.callee.leg_id].answered:
                        world.engine.pick_up(scene.callee.leg_id)
                case ("swap" | "complete" | "cancel" | "conference") as step:
                    asked.append(asyncio.ensure_future(scene.step(step)))
                case _:
                    pass
            for name in ("anna", "bela", "cora"):
                if world.state(name)[0] == "NOT_READY":
                    world.status(name, "AVAILABLE")
            await world.run(chance.choice([0.0, 0.01, 0.5, 3.0]))
            outside = f"leg:{scene.callee.leg_id}"
            caller = world.engine.legs.get(scene.caller.leg_id)
            if caller is not None and caller.hearing and outside in caller.hearing[-1][1]:
                assert not world.engine.recordings
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
        assert {world.state(name)[2] for name in ("anna", "bela", "cora", "boss")} == {"IDLE"}
        cdr = world.cdr(scene.call_id)
        assert all(talk.ended_at for talk in cdr.talks)
        assert all(one.ended for one in cdr.consultations)
        assert all(one.ended_at for one in cdr.forwards)
    assert replay(read(tmp_path / "journal.sqlite")).difference is None
