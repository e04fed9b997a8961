"""Somebody sets the clock of a POP's host, forward and back, while people wait and talk."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from dialplans.schema import Engine
from tests.lab.errors import wait_until
from tests.lab.flows import QUEUE_FLOW
from tests.lab.lab import Lab
from tests.lab.stack import Stack

STEP_S = 45
"""Asterisk counts how long no sound came by the system's clock: a step forward of more than 60 s ends its calls."""
SECONDS = 20
"""What a call of this test may take at most."""


@pytest.fixture
async def stack(lab: Lab, engine: Engine) -> AsyncIterator[Stack]:
    async with Stack.start(lab, engine=engine, flow=QUEUE_FLOW, own_clock=True) as started:
        yield started
        started.server.wait_idle()


async def test_a_step_of_the_clock_is_no_time_and_nobody_overtakes_by_it(stack: Stack) -> None:
    clock = stack.pop.clock
    assert clock is not None
    async with stack.caller("first", "+491701234561") as first:
        await first.wait_for("CALL_ESTABLISHED")
        await stack.event("QueueJoined", call_id=await stack.call_id(first))
        clock.step(STEP_S)
        await stepped(stack, f"+{STEP_S}")
        clock.step(-2 * STEP_S)
        await stepped(stack, f"-{2 * STEP_S}")
        async with stack.caller("second", "+491701234562") as second:
            # By the clock on the wall the second came before the first.
            await second.wait_for("CALL_ESTABLISHED")
            await stack.event("QueueJoined", call_id=await stack.call_id(second))
            async with stack.agent("anna"):
                await stack.talking(first)
                clock.step(STEP_S)
                await first.hang_up()
                cdr = await stack.record(await stack.call_id(first))
                await stack.talking(second)
                await second.hang_up()
                other = await stack.record(await stack.call_id(second))
    for record in (cdr, other):
        assert 0 <= record["talk_s"] < SECONDS
        assert 0 < record["wait_s"] < SECONDS
        assert record["offered_at"] < record["talk_started_at"] < record["ended_at"]
    assert cdr["queued_at"] < other["queued_at"]


async def stepped(stack: Stack, by: str) -> None:
    """The controller has said so; and it takes calls, which the lease is for: it runs by the same clock."""
    clock = stack.pop.clock
    assert clock is not None

    def seen() -> bool:
        held = stack.server.lease() - (time.time() + clock.offset_s)
        return f"clock was set {by}" in stack.controller.log_text() and 0 < held < 6

    await asyncio.to_thread(wait_until, seen, 10, f"the step by {by} s to be seen", stack.logs)
