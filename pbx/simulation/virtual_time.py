"""An event loop whose clock jumps to the next timer: an hour of calls takes as long as the code needs.

Only for code without real I/O: whatever waits for a socket would see time run away. Threads (``to_thread``) are
waited for: while one is under way, time stands still.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of sleeping until the next timer, moves the loop's clock there."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.threads = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is None and not self.threads):
            return ready or super().select(1.0)
        if self.threads:
            return super().select(0.001 if timeout is None else min(timeout, 0.001) or 0)
        if timeout:
            self.now += timeout
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """``loop.time()`` starts at 1000 s; ``wall()`` is a clock for the code under test that goes with it."""

    EPOCH = 1_790_000_000.0

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def wall(self) -> float:
        return self.EPOCH + self._jumping.now

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        self._jumping.threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._thread_done)
        return future

    def _thread_done(self, _: asyncio.Future[Any]) -> None:
        self._jumping.threads -= 1


def real_deadline(seconds: float) -> Callable[[], bool]:
    """True once ``seconds`` of real time are over; guards against an endless virtual loop."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end
