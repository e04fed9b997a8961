"""How late the event loop is: what delays everything else."""

from __future__ import annotations

import asyncio
import time

from pbx.wire.telemetry.counts import FAST_S, Histogram

EVERY_S = 0.25


class LoopLag:
    def __init__(self) -> None:
        self.seen = Histogram(FAST_S)
        self._longest_s = 0.0
        self._due = 0.0
        self._next: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._due = time.perf_counter() + EVERY_S
        self._next = asyncio.get_running_loop().call_later(EVERY_S, self._woken)

    def stop(self) -> None:
        if self._next is not None:
            self._next.cancel()

    def take_longest(self) -> float:
        """Seconds; the longest since this was asked last. One that is under way counts."""
        longest_s = max(self._longest_s, time.perf_counter() - self._due if self._next is not None else 0.0)
        self._longest_s = 0.0
        return longest_s

    def _woken(self) -> None:
        late_s = max(0.0, time.perf_counter() - self._due)
        self.seen.observe(late_s)
        self._longest_s = max(self._longest_s, late_s)
        self.start()
