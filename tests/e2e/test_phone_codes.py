"""What agents key in while they talk, and dial at their phones: done on real servers, and heard where it can be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from dialplans.schema import Engine
from tests.e2e.test_consultation import Consulting, music
from tests.e2e.test_supervision import ANNA_HZ, BOSS_HZ, CALLER_HZ, Scene, hear
from tests.lab.errors import wait_until
from tests.lab.lab import Lab
from tests.lab.phone import Phone
from tests.lab.stack import Stack

WRAP_UP_S = 4


@pytest.fixture
async def stack(lab: Lab, engine: Engine) -> AsyncIterator[Stack]:
    queue = {"wrap_up_s": WRAP_UP_S}
    async with Stack.start(lab, engine=engine, queue=queue) as started:
        yield started
        started.server.wait_idle()


async def goes_on(phone: Phone, seconds: float) -> None:
    """Wait until the phone's call has gone on for so long, by what it heard."""
    before = len(phone.heard()[0])

    def longer() -> bool:
        samples, rate = phone.heard()
        return len(samples) - before > seconds * rate

    await asyncio.to_thread(wait_until, longer, seconds + 10, f"{seconds} s more at {phone.name}")


async def dial(stack: Stack, phone: Phone, code: str) -> None:
    await phone.dial(f"sip:{code}@{stack.pop.address}:{stack.settings.sip_port}")


async def test_hold_cancel_complete_and_blind_transfer_by_keys(stack: Stack) -> None:
    """``*1`` twice, ``*3`` and ``*7``, ``*3`` and ``*5``, and from there ``*2`` back to the first agent."""
    async with AsyncExitStack() as phones:
        scene = Consulting(stack)
        await scene.begin(phones)
        caller, anna, boss = scene.caller, scene.anna, scene.boss
        await anna.send_digits("*1")
        await stack.event("HoldStarted", call_id=scene.call_id)
        await hear((anna, set()))
        await music(caller)
        await anna.send_digits("*1")
        await hear((caller, {ANNA_HZ}), (anna, {CALLER_HZ}))
        await scene.consult("*3102#")
        await anna.send_digits("*7")
        await boss.wait_for("CALL_CLOSED")
        await hear((caller, {ANNA_HZ}), (anna, {CALLER_HZ}))
        await scene.consult("*3102#")
        await anna.send_digits("*5")
        await scene.handed_over()
        wrapped = await stack.event("AgentChanged", agent_id=stack.agents["anna"].agent_id, state="WRAP_UP")
        await scene.idle("anna", wrapped["seq"])
        await boss.send_digits("*2101#")
        await boss.wait_for("CALL_CLOSED")
        await hear((caller, {ANNA_HZ}), (anna, {CALLER_HZ}))
        cdr = await scene.finish()
        # Who keyed a number is in no journal but by what was asked.
        assert not [e for e in stack.journal() if e["kind"] == "DigitPressed" and e["digit"] == "*"]
    anna_id, boss_id = (stack.agents[name].agent_id for name in ("anna", "boss"))
    assert [(t["agent_id"], t["ended"]) for t in cdr["talks"]] == [
        (anna_id, "transferred"),
        (boss_id, "transferred"),
        (anna_id, None),
    ]
    assert [c["ended"] for c in cdr["consultations"]] == ["cancelled", "completed"]


async def test_whisper_barge_and_take_over_by_code(stack: Stack) -> None:
    """``*22`` is heard by the agent and not by the caller, ``*23`` by both, ``*24`` leaves the first agent out."""
    async with AsyncExitStack() as phones:
        scene = Scene(stack)
        await scene.begin(phones)
        caller, anna, boss = scene.caller, scene.anna, scene.boss
        for code, caller_hears in (("*22101", {ANNA_HZ}), ("*23101", {ANNA_HZ, BOSS_HZ})):
            seen = stack.journal()[-1]["seq"]
            await dial(stack, boss, code)
            await hear((caller, caller_hears), (anna, {CALLER_HZ, BOSS_HZ}), (boss, {CALLER_HZ, ANNA_HZ}))
            await boss.hang_up()
            await scene.idle("boss", seen)
            await hear((caller, {ANNA_HZ}), (anna, {CALLER_HZ}))
        await dial(stack, boss, "*24101")
        await anna.wait_for("CALL_CLOSED", deadline_s=20)
        await hear((caller, {BOSS_HZ}), (boss, {CALLER_HZ}))
        cdr = await scene.finish()
    assert [s["modes"] for s in cdr["supervisions"]] == [["whisper"], ["barge"], ["listen"]]
    assert [t["ended"] for t in cdr["talks"]] == ["taken_over", None]


async def test_who_talks_is_not_rung_and_wrap_up_is_kept_lengthened_and_ended(stack: Stack) -> None:
    """Two callers wait for the one agent. The second is offered after the wrap-up and not before; the third, whose turn
    ``*15`` puts off by a minute, as soon as ``*14`` says so."""
    async with AsyncExitStack() as phones:
        anna = await phones.enter_async_context(stack.agent("anna", tone_hz=ANNA_HZ))
        agent_id = stack.agents["anna"].agent_id
        callers = []
        for number in range(3):
            cli = f"+49170123450{number}"
            caller = await phones.enter_async_context(stack.caller(f"caller{number}", cli=cli, tone_hz=CALLER_HZ))
            await stack.through_menu(caller)
            await caller.send_digits("2")
            callers.append(caller)
        calls = [await stack.call_id(caller) for caller in callers]
        await hear((callers[0], {ANNA_HZ}))
        for call_id in calls[1:]:
            await stack.event("QueueJoined", call_id=call_id)
        await hear((anna, {CALLER_HZ}))  # for a second more, with two callers in the queue
        await callers[0].hang_up()
        wrapped = await stack.event("AgentChanged", agent_id=agent_id, state="WRAP_UP")
        offered = await stack.event("OfferMade", call_id=calls[1])
        assert offered["at"] - wrapped["at"] > WRAP_UP_S - 0.1
        await hear((callers[1], {ANNA_HZ}))
        await callers[1].hang_up()
        wrapped = await stack.event("AgentChanged", 2, agent_id=agent_id, state="WRAP_UP")
        await dial(stack, anna, "*15")
        await stack.event("FeatureDialled", code="*15")
        await anna.wait_for("CALL_CLOSED")
        await goes_on(callers[2], WRAP_UP_S + 1)
        waiting = await stack.api.get(f"calls/{calls[2]}/wait?agent_id={agent_id}")
        await dial(stack, anna, "*14")
        offered = await stack.event("OfferMade", call_id=calls[2])
        assert [reason["because"] for reason in waiting["agent"]] == ["wrap_up"]
        assert offered["at"] - wrapped["at"] > WRAP_UP_S, "or it was not lengthened"
        ended = await stack.event("FeatureDialled", code="*14")
        assert 0 <= offered["at"] - ended["at"] < 20
        await hear((callers[2], {ANNA_HZ}), deadline_s=20)
        await callers[2].hang_up()
        await stack.record(calls[2])
    # She was idle before each of her three offers.
    states = [e["state"] for e in stack.journal() if e["kind"] == "AgentChanged" and e["agent_id"] == agent_id]
    before = [states[n - 1] for n, state in enumerate(states) if state == "RESERVED"]
    assert before == ["IDLE"] * 3
