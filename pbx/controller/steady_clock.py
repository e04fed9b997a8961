"""The time that calls go by: the system's, but for a step of it.

Somebody sets the clock of the host, NTP corrects it by minutes, a virtual machine was asleep: what a caller has waited
and talked must not change by that, and who comes next must not have come before those who wait. So this clock never
goes back and never jumps while there are calls. What it is off by it catches up by an eighth of the time that passes;
a step forward at once, when there are no calls.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

from pbx.ports.media_engine import Clock

log = logging.getLogger(__name__)

RATE = 1 / 8
"""Seconds that are caught up in one: a step of a minute is over after eight."""
STEP_S = 1.0
"""What differs by less is no step: it is caught up, and nobody hears of it."""
SAME_S = 0.01
UNDER_WAY_S = 5.0
"""For so long after a step something may be heard of that was told before it."""
BELIEVED_S = 86_400.0
"""A journal that is further ahead than that was written under a wrong clock, and is not waited for."""


class SteadyClock:
    """Seconds since the epoch. ``idle``: whether there are no calls now."""

    def __init__(
        self, not_before: float | None = None, system: Clock = time.time, running: Clock = time.monotonic
    ) -> None:
        """``not_before``: the last time that was told by this clock before the process was started."""
        self.idle: Callable[[], bool] = lambda: False
        self._system, self._running = system, running
        self._at, self._now = running(), system()
        if not_before is not None and 0 < not_before - self._now < BELIEVED_S:
            self._now = not_before
        self._off = system() - self._now
        """What is left to be caught up."""
        self._step, self._stepped_at = 0.0, -math.inf

    def __call__(self) -> float:
        running, system = self._running(), self._system()
        passed = running - self._at
        off = system - (self._now + passed)
        if abs(off) > STEP_S and off > 0 and self.idle():
            passed, off = passed + off, 0.0
        elif abs(step := off - self._off) > STEP_S:
            self._step, self._stepped_at = step, self._now
            log.warning("the system's clock was set %+.0f s: calls keep their time, and it is caught up slowly", step)
        caught_up = max(-RATE * passed, min(RATE * passed, off))
        self._at, self._off = running, off - caught_up
        self._now += passed + caught_up
        return self._now

    def of_system(self, at: float) -> float:
        """What this clock said when the system's said ``at``. What was told under the clock before a step, and is heard
        after it, has just happened; nothing happens later than now."""
        now = self()
        off = now - self._system()
        if abs(off) < SAME_S:
            return at
        if now - self._stepped_at < UNDER_WAY_S and abs(at + off - now) > abs(self._step) / 2:
            return now
        return min(at + off, now)
