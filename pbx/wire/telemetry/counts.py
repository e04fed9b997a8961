"""Counting that costs nothing: plain integers, made into metrics when somebody looks."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from functools import cache
from itertools import accumulate

FAST_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Bounds for what a program waits for."""
WAIT_S = (5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0)
"""Bounds for what people wait for; 20 s is the usual threshold of a service level."""


class Histogram:
    """Not for use from more than one thread. ``bounds`` ascend; a value equal to one is counted under it."""

    __slots__ = ("_bounds", "_counts", "sum")

    def __init__(self, bounds: Iterable[float] = FAST_S) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        return sum(self._counts)

    def buckets(self) -> list[tuple[str, float]]:
        """(upper bound, how many were at most that), as Prometheus wants them; the last bound is ``+Inf``."""
        return list(zip(_names(self._bounds), map(float, accumulate(self._counts)), strict=True))


@cache
def _names(bounds: tuple[float, ...]) -> tuple[str, ...]:
    return (*map(repr, bounds), "+Inf")
