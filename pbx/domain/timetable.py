"""Who keeps which hours, and when the next of them begin or end: one boundary to wait for, however many keep hours.

Those who keep the same hours share one entry: a thousand agents of one shift cost as much as one.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Container, Hashable
from dataclasses import dataclass, field
from datetime import date

from pbx.domain.opening_hours import OpeningHours, State


@dataclass(frozen=True, slots=True)
class Hours:
    """An agent's shifts or a queue's opening hours, with the public holidays that count."""

    opening: OpeningHours
    country: str | None = None
    public: Container[date] = field(default=(), compare=False, repr=False)
    """The public holidays of ``country``."""

    def open(self, now: float) -> bool:
        return self.opening.state(now, self.public) is State.OPEN

    def next_change(self, now: float) -> float:
        return self.opening.next_change(now, self.public)

    @property
    def key(self) -> Hashable:
        """The same for the same hours."""
        one = self.opening
        return (one.zone.key, one.weekly, tuple(sorted(one.special.items())), one.holidays, self.country)


@dataclass(slots=True)
class _Entry:
    hours: Hours
    open: bool
    keepers: dict[str, None] = field(default_factory=dict)


class Timetable:
    def __init__(self) -> None:
        self._entries: dict[Hashable, _Entry] = {}
        self._by_keeper: dict[str, tuple[Hashable, _Entry]] = {}
        self._turns: list[tuple[float, int, _Entry]] = []
        """A heap; entries that nobody keeps any more go when their turn comes."""
        self._count = itertools.count()

    def keep(self, keeper: str, hours: Hours | None, now: float) -> bool:
        """``keeper`` keeps these hours and no others; None: is always there. Whether it is open now."""
        former = self._by_keeper.pop(keeper, None)
        if former is not None:
            key, entry = former
            del entry.keepers[keeper]
            if not entry.keepers:
                del self._entries[key]
        if hours is None:
            return True
        key = hours.key
        found = self._entries.get(key)
        if found is None:
            found = self._entries[key] = _Entry(hours, hours.open(now))
            heapq.heappush(self._turns, (hours.next_change(now), next(self._count), found))
        found.keepers[keeper] = None
        self._by_keeper[keeper] = (key, found)
        return found.open

    def is_open(self, keeper: str) -> bool | None:
        """None: keeps no hours."""
        found = self._by_keeper.get(keeper)
        return None if found is None else found[1].open

    def next_at(self) -> float | None:
        """When the next hours may begin or end; None while nobody keeps any."""
        while self._turns and not self._turns[0][2].keepers:
            heapq.heappop(self._turns)
        return self._turns[0][0] if self._turns else None

    def turn(self, now: float) -> list[str]:
        """Who opens or closes by now. Those who open come first: nobody is to be missed between two shifts."""
        turned: list[_Entry] = []
        while self._turns and self._turns[0][0] <= now:
            _, _, entry = heapq.heappop(self._turns)
            if not entry.keepers:
                continue
            is_open = entry.hours.open(now)
            heapq.heappush(self._turns, (entry.hours.next_change(now), next(self._count), entry))
            if is_open is not entry.open:
                entry.open = is_open
                turned.append(entry)
        turned.sort(key=lambda entry: not entry.open)
        return [keeper for entry in turned for keeper in entry.keepers]
