"""What callers are told of their estimated wait, and when nothing is said.

The 80th percentile is announced, rounded up: of five callers who hear a time four wait no longer than that.
"""

from __future__ import annotations

from bisect import bisect_left

MINUTES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30)
"""The steps in which a wait is told: less than 1, about each of the others, more than the last."""

WAIT_PROMPTS = ("wait-under-1", *(f"wait-{minutes}" for minutes in MINUTES[1:]), "wait-more")


class WaitAnnouncement:
    """One caller's wait. What was said is not taken back for chance: an estimate that has risen by one step only is
    kept silent; by more, it is told."""

    def __init__(self) -> None:
        self._told: int | None = None

    def prompt(self, wait_s: float | None) -> str | None:
        """What to say of an 80th percentile of ``wait_s``; None: nothing, as while there is no estimate."""
        if wait_s is None:
            return None
        step = bisect_left(MINUTES, wait_s / 60)
        if self._told is not None and step == self._told + 1:
            return None
        self._told = step
        return WAIT_PROMPTS[step]
