"""Keeps the centre's long-running tasks alive: one that fails is logged and started again after a pause."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 10.0
CANCEL_AGAIN_S = 1.0


@dataclass(slots=True)
class TaskState:
    restarts: int = 0
    running: bool = False
    """False in the pause after a failure."""


class ControlLoop:
    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        self.states: dict[str, TaskState] = {}

    def keep(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run ``run`` until ``stop``. A task that returns has done its work."""
        state = self.states[name] = TaskState()
        self._tasks.append(asyncio.create_task(_keep(name, run, state), name=name))

    def is_running(self, name: str) -> bool:
        state = self.states.get(name)
        return state is not None and state.running

    async def stop(self) -> None:
        """Cancel all, newest first, and wait for each: what one uses ends after it."""
        while self._tasks:
            task = self._tasks.pop()
            # A cancellation can be lost: up to Python 3.11 `wait_for` drops one that comes together with its result.
            while not task.done():
                task.cancel()
                await asyncio.wait((task,), timeout=CANCEL_AGAIN_S)
            await asyncio.gather(task, return_exceptions=True)


async def _keep(name: str, run: Callable[[], Awaitable[None]], state: TaskState) -> None:
    pause_s = FIRST_PAUSE_S
    while True:
        began = asyncio.get_running_loop().time()
        state.running = True
        try:
            await run()
            return
        except Exception:  # whatever it is, the task must come back; the log says what it was
            log.exception("%s failed; starting it again in %.1f s", name, pause_s)
            state.restarts += 1
        finally:
            state.running = False
        if asyncio.get_running_loop().time() - began > 60:
            pause_s = FIRST_PAUSE_S
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
