"""What a queue has measured of its own calls: how long one keeps an agent, and how soon callers lose patience.

Both forget by number, not by time: the last MEMORY calls count for most, however busy the queue is. A new value is one
append; what was appended is folded in when somebody asks, or ``fold`` is called.
"""

from __future__ import annotations

import math

MEMORY = 300.0
"""A value weighs 1/e of the newest after this many more."""
ENOUGH = 20
"""Fewer handled calls say nothing."""
_GROWTH = 1.0 + 1.0 / MEMORY
_PER_OCTAVE = 4
_BUCKETS = 15 * _PER_OCTAVE
_PRIOR = 0.02
"""Weight of an exponential tail beside what was seen, so that no call is ever sure to go on or to end."""
_SLOTS, _SLOT_S, _DAY_S = 8, 20.0, 86400.0
"""Slots of time are 2 s wide at first, a twelfth of the time later, and go up to a day."""
_LONG = 512
_STALE = 16
"""Rows are worked out anew after this many more values: 5 % of MEMORY."""

EDGES = (0.0, *(math.pow(2.0, n / _PER_OCTAVE) for n in range(_BUCKETS)))
"""Lower ends of the buckets of handling times in seconds, the first from 0 to 1, the last without end."""
TIMES = EDGES
Row = tuple[float, ...]


class Handling:
    """Seconds for which a call of the queue keeps an agent, from the offer to the end of wrap-up: mean, variance, and
    a histogram whose buckets widen by a fifth each."""

    __slots__ = ("_buckets", "_rows", "_rows_until", "_squares", "_sum", "_unit", "_weight", "ended", "number")

    def __init__(self) -> None:
        self.ended: list[float] = []
        """Values not folded in yet; whoever frees an agent appends here."""
        self.number = 0
        self._unit = 1.0
        """What the next value weighs: weights grow instead of all former ones shrinking."""
        self._weight = self._sum = self._squares = 0.0
        self._buckets = [0.0] * (_BUCKETS + 1)
        self._rows: dict[int, Row] = {}
        self._rows_until = 0

    def fold(self) -> None:
        """O(values appended)."""
        if not self.ended:
            return
        unit, weight, total, squares, buckets = self._unit, self._weight, self._sum, self._squares, self._buckets
        for value in self.ended:
            unit *= _GROWTH
            weight += unit
            total += unit * value
            squares += unit * value * value
            buckets[_bucket(value)] += unit
        self.number += len(self.ended)
        self.ended.clear()
        if unit > 1e100:
            weight, total, squares = weight / unit, total / unit, squares / unit
            buckets[:] = [one / unit for one in buckets]
            unit = 1.0
        self._unit, self._weight, self._sum, self._squares = unit, weight, total, squares
        if self.number >= self._rows_until:
            self._rows.clear()
            self._rows_until = self.number + _STALE

    def fold_if_long(self) -> None:
        """So that a queue nobody asks about does not keep values for ever."""
        if len(self.ended) >= _LONG:
            self.fold()

    @property
    def enough(self) -> bool:
        return self.number + len(self.ended) >= ENOUGH and self.mean > 0

    @property
    def mean(self) -> float:
        self.fold()
        return self._sum / self._weight if self._weight else 0.0

    @property
    def variance(self) -> float:
        self.fold()
        return max(0.0, self._squares / self._weight - (self._sum / self._weight) ** 2) if self._weight else 0.0

    @property
    def effective(self) -> float:
        """How many equally weighted values would tell as much."""
        return min(float(self.number), 2 * MEMORY)

    def completions(self, slot: int) -> Row:
        """For an agent who has been busy for a time with this ``slot_of``: how many calls will be over, this one
        included, by each of TIMES from now. What follows the present call goes at the mean rate."""
        self.fold()
        row = self._rows.get(slot)
        if row is None:
            row = self._rows[slot] = self._completions(_SLOT_S * (math.pow(2.0, (slot + 0.5) / _SLOTS) - 1.0))
        return row

    def _completions(self, busy_s: float) -> Row:
        mean = self._sum / self._weight
        above = [0.0] * (_BUCKETS + 2)
        for n in range(_BUCKETS, -1, -1):
            above[n] = above[n + 1] + self._buckets[n] / self._weight

        def survival(x: float) -> float:
            n = _bucket(x)
            high = EDGES[n + 1] if n + 1 < len(EDGES) else 2 * EDGES[n]
            within = min(1.0, (x - EDGES[n]) / (high - EDGES[n]))
            seen = above[n] - (above[n] - above[n + 1]) * within
            return (1 - _PRIOR) * seen + _PRIOR * math.exp(-min(x / mean, 600.0))

        now = survival(busy_s)
        row, total, before, last = [], 0.0, 0.0, 0.0
        for edge in TIMES:
            over = 1.0 - survival(busy_s + edge) / now
            total += (edge - last) * (before + over) / 2 / mean
            row.append(over + total)
            before, last = over, edge
        return tuple(row)


def _bucket(value: float) -> int:
    return min(_BUCKETS, 1 + int(_PER_OCTAVE * math.log2(value))) if value >= 1.0 else 0


def slot_of(busy_s: float) -> int:
    """Agents who have been busy for about as long are taken as one."""
    return int(_SLOTS * math.log2(1.0 + min(max(0.0, busy_s), _DAY_S) / _SLOT_S))


class Patience:
    """Callers who left over the time that all waited: the rate of leaving, with those who were answered in time taken
    as what they are, people who would have left later."""

    __slots__ = ("_left", "_waited_s", "number")

    def __init__(self) -> None:
        self.number = 0
        self._left = self._waited_s = 0.0

    def over(self, waited_s: float, left: bool) -> None:
        """A wait came to its end. Who was answered at once has shown nothing."""
        if waited_s <= 0 and not left:
            return
        self.number += 1
        keep = 1.0 - 1.0 / MEMORY
        self._left = self._left * keep + left
        self._waited_s = self._waited_s * keep + max(0.0, waited_s)

    @property
    def rate(self) -> float:
        """Of leaving, per second of one caller's wait."""
        return self._left / self._waited_s if self._waited_s > 0 and self.number >= ENOUGH else 0.0
