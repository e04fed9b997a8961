"""Closed queues, shifts, the last agent and the customer's value, over REST and with real phones."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dialplans.schema import Engine
from tests.lab.lab import Lab
from tests.lab.phone import Phone
from tests.lab.stack import Stack

ALL_DAY = {day: ["00:00-24:00"] for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")}
NEVER = {"time_zone": "Europe/Berlin", "weekly": {}}
WAIT: dict[str, Any] = {"type": "queue", "on_refused": "other", "welcome": False, "announce_position": False}
FLOW: dict[str, Any] = {
    "start": "dear",
    "languages": ["de"],
    "nodes": {
        "dear": {
            "type": "branch",
            "conditions": [{"variable": "caller", "equals": "+491701111111", "next": "gold"}],
            "otherwise": "closed",
        },
        "gold": {"type": "set", "values": {"tier": 9}, "next": "closed"},
        "closed": {**WAIT, "queue": "night"},
        "other": {**WAIT, "queue": "support", "on_refused": "full", "value": "{tier}"},
        "full": {"type": "hang_up", "prompts": ["queue-full"]},
    },
}
"""Every call tries a queue that is closed, and waits in another one."""


@pytest.fixture
async def stack(lab: Lab, engine: Engine) -> AsyncIterator[Stack]:
    queue = {"shift": "only", "last_agent_s": 30, "wrap_up_s": 0}
    async with Stack.start(lab, engine=engine, queue=queue) as started:
        await started.api.post("queues", {"queue_id": "night", "name": "Night", "hours": NEVER})
        await started.api.ask("PUT", "flows/main", {"graph": FLOW})
        await started.synced()
        yield started
        started.server.wait_idle()


async def add_agent(stack: Stack, name: str, shifts: dict[str, Any]) -> str:
    """An agent with these shifts; the id."""
    made = await stack.add_agent(name)
    known = await stack.api.get(f"agents/{made.agent_id}")
    fields = ("name", "skills", "country", "pop_id")
    await stack.api.ask("PUT", f"agents/{made.agent_id}", {**{f: known[f] for f in fields}, "shifts": shifts})
    return made.agent_id


async def answered_by(stack: Stack, caller: Phone) -> str:
    return str((await stack.talking(caller))["agent_id"])


async def test_who_is_there_when_and_whose_call_comes_first(stack: Stack) -> None:
    now = datetime.now(UTC)
    soon = (now + timedelta(hours=3)).strftime("%H:00"), (now + timedelta(hours=5)).strftime("%H:00")
    off = await add_agent(stack, "off", {"time_zone": "UTC", "weekly": {day: ["-".join(soon)] for day in ALL_DAY}})
    first = await add_agent(stack, "first", {"time_zone": "UTC", "weekly": ALL_DAY})
    second = await add_agent(stack, "second", {"time_zone": "UTC", "weekly": ALL_DAY})
    async with stack.agent("off", reuse=True), stack.agent("first", reuse=True):
        # The queue that is closed sends the caller on; of the two, the one on shift is rung, idle for less long.
        async with stack.caller("ann", cli="+491702222222") as ann:
            assert await answered_by(stack, ann) == first
            ann_id = await stack.call_id(ann)
            refused = await stack.event("QueueRefused", call_id=ann_id)
            assert (refused["queue_id"], refused["reason"]) == ("night", "closed")
            await stack.at_node(ann, "other")

            # While the one on shift talks, who waits is told why the other has not been rung.
            async with stack.caller("bob", cli="+491703333333") as bob:
                bob_id = await stack.call_id(bob)
                await stack.event("QueueJoined", call_id=bob_id)
                await stack.api.until("calls", lambda page: bob_id in {call["call_id"] for call in page["items"]})
                wait = await stack.api.get(f"calls/{bob_id}/wait?agent_id={off}")
                assert [one["because"] for one in wait["agent"]] == ["off_shift"]
                assert [group["classes"] for group in wait["groups"]] == [["shift"]]

                # The customer who came later is worth nine minutes of waiting.
                async with stack.caller("dear", cli="+491701111111") as dear:
                    dear_id = await stack.call_id(dear)
                    joined = await stack.event("QueueJoined", call_id=dear_id)
                    assert joined["position"] == 1
                    await ann.hang_up()
                    assert await answered_by(stack, dear) == first
                    await dear.hang_up()
                assert await answered_by(stack, bob) == first
                await bob.hang_up()
                await stack.record(bob_id)

        # Ann's second call goes to the agent of her first, although another one has been idle for longer.
        async with stack.agent("second", reuse=True):
            await stack.status("first", "NOT_READY", "BREAK")
            await stack.status("first", "AVAILABLE")
            before = stack.journal()[-1]["seq"]
            async with stack.caller("again", cli="+491702222222") as again:
                assert (await stack.event("TalkStarted", after=before))["agent_id"] == first
                async with stack.caller("carl", cli="+491704444444") as carl:
                    assert await answered_by(stack, carl) == second
                    await carl.hang_up()
                await again.hang_up()
            calls = await stack.ended_calls(5)
            assert sorted(call["agent_id"] for call in calls) == sorted([first] * 4 + [second])
