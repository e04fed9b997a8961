"""What people of a queue usually did, as it was observed: for those of whom nobody saw it."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

from pbx.domain.service_level import End
from pbx.simulation.replay_observed import Wait


class Patience:
    """Kaplan and Meier, Journal of the American Statistical Association 53 (1958)."""

    def __init__(self, waits: Iterable[Wait]) -> None:
        seen = sorted(
            (w.over_at - w.at, w.promised or w.end is not End.ABANDONED) for w in waits if w.over_at is not None
        )
        self._steps: list[tuple[float, float]] = []
        """Time, and the share whose patience is longer."""
        left, share = len(seen), 1.0
        for waited_s, censored in seen:
            if not censored:
                share *= 1 - 1 / left
                self._steps.append((waited_s, share))
            left -= 1

    def after(self, waited_s: float, quantile: float) -> float | None:
        """Of a caller who was still there then; None: longer than anybody was seen to have."""
        there = next((share for at, share in reversed(self._steps) if at <= waited_s), 1.0)
        return next((at for at, share in self._steps if at > waited_s and share <= there * (1 - quantile)), None)


@dataclass(frozen=True, slots=True)
class Usual:
    """Of a queue, in seconds: what is taken for calls that did not come to it."""

    ring_s: float
    talk_s: float
    wrap_up_s: float
    patience: Patience
    leaves_number: float
    """The share of callers told of it who leave one."""
    decides_s: float
    called_s: float
    """From the agent's reservation to the conversation with a customer who is called back."""
    vain_s: float
    """From it to the end of an attempt at a number that does not answer."""
    reached: float
    """The share of numbers that do."""


def usual(waits: list[Wait]) -> Usual:
    def median(values: Iterable[float | None], otherwise: float) -> float:
        known = [value for value in values if value is not None]
        return statistics.median(known) if known else otherwise

    live = [wait for wait in waits if not wait.join.callback]
    called = [wait for wait in waits if wait.join.callback]
    told = [wait for wait in live if wait.callback_offered_at is not None]
    tried = [wait for wait in called if wait.vain_s is not None or wait.end is End.ANSWERED]
    return Usual(
        median((w.ring_s for w in live), 3.0),
        median((w.talk_s for w in waits), 180.0),
        median((w.wrap_up_s for w in waits), 0.0),
        Patience(w for w in live if w.end is not End.REFUSED),
        sum(w.promised for w in told) / len(told) if told else 0.0,
        median((decided_s(w) for w in told), 5.0),
        median((w.ring_s for w in called), 20.0),
        median((w.vain_s for w in called), 30.0),
        sum(w.vain_s is None for w in tried) / len(tried) if tried else 1.0,
    )


def decided_s(wait: Wait) -> float | None:
    """How long a caller who left a number thought about it."""
    if not wait.promised or wait.over_at is None or wait.callback_offered_at is None:
        return None
    return wait.over_at - wait.callback_offered_at


def quantile(wait: Wait, of: str = "") -> float:
    """0 to 1, by chance and always the same."""
    hashed = blake2b(f"{wait.call_id}\0{wait.at}{of}".encode(), digest_size=8).digest()
    return int.from_bytes(hashed, "big") / 2**64
