"""The supervisor becomes the agent, and every wrong moment for it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from pbx.domain.consent import Regime
from pbx.domain.errors import EngineRefused
from pbx.wire import messages as wire
from tests.support.scene import Scene
from tests.support.world import SHORT_FLOW, World


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
