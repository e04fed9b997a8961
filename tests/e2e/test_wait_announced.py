"""The estimated wait, told to a caller by the real media server and understood by ear."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest

from dialplans import prompts
from dialplans.schema import Engine
from pbx.domain.measured import ENOUGH
from pbx.domain.wait_announcement import WAIT_PROMPTS
from pbx.simulation.flows.sip.ear import Ear, load
from tests.lab.errors import wait_until
from tests.lab.lab import Lab
from tests.lab.phone import Phone
from tests.lab.sipp import Sipp
from tests.lab.stack import DID, Stack

ANNOUNCE_EVERY_S = 10
QUEUE_PROMPTS = (*WAIT_PROMPTS, "position-1", "position-2", "position-3")
FLOW: dict[str, Any] = {
    "start": "wait",
    "languages": ["de"],
    "nodes": {
        "wait": {
            "type": "queue",
            "queue": "support",
            "on_refused": "full",
            "welcome": False,
            "announce_position": True,
            "announce_wait": True,
        },
        "full": {"type": "hang_up", "prompts": ["queue-full"]},
    },
}


@pytest.fixture
async def stack(lab: Lab, engine: Engine) -> AsyncIterator[Stack]:
    queue = {"wrap_up_s": 0, "recorded": False, "announce_every_s": ANNOUNCE_EVERY_S}
    async with Stack.start(lab, engine=engine, flow=FLOW, queue=queue) as started:
        yield started
        started.server.wait_idle()


class Listening:
    """What a phone has heard of these prompts, in German."""

    def __init__(self, phone: Phone, known: Iterable[str] = QUEUE_PROMPTS) -> None:
        wanted = [("de", name) for name in known]
        self._phone, self._ear = phone, Ear(load(prompts.default_dir(), wanted))
        self.heard: list[str] = []

    async def until(self, *expected: str) -> None:
        def told() -> bool:
            samples, rate = self._phone.heard()
            assert rate == 8000
            while (prompt := self._ear.next(samples, over=False)) is not None:
                self.heard.append(prompt.removeprefix("de/"))
            return len(self.heard) >= len(expected)

        await asyncio.to_thread(wait_until, told, 30, f"{expected} at {self._phone.name}", lambda: str(self.heard))
        assert self.heard[: len(expected)] == list(expected)


async def test_callers_hear_how_long_it_will_take(stack: Stack) -> None:
    """Nothing before anything is measured; then the step that the estimate falls into, and it is told again."""
    async with stack.caller("early", cli="+491700000001") as early:
        await early.wait_for("CALL_ESTABLISHED")
        joined = await stack.event("QueueJoined", call_id=await stack.call_id(early))
        assert joined["wait_s"] is None
        listening = Listening(early)
        await listening.until("position-1")
        await early.hang_up()
    calls = ENOUGH + 4
    async with stack.sipp_agents(4, ring_ms=50, talk_ms=500):
        numbers = [(f"+4917{number:08}", DID) for number in range(calls)]
        callers = Sipp.callers(stack.carrier, stack.pop.address, numbers, rate=5, hold_ms=None)
        (await asyncio.to_thread(callers.finish, 60)).require_success(calls)
        await stack.ended_calls(calls + 1)
        for name in list(stack.agents):
            await stack.status(name, "NOT_READY", "LUNCH")
        async with stack.agent("anna"), stack.caller("first", cli="+491700000002") as first:
            await stack.talking(first)
            async with stack.caller("second", cli="+491700000003") as second:
                await second.wait_for("CALL_ESTABLISHED")
                call_id = await stack.call_id(second)
                joined = await stack.event("QueueJoined", call_id=call_id)
                assert 0 < joined["wait_s"] < 60
                listening = Listening(second)
                await listening.until("position-1", "wait-under-1")
                told = await stack.event("PositionTold", call_id=call_id)
                assert told["wait_s"] is not None
                await listening.until("position-1", "wait-under-1", "position-1", "wait-under-1")
                await second.hang_up()
            await first.hang_up()


def test_every_step_of_the_wait_is_a_prompt_that_was_made() -> None:
    manifest = prompts.load_manifest(Path(prompts.default_dir()))
    for language in ("de", "en"):
        assert manifest.missing(language, WAIT_PROMPTS) == ()
