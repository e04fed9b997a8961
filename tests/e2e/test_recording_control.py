"""What people do to a recording under way, judged by its samples and by what is on the POP's disk afterwards."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator

import numpy as np
import pytest
import soundfile

from dialplans.schema import Engine
from tests.lab.errors import wait_until
from tests.lab.lab import Lab
from tests.lab.phone import Phone
from tests.lab.stack import Stack, recordings_on_disk

CALLER_HZ, AGENT_HZ = 1100, 600
PART_S = 2.0
AUDIBLE = 0.01


@pytest.fixture
async def stack(lab: Lab, engine: Engine) -> AsyncIterator[Stack]:
    async with Stack.start(lab, engine=engine) as started:
        yield started
        started.server.wait_idle()


async def begin(stack: Stack, anna: Phone, caller: Phone) -> str:
    """They talk, and are recorded."""
    await stack.through_menu(caller)
    await stack.answer_consent(caller, "1")
    await anna.wait_for("CALL_ESTABLISHED", deadline_s=30)
    await stack.talking(caller)
    call_id = await stack.call_id(caller)
    await stack.event("RecordingStarted", call_id=call_id)
    return call_id


async def more(phone: Phone) -> None:
    """Until the phone has heard so much more."""
    samples, rate = phone.heard()
    enough = len(samples) + PART_S * rate
    await asyncio.to_thread(wait_until, lambda: len(phone.heard()[0]) >= enough, 15, f"{phone.name} to hear more")


async def test_a_pause_by_the_agent_is_silence_in_the_file(stack: Stack) -> None:
    async with stack.agent("anna", tone_hz=AGENT_HZ) as anna, stack.caller(tone_hz=CALLER_HZ) as caller:
        call_id = await begin(stack, anna, caller)
        await more(caller)
        await anna.send_digits("*0")
        await stack.event("RecordingPaused", call_id=call_id)
        await more(caller)
        await stack.api.post(f"calls/{call_id}/recording/resume")
        await stack.event("RecordingResumed", call_id=call_id)
        await more(caller)
        await caller.hang_up()
        cdr = await stack.record(call_id)
    [recording] = cdr["recordings"]
    assert recording["pauses"] == 1
    wav = await stack.api.download(f"recordings/{recording['recording_id']}/content")
    samples, rate = soundfile.read(io.BytesIO(wav))
    tenth = rate // 10
    loud = [
        tuple(bool(np.abs(part[:, side]).max() > AUDIBLE) for side in (0, 1))
        for part in (samples[at : at + tenth] for at in range(0, len(samples) - tenth, tenth))
    ]
    # Talk, the pause, talk again: each of them as long as it was, but for what a media server keeps in its hands.
    quiet = [number for number, part in enumerate(loud) if part == (False, False)]
    assert len(quiet) >= 10 * (PART_S - 0.7)
    begin_at, end_at = quiet[len(quiet) // 4], quiet[3 * len(quiet) // 4]
    assert all(part == (False, False) for part in loud[begin_at:end_at])
    assert loud[: begin_at - 5].count((True, True)) >= 10
    assert loud[end_at + 5 :].count((True, True)) >= 5


async def test_who_withdraws_by_key_leaves_no_file(stack: Stack) -> None:
    async with stack.agent("anna", tone_hz=AGENT_HZ) as anna, stack.caller(tone_hz=CALLER_HZ) as caller:
        call_id = await begin(stack, anna, caller)
        await more(caller)
        assert len(recordings_on_disk(stack.pop)) == 1
        await caller.send_digits("*0")
        await stack.event("RecordingEnded", call_id=call_id)
        assert recordings_on_disk(stack.pop) == []
        await more(caller)  # the conversation goes on
        assert recordings_on_disk(stack.pop) == []
        await caller.hang_up()
        cdr = await stack.record(call_id)
    assert [(one["granted"], one["reason"]) for one in cdr["consents"]] == [(True, None), (False, "withdrawn")]
    assert [one["discarded"] for one in cdr["recordings"]] == [True]
    assert recordings_on_disk(stack.pop) == []
