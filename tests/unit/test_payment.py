"""A card is paid by keys in the middle of a conversation: the agent hands the caller to a node that collects, and gets
the caller back. The recording stops and goes on by itself; nothing of the card is in it, nor in the journal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pbx.wire import messages as wire
from tests.support.world import SHORT_FLOW, World
from tests.unit.test_recording_control import BOTH, Recorded

CARD = "4000123412341234"
PAYMENT: dict[str, Any] = SHORT_FLOW | {
    "nodes": SHORT_FLOW["nodes"]
    | {
        "wait": SHORT_FLOW["nodes"]["wait"] | {"after": "card"},
        "card": {
            "type": "collect",
            "prompts": ["enter-card"],
            "variable": "card",
            "min_digits": 16,
            "max_digits": 16,
            "next": "back",
            "on_failure": "back",
        },
        "back": SHORT_FLOW["nodes"]["wait"],
    }
}


async def test_nothing_of_a_card_is_captured(tmp_path: Path) -> None:
    async with World(tmp_path, PAYMENT, wrap_up_s=0.0) as world:
        scene = Recorded(world)
        await scene.talks()
        assert await world.command(wire.TransferCall(call_id=scene.call_id, after=True)) is None
        await world.until(lambda: scene.caller.heard[-1] == "de/enter-card", "the payment node")
        # Anna is not on the line, and nothing is captured until she is.
        recorded = len(world.engine.recorded)
        for digit in CARD:
            assert world.engine.recordings == {}
            assert scene.caller.hears != "talk"
            await world.run(0.3)
            scene.caller.press(digit)
        assert len(world.engine.recorded) == recorded
        await world.until(lambda: scene.caller.hears == "talk", "Anna to be back")
        await world.run(4)
        cdr = await scene.finish()
        assert [talk.agent_id for talk in cdr.talks] == ["anna", "anna"]
        durations = [recording.duration_ms for recording in cdr.recordings]
        assert durations == [pytest.approx(4000, abs=400), pytest.approx(4000, abs=400)]
        pressed = [
            json.loads(bytes(e.data)) for e in world.journal.read_call(scene.call_id) if e.kind == "DigitPressed"
        ]
        assert [one["digit"] for one in pressed] == ["?"] * len(CARD)
        assert scene.sound(cdr.recordings[0].recording_id)[:3] == [BOTH] * 3
