"""What a call under way keeps when queue, agent and shift are changed meanwhile, and what the next call gets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from dialplans.schema import Engine
from tests.e2e.test_supervision import ANNA_HZ, CALLER_HZ, hear
from tests.lab.lab import Lab
from tests.lab.stack import Stack

WRAP_UP_S = 3
QUEUE: dict[str, Any] = {"name": "Support", "skills": {"support": 1}, "ring_timeout_s": 5, "wrap_up_s": WRAP_UP_S}


@pytest.fixture
async def stack(lab: Lab, engine: Engine) -> AsyncIterator[Stack]:
    async with Stack.start(lab, engine=engine, queue=QUEUE) as started:
        yield started
        started.server.wait_idle()


async def test_new_rules_are_for_the_next_call(stack: Stack) -> None:
    """Anna talks, recorded, with 3 s of wrap-up to follow. Then the queue is for agents on shift only, not recorded and
    without wrap-up, and her shift is over. Her call goes on as it began; the next one is neither offered to her nor,
    when it has an agent, recorded."""
    async with stack.agent("anna", tone_hz=ANNA_HZ) as anna, stack.caller("first", tone_hz=CALLER_HZ) as first:
        anna_id = stack.agents["anna"].agent_id
        await stack.through_menu(first)
        await stack.answer_consent(first, "1")
        await stack.talking(first)
        call_id = await stack.call_id(first)
        await stack.event("RecordingStarted", call_id=call_id)
        rules = {**QUEUE, "skills": {"support": 3}, "shift": "only", "recorded": False, "wrap_up_s": 0}
        await stack.api.ask("PUT", "queues/support", rules)
        known = await stack.api.get(f"agents/{anna_id}")
        fields = {name: known[name] for name in ("name", "skills", "country", "pop_id")}
        off = {"time_zone": "UTC", "weekly": {}}
        await stack.api.ask("PUT", f"agents/{anna_id}", {**fields, "shifts": off})
        await stack.synced()
        await hear((first, {ANNA_HZ}), (anna, {CALLER_HZ}))
        assert not [e for e in stack.journal() if e["kind"] in ("RecordingEnded", "TalkEnded")]
        async with stack.caller("second", cli="+491700000002", tone_hz=CALLER_HZ) as second:
            await stack.through_menu(second)
            await stack.answer_consent(second, "1")
            second_id = await stack.call_id(second)
            await stack.event("QueueJoined", call_id=second_id)
            await first.hang_up()
            wrapped = await stack.event("AgentChanged", agent_id=anna_id, state="WRAP_UP")
            idle = await stack.event("AgentChanged", agent_id=anna_id, state="IDLE", after=wrapped["seq"])
            assert idle["at"] - wrapped["at"] > WRAP_UP_S - 0.1
            wait = await stack.api.get(f"calls/{second_id}/wait?agent_id={anna_id}")
            assert {reason["because"] for reason in wait["agent"]} == {"off_shift"}
            async with stack.agent("bela"):
                bela_id = stack.agents["bela"].agent_id
                await stack.event("TalkStarted", call_id=second_id, agent_id=bela_id)
                await second.hang_up()
                idle = await stack.event("AgentChanged", agent_id=bela_id, state="IDLE", after=idle["seq"])
                cdr = await stack.record(second_id)
    assert cdr["recordings"] == []
    before = await stack.record(call_id)
    [recording] = before["recordings"]
    assert recording["discarded"] is False
    assert recording["duration_ms"] > 2000
    assert [offer["agent_id"] for offer in cdr["offers"]] == [bela_id]
