"""The disk of recordings under way fills while a call is recorded: a real file system of two megabytes."""

from __future__ import annotations

import contextlib
import io
from collections.abc import AsyncIterator
from typing import Any

import pytest
import soundfile

from dialplans.schema import Engine
from tests.e2e.test_recording_control import AGENT_HZ, CALLER_HZ, more
from tests.lab.audio import contains_tone
from tests.lab.errors import wait_until
from tests.lab.flows import QUEUE_FLOW
from tests.lab.lab import Lab
from tests.lab.phone import Phone
from tests.lab.programs import POP_ID
from tests.lab.stack import Stack

FULL = "ALARM the disk of recordings under way is full"
RESERVE = {"CALLPLANE_POP_RECORDING_RESERVE_MB": "1"}
DID = "+442079460100"
"""Callers of it are told that the call is recorded, and need not answer."""
TOLD = {"start": "told", "nodes": QUEUE_FLOW["nodes"] | {"told": {"type": "consent", "next": "wait"}}}


@pytest.fixture
async def stack(lab: Lab, engine: Engine) -> AsyncIterator[Stack]:
    async with Stack.start(lab, engine=engine, flow=QUEUE_FLOW | TOLD, small_disk="2m", more_env=RESERVE) as started:
        did = {"number": DID, "pop_id": POP_ID, "flow_id": "main", "country": "GB", "region": "eu"}
        await started.api.post("dids", did | {"language": "de", "time_zone": "Europe/London"})
        yield started
        started.server.wait_idle()


@contextlib.asynccontextmanager
async def conversation(stack: Stack, number: int) -> AsyncIterator[tuple[Phone, str]]:
    cli = f"+4420794602{number:02}"
    async with stack.caller(f"caller{number}", cli, DID, CALLER_HZ) as caller:
        await stack.talking(caller)
        yield caller, await stack.call_id(caller)


async def over(stack: Stack, caller: Phone, call_id: str) -> list[dict[str, Any]]:
    """They still hear each other; the recordings of the call when it has ended."""
    await more(caller)
    await caller.hears(AGENT_HZ)
    await caller.hang_up()
    recordings: list[dict[str, Any]] = (await stack.record(call_id))["recordings"]
    return recordings


async def has_both_sides(stack: Stack, recordings: list[dict[str, Any]]) -> None:
    [recording] = recordings
    wav = await stack.api.download(f"recordings/{recording['recording_id']}/content")
    samples, rate = soundfile.read(io.BytesIO(wav))
    assert len(samples) > rate / 2
    assert contains_tone(samples[:, 0], rate, CALLER_HZ)
    assert contains_tone(samples[:, 1], rate, AGENT_HZ)


async def test_the_recording_ends_and_says_so_and_the_call_goes_on(stack: Stack) -> None:
    other, log = f"{stack.settings.recording_dir}/other", stack.controller.log_text
    # All but a second or two of what there is before the reserve is taken by something else.
    stack.pop.run(["fallocate", "-l", "950000", other], rootfs=False)
    await stack.add_agent("anna", country="GB")
    async with stack.agent("anna", tone_hz=AGENT_HZ, reuse=True):
        async with conversation(stack, 1) as (caller, call_id):
            stopped = await stack.event("RecordingStopAsked", call_id=call_id, by="disk_full")
            await stack.event("RecordingEnded", call_id=call_id, after=stopped["seq"])
            assert f"{FULL}: 1 were stopped" in log()
            await has_both_sides(stack, await over(stack, caller, call_id))

        # Full, whoever fills it: nothing begins.
        stack.pop.run(["fallocate", "-l", "1500000", other], rootfs=False)
        wait_until(lambda: log().count(FULL) == 2, 10, "the next alarm")
        async with conversation(stack, 2) as (caller, call_id):
            assert await over(stack, caller, call_id) == []
        assert "is not made: the disk of recordings under way is full" in log()

        stack.pop.run(["rm", other], rootfs=False)
        wait_until(lambda: "there is room for recordings again" in log(), 10, "room again")
        async with conversation(stack, 3) as (caller, call_id):
            await has_both_sides(stack, await over(stack, caller, call_id))
