"""Supervisors: every mode, take over, and every wrong moment."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from pbx.adapters.memory.engine import Answer, Caller, Phone
from pbx.domain.call import Call
from pbx.domain.cdr import Cdr
from pbx.domain.consent import Regime, RegimeTable
from pbx.domain.e164 import cli_of
from pbx.domain.errors import EngineRefused
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import CallId, LegId
from pbx.wire import messages as wire
from tests.support.world import DID, SHORT_FLOW, World


class Scene:
    """Anna talks to a caller; Boss, an agent who is not ready for calls, has a phone."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def begin(self, regimes: dict[str, Regime] | None = None, boss: str = "DE") -> None:
        world = self.world
        world.config.regimes = RegimeTable(regimes or {}, Regime.PROHIBITED)
        self.anna: Phone = world.agent("anna")
        self.boss: Phone = world.agent("boss", available=False, country=boss)
        world.status("boss", "NOT_READY", "SUPERVISING")
        self.caller: Caller = await world.call()
        await world.until(lambda: self.caller.hears == "talk")
        self.call_id: CallId = world.call_id(self.caller)

    async def supervise(self, mode: str = "listen", who: str = "boss") -> str | None:
        return await self.world.command(wire.SuperviseCall(call_id=self.call_id, agent_id=who, mode=mode))

    async def attached(self, mode: str = "listen") -> None:
        assert await self.supervise(mode) is None
        await self.world.until(lambda: "SupervisionStarted" in self.world.kinds(self.caller), "the supervisor")
        await self.world.run(0.1)

    async def take_over(self) -> str | None:
        return await self.world.command(wire.TakeOverCall(call_id=self.call_id))

    async def end_supervision(self) -> str | None:
        return await self.world.command(wire.EndSupervision(call_id=self.call_id))

    def hear(self) -> tuple[set[str], set[str], set[str]]:
        """What caller, Anna and Boss hear."""
        return tuple(self.world.hears(leg) for leg in (self.caller.leg_id, self.anna.leg_id, self.boss.leg_id))  # type: ignore[return-value]

    def hang_up(self, phone: Phone) -> None:
        self.world.engine.end_leg(self.world.engine.legs[phone.leg_id or LegId("")], HangupCause.NORMAL_CLEARING)

    async def finish(self) -> Cdr:
        """The caller hangs up; nothing may be left, and nobody may have lost a state."""
        if self.caller.cause is None:
            self.caller.hang_up()
        cdr = await self.world.ended(self.caller)
        await self.world.run(30)
        assert not self.world.engine.legs
        assert not self.world.engine.bridges
        assert self.world.state("boss") == ("NOT_READY", "SUPERVISING", "IDLE")
        assert self.world.state("anna") == ("AVAILABLE", None, "IDLE")
        return cdr


@pytest.mark.parametrize(
    ("mode", "caller", "anna"),
    [
        ("listen", {"anna"}, {"caller"}),
        ("whisper", {"anna"}, {"caller", "boss"}),
        ("barge", {"anna", "boss"}, {"caller", "boss"}),
    ],
)
async def test_modes(tmp_path: Path, mode: str, caller: set[str], anna: set[str]) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Scene(world)
        await scene.begin()
        await scene.attached(mode)
        assert scene.hear() == (caller, anna, {"caller", "anna"})
        assert world.state("boss") == ("NOT_READY", "SUPERVISING", "ENGAGED")
        assert await scene.end_supervision() is None
        await world.until(lambda: world.state("boss")[2] == "IDLE")
        assert (scene.boss.leg_id in world.engine.legs, scene.caller.hears) == (False, "talk")
        assert (await scene.end_supervision()) == "no_supervision"
        [record] = (await scene.finish()).supervisions
        assert (record.agent_id, record.modes, record.ended) == ("boss", [mode], "asked")


