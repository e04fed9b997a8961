"""Opening hours as local people understand them, right on the days on which the clocks change."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum
from zoneinfo import ZoneInfo

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES = 24 * 60

LOOK_AHEAD = timedelta(days=7)
"""Whoever waits for hours to change looks again after so long."""
_MOMENT = timedelta(microseconds=1)


class State(Enum):
    OPEN = "open"
    CLOSED = "closed"
    HOLIDAY = "holiday"
    """Closed, on a public holiday."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Minutes since local midnight. ``end`` up to ``begin`` is on the next day; 1440 is midnight at the day's end."""

    begin: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OpeningHours:
    """An interval belongs to the day on which it begins: Friday's 22:00-02:00 is open on Saturday at 01:00, whatever
    is said of Saturday. A day in ``special`` has those intervals and no others, public holiday or not; a public
    holiday has none.

    When the clock is put back, an interval begins at the first and ends at the last time that the clock shows its
    limits; a limit that the clock skips lies where it jumps.
    """

    zone: ZoneInfo
    weekly: tuple[tuple[Interval, ...], ...]
    """Monday first."""
    special: Mapping[date, tuple[Interval, ...]]
    holidays: frozenset[date]

    def state(self, now: float, public: Container[date] = ()) -> State:
        """``public`` holds the public holidays of a country."""
        instant = datetime.fromtimestamp(now, UTC)
        local = instant.astimezone(self.zone)
        today = local.date()
        clock = local.replace(tzinfo=None, fold=0)
        for day in (today - timedelta(days=1), today, today + timedelta(days=1)):
            for begin, end in self._intervals(day, public):
                if self._begun(begin, instant, clock) and not self._over(end, instant, clock):
                    return State.OPEN
        return State.HOLIDAY if self._is_holiday(today, public) else State.CLOSED

    def next_change(self, now: float, public: Container[date] = ()) -> float:
        """The next time at which ``state`` may be another, ``LOOK_AHEAD`` from now at the latest."""
        instant = datetime.fromtimestamp(now, UTC)
        today = instant.astimezone(self.zone).date()
        latest = instant + LOOK_AHEAD
        found = [latest]
        for days in range(-1, LOOK_AHEAD.days + 2):
            for begin, end in self._intervals(today + timedelta(days=days), public):
                found += (self._beginning(begin), self._ending(end))
        return min(limit for limit in found if limit > instant).timestamp()

    def _is_holiday(self, day: date, public: Container[date]) -> bool:
        return day not in self.special and (day in self.holidays or day in public)

    def _intervals(self, day: date, public: Container[date]) -> Iterator[tuple[datetime, datetime]]:
        if self._is_holiday(day, public):
            return
        midnight = datetime.combine(day, time())
        for interval in self.special.get(day, self.weekly[day.weekday()]):
            end = interval.end if interval.end > interval.begin else interval.end + DAY_MINUTES
            yield midnight + timedelta(minutes=interval.begin), midnight + timedelta(minutes=end)

    def _begun(self, wall: datetime, instant: datetime, clock: datetime) -> bool:
        """Whether the clock has shown ``wall`` or later."""
        first, second = self._instants(wall)
        return clock >= wall if second < first else instant >= first

    def _over(self, wall: datetime, instant: datetime, clock: datetime) -> bool:
        """Whether the clock will show no time before ``wall`` again."""
        first, second = self._instants(wall - _MOMENT)
        return clock >= wall if second < first else instant > second

    def _beginning(self, wall: datetime) -> datetime:
        """When ``_begun`` becomes true."""
        first, second = self._instants(wall)
        return self._jump(second, first) if second < first else first

    def _ending(self, wall: datetime) -> datetime:
        """When ``_over`` becomes true."""
        first, second = self._instants(wall - _MOMENT)
        return self._jump(second, first) if second < first else second + _MOMENT

    def _jump(self, before: datetime, after: datetime) -> datetime:
        """When, between these two, the clock jumps; clocks do so at a whole second."""
        low, high = math.floor(before.timestamp()), math.ceil(after.timestamp())
        former = before.astimezone(self.zone).utcoffset()
        while high - low > 1:
            middle = (low + high) // 2
            same = datetime.fromtimestamp(middle, self.zone).utcoffset() == former
            low, high = (middle, high) if same else (low, middle)
        return datetime.fromtimestamp(high, UTC)

    def _instants(self, wall: datetime) -> tuple[datetime, datetime]:
        """When the clock shows ``wall`` first and last; the other way round if it skips that time."""
        first, second = (wall.replace(tzinfo=self.zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        return first, second
