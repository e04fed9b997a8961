"""Consultation of a queue and of an outside number on real phones, judged by the samples each of them received."""

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
from tests.e2e.test_outside import NUMBER, answered
from tests.e2e.test_supervision import ANNA_HZ, BOSS_HZ, CALLER_HZ, hear
from tests.lab.api import ApiProblem
from tests.lab.audio import BLOCK_S, PRESENT_DB, tone_level_db
from tests.lab.errors import wait_until
from tests.lab.lab import Lab
from tests.lab.phone import Phone
from tests.lab.stack import DID, Stack

RINGING_HZ = 425
OUTSIDE_HZ = BOSS_HZ  # one of those that ``hear`` knows; Boss has no call here


@pytest.fixture
async def stack(lab: Lab, engine: Engine) -> AsyncIterator[Stack]:
    async with Stack.start(lab, engine=engine) as started:
        yield started
        started.server.wait_idle()


async def ringing(phone: Phone) -> None:
    """Wait until a quarter of a second of the ringing tone has come since now."""
    before = len(phone.heard()[0])

    def rings() -> bool:
        samples, rate = phone.heard()
        new, block = samples[before:], round(BLOCK_S * rate)
        blocks = (new[at : at + block] for at in range(0, len(new) - block, block // 2))
        return any(tone_level_db(one, rate, RINGING_HZ) >= PRESENT_DB for one in blocks)

    await asyncio.to_thread(wait_until, rings, 10, f"the ringing tone at {phone.name}")


async def test_an_outside_number(stack: Stack) -> None:
    """By keys, in vain; over REST, swapped, in a conference, and handed over."""
    async with AsyncExitStack() as phones:
        uri = f"sip:{NUMBER}@{stack.carrier.address}"
        far = await phones.enter_async_context(
            Phone.start(stack.carrier, "outside", uri=uri, tone_hz=OUTSIDE_HZ, port=5060)
        )
        scene = Consulting(stack)
        await scene.begin(phones)
        scene.other = (far, OUTSIDE_HZ)
        with pytest.raises(ApiProblem) as refused:
            await scene.post("consult", number="112")
        assert refused.value.status == 422
        await scene.anna.send_digits("*80305550777#")
        await far.wait_for("CALL_INCOMING")
        await ringing(scene.anna)
        await music(scene.caller)
        await far.reject()
        await hear((scene.caller, {ANNA_HZ}), (scene.anna, {CALLER_HZ}))
        await scene.post("consult", number="030 5550777")
        assert DID in await answered(far)
        await scene.private()
        await music(scene.caller)
        await scene.swap()
        await scene.post("consult/swap")
        await scene.private()
        await scene.conference()
        running = {e["recording_id"] for e in stack.journal() if e["kind"] == "RecordingStarted"}
        assert running == {e["recording_id"] for e in stack.journal() if e["kind"] == "RecordingEnded"}
        await scene.post("consult/complete")
        await scene.anna.wait_for("CALL_CLOSED")
        await hear((scene.caller, {OUTSIDE_HZ}), (far, {CALLER_HZ}))
        await far.hang_up()
        cdr = await stack.record(scene.call_id)
    assert [(c["agent_id"], c["number"], c["ended"]) for c in cdr["consultations"]] == [
        (None, NUMBER, "not_answered"),
        (None, NUMBER, "completed"),
    ]
    assert [(f["why"], f["outcome"], f["answered_at"] is not None) for f in cdr["forwards"]] == [
        ("consultation", "busy", False),
        ("consultation", "answered", True),
    ]
    assert (cdr["end_reason"], [t["ended"] for t in cdr["talks"]]) == ("outside_hung_up", ["transferred"])
    # Anna; Anna after the first consultation; swapped to the caller.
    assert [(r["discarded"], r["size_bytes"] > 0) for r in cdr["recordings"]] == [(False, True)] * 3
    for recording in cdr["recordings"]:
        await nothing_of(stack, recording, OUTSIDE_HZ)


async def nothing_of(stack: Stack, recording: dict[str, Any], hz: int) -> None:
    wav = await stack.api.download(f"recordings/{recording['recording_id']}/content")
    samples, rate = soundfile.read(io.BytesIO(wav))
    block = round(BLOCK_S * rate)
    levels = [
        tone_level_db(samples[at : at + block, side], rate, hz)
        for side in (0, 1)
        for at in range(0, len(samples) - block, block)
    ]
    assert max(levels) < PRESENT_DB, "what was said outside was recorded"
    assert np.abs(samples).max() > 0.01


async def test_a_queue(stack: Stack) -> None:
    """Music while it has nobody, ringing once somebody is rung; cancelled, and again by keys, and handed over."""
    billing = {
        "queue_id": "billing",
        "name": "Billing",
        "skills": {"billing": 1},
        "ring_timeout_s": 15,
        "wrap_up_s": 1,
        "extension": "500",
    }
    await stack.api.post("queues", billing)
    bela = await stack.add_agent("bela", skills={"billing": 3})
    await stack.synced()
    async with AsyncExitStack() as phones:
        scene = Consulting(stack)
        await scene.begin(phones)
        second = await phones.enter_async_context(
            stack.agent("bela", tone_hz=BOSS_HZ, auto=False, available=False, reuse=True)
        )
        scene.other = (second, BOSS_HZ)
        await scene.post("consult", queue_id="billing")
        await music(scene.anna)
        await music(scene.caller)
        await stack.status("bela", "AVAILABLE")
        await second.wait_for("CALL_INCOMING")
        await ringing(scene.anna)
        await second.answer()
        await scene.private()
        await scene.swap()
        await scene.post("consult/cancel")
        await second.wait_for("CALL_CLOSED")
        await hear((scene.caller, {ANNA_HZ}), (scene.anna, {CALLER_HZ}))
        wrapped = await stack.event("AgentChanged", agent_id=bela.agent_id, state="WRAP_UP")
        await scene.idle("bela", wrapped["seq"])
        await scene.anna.send_digits("*3500#")
        await second.wait_for("CALL_INCOMING")
        await second.answer()
        await scene.private()
        await scene.post("consult/complete")
        await scene.handed_over()
        await stack.event("RecordingStarted", 3, call_id=scene.call_id)
        cdr = await scene.finish()
    anna = stack.agents["anna"].agent_id
    assert [(t["agent_id"], t["queue_id"], t["ended"]) for t in cdr["talks"]] == [
        (anna, "support", "transferred"),
        (bela.agent_id, "billing", None),
    ]
    assert [(c["agent_id"], c["queue_id"], c["ended"]) for c in cdr["consultations"]] == [
        (bela.agent_id, "billing", "cancelled"),
        (bela.agent_id, "billing", "completed"),
    ]
    assert cdr["queue_id"] == "billing"
