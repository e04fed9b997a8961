"""When a delivery that failed is tried again, and how much is asked of a target that keeps failing."""

from __future__ import annotations

from dataclasses import dataclass

GIVE_UP_S = 86_400.0
"""After so long, from when it was first due, a delivery that still fails is a dead letter."""
FIRST_S, FACTOR, LONGEST_S = 5.0, 4.0, 8 * 3600.0
JITTER = 0.2
MOST_ASKED_S = 3600.0
"""Of what a target asks for by ``Retry-After`` so much is granted."""
FAILING = 5
"""So many failures in a row, of whatever deliveries, and the target is failing: one at a time tries if it is back."""
FIRST_PROBE_S, LONGEST_PROBE_S = 5.0, 300.0


def next_attempt(attempts: int, since: float, now: float, chance: float, asked_s: float = 0.0) -> float | None:
    """When to try again after the ``attempts``-th failure; None: never, it is dead. ``since``: when it was first due;
    ``chance``: 0 to 1, spreads what failed together; ``asked_s``: the target's own wish.

    5 s, 20 s, 80 s, 5 min, 21 min, 85 min, 6 h, 8 h, each a fifth more or less, and a last time after 24 h.
    """
    if now >= since + GIVE_UP_S:
        return None
    wait_s = min(LONGEST_S, FIRST_S * FACTOR ** min(attempts - 1, 20)) * (1 + JITTER * (2 * chance - 1))
    return min(now + max(wait_s, min(asked_s, MOST_ASKED_S)), since + GIVE_UP_S)


@dataclass(slots=True)
class Target:
    """What is known of a webhook's target in this process: as good until it fails."""

    most: int
    """Requests to it at once."""
    failures: int = 0
    """In a row."""
    not_before: float = 0.0
    """While it is failing: when the next one may try it."""

    @property
    def failing(self) -> bool:
        return self.failures >= FAILING

    def may_have(self, under_way: int, now: float) -> int:
        """How many more requests it may be sent."""
        if not self.failing:
            return max(0, self.most - under_way)
        return 1 if not under_way and now >= self.not_before else 0

    def answered(self) -> bool:
        """It took a delivery; True when it had been failing."""
        was, self.failures, self.not_before = self.failing, 0, 0.0
        return was

    def failed(self, now: float, chance: float, asked_s: float = 0.0) -> None:
        self.failures += 1
        if self.failing:
            probes = min(self.failures - FAILING, 20)
            wait_s = min(LONGEST_PROBE_S, FIRST_PROBE_S * 2.0**probes) * (1 + JITTER * (2 * chance - 1))
            self.not_before = now + max(wait_s, min(asked_s, MOST_ASKED_S))
