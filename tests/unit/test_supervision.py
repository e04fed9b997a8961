"""Supervisors: every mode and every wrong moment."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from pbx.adapters.memory.engine import Answer
from pbx.domain.call import Call
from pbx.domain.consent import Regime
from pbx.domain.e164 import cli_of
from pbx.domain.errors import EngineRefused
from pbx.wire import messages as wire
from tests.support.scene import Scene
from tests.support.world import DID, SHORT_FLOW, World


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
