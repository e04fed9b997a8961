"""Two POPs that both reach the bus, and whose calls do not reach each other: on two real media servers."""

from __future__ import annotations

import contextlib

import pytest

from dialplans.schema import Engine
from tests.e2e.test_moving_agent import AGENT_HZ, dials
from tests.lab.flows import QUEUE_FLOW
from tests.lab.lab import Lab
from tests.lab.second_pop import two_pops
from tests.support.freeswitch import freeswitch_or_skip


@pytest.mark.timeout(300)  # two of everything
@pytest.mark.parametrize("engine", ["asterisk", "freeswitch"])
async def test_callers_who_cannot_be_given_the_agent_hold_up_nobody(engine: Engine, lab: Lab) -> None:
    """They came first, and the only agent is at the POP that their calls do not reach."""
    if engine == "freeswitch":
        freeswitch_or_skip()
    async with (
        two_pops(lab, flow=QUEUE_FLOW, engines=(engine, engine)) as (stack, second),
        contextlib.AsyncExitStack() as people,
    ):
        await second.backs_up()  # it has the number, too
        first, following = [await people.enter_async_context(dials(stack, stack.pop.address, n)) for n in (1, 2)]
        await stack.event("QueueJoined", count=2)
        other = await people.enter_async_context(dials(stack, second.host.address, 3))
        with stack.pop.cut_from(second.host):
            await people.enter_async_context(second.agent("bo", AGENT_HZ))
            await other.hears(AGENT_HZ, deadline_s=40)
            await following.hang_up()
        await other.hang_up()
        await first.hears(AGENT_HZ, deadline_s=60)
