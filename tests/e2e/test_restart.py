"""The controller, or the media server, dies under real calls. Judged by samples, messages and records: what the people
hear, that nobody is rung or recorded twice, and that nothing stays stuck."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import numpy as np
import pytest
import soundfile

from dialplans.schema import Engine
from tests.e2e.test_consultation import Consulting, music
from tests.e2e.test_supervision import ANNA_HZ, CALLER_HZ, hear
from tests.lab.audio import contains_tone, tone_level_db
from tests.lab.errors import wait_until
from tests.lab.lab import Lab
from tests.lab.phone import Phone
from tests.lab.stack import DID, Stack, recordings_on_disk

ABSENT_DB = -50.0
FIRST_CLI = "+491701234567"
SAVED_S = 3.0
"""Asterisk writes a recording to its file by the second, FreeSWITCH by the quarter; the last part is lost when it is
killed."""
HOW = pytest.mark.parametrize("kill", [True, False], ids=["killed", "stopped"])
QUEUE = {"ring_timeout_s": 60, "wrap_up_s": 20, "redial_s": 120}


@pytest.fixture
async def stack(lab: Lab, engine: Engine) -> AsyncIterator[Stack]:
    async with Stack.start(lab, engine=engine, queue=QUEUE) as started:
        yield started
        started.server.wait_idle()


class Restarts:
    """One call, and controllers that come and go under it."""

    def __init__(self, stack: Stack, caller: Phone, kill: bool) -> None:
        self.stack, self.caller, self.kill = stack, caller, kill
        self.times = 0

    async def restart(self) -> int:
        """Another controller has taken the call up; the seq of what says so."""
        if self.kill:
            self.stack.controller.kill()
        else:
            self.stack.controller.stop()
        self.stack.restart_controller()
        self.times += 1
        taken = await self.stack.event("CallReadopted", self.times, call_id=await self.stack.call_id(self.caller))
        await self.stack.synced()
        return int(taken["seq"])

    async def told(self, after: int) -> None:
        """A prompt has run to its end since then."""
        call_id = await self.stack.call_id(self.caller)
        await self.stack.event("PlayEnded", call_id=call_id, completed=True, after=after)


async def both_sides(stack: Stack, recording: dict[str, Any], agent_hz: int, until_s: float | None = None) -> float:
    """The caller is left, the agent right, all through, or to a hold after ``until_s``; the seconds of all of it."""
    wav = await stack.api.download(f"recordings/{recording['recording_id']}/content")
    assert len(wav) == recording["size_bytes"]
    samples, rate = soundfile.read(io.BytesIO(wav))
    end = len(samples) if until_s is None else round(until_s * rate)
    left, right = samples[:, 0], samples[:end, 1]
    for said, hz, other in ((left, CALLER_HZ, agent_hz), (right, agent_hz, CALLER_HZ)):
        assert contains_tone(said, rate, hz)
        assert tone_level_db(said, rate, other) < ABSENT_DB
    return float(len(samples) / rate)


def whole(samples: np.ndarray[Any, Any], rate: int, hz: int) -> bool:
    """Whether the tone was there in every half second, but for the first and the last."""
    step = rate // 2
    blocks = [samples[at : at + step] for at in range(step, len(samples) - 2 * step, step)]
    return all(tone_level_db(block, rate, hz) > ABSENT_DB / 2 for block in blocks)


@HOW
async def test_controller_at_each_step_of_a_call(stack: Stack, kill: bool) -> None:
    async with (
        stack.agent("anna", tone_hz=ANNA_HZ, auto=False, available=False) as anna,
        stack.caller(tone_hz=CALLER_HZ) as caller,
    ):
        call = Restarts(stack, caller, kill)
        await caller.wait_for("CALL_ESTABLISHED")
        await stack.at_node(caller, "greeting")
        call_id = await stack.call_id(caller)

        await call.told(await call.restart())  # the greeting is said again, to its end
        await stack.at_node(caller, "language")
        await caller.send_digits("1")
        await stack.at_node(caller, "menu")
        await call.told(await call.restart())
        await caller.send_digits("1")
        await stack.at_node(caller, "consent")
        await call.told(await call.restart())
        await caller.send_digits("1")
        await stack.at_node(caller, "wait")
        joined = await stack.event("QueueJoined", call_id=call_id)

        await music(caller)
        seen = await call.restart()
        await music(caller)
        await stack.status("anna", "AVAILABLE")
        await anna.wait_for("CALL_INCOMING", deadline_s=30)
        await stack.event("AgentChanged", state="RINGING")
        await call.restart()
        await anna.answer()
        talk = await stack.talking(caller)
        await hear((caller, {ANNA_HZ}), (anna, {CALLER_HZ}))
        heard_from = len(caller.heard()[0]), len(anna.heard()[0])
        await call.restart()
        await hear((caller, {ANNA_HZ}), (anna, {CALLER_HZ}))
        samples, rate = caller.heard()
        assert whole(samples[heard_from[0] :], rate, ANNA_HZ), "the caller heard the restart"
        samples, rate = anna.heard()
        assert whole(samples[heard_from[1] :], rate, CALLER_HZ), "the agent heard the restart"

        await stack.api.post(f"calls/{call_id}/hold", {})
        held = await stack.event("HoldStarted", call_id=call_id)
        await music(caller)
        await call.restart()
        await hear((caller, set()), (anna, set()))
        await stack.api.post(f"calls/{call_id}/resume", {})
        await hear((caller, {ANNA_HZ}), (anna, {CALLER_HZ}))
        await caller.hang_up()
        cdr = await stack.record(call_id)
        wrapped = await stack.event("AgentChanged", state="WRAP_UP")
        stack.controller.kill()
        stack.restart_controller()
        idle = await stack.event("AgentChanged", state="IDLE", after=wrapped["seq"], deadline_s=30)
        assert idle["at"] - wrapped["at"] == pytest.approx(QUEUE["wrap_up_s"], abs=1)

        rang = [event for event in anna.events if event.type == "CALL_INCOMING"]
        assert len(rang) == 1
    events = stack.journal()
    of_call = [event for event in events if event["call_id"] == call_id]
    kinds = [event["kind"] for event in of_call]
    assert [kinds.count(kind) for kind in ("LegOffered", "QueueJoined", "OfferMade", "CallEnded")] == [1, 1, 1, 1]
    assert seen > joined["seq"]
    assert cdr["nodes"] == ["greeting", "language", "menu", "consent", "wait"]
    assert [offer["outcome"] for offer in cdr["offers"]] == ["answered"]
    assert [(c["granted"], c["digit"]) for c in cdr["consents"]] == [(True, "1")]
    assert cdr["wait_s"] == pytest.approx(talk["at"] - joined["at"], abs=0.1)
    [recording] = cdr["recordings"]
    seconds = await both_sides(stack, recording, ANNA_HZ, until_s=held["at"] - talk["at"])
    assert seconds == pytest.approx(cdr["talk_s"], abs=1.5)
    assert len(recordings_on_disk(stack.pop)) == 1


@HOW
async def test_controller_during_a_consultation(stack: Stack, kill: bool) -> None:
    async with AsyncExitStack() as phones:
        scene = Consulting(stack)
        await scene.begin(phones)
        call = Restarts(stack, scene.caller, kill)
        await scene.consult()
        await call.restart()
        await scene.private()
        await music(scene.caller)
        await scene.swap()
        await call.restart()
        await hear((scene.caller, {ANNA_HZ}), (scene.anna, {CALLER_HZ}))
        await scene.conference()
        await call.restart()
        await scene.hear({ANNA_HZ, scene.other[1]}, {CALLER_HZ, scene.other[1]}, {CALLER_HZ, ANNA_HZ})
        await scene.post("consult/complete")
        await scene.handed_over()
        cdr = await scene.finish()
    anna, boss = (stack.agents[name].agent_id for name in ("anna", "boss"))
    assert [(t["agent_id"], t["ended"]) for t in cdr["talks"]] == [(anna, "transferred"), (boss, None)]
    assert [(c["agent_id"], c["ended"]) for c in cdr["consultations"]] == [(boss, "completed")]
    assert all(not one["discarded"] and one["size_bytes"] > 0 for one in cdr["recordings"])


async def test_people_hang_up_while_there_is_no_controller(stack: Stack) -> None:
    async with stack.agent("anna", tone_hz=ANNA_HZ) as anna, stack.caller(tone_hz=CALLER_HZ) as caller:
        await stack.through_menu(caller)
        await stack.answer_consent(caller, "1")
        await stack.talking(caller)
        await hear((caller, {ANNA_HZ}), (anna, {CALLER_HZ}))
        call_id = await stack.call_id(caller)
        stack.controller.kill()
        await caller.hang_up()
        await caller.wait_for("CALL_CLOSED")
        stack.restart_controller()
        cdr = await stack.record(call_id)
        await anna.wait_for("CALL_CLOSED")
        await stack.event(
            "AgentChanged",
            state="IDLE",
            after=(await stack.event("AgentChanged", state="WRAP_UP"))["seq"],
            deadline_s=40,
        )
    assert (cdr["end_reason"], cdr["agent_id"]) == ("caller_hung_up", stack.agents["anna"].agent_id)
    [recording] = cdr["recordings"]
    assert await both_sides(stack, recording, ANNA_HZ) > 1


async def test_who_calls_while_there_is_no_controller_is_taken(stack: Stack) -> None:
    uri = f"sip:+491701234567@{stack.carrier.address}"
    async with Phone.start(stack.carrier, "caller", tone_hz=CALLER_HZ, uri=uri) as caller:
        stack.controller.kill()  # its lease runs on for some seconds, less than a phone may take to start
        await caller.dial(f"sip:{DID}@{stack.pop.address}:{stack.settings.sip_port}")
        await asyncio.to_thread(wait_until, stack.server.leftovers, 5, "the caller's leg")
        stack.restart_controller()
        await caller.wait_for("CALL_ESTABLISHED")
        await stack.at_node(caller, "greeting")
        await caller.hang_up()
        cdr = await stack.record(await stack.call_id(caller))
    assert cdr["nodes"] == ["greeting"]


@pytest.mark.parametrize("step", ["menu", "wait", "talk"])
async def test_media_server(stack: Stack, step: str) -> None:
    """Its calls are over, and say so; the agent, whose phone registers again, takes the next one."""
    async with AsyncExitStack() as before:
        await before.enter_async_context(stack.agent("anna", tone_hz=ANNA_HZ, available=step == "talk"))
        caller = await before.enter_async_context(stack.caller(tone_hz=CALLER_HZ))
        await caller.wait_for("CALL_ESTABLISHED")
        await stack.at_node(caller, "greeting")
        if step != "menu":
            await caller.send_digits("1")
            await stack.at_node(caller, "menu")
            await caller.send_digits("1")
            await stack.at_node(caller, "consent")
            await stack.answer_consent(caller, "1")
            await stack.at_node(caller, "wait")
        if step == "talk":
            await stack.talking(caller)
            await caller.hears(ANNA_HZ, deadline_s=15, for_s=SAVED_S)
        call_id = await stack.call_id(caller)
        stack.server.kill()
        stack.server.restart()
        cdr = await stack.record(call_id, deadline_s=30)
        assert cdr["cause"] in (38, 41)
        assert cdr["end_reason"] == "caller_hung_up"
    assert len(cdr["recordings"]) == (step == "talk")
    assert all(one["size_bytes"] > 0 for one in cdr["recordings"])
    await stack.synced()
    async with (
        stack.agent("anna", tone_hz=ANNA_HZ, reuse=True) as anna,
        stack.caller("again", cli="+491700000009" if step == "menu" else FIRST_CLI, tone_hz=CALLER_HZ) as caller,
    ):
        await stack.through_menu(caller)
        await stack.answer_consent(caller, "1")
        joined = await stack.event("QueueJoined", call_id=await stack.call_id(caller))
        # Who dials again has waited since the first call, who is new has not.
        assert (joined["asked"]["entered_at"] < joined["at"] - 1) == (step != "menu")
        await stack.talking(caller)
        await hear((caller, {ANNA_HZ}), (anna, {CALLER_HZ}))
        await caller.hang_up()
        await stack.record(await stack.call_id(caller))


async def test_both_at_once(stack: Stack) -> None:
    """As after a crash of the host: the record is closed, what was recorded is placed, nobody is stuck."""
    async with stack.agent("anna", tone_hz=ANNA_HZ), stack.caller(tone_hz=CALLER_HZ) as caller:
        await stack.through_menu(caller)
        await stack.answer_consent(caller, "1")
        await stack.talking(caller)
        await caller.hears(ANNA_HZ, deadline_s=15, for_s=SAVED_S)
        call_id = await stack.call_id(caller)
        stack.controller.kill()
        stack.server.kill()
        stack.server.restart()
        stack.restart_controller()
        cdr = await stack.record(call_id, deadline_s=30)
    assert cdr["recordings"][0]["size_bytes"] > 0
    wrapped = await stack.event("AgentChanged", state="WRAP_UP")
    await stack.event("AgentChanged", state="IDLE", after=wrapped["seq"], deadline_s=40)
    wait_until(lambda: not list((stack.pop.shm / "recordings").glob("*.raw")), 10, "captures placed")
