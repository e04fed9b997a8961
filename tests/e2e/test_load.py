"""Many calls at once: none fails, and nothing is left behind."""

from __future__ import annotations

import asyncio
from collections import Counter

from dialplans.schema import Engine
from pbx.simulation.replay import replay
from pbx.simulation.replay_read import read
from tests.lab.flows import QUEUE_FLOW
from tests.lab.lab import Lab
from tests.lab.sipp import Sipp
from tests.lab.stack import DID, Stack, recordings_on_disk

CALLS = 200
RATE = 20


async def test_two_hundred_calls(lab: Lab, engine: Engine) -> None:
    """200 calls at 20 a second through the queue to 60 agents."""
    queue = {"wrap_up_s": 0, "recorded": False}
    started = Stack.start(lab, flow=QUEUE_FLOW, queue=queue, engine=engine)
    async with started as stack, stack.sipp_agents(60):
        numbers = [(f"+4917{number:08}", DID) for number in range(CALLS)]
        callers = Sipp.callers(stack.carrier, stack.pop.address, numbers, rate=RATE, hold_ms=None)
        (await asyncio.to_thread(callers.finish, 90)).require_success(CALLS)
        stack.server.wait_idle()
        assert stack.server.leftovers() == ""
        calls = await stack.ended_calls(CALLS)
        assert Counter(call["end_reason"] for call in calls) == {"agent_hung_up": CALLS}
        assert len({call["call_id"] for call in calls}) == CALLS
        assert Counter(len(call["offers"]) for call in calls) == {1: CALLS}
        # What the centre has is what the POP's journal has.
        journal = Counter(event["kind"] for event in stack.journal())
        assert journal["CallEnded"] == journal["TalkStarted"] == CALLS
        assert recordings_on_disk(stack.pop) == []
        # Its routing can be run again: nothing that the ACD was told is missing, and no time in it is wrong.
        replayed = replay(read(stack.pop.state_dir / "controller" / "journal.sqlite"))
        assert replayed.difference is None
        assert (replayed.runs, replayed.offers) == (1, CALLS)
        on_call = [agent for agent in stack.agents.values() if _state(stack, agent.agent_id) != "IDLE"]
        assert on_call == []
        assert "ALARM" not in stack.controller.log_text()
        assert "Traceback" not in stack.controller.log_text() + stack.orchestrator.log_text()


def _state(stack: Stack, agent_id: str) -> str:
    changes = [e for e in stack.journal() if e["kind"] == "AgentChanged" and e["agent_id"] == agent_id]
    return str(changes[-1]["state"])