async def test_the_mode_changes_while_the_supervisor_hears_and_while_the_phone_rings(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Scene(world)
        await scene.begin()
        assert await scene.supervise("listen") is None
        assert await scene.supervise("whisper") is None  # the phone rings
        await scene.attached("whisper")
        assert scene.hear()[1] == {"caller", "boss"}
        assert await scene.supervise("barge") is None
        assert scene.hear()[0] == {"anna", "boss"}
        assert scene.boss.rung == 1
        assert (await scene.finish()).supervisions[0].modes == ["whisper", "barge"]


async def test_one_supervisor_at_a_time(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Scene(world)
        await scene.begin()
        world.agent("cora", available=False)
        answers = await asyncio.gather(scene.supervise("listen"), scene.supervise("listen", "cora"))
        assert list(answers) == [None, "already_supervised"]
        assert world.state("cora") == ("LOGGED_OUT", None, "IDLE")
        await scene.attached()
        assert await scene.supervise("barge", "cora") == "already_supervised"
        await scene.finish()


async def test_who_cannot_supervise(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Scene(world)
        await scene.begin()
        assert await scene.supervise(who="nobody") == "unknown_agent"
        assert await scene.supervise(who="anna") == "agent_busy"
        assert await scene.supervise("shout") == "bad_mode"
        world.agent("dora")
        other = await world.call()
        await world.until(lambda: other.hears == "talk")
        assert await scene.supervise(who="dora") == "agent_busy"
        world.engine.unregister(scene.boss)
        assert await scene.supervise() == "agent_unreachable"
        assert await world.command(wire.TakeOverCall(call_id="nothing")) == "unknown-call"
        assert await scene.take_over() == "no_supervision"
        other.hang_up()
        await world.ended(other)
        assert "SupervisionStarted" not in world.kinds(scene.caller)
        assert (await scene.finish()).supervisions == []


@pytest.mark.parametrize("where", ["de/queue-welcome", "ringing"])
async def test_a_call_that_is_not_in_conversation(tmp_path: Path, where: str) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        world.agent("boss", available=False)
        if where == "ringing":
            world.agent("anna").behaviour = Answer.NEVER
        caller = await world.call()
        if where == "ringing":
            await world.until(lambda: world.state("anna")[2] == "RINGING")
        else:
            await world.until(lambda: caller.hears == where)
        call_id = world.call_id(caller)
        for command in (
            wire.SuperviseCall(call_id=call_id, agent_id="boss", mode="listen"),
            wire.EndSupervision(call_id=call_id),
            wire.TakeOverCall(call_id=call_id),
            wire.HoldCall(call_id=call_id),
            wire.TransferCall(call_id=call_id, queue_id="support"),
        ):
            assert await world.command(command) == "not_in_conversation"
        assert world.state("boss") == ("LOGGED_OUT", None, "IDLE")
        caller.hang_up()
        await world.ended(caller)


@pytest.mark.parametrize("behaviour", [Answer.NEVER, Answer.BUSY, Answer.REJECT])
async def test_a_supervisor_who_does_not_answer_keeps_the_status(tmp_path: Path, behaviour: Answer) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Scene(world)
        await scene.begin()
        scene.boss.behaviour = behaviour
        assert await scene.supervise() is None
        assert await scene.take_over() == "supervisor_not_there"
        await world.until(lambda: "SupervisionEnded" in world.kinds(scene.caller))
        assert scene.caller.hears == "talk"
        [record] = (await scene.finish()).supervisions
        assert (record.modes, record.ended) == ([], "not_answered")


async def test_the_supervisors_hanging_up_does_not_harm_the_call(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Scene(world)
        await scene.begin()
        await scene.attached("barge")
        scene.hang_up(scene.boss)
        await world.until(lambda: world.state("boss")[2] == "IDLE")
        assert (world.hears(scene.caller.leg_id), world.hears(scene.anna.leg_id)) == ({"anna"}, {"caller"})
        await scene.attached()  # and may come back
        assert [s.ended for s in (await scene.finish()).supervisions] == ["hung_up", "call_ended"]


@pytest.mark.parametrize("when", ["ringing", "attached"])
@pytest.mark.parametrize("who", ["caller", "anna"])
async def test_the_end_of_the_call_ends_the_supervision(tmp_path: Path, when: str, who: str) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Scene(world)
        await scene.begin()
        if when == "ringing":
            scene.boss.behaviour = Answer.NEVER
            assert await scene.supervise() is None
        else:
            await scene.attached()
        if who == "caller":
            scene.caller.hang_up()
        else:
            scene.hang_up(scene.anna)
        cdr = await scene.finish()
        assert cdr.end_reason == ("caller_hung_up" if who == "caller" else "agent_hung_up")
        assert [s.ended for s in cdr.supervisions] == ["call_ended"]


async def test_a_request_whose_call_ends_first_is_answered(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Scene(world)
        await scene.begin()
        scene.caller.hang_up()
        assert await scene.supervise() in ("not_in_conversation", "unknown_call", "unknown-call")
        await scene.finish()


async def test_nobody_offers_a_supervisor_a_call_and_the_place_among_the_idle_stays(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Scene(world)
        await scene.begin()
        bela = world.agent("bela")
        agent = world.pop.router.acd.agents["bela"]  # type: ignore[index]
        idle_since = agent.idle_since
        assert await scene.supervise(who="bela") is None
        second = await world.call()
        await world.run(10)
        assert (world.state("bela"), bela.rung) == (("AVAILABLE", None, "ENGAGED"), 1)
        assert second.hears == "music:default"
        assert agent.idle_since == idle_since
        assert await scene.end_supervision() is None
        await world.until(lambda: second.hears == "talk")  # freed: the call that waited is offered at once
        assert world.cdr(world.call_id(second)).agent_id == "bela"
        second.hang_up()
        await world.ended(second)
        await scene.finish()


async def test_an_agent_who_is_offered_a_call_at_the_same_moment(tmp_path: Path) -> None:
    """Whoever asks the router first has the agent; the other is told."""
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Scene(world)
        await scene.begin()
        bela = world.agent("bela")
        second = world.engine.call(DID, cli_of("+4917012345679"))  # on its way into the queue
        answer = await scene.supervise(who="bela")
        await world.run(5)
        engaged = world.state("bela")[2] == "ENGAGED"
        assert (answer is None) == engaged
        assert bela.rung == 1
        assert (second.hears == "talk") != engaged
        second.hang_up()
        await world.ended(second)
        await scene.finish()


async def test_status_chosen_while_supervising_stays(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Scene(world)
        await scene.begin()
        await scene.attached()
        world.status("boss", "AVAILABLE")
        world.status("boss", "NOT_READY", "LUNCH")
        assert world.state("boss") == ("NOT_READY", "LUNCH", "ENGAGED")
        assert await scene.end_supervision() is None
        assert world.state("boss") == ("NOT_READY", "LUNCH", "IDLE")
        world.status("boss", "NOT_READY", "SUPERVISING")
        await scene.finish()


async def test_an_engine_that_refuses_to_supervise_harms_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Scene(world)
        await scene.begin()

        async def refuse(*_: Any) -> None:
            raise EngineRefused("no")

        monkeypatch.setattr(world.engine, "supervise", refuse)
        assert await scene.supervise() is None
        await world.until(lambda: "SupervisionEnded" in world.kinds(scene.caller))
        await world.run(1)
        assert (scene.caller.hears, scene.boss.leg_id in world.engine.legs) == ("talk", False)
        assert [s.ended for s in (await scene.finish()).supervisions] == ["engine_failed"]


async def test_the_media_server_dies_while_supervised(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Scene(world)
        await scene.begin()
        await scene.attached()
        world.engine.crash()
        cdr = await world.ended(scene.caller)
        assert [s.ended for s in cdr.supervisions] == ["call_ended"]
        await world.run(30)
        assert world.state("boss") == ("NOT_READY", "SUPERVISING", "IDLE")


async def test_a_defect_frees_the_supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Scene(world)
        await scene.begin()
        await scene.attached()

        def broken(*_: Any) -> Any:
            raise ZeroDivisionError

        monkeypatch.setattr(Call, "handle", broken)
        assert await scene.end_supervision() == "unknown_call"
        await world.run(30)
        assert not world.engine.legs
        assert world.state("boss") == ("NOT_READY", "SUPERVISING", "IDLE")
        assert world.state("anna") == ("AVAILABLE", None, "IDLE")


async def test_ended_while_the_phone_rings_and_asked_again_at_once(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Scene(world)
        await scene.begin()
        answers = await asyncio.gather(
            scene.supervise("listen"), scene.end_supervision(), scene.supervise("barge"), scene.supervise("whisper")
        )
        assert list(answers) == ["supervision_ended", None, None, None]
        await world.until(lambda: "SupervisionStarted" in world.kinds(scene.caller))
        assert scene.hear() == ({"anna"}, {"caller", "boss"}, {"caller", "anna"})
        assert scene.boss.rung == 1
        await scene.finish()


async def test_two_calls_want_one_supervisor(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Scene(world)
        await scene.begin()
        world.agent("bela")
        other = await world.call()
        await world.until(lambda: other.hears == "talk")
        command = wire.SuperviseCall(call_id=world.call_id(other), agent_id="boss", mode="listen")
        answers = await asyncio.gather(scene.supervise(), world.command(command))
        assert list(answers) == [None, "agent_busy"]
        other.hang_up()
        await world.ended(other)
        await world.until(lambda: "SupervisionStarted" in world.kinds(scene.caller))
        await scene.finish()


async def test_a_supervisor_who_is_deleted_or_whose_registration_ends(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Scene(world)
        await scene.begin()
        dora = world.agent("dora", available=False)
        assert await scene.supervise(who="dora") is None
        await world.until(lambda: "SupervisionStarted" in world.kinds(scene.caller))
        world.engine.unregister(dora)
        world.pop.config_changed("agent.dora", None)
        assert scene.caller.hears == "talk"
        assert await scene.end_supervision() is None
        assert "dora" not in world.pop.router.acd.agents
        assert await scene.supervise(who="dora") == "unknown_agent"
        await scene.finish()


async def test_what_is_stopped_for_the_supervisor_stays_stopped_when_he_leaves(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Scene(world)
        await scene.begin({"DE": Regime.NONE, "PL": Regime.NOTICE}, boss="PL")
        await world.run(2)
        await scene.attached("barge")
        assert await scene.end_supervision() is None
        await world.run(3)
        assert len(world.engine.recorded) == 1
        assert not world.engine.recordings
        await scene.finish()


async def test_the_caller_hangs_up_while_the_recording_is_being_stopped_for_the_supervisor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Scene(world)
        await scene.begin({"DE": Regime.NONE}, boss="PL")
        stop, asked = world.engine.stop_recording, asyncio.Event()

        async def slow(*args: Any) -> None:
            asked.set()
            await asyncio.sleep(3)
            await stop(*args)

        monkeypatch.setattr(world.engine, "stop_recording", slow)
        assert await scene.supervise() is None
        await asked.wait()
        await world.run(1)
        assert world.hears(scene.boss.leg_id) == set()  # not yet
        cdr = await scene.finish()
        assert [s.modes for s in cdr.supervisions] == [[]]
        assert len(cdr.recordings) == 1


# --- take over -----------------------------------------------------------------------------------------------------


async def test_take_over(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW, wrap_up_s=5) as world:
        scene = Scene(world)
        await scene.begin({"DE": Regime.NONE})
        await world.run(3)
        await scene.attached("whisper")
        assert await scene.take_over() is None
        await world.run(0.1)
        assert world.hears(scene.caller.leg_id) == {"boss"}
        assert world.hears(scene.boss.leg_id) == {"caller"}
        assert scene.anna.leg_id not in world.engine.legs
        assert world.state("anna") == ("AVAILABLE", None, "WRAP_UP")
        assert world.state("boss") == ("NOT_READY", "SUPERVISING", "ON_CALL")
        assert await scene.take_over() == "no_supervision"
        await world.run(4)
        scene.hang_up(scene.boss)
        await world.until(lambda: scene.caller.cause is not None)
        assert world.state("boss")[2] == "WRAP_UP"
        cdr = await scene.finish()
        assert cdr.end_reason == "agent_hung_up"
        assert [(t.agent_id, t.ended) for t in cdr.talks] == [("anna", "taken_over"), ("boss", None)]
        assert cdr.agent_id == "boss"
        assert [s.ended for s in cdr.supervisions] == ["took_over"]
        first, second = cdr.recordings
        assert (first.discarded, second.discarded) == (False, False)
        assert second.started_at >= first.started_at
        assert first.recording_id != second.recording_id
        assert len(world.files()) == 2
        assert cdr.talk_s == pytest.approx(3 + 1.2 + 4, abs=0.5)


async def test_take_over_by_one_whose_country_forbids_it_is_not_recorded(tmp_path: Path) -> None:
    """The supervisor's joining stops the recording before anything is heard; the new part is refused."""
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Scene(world)
        await scene.begin({"DE": Regime.NONE, "PL": Regime.PROHIBITED}, boss="PL")
        assert len(world.engine.recordings) == 1
        await world.run(2)
        await scene.attached()
        kinds = world.kinds(scene.caller)
        assert kinds.index("ConsentRefused") < kinds.index("RecordingEnded") < kinds.index("SupervisionStarted")
        assert not world.engine.recordings
        assert await scene.take_over() is None
        await world.run(2)
        assert not world.engine.recordings
        cdr = await scene.finish()
        assert [(c.regime, c.reason, c.jurisdictions) for c in cdr.consents] == [
            ("prohibited", "supervisor_jurisdiction", ("DE", "DE", "DE", "PL")),
            ("prohibited", "agent_jurisdiction", ("DE", "DE", "PL")),
        ]
        assert len(cdr.recordings) == len(world.engine.recorded) == 1


async def test_a_recording_that_was_stopped_does_not_begin_again(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Scene(world)
        await scene.begin({"DE": Regime.NONE})
        assert await world.command(wire.StopCallRecording(call_id=scene.call_id, by="agent")) is None
        await scene.attached()
        assert await scene.take_over() is None
        await world.run(2)
        assert len(world.engine.recorded) == 1
        await scene.finish()


async def test_a_take_over_that_the_engine_refuses_leaves_caller_and_agent_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Scene(world)
        await scene.begin()
        await scene.attached()
        bridge, failures = world.engine.bridge, iter([True])

        async def flaky(*args: Any) -> None:
            if next(failures, False):
                world.engine._room.dissolve(next(iter(world.engine.bridges)))  # half done
                raise EngineRefused("no")
            await bridge(*args)

        monkeypatch.setattr(world.engine, "bridge", flaky)
        assert await scene.take_over() == "engine_failed"
        await world.run(0.1)
        assert (world.hears(scene.caller.leg_id), world.hears(scene.anna.leg_id)) == ({"anna"}, {"caller"})
        assert world.state("anna")[2] == "ON_CALL"
        assert [s.ended for s in (await scene.finish()).supervisions] == ["engine_failed"]


async def test_take_over_of_a_caller_on_hold(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Scene(world)
        await scene.begin()
        assert await world.command(wire.HoldCall(call_id=scene.call_id)) is None
        await scene.attached("barge")
        assert scene.hear() == ({"music:default"}, {"boss"}, {"anna"})
        assert await scene.take_over() is None
        await world.run(0.1)
        assert (world.hears(scene.caller.leg_id), world.hears(scene.boss.leg_id)) == ({"boss"}, {"caller"})
        assert await world.command(wire.ResumeCall(call_id=scene.call_id)) == "not_held"
        assert await world.command(wire.HoldCall(call_id=scene.call_id)) is None
        assert scene.caller.hears == "music:default"
        await scene.finish()


@pytest.mark.parametrize("who", ["caller", "anna", "boss"])
async def test_hang_up_during_the_take_over(tmp_path: Path, who: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The media server is at it when one of the three hangs up."""
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Scene(world)
        await scene.begin()
        await scene.attached()
        bridge, busy = world.engine.bridge, iter([True])

        async def slow(*args: Any) -> None:
            if next(busy, False):
                if who == "caller":
                    scene.caller.hang_up()
                else:
                    scene.hang_up(scene.anna if who == "anna" else scene.boss)
            await bridge(*args)

        monkeypatch.setattr(world.engine, "bridge", slow)
        answer = await scene.take_over()
        await world.run(1)
        if who == "anna":
            assert answer is None
            assert world.hears(scene.caller.leg_id) == {"boss"}
        elif who == "boss":
            assert answer == "engine_failed"
            assert world.hears(scene.caller.leg_id) == {"anna"}
        else:
            assert answer in ("engine_failed", "unknown_call")
        cdr = await scene.finish()
        assert cdr.end_reason == "caller_hung_up"
        assert [t.agent_id for t in cdr.talks] == (["anna", "boss"] if who == "anna" else ["anna"])


async def test_both_agents_gone_during_the_take_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Scene(world)
        await scene.begin()
        await scene.attached()
        bridge = world.engine.bridge

        async def slow(*args: Any) -> None:
            scene.hang_up(scene.anna)
            scene.hang_up(scene.boss)
            await bridge(*args)

        monkeypatch.setattr(world.engine, "bridge", slow)
        assert await scene.take_over() == "engine_failed"
        assert (await scene.finish()).end_reason == "agent_hung_up"


async def test_two_take_overs_at_once(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Scene(world)
        await scene.begin()
        await scene.attached()
        answers = await asyncio.gather(scene.take_over(), scene.take_over(), scene.end_supervision())
        assert answers[0] is None
        assert set(answers[1:]) <= {"take_over_under_way", "no_supervision"}
        await world.run(0.1)
        assert world.hears(scene.caller.leg_id) == {"boss"}
        await scene.finish()


async def test_withheld_consent_stays_withheld(tmp_path: Path) -> None:
    """Nothing was granted to the first agent; nothing is to the second."""
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Scene(world)
        await scene.begin({"DE": Regime.OPT_IN})
        await scene.attached()
        assert await scene.take_over() is None
        await world.run(1)
        assert world.engine.recorded == []
        await scene.finish()
