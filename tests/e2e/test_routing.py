"""A queue's steps, the reasons of a wait, and wrap-up by command, over REST and with real phones."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from dialplans.schema import Engine
from tests.lab.api import ApiProblem
from tests.lab.lab import Lab
from tests.lab.stack import Stack

QUEUE = {
    "skills": {"support": 3},
    "wrap_up_s": 60,
    "steps": [{"after_s": 4, "action": {"type": "relax_skill", "skill": "support", "least": 1}}],
}


@pytest.fixture
async def stack(lab: Lab, engine: Engine) -> AsyncIterator[Stack]:
    async with Stack.start(lab, engine=engine, queue=QUEUE) as started:
        yield started
        started.server.wait_idle()


async def test_a_wait_is_explained_relaxed_and_wrapped_up(stack: Stack) -> None:
    await stack.add_agent("expert")
    await stack.status("expert", "NOT_READY", "LUNCH")
    novice = await stack.add_agent("novice", {"support": 1})
    async with stack.agent("novice", reuse=True) as phone, stack.caller() as caller:
        await stack.through_menu(caller)
        await caller.send_digits("2")
        call_id = await stack.call_id(caller)
        joined = await stack.event("QueueJoined", call_id=call_id)
        wait = await stack.api.get(f"calls/{call_id}/wait?agent_id={novice.agent_id}")
        assert (wait["queue_id"], wait["position"]) == ("support", 1)
        [group] = wait["groups"]
        assert group["requirement"] == {"support": 3}
        assert {reason["because"] for reason in group["reasons"]} == {"not_ready", "lacks_skill"}
        assert [(one["because"], one["skill"], one["least"]) for one in wait["agent"]] == [
            ("lacks_skill", "support", 3)
        ]

        offer = await stack.event("OfferMade", call_id=call_id)
        assert offer["agent_id"] == novice.agent_id
        assert offer["at"] - joined["at"] > 3.9  # not before the step; the timer is not of the wall clock
        await phone.wait_for("CALL_ESTABLISHED", deadline_s=30)
        await stack.talking(caller)
        [chosen] = (await stack.api.get(f"calls/{call_id}/choice"))["items"]
        assert (chosen["agent_id"], chosen["asked_by"]) == (novice.agent_id, "call")
        assert (chosen["strategy"], chosen["requirement"]) == ("longest_idle", {"support": 1})
        assert chosen["waited_s"] > 3.9
        with pytest.raises(ApiProblem) as refused:
            await stack.api.get(f"calls/{call_id}/wait")
        assert (refused.value.status, refused.value.body["error_id"]) == (409, "not_waiting")
        with pytest.raises(ApiProblem) as refused:
            await stack.api.post(f"agents/{novice.agent_id}/wrap-up/end", {})
        assert (refused.value.status, refused.value.body["error_id"]) == (409, "not_in_wrap_up")

        await caller.hang_up()
        wrapped = await stack.event("AgentChanged", agent_id=novice.agent_id, state="WRAP_UP")
        await stack.api.post(f"agents/{novice.agent_id}/wrap-up/extend", {"by_s": 30})
        await stack.api.post(f"agents/{novice.agent_id}/wrap-up/end", {})
        idle = await stack.event("AgentChanged", agent_id=novice.agent_id, state="IDLE", after=wrapped["seq"])
        assert idle["at"] - wrapped["at"] < QUEUE["wrap_up_s"]
        await stack.record(call_id)
