"""The media server's call to itself: sound goes both ways, and nobody is told of it."""

from __future__ import annotations

import asyncio

from dialplans import self_call
from pbx.recording.tone import carries
from tests.contract.backend import Backend, Controller

HEARS = {"local": self_call.FAR_HZ, "far": self_call.LOCAL_HZ}
WITHIN_S = 8.0


class SelfCalls:
    async def test_both_sides_hear_the_other_and_no_event_tells_of_it(
        self, backend: Backend, controller: Controller
    ) -> None:
        files = {side: backend.recording_dir / self_call.file_name(4711, side) for side in HEARS}
        before = len(controller.listener.events)
        await controller.engine.call_itself(4711, backend.recording_dir)
        async with asyncio.timeout(WITHIN_S):
            while not all(carries(path, HEARS[side]) for side, path in files.items()):
                await asyncio.sleep(0.1)
                assert not any(leg.in_control for leg in (await controller.engine.snapshot()).legs)
        await controller.settled()
        assert not carries(files["local"], HEARS["far"])
        assert controller.listener.events[before:] == []
        for path in files.values():
            path.unlink()
