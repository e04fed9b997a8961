"""Opening hours as local people understand them, right on the days on which the clocks change."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum
from zoneinfo import ZoneInfo

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES = 24 * 60


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
                if self._passed(begin, instant, clock, last=False) and not self._passed(end, instant, clock, last=True):
                    return State.OPEN
        return State.HOLIDAY if self._is_holiday(today, public) else State.CLOSED

    def _is_holiday(self, day: date, public: Container[date]) -> bool:
        return day not in self.special and (day in self.holidays or day in public)

    def _intervals(self, day: date, public: Container[date]) -> Iterator[tuple[datetime, datetime]]:
        if self._is_holiday(day, public):
            return
        midnight = datetime.combine(day, time())
        for interval in self.special.get(day, self.weekly[day.weekday()]):
            end = interval.end if interval.end > interval.begin else interval.end + DAY_MINUTES
            yield midnight + timedelta(minutes=interval.begin), midnight + timedelta(minutes=end)

    def _passed(self, wall: datetime, instant: datetime, clock: datetime, *, last: bool) -> bool:
        """Whether the local time ``wall`` has come; of two such times, the first or the ``last``."""
        first, second = (wall.replace(tzinfo=self.zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        if second < first:  # the clock skips this time: it has come when the clock shows a later one
            return clock >= wall
        return instant >= (second if last else first)
