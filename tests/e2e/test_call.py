"""Calls from a SIP carrier through the real media server to agents' phones, judged by samples, messages and REST."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path

import pytest
import soundfile

from dialplans.schema import Engine
from tests.lab.audio import contains_tone, tone_level_db
from tests.lab.errors import wait_until
from tests.lab.lab import Lab
from tests.lab.sipp import Sipp
from tests.lab.stack import OVERFLOW, Stack, recordings_on_disk

CALLER_HZ, AGENT_HZ = 1000, 600
ABSENT_DB = -50.0
COMMAND = Path(sys.executable).with_name("callplane")


@pytest.fixture
async def stack(lab: Lab, engine: Engine) -> AsyncIterator[Stack]:
    """A stack of its own for every test, which must leave nothing in the media server."""
    async with Stack.start(lab, engine=engine) as started:
        yield started
        started.server.wait_idle()


@pytest.mark.parametrize("called", ["0305550100", "+49305550100"])
async def test_the_call(stack: Stack, called: str) -> None:
    async with stack.agent("anna", tone_hz=AGENT_HZ) as anna, stack.caller(called=called, tone_hz=CALLER_HZ) as caller:
        await stack.through_menu(caller)
        await stack.answer_consent(caller, "1")
        await anna.wait_for("CALL_ESTABLISHED", deadline_s=30)
        talk = await stack.talking(caller)
        await caller.hears(AGENT_HZ, deadline_s=10)
        await anna.hears(CALLER_HZ, deadline_s=10)
        state = await stack.event("AgentChanged", state="ON_CALL")
        assert state["agent_id"] == talk["agent_id"]
        await caller.hang_up()
        cdr = await stack.record(await stack.call_id(caller))
        await anna.wait_for("CALL_CLOSED")

    assert (cdr["did"], cdr["cli"], cdr["language"]) == ("+49305550100", "+491701234567", "de")
    assert cdr["nodes"] == ["greeting", "language", "menu", "consent", "wait"]
    assert (cdr["end_reason"], cdr["agent_id"]) == ("caller_hung_up", stack.agents["anna"].agent_id)
    [consent] = cdr["consents"]
    assert (consent["granted"], consent["regime"], consent["digit"]) == (True, "opt_in", "1")
    assert len(consent["prompt_sha256"]) == 64
    assert consent["played_ms"] > 2000

    [recording] = cdr["recordings"]
    wav = await stack.api.download(f"recordings/{recording['recording_id']}/content")
    assert len(wav) == recording["size_bytes"]
    samples, rate = soundfile.read(io.BytesIO(wav))
    assert samples.shape[1] == 2
    left, right = samples[:, 0], samples[:, 1]
    assert contains_tone(left, rate, CALLER_HZ)
    assert contains_tone(right, rate, AGENT_HZ)
    assert tone_level_db(left, rate, AGENT_HZ) < ABSENT_DB
    assert tone_level_db(right, rate, CALLER_HZ) < ABSENT_DB
    # What rests at the POP is sealed, and nothing else of it is there.
    [at_rest] = recordings_on_disk(stack.pop)
    sealed = at_rest.read_bytes()
    assert (at_rest.name, sealed[:8]) == (f"{recording['recording_id']}.sealed", b"CPSEALED")
    assert wav[20_000:20_064] not in sealed
    part = await stack.api.download(f"recordings/{recording['recording_id']}/content", {"Range": "bytes=20000-20063"})
    assert part == wav[20_000:20_064]
    # The agent went through wrap-up and is idle again.
    agent = stack.agents["anna"].agent_id
    wrapped = await stack.event("AgentChanged", agent_id=agent, state="WRAP_UP")
    await stack.event("AgentChanged", agent_id=agent, state="IDLE", after=wrapped["seq"])
    # And the journal, run again, gives the same decisions.
    journal = str(stack.pop.state_dir / "controller" / "journal.sqlite")
    replay = await asyncio.create_subprocess_exec(COMMAND, "replay", journal, "--json", stdout=PIPE)
    said = json.loads((await replay.communicate())[0])
    assert (replay.returncode, said["same"], said["offers"]) == (0, True, 1), said["difference"]


async def test_english_and_barge_in(stack: Stack) -> None:
    async with stack.caller() as caller:
        await caller.wait_for("CALL_ESTABLISHED")
        await stack.at_node(caller, "greeting")
        await caller.send_digits("2")
        await stack.at_node(caller, "menu")
        call_id = await stack.call_id(caller)
        cut = await stack.event("PlayEnded", call_id=call_id)
        assert cut["completed"] is False
        assert cut["played_ms"] < 2500
        await caller.hang_up()
        assert (await stack.record(call_id))["language"] == "en"


async def test_caller_hangs_up_in_each_step(stack: Stack) -> None:
    steps = ["greeting", "language", "menu", "consent", "wait"]
    for number, step in enumerate(steps):
        async with stack.caller(f"caller{number}", cli=f"+4917000000{number:02}") as caller:
            await caller.wait_for("CALL_ESTABLISHED")
            await stack.at_node(caller, "greeting")
            if step == "language":
                await stack.at_node(caller, "language")
            elif step != "greeting":
                await caller.send_digits("1")
                await stack.at_node(caller, "menu")
            if step in ("consent", "wait"):
                await caller.send_digits("1")
                await stack.at_node(caller, "consent")
            if step == "wait":
                await caller.send_digits("2")
                await stack.at_node(caller, "wait")
                await stack.event("QueueJoined", call_id=await stack.call_id(caller))
            await caller.hang_up()
            cdr = await stack.record(await stack.call_id(caller))
            assert (cdr["nodes"][-1], cdr["end_reason"]) == (step, "caller_hung_up")
            assert cdr["abandoned"] == (step == "wait")
    assert recordings_on_disk(stack.pop) == []


async def test_caller_hangs_up_while_the_agents_phone_rings(stack: Stack) -> None:
    async with stack.agent("anna", auto=False) as anna, stack.caller() as caller:
        await stack.through_menu(caller)
        await caller.send_digits("2")
        await anna.wait_for("CALL_INCOMING", deadline_s=30)
        await caller.hang_up()
        await anna.wait_for("CALL_CLOSED")
        cdr = await stack.record(await stack.call_id(caller))
        assert [offer["outcome"] for offer in cdr["offers"]] == ["caller_gone"]


async def test_rona(stack: Stack) -> None:
    """The first agent does not answer: the caller keeps the place before a later one, and the next agent rings."""
    async with AsyncExitStack() as phones:
        anna = await phones.enter_async_context(stack.agent("anna", auto=False))
        first = await phones.enter_async_context(stack.caller("first", cli="+491700000001"))
        await stack.through_menu(first)
        await first.send_digits("2")
        await anna.wait_for("CALL_INCOMING", deadline_s=30)
        second = await phones.enter_async_context(stack.caller("second", cli="+491700000002"))
        await stack.through_menu(second)
        await second.send_digits("2")
        joined = await stack.event("QueueJoined", call_id=await stack.call_id(second))
        assert joined["position"] == 2
        rona = await stack.event("AgentChanged", status="NOT_READY", reason="RONA")
        assert rona["agent_id"] == stack.agents["anna"].agent_id
        bela = await phones.enter_async_context(stack.agent("bela"))
        await bela.wait_for("CALL_ESTABLISHED", deadline_s=30)
        assert (await stack.talking(first))["agent_id"] == stack.agents["bela"].agent_id
        await first.hang_up()
        await stack.talking(second)
        await second.hang_up()
        cdr = await stack.record(await stack.call_id(first))
        assert [offer["outcome"] for offer in cdr["offers"]] == ["no_answer", "answered"]
        await stack.record(await stack.call_id(second))


async def test_agent_busy(stack: Stack) -> None:
    async with (
        stack.agent("anna", auto=False) as anna,
        stack.agent("bela", available=False) as bela,
        stack.caller() as caller,
    ):
        await stack.through_menu(caller)
        await caller.send_digits("2")
        await anna.wait_for("CALL_INCOMING", deadline_s=30)
        await anna.reject()
        await stack.event("AgentChanged", reason="BUSY")
        await stack.status("bela", "AVAILABLE")
        await bela.wait_for("CALL_ESTABLISHED", deadline_s=10)
        await stack.talking(caller)
        await bela.hang_up()
        cdr = await stack.record(await stack.call_id(caller))
        assert [offer["outcome"] for offer in cdr["offers"]] == ["busy", "answered"]
        assert cdr["end_reason"] == "agent_hung_up"


async def test_no_agent(stack: Stack) -> None:
    """Music, and the position announced again and again."""
    async with stack.caller() as caller:
        await stack.through_menu(caller)
        await caller.send_digits("2")
        call_id = await stack.call_id(caller)
        waits = await stack.at_node(caller, "wait")
        told = await stack.event("PositionTold", call_id=call_id, deadline_s=40, position=1)
        music = [e for e in stack.journal() if e["kind"] == "PlayEnded" and waits < e["seq"] < told["seq"]]
        heard, rate = caller.heard(last_s=5)
        assert abs(heard).max() > 0.01, f"silence instead of music ({rate} Hz, {len(music)} plays)"
        await stack.event("PlayEnded", after=told["seq"], call_id=call_id, completed=True)
        await caller.hang_up()
        cdr = await stack.record(call_id)
        assert cdr["abandoned"]
        assert cdr["wait_s"] > 10


async def test_wrong_digit_three_times(stack: Stack) -> None:
    async with stack.caller() as caller:
        await caller.wait_for("CALL_ESTABLISHED")
        await stack.at_node(caller, "greeting")
        await caller.send_digits("1")
        await stack.at_node(caller, "menu")
        call_id = await stack.call_id(caller)
        for tries in range(1, 4):
            await caller.send_digits("9")
            await stack.event("DigitPressed", tries, call_id=call_id, digit="9")
        await caller.wait_for("CALL_CLOSED", deadline_s=20)
        cdr = await stack.record(call_id)
        assert (cdr["nodes"][-1], cdr["end_reason"]) == ("goodbye", "flow_ended")


async def test_consent_refused_leaves_no_file(stack: Stack) -> None:
    async with stack.agent("anna") as anna, stack.caller() as caller:
        await stack.through_menu(caller)
        await caller.send_digits("2")
        await anna.wait_for("CALL_ESTABLISHED", deadline_s=30)
        await stack.talking(caller)
        assert recordings_on_disk(stack.pop) == []
        await caller.hears(AGENT_HZ, deadline_s=10)
        assert recordings_on_disk(stack.pop) == []
        await caller.hang_up()
        cdr = await stack.record(await stack.call_id(caller))
    assert [(c["granted"], c["reason"]) for c in cdr["consents"]] == [(False, "digit")]
    assert cdr["recordings"] == []
    assert recordings_on_disk(stack.pop) == []
    assert await stack.api.items("recordings") == []


async def test_two_calls_at_once(stack: Stack) -> None:
    async with (
        stack.agent("anna", tone_hz=500) as anna,
        stack.agent("bela", tone_hz=700) as bela,
        stack.caller("one", cli="+491700000001", tone_hz=1100) as one,
        stack.caller("two", cli="+491700000002", tone_hz=1300) as two,
    ):
        await asyncio.gather(stack.through_menu(one), stack.through_menu(two))
        await asyncio.gather(one.send_digits("2"), two.send_digits("2"))
        talks = await asyncio.gather(stack.talking(one), stack.talking(two))
        agents = {stack.agents["anna"].agent_id: (anna, 500), stack.agents["bela"].agent_id: (bela, 700)}
        assert {talk["agent_id"] for talk in talks} == set(agents)
        for caller, hz, talk in ((one, 1100, talks[0]), (two, 1300, talks[1])):
            phone, agent_hz = agents[talk["agent_id"]]
            await caller.hears(agent_hz, deadline_s=10)
            await phone.hears(hz, deadline_s=10)
        await asyncio.gather(one.hang_up(), two.hang_up())
        for caller in (one, two):
            await stack.record(await stack.call_id(caller))


async def test_without_controller_the_overflow_number_is_dialled(stack: Stack) -> None:
    stack.controller.kill()
    wait_until(stack.lease_is_over, 15, "the controller's lease to run out")
    with Sipp.agents(stack.carrier, ring_ms=100, talk_ms=None, port=5060, echo=True, trace=True) as overflow:
        async with stack.caller(tone_hz=CALLER_HZ) as caller:
            await caller.wait_for("CALL_ESTABLISHED")
            await caller.hears(CALLER_HZ, deadline_s=20)  # the overflow echoes what it hears
            assert f"To: <sip:{OVERFLOW}@" in overflow.messages()
            await caller.hang_up()
            await caller.wait_for("CALL_CLOSED")
    # A controller that is back takes the next call.
    stack.restart_controller()
    wait_until(lambda: not stack.lease_is_over(), 15, "the new controller's lease")
    async with stack.caller(cli="+491700000002") as caller:
        await stack.at_node(caller, "greeting")
        await caller.hang_up()
        await stack.record(await stack.call_id(caller))


async def test_cdr_times_are_in_order(stack: Stack) -> None:
    async with stack.agent("anna"), stack.caller() as caller:
        await stack.through_menu(caller)
        await caller.send_digits("2")
        await stack.talking(caller)
        await caller.hang_up()
        cdr = await stack.record(await stack.call_id(caller))
    order = ["offered_at", "answered_at", "queued_at", "talk_started_at", "ended_at"]
    times = [datetime.fromisoformat(cdr[name]) for name in order]
    assert times == sorted(times)
    assert cdr["talk_s"] == pytest.approx((times[-1] - times[-2]).total_seconds(), abs=0.01)
