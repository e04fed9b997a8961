"""Tasks that are kept running, and how they end."""

from __future__ import annotations

import asyncio
import itertools

from orchestrator.control_loop import ControlLoop


async def test_a_task_that_fails_is_started_again() -> None:
    starts: list[float] = []
    worked = asyncio.Event()

    async def fails() -> None:
        starts.append(asyncio.get_running_loop().time())
        if len(starts) < 4:
            raise OSError
        worked.set()

    loop = ControlLoop()
    loop.keep("fails", fails)
    await asyncio.wait_for(worked.wait(), 60)
    await loop.stop()
    pauses = [later - before for before, later in itertools.pairwise(starts)]
    assert pauses == sorted(pauses)
    assert pauses[0] > 0


async def test_a_cancellation_that_is_lost_is_said_again() -> None:
    """As `asyncio.wait_for` of Python 3.11 loses one that comes together with its result."""
    lost: list[bool] = []

    async def works() -> None:
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                if lost:
                    raise
                lost.append(True)

    loop = ControlLoop()
    loop.keep("works", works)
    await asyncio.sleep(0)
    await asyncio.wait_for(loop.stop(), 10)
    assert lost == [True]
